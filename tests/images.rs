//! Every kind of bad or extreme image: a typed error or a valid result, never a panic.

mod support;

#[path = "support/crafted.rs"]
mod crafted;
#[path = "support/pictures.rs"]
mod pictures;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use pictures::{Chunks, png, png_chunks};
use support::{pattern_weights, random_crop, toy_config, toy_file};
use svtrv2::weights::Weights;
use svtrv2::{
    Charset, Conversion, Crop, DecodeOptions, Device, Error, ImageError, Options, Orientation,
    PixelFormat, Recognizer, Rotation,
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
    let cases: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("text", b"not an image"),
        ("half a PNG", &png[..png.len() / 2]),
        ("a PNG's signature", &png[..8]),
        ("a JPEG's start", &jpeg[..20]),
    ];
    for (name, bytes) in cases {
        let result = Crop::decode(bytes);
        assert!(matches!(result, Err(Error::Image(ImageError::Decode(_)))), "{name}: {result:?}");
    }
    let result = Crop::decode(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;");
    assert!(matches!(result, Err(Error::Image(ImageError::Format { found: "GIF" }))), "{result:?}");
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

/// The chunks of an image of this colour type and depth whose rows are these bytes.
fn chunks((width, height): (u32, u32), depth: u8, color: u8, rows: &[u8]) -> Chunks {
    let mut bytes = rows.iter().copied();
    let mut source = || bytes.next().unwrap_or(0);
    png_chunks((width, height), depth, color, false, &mut source)
}

/// Two pixels: ink that is seen, and one that is not, of the same colour.
#[test]
fn transparency_is_seen() {
    let opaque_or_not = |mut chunks: Chunks, transparency: &[u8]| {
        let pixels = chunks.iter().position(|(kind, _)| kind == b"IDAT").unwrap();
        chunks.insert(pixels, (*b"tRNS", transparency.to_vec()));
        png(&chunks)
    };
    // A palette of black and black, or of white and white, and the rows: filter 0, then 0 and 1.
    let palette = |level: u8| chunks((2, 1), 8, 3, &[&[level; 768][..], &[0, 0, 1]].concat());
    let black_on_white = [[0; 3], [255; 3]].concat();
    let white_on_black = [[255; 3], [0; 3]].concat();
    let red_on_white = [[200, 0, 0], [255; 3]].concat();
    let cases = [
        (
            "RGBA, black",
            png(&chunks((2, 1), 8, 6, &[0, 0, 0, 0, 255, 0, 0, 0, 0])),
            &black_on_white,
        ),
        (
            "RGBA, white",
            png(&chunks((2, 1), 8, 6, &[0, 255, 255, 255, 255, 255, 255, 255, 0])),
            &white_on_black,
        ),
        (
            "RGBA, red",
            png(&chunks((2, 1), 8, 6, &[0, 200, 0, 0, 255, 200, 0, 0, 0])),
            &red_on_white,
        ),
        ("grey with alpha", png(&chunks((2, 1), 8, 4, &[0, 0, 255, 0, 0])), &black_on_white),
        (
            "grey with alpha of 16 bits",
            png(&chunks((2, 1), 16, 4, &[0, 0, 9, 255, 255, 0, 9, 0, 0])),
            &black_on_white,
        ),
        ("palette, black", opaque_or_not(palette(0), &[255, 0]), &black_on_white),
        ("palette, white", opaque_or_not(palette(255), &[255, 0]), &white_on_black),
        ("grey key", opaque_or_not(chunks((2, 1), 8, 0, &[0, 0, 7]), &[0, 7]), &black_on_white),
        (
            "grey key of 16 bits",
            opaque_or_not(chunks((2, 1), 16, 0, &[0, 0, 0, 255, 255]), &[255, 255]),
            &black_on_white,
        ),
        (
            "colour key",
            opaque_or_not(chunks((2, 1), 8, 2, &[0, 200, 0, 0, 1, 2, 3]), &[0, 1, 0, 2, 0, 3]),
            &red_on_white,
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(Crop::decode(&bytes).unwrap().rgb(), expected.as_slice(), "{name}");
    }
    let reference = DecodeOptions { conversion: Conversion::Reference, ..DecodeOptions::default() };
    let bytes = png(&chunks((2, 1), 8, 6, &[0, 0, 0, 0, 255, 1, 2, 3, 0]));
    assert_eq!(Crop::decode_with(&bytes, reference).unwrap().rgb(), [0, 0, 0, 1, 2, 3]);
    let bytes = opaque_or_not(palette(9), &[255, 0]);
    assert_eq!(Crop::decode_with(&bytes, reference).unwrap().rgb(), [9; 6]);
}

#[test]
fn grey_of_16_bits_keeps_the_bits_that_are_used() {
    let row = |samples: [u16; 3]| {
        let mut row = vec![0];
        row.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
        png(&chunks((3, 1), 16, 0, &row))
    };
    let levels = |bytes: &[u8], conversion| {
        let options = DecodeOptions { conversion, ..DecodeOptions::default() };
        let crop = Crop::decode_with(bytes, options).unwrap();
        crop.rgb().iter().step_by(3).copied().collect::<Vec<_>>()
    };
    let cases = [
        ([0, 30_000, 60_000], [0, 117, 234], [0, 255, 255]),
        ([0, 2048, 4095], [0, 128, 255], [0, 255, 255]),
        ([0, 128, 255], [0, 128, 255], [0, 128, 255]),
        ([0, 0, 0], [0; 3], [0; 3]),
    ];
    for (samples, visible, reference) in cases {
        let bytes = row(samples);
        assert_eq!(levels(&bytes, Conversion::Visible), visible, "{samples:?}");
        assert_eq!(levels(&bytes, Conversion::Reference), reference, "{samples:?}");
    }
}

/// Whatever the palette, transparency and order of chunks: an error or an image, no panic.
#[test]
fn chunks_that_decoders_trip_over() {
    let palette = |bytes: usize| {
        let mut chunks = chunks((4, 2), 8, 3, &[3; 900]);
        chunks[1].1 = vec![5; bytes];
        chunks
    };
    for (bytes, is_read) in [
        (0, false),
        (1, false),
        (3, true),
        (4, false),
        (5, false),
        (768, true),
        (771, false),
        (769, false),
    ] {
        let result = Crop::decode(&png(&palette(bytes)));
        assert_eq!(result.is_ok(), is_read, "a palette of {bytes} bytes: {result:?}");
    }
    let changed = |change: &dyn Fn(&mut Chunks)| {
        let mut chunks = palette(6);
        change(&mut chunks);
        Crop::decode(&png(&chunks))
    };
    type Change<'a> = &'a dyn Fn(&mut Chunks);
    let cases: [(&str, bool, Change); 13] = [
        ("no palette", false, &|c| drop(c.remove(1))),
        ("two palettes", false, &|c| c.insert(1, c[1].clone())),
        ("a palette behind the pixels", false, &|c| c.swap(1, 2)),
        ("no pixels", false, &|c| drop(c.remove(2))),
        ("no end", true, &|c| drop(c.pop())),
        ("more transparency than colours", true, &|c| c.insert(2, (*b"tRNS", vec![0; 300]))),
        ("transparency before the palette", true, &|c| c.insert(1, (*b"tRNS", vec![0; 2]))),
        ("an unknown chunk", true, &|c| c.insert(1, (*b"QUIZ", vec![0; 2]))),
        ("a second header", true, &|c| c.insert(1, c[0].clone())),
        ("a header of 12 bytes", false, &|c| _ = c[0].1.pop()),
        ("16 bits of a palette", false, &|c| c[0].1[8] = 16),
        ("colour type 5", false, &|c| c[0].1[9] = 5),
        ("interlace 2", false, &|c| c[0].1[12] = 2),
    ];
    for (name, is_read, change) in cases {
        let result = changed(change);
        assert_eq!(result.is_ok(), is_read, "{name}: {result:?}");
    }
    let empty = png(&chunks((0, 3), 8, 2, &[]));
    let result = Crop::decode(&empty);
    assert!(
        matches!(result, Err(Error::Image(ImageError::Empty { width: 0, height: 3 }))),
        "{result:?}"
    );
    // Pixels that are split, and a wrong checksum of them: the data's own sum is right.
    let mut split = palette(6);
    let second = split[2].1.split_off(7);
    split.insert(3, (*b"IDAT", second));
    assert_eq!(Crop::decode(&png(&split)).unwrap(), Crop::decode(&png(&palette(6))).unwrap());
    let mut bytes = png(&palette(6));
    let sum = bytes.len() - 12 - 4;
    bytes[sum] ^= 1;
    assert!(Crop::decode(&bytes).is_ok());
    // A wrong pixel with a wrong checksum.
    bytes[sum - 6] ^= 1;
    assert!(Crop::decode(&bytes).is_err());
}

#[test]
fn jpeg_files_that_lack_something() {
    let image = random_crop(9, 40, 24);
    let jpeg = encoded(&image, ImageFormat::Jpeg);
    let whole = Crop::decode(&jpeg).unwrap();
    let differs = |bytes: &[u8]| {
        let found = Crop::decode(bytes).unwrap();
        found.rgb().iter().zip(whole.rgb()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    };
    // Without Huffman tables: the encoder's are those of the standard.
    let mut bare = Vec::new();
    let mut at = 2;
    bare.extend_from_slice(&jpeg[..2]);
    while jpeg[at + 1] != 0xda {
        let length = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] != 0xc4 {
            bare.extend_from_slice(&jpeg[at..at + length]);
        }
        at += length;
    }
    bare.extend_from_slice(&jpeg[at..]);
    assert!(bare.len() + 400 < jpeg.len());
    assert_eq!(Crop::decode(&bare).unwrap(), whole);
    assert!(differs(&jpeg[..jpeg.len() - 2]) <= 9, "without an end marker");
    assert_eq!(differs(&[b"\n", jpeg.as_slice()].concat()), 0, "a byte before the start");
    assert_eq!(differs(&[&jpeg[..jpeg.len() - 2], b"\xff\xff\xff\xd9"].concat()), 0, "fill bytes");
    assert_eq!(differs(&[&jpeg, b"more".as_slice()].concat()), 0, "bytes behind the end");
}

/// A codec that the tests switch on in the crate `image`.
#[test]
fn formats_by_the_codecs_of_image() {
    let image = random_crop(10, 9, 5);
    let bmp = encoded(&image, ImageFormat::Bmp);
    assert_eq!(Crop::decode(&bmp).unwrap().rgb(), image.as_raw().as_slice());
    let small = DecodeOptions { max_pixels: 44, ..DecodeOptions::default() };
    let result = Crop::decode_with(&bmp, small);
    assert!(matches!(result, Err(Error::Image(ImageError::TooLarge { .. }))), "{result:?}");
    assert!(Crop::decode(&bmp[..40]).is_err());
    // One that no package of the workspace switches on.
    let gif = b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let error = Crop::decode(gif).unwrap_err();
    assert!(error.to_string().contains("GIF"), "{error}");
}
