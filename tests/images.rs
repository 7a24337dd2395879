//! Every kind of bad or extreme image: a typed error or a valid result, never a panic.

mod support;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use support::{pattern_weights, random_crop, toy_config, toy_file};
use svtrv2::weights::Weights;
use svtrv2::{
    Charset, Crop, Device, Error, ImageError, Options, Orientation, PixelFormat, Recognizer,
    Rotation,
};

fn recognizer() -> Recognizer {
    let folder = tempfile::tempdir().unwrap();
    Recognizer::open(toy_file(folder.path())).unwrap()
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn extreme_sizes_and_contents() {
    let recognizer = recognizer();
    let flat = |value: u8, w: u32, h: u32| RgbImage::from_pixel(w, h, image::Rgb([value; 3]));
    let cases = [
        ("one pixel", flat(7, 1, 1), (64, 64)),
        ("a column", random_crop(1, 1, 20_000), (64, 64)),
        ("a line", random_crop(2, 500, 1), (32, 16_000)),
        ("all white", flat(255, 100, 32), (40, 112)),
        ("all black", flat(0, 100, 32), (40, 112)),
        ("large", random_crop(3, 3000, 2000), (48, 96)),
    ];
    for (name, image, (height, width)) in cases {
        let recognition = recognizer.recognize(&image).unwrap();
        assert_eq!((recognition.size.height, recognition.size.width), (height, width), "{name}");
        assert!((0.0..=1.0).contains(&recognition.score), "{name}: {}", recognition.score);
        assert_eq!(recognition.text.is_empty(), recognition.chars.is_empty(), "{name}");
        for c in &recognition.chars {
            let (width, height) = (image.width() as f32, image.height() as f32);
            assert!(0.0 <= c.bounds.x0 && c.bounds.x0 < c.bounds.x1, "{name}: {c:?}");
            assert!(0.0 <= c.bounds.y0 && c.bounds.y0 < c.bounds.y1, "{name}: {c:?}");
            assert!(c.bounds.x1 <= width && c.bounds.y1 <= height, "{name}: {c:?}");
            assert!(!c.frames.is_empty() && (0.0..=1.0).contains(&c.confidence), "{name}: {c:?}");
        }
    }
}

#[test]
fn images_without_pixels() {
    let recognizer = recognizer();
    for (width, height) in [(0, 0), (0, 7), (7, 0)] {
        let result = recognizer.recognize(&DynamicImage::new_rgb8(width, height));
        assert!(
            matches!(
                result,
                Err(Error::Image(ImageError::Empty { width: w, height: h }))
                    if (w, h) == (width, height)
            ),
            "{width}x{height}: {result:?}"
        );
    }
}

#[test]
fn damaged_files() {
    let image = random_crop(4, 90, 31);
    let png = encoded(&image, ImageFormat::Png);
    let jpeg = encoded(&image, ImageFormat::Jpeg);
    assert_eq!(Crop::decode(&png).unwrap().rgb(), image.as_raw().as_slice());
    assert!(Crop::decode(&jpeg).is_ok());
    let cases: [(&str, &[u8]); 6] = [
        ("nothing", b""),
        ("text", b"not an image"),
        ("half a PNG", &png[..png.len() / 2]),
        ("a PNG's signature", &png[..8]),
        ("a JPEG's start", &jpeg[..20]),
        ("another format", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"),
    ];
    for (name, bytes) in cases {
        let result = Crop::decode(bytes);
        assert!(matches!(result, Err(Error::Image(ImageError::Decode(_)))), "{name}: {result:?}");
    }
    let result = Crop::open("no/such/file.png");
    assert!(matches!(&result, Err(Error::Image(ImageError::Io { .. }))), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("no/such/file.png"));
}

#[test]
fn every_way_in_gives_the_same_reading() {
    let recognizer = recognizer();
    let image = random_crop(5, 90, 31);
    let expected = recognizer.recognize(&image).unwrap();
    let dynamic = DynamicImage::ImageRgb8(image.clone());
    assert_eq!(recognizer.recognize(&dynamic).unwrap(), expected);
    let png = Crop::decode(&encoded(&image, ImageFormat::Png)).unwrap();
    assert_eq!(recognizer.recognize(&png).unwrap(), expected);
    assert_eq!(recognizer.recognize(png).unwrap(), expected);
    let folder = tempfile::tempdir().unwrap();
    // The name's extension is of no account.
    let path = folder.path().join("crop.jpg");
    std::fs::write(&path, encoded(&image, ImageFormat::Png)).unwrap();
    assert_eq!(recognizer.recognize(Crop::open(&path).unwrap()).unwrap(), expected);
    let bgra: Vec<u8> = image.pixels().flat_map(|p| [p.0[2], p.0[1], p.0[0], 9]).collect();
    let raw = Crop::from_raw(PixelFormat::Bgra8, 90, 31, 360, &bgra).unwrap();
    assert_eq!(recognizer.recognize(raw).unwrap(), expected);
}

#[test]
fn stages_equal_the_whole() {
    let recognizer = recognizer();
    let image = random_crop(6, 90, 31);
    let crop = Crop::from_rgb(&image).unwrap();
    let resized = recognizer.resize(&crop).unwrap();
    let emissions = recognizer.emissions(&resized).unwrap();
    assert_eq!((emissions[0].log_probs.frames(), emissions[0].log_probs.classes()), (28, 95));
    let recognition = recognizer.decode(&resized[0], &emissions[0]).unwrap();
    assert_eq!(recognition, recognizer.recognize(&crop).unwrap());
}

#[test]
fn orientations() {
    let weights = pattern_weights(&toy_config());
    let with = |orientation| {
        let charset = Some(Charset::english());
        Recognizer::new(&weights, Options { charset, orientation, ..Options::default() }).unwrap()
    };
    let tall = random_crop(7, 30, 90);
    let not_tall = random_crop(8, 30, 45);
    let tall_crop = Crop::from_rgb(&tall).unwrap();
    let turned = tall_crop.rotated(Rotation::CounterClockwise);

    let as_is = with(Orientation::AsIs);
    assert_eq!(as_is.recognize(&tall).unwrap().rotation, Rotation::None);

    let rotating = with(Orientation::RotateTall);
    let recognition = rotating.recognize(&tall).unwrap();
    assert_eq!(recognition.rotation, Rotation::CounterClockwise);
    let upright = as_is.recognize(&turned).unwrap();
    assert_eq!(recognition.text, upright.text);
    assert!(!recognition.chars.is_empty());
    for (turned, upright) in recognition.chars.iter().zip(&upright.chars) {
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-3, "{turned:?} {upright:?}");
        close(turned.bounds.x0, 30.0 - upright.bounds.y1);
        close(turned.bounds.x1, 30.0 - upright.bounds.y0);
        close(turned.bounds.y0, upright.bounds.x0);
        close(turned.bounds.y1, upright.bounds.x1);
    }
    assert_eq!(rotating.recognize(&not_tall).unwrap(), as_is.recognize(&not_tall).unwrap());

    let best = with(Orientation::BestOfTall).recognize(&tall).unwrap();
    let candidates = [Rotation::None, Rotation::CounterClockwise, Rotation::Clockwise]
        .map(|rotation| as_is.recognize(tall_crop.rotated(rotation)).unwrap());
    let highest = candidates.iter().map(|r| r.score).fold(0.0, f32::max);
    assert_eq!(best.score, highest);
    let at = candidates.iter().position(|r| r.score == highest).unwrap();
    assert_eq!(best.text, candidates[at].text);
}

#[test]
fn options_out_of_range() {
    let weights: Weights = pattern_weights(&toy_config());
    let charset = Some(Charset::english());
    for (name, options) in [
        ("max_ratio", Options { max_ratio: Some(0), ..Options::default() }),
        ("max_ratio", Options { max_ratio: Some(5000), ..Options::default() }),
        #[cfg(not(feature = "cuda"))]
        ("device", Options { device: Device::Cuda(0), ..Options::default() }),
        #[cfg(not(feature = "metal"))]
        ("device", Options { device: Device::Metal(0), ..Options::default() }),
        #[cfg(not(feature = "candle"))]
        ("precision", Options { precision: Some(svtrv2::Precision::F16), ..Options::default() }),
    ] {
        let result = Recognizer::new(&weights, Options { charset: charset.clone(), ..options });
        assert!(matches!(&result, Err(Error::Config(e)) if e.field == name), "{result:?}");
    }
}
