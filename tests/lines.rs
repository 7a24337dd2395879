//! Lines that are wider than the network's range: windows, blank ends, orientations.

mod support;

use std::path::Path;

use image::{Rgb, RgbImage, imageops};
use support::{pattern_weights, random_crop, toy_config};
use svtrv2::decode::{BeamSearch, Decoder};
use svtrv2::{
    Charset, Crop, Error, ImageError, Lines, Options, Orientation, Page, Recognition, Recognizer,
    Rect, Region, Rotation,
};

fn recognizer(options: Options) -> Recognizer {
    let options = Options { charset: Some(Charset::english()), ..options };
    Recognizer::new(&pattern_weights(&toy_config()), options).unwrap()
}

fn size(recognition: &Recognition) -> (u32, u32) {
    (recognition.size.height, recognition.size.width)
}

#[test]
fn lines_keep_their_width() {
    let line = random_crop(1, 1200, 40);
    let windows = recognizer(Options::default()).recognize(&line).unwrap();
    assert_eq!(size(&windows), (32, 960));
    assert!(windows.chars.iter().any(|c| c.frames.end > 32));
    for c in &windows.chars {
        assert!(c.bounds.x0 >= 0.0 && c.bounds.x1 <= 1200.0 && c.frames.end <= 240, "{c:?}");
    }
    let squeezing = Options { lines: Lines::Squeeze, ..Options::default() };
    assert_eq!(size(&recognizer(squeezing).recognize(&line).unwrap()), (32, 128));
    // A wider range needs no windows.
    let wide = Options { max_ratio: Some(30), ..Options::default() };
    assert_eq!(size(&recognizer(wide).recognize(&line).unwrap()), (32, 960));
}

/// A crop within the range, and one that is squeezed, have the bits that they have without windows.
#[test]
fn words_are_not_changed() {
    let squeezing = recognizer(Options { lines: Lines::Squeeze, ..Options::default() });
    let windows = recognizer(Options::default());
    for (seed, width) in [(1, 30), (2, 100), (3, 128), (4, 200), (5, 239)] {
        let crop = random_crop(seed, width, 32);
        let expected = squeezing.recognize(&crop).unwrap();
        assert_eq!(windows.recognize(&crop).unwrap(), expected, "{width}");
    }
}

/// The emissions of a line are the means of those of its windows, by the distance to their edges.
#[test]
fn emissions_are_joined() {
    let recognizer = recognizer(Options {
        lines: Lines::Windows { min_ratio: 5, step: 16 },
        ..Options::default()
    });
    let crop = random_crop(6, 224, 32);
    let resized = recognizer.resize(&Crop::from_rgb(&crop).unwrap()).unwrap();
    let joined = &recognizer.emissions(&resized).unwrap()[0].log_probs;
    assert_eq!(joined.frames(), 56);
    let windows = [0, 16, 24];
    let alone = windows.map(|start| {
        let window = imageops::crop_imm(&crop, 4 * start as u32, 0, 128, 32).to_image();
        let resized = recognizer.resize(&Crop::from_rgb(&window).unwrap()).unwrap();
        recognizer.emissions(&resized).unwrap().remove(0).log_probs
    });
    for frame in 0..56usize {
        for class in 0..95 {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (start, own) in windows.iter().zip(&alone) {
                let inside = frame.checked_sub(*start).filter(|inside| *inside < 32);
                let Some(inside) = inside else { continue };
                let weight = f64::min(inside as f64 + 0.5, 31.5 - inside as f64);
                sum += weight * f64::from(own.probability(inside, class).unwrap());
                weights += weight;
            }
            let found = f64::from(joined.probability(frame, class).unwrap());
            assert!((found - sum / weights).abs() < 1e-5, "{frame} {class}");
        }
    }
}

#[test]
fn every_way_gives_the_same_bits() {
    let beam = Decoder::beam(BeamSearch { n_best: 3, ..BeamSearch::default() });
    let recognizer = recognizer(Options { decoder: beam, ..Options::default() });
    let page = random_crop(9, 1500, 300);
    let boxes = [(3, 1400, 20), (40, 300, 31), (80, 1000, 16), (120, 60, 40)];
    let crops: Vec<RgbImage> = boxes
        .iter()
        .map(|&(y, width, height)| imageops::crop_imm(&page, 5, y, width, height).to_image())
        .collect();
    let one_by_one: Vec<Recognition> =
        crops.iter().map(|crop| recognizer.recognize(crop).unwrap()).collect();
    assert_eq!(one_by_one[0].alternatives.len(), 2);
    let stream = recognizer.recognize_stream(&crops);
    assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), one_by_one);
    let owned: Vec<Crop> = crops.iter().map(|crop| Crop::from_rgb(crop).unwrap()).collect();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (results, times) = pool.install(|| recognizer.recognize_batch_timed(&owned));
        assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), one_by_one);
        assert!(times.iter().all(|time| !time.is_zero()));
    }
    let staged = owned.iter().map(|crop| {
        let resized = recognizer.resize(crop).unwrap();
        let emissions = recognizer.emissions(&resized).unwrap();
        recognizer.decode_best(&resized, &emissions).unwrap()
    });
    assert_eq!(staged.collect::<Vec<_>>(), one_by_one);
    let page = Page::from_rgb(&page).unwrap();
    let regions: Vec<Region> = boxes
        .iter()
        .map(|&(y, width, height)| {
            let rect = Rect::new(5.0, y as f32, (5 + width) as f32, (y + height) as f32);
            rect.into()
        })
        .collect();
    for (found, alone) in recognizer.recognize_regions(&page, &regions).into_iter().zip(one_by_one)
    {
        let found = found.unwrap();
        assert_eq!((&found.text, found.log_prob), (&alone.text, alone.log_prob));
    }
}

#[test]
fn too_long() {
    let recognizer = recognizer(Options::default());
    let crops = [(20_000, 1), (200, 20), (5000, 4)].map(|(w, h)| random_crop(w.into(), w, h));
    let crops = crops.each_ref().map(|crop| Crop::from_rgb(crop).unwrap());
    let results = recognizer.recognize_batch(&crops);
    match &results[0] {
        Err(Error::Image(ImageError::TooLong { width: 20_000, height: 1, most: 1024 })) => {}
        other => panic!("{other:?}"),
    }
    // The others are unharmed.
    assert!(results[1].is_ok());
    assert!(matches!(results[2], Err(Error::Image(ImageError::TooLong { .. }))));
    // A blank line has nothing to find, however long.
    let blank = RgbImage::from_pixel(20_000, 2, Rgb([200; 3]));
    assert_eq!(size(&recognizer.recognize(&blank).unwrap()), (32, 128));
}

#[test]
fn options_out_of_range() {
    let weights = pattern_weights(&toy_config());
    for (min_ratio, step) in [(4, 8), (0, 8), (5, 0), (5, 33), (5, u32::MAX)] {
        let lines = Lines::Windows { min_ratio, step };
        let options = Options { charset: Some(Charset::english()), lines, ..Options::default() };
        match Recognizer::new(&weights, options) {
            Err(Error::Config(error)) => assert_eq!(error.field, "lines"),
            other => panic!("{lines:?}: {other:?}"),
        }
    }
}

/// A crop with blank ends has the result of the crop without most of them, shifted.
#[test]
fn blank_ends_are_trimmed() {
    let background = Rgb([240, 238, 230]);
    let mut word = RgbImage::from_pixel(116, 40, background);
    imageops::replace(&mut word, &random_crop(3, 96, 30), 10, 5);
    let mut wide = RgbImage::from_pixel(600, 40, background);
    imageops::replace(&mut wide, &word, 300, 0);
    let trimming = recognizer(Options::default());
    // A quarter of the height remains at either end: what the word has.
    let expected = trimming.recognize(&word).unwrap();
    let found = trimming.recognize(&wide).unwrap();
    assert_eq!((&found.text, size(&found)), (&expected.text, size(&expected)));
    assert_eq!(found.log_prob, expected.log_prob);
    for (found, expected) in found.chars.iter().zip(&expected.chars) {
        assert!((found.bounds.x0 - expected.bounds.x0 - 300.0).abs() < 1e-3, "{found:?}");
        assert_eq!(found.frames, expected.frames);
    }
    let keeping = recognizer(Options { trim_margins: false, ..Options::default() });
    assert_eq!(size(&keeping.recognize(&wide).unwrap()), (32, 480));
    assert_eq!(keeping.recognize(&word).unwrap(), expected);
    // Turned crops as well.
    let turning = |options| recognizer(Options { orientation: Orientation::RotateTall, ..options });
    let tall = imageops::rotate90(&wide);
    let found = turning(Options::default()).recognize(&tall).unwrap();
    assert_eq!((found.rotation, &found.text), (Rotation::CounterClockwise, &expected.text));
    for (found, expected) in found.chars.iter().zip(&expected.chars) {
        assert!((found.bounds.y0 - expected.bounds.x0 - 300.0).abs() < 1e-3, "{found:?}");
        assert!((found.bounds.x1 - (40.0 - expected.bounds.y0)).abs() < 1e-3, "{found:?}");
    }
}

#[test]
fn any_orientation() {
    let as_is = recognizer(Options::default());
    let any = recognizer(Options { orientation: Orientation::Any, ..Options::default() });
    for (seed, width, height) in [(1, 120, 32), (2, 40, 38), (3, 30, 100)] {
        let image = random_crop(seed, width, height);
        let crop = Crop::from_rgb(&image).unwrap();
        let found = any.recognize(&image).unwrap();
        let turned = as_is.recognize(crop.rotated(found.rotation)).unwrap();
        assert_eq!((&found.text, found.confidence), (&turned.text, turned.confidence));
        let rotations: &[Rotation] = if 2 * width > 3 * height {
            &[Rotation::None, Rotation::HalfTurn]
        } else if 2 * height > 3 * width {
            &[Rotation::CounterClockwise, Rotation::Clockwise, Rotation::None]
        } else {
            &Rotation::ALL
        };
        assert!(rotations.contains(&found.rotation));
        for &rotation in rotations {
            let other = as_is.recognize(crop.rotated(rotation)).unwrap();
            let better = !other.text.is_empty() && other.confidence > found.confidence;
            assert!(!better, "{seed}: {rotation:?} instead of {:?}", found.rotation);
        }
    }
}

/// Rendered crops (`tests/reference/render_several_lines.py`): two lines, of which one may be a short
/// word, and one line with what may lie above or below its letters.
#[test]
fn several_lines_are_told_from_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/several_lines");
    let recognizer = recognizer(Options::default());
    let mut counts = [0, 0];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = name.starts_with("two_");
        assert!(expected || name.starts_with("one_"), "{name}");
        counts[usize::from(expected)] += 1;
        let found = recognizer.recognize(Crop::open(&path).unwrap()).unwrap();
        assert_eq!(found.several_lines, expected, "{name}");
    }
    assert_eq!(counts, [18, 10]);
}

#[test]
fn names_of_orientations() {
    for orientation in
        [Orientation::AsIs, Orientation::RotateTall, Orientation::BestOfTall, Orientation::Any]
    {
        assert_eq!(orientation.to_string().parse::<Orientation>().unwrap(), orientation);
    }
    let error = "upright".parse::<Orientation>().unwrap_err();
    assert_eq!(error.field, "orientation");
    assert!(error.to_string().contains("best-of-tall"), "{error}");
}
