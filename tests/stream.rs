//! Streams of crops: in order, lazily, in bounded memory.

mod support;

use std::cell::Cell;
use std::path::Path;

use support::{pattern_weights, random_crop, toy_config};
use svtrv2::{Charset, Crop, Error, ImageError, Options, Recognition, Recognizer};

fn recognizer() -> Recognizer {
    let options = Options { charset: Some(Charset::english()), ..Options::default() };
    Recognizer::new(&pattern_weights(&toy_config()), options).unwrap()
}

/// Sizes of every target size and order.
fn size(index: u64) -> (u32, u32) {
    (8 + (index * 37 % 300) as u32, 8 + (index * 13 % 60) as u32)
}

#[test]
fn results_are_those_of_a_batch() {
    let recognizer = recognizer();
    let images: Vec<_> = (0..300).map(|i| random_crop(i, size(i).0, size(i).1)).collect();
    let crops: Vec<Crop> = images.iter().map(|image| Crop::from_rgb(image).unwrap()).collect();
    let batch: Vec<Recognition> =
        recognizer.recognize_batch(&crops).into_iter().map(Result::unwrap).collect();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let stream: Vec<Recognition> =
            pool.install(|| recognizer.recognize_stream(&images).map(Result::unwrap).collect());
        assert!(stream == batch, "{threads} threads");
    }
    assert_eq!(recognizer.recognize_stream(std::iter::empty::<&image::RgbImage>()).count(), 0);
}

/// A source's error beside the recogniser's own.
#[derive(Debug)]
enum Failure {
    Source(u64),
    Recognizer(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Recognizer(error)
    }
}

#[test]
fn failures_are_in_their_places() {
    let recognizer = recognizer();
    let empty = image::RgbImage::new(0, 3);
    let image = random_crop(1, 60, 20);
    let item = |index: u64| match index % 7 {
        2 => Err(Failure::Source(index)),
        5 => Ok(&empty),
        _ => Ok(&image),
    };
    // Longer than what is taken at a time, so that failures stand at its borders too.
    let results: Vec<_> = recognizer.try_recognize_stream((0..500).map(item)).collect();
    assert_eq!(results.len(), 500);
    for (index, result) in (0..).zip(results) {
        match (index % 7, result) {
            (2, Err(Failure::Source(found))) => assert_eq!(found, index),
            (5, Err(Failure::Recognizer(Error::Image(ImageError::Empty { .. })))) => {}
            (2 | 5, other) => panic!("{index}: {other:?}"),
            (_, result) => assert!(result.is_ok(), "{index}: {result:?}"),
        }
    }
    let all_fail = (0..100).map(|index| Err::<Crop, _>(Failure::Source(index)));
    assert_eq!(recognizer.try_recognize_stream(all_fail).filter(Result::is_err).count(), 100);
}

#[test]
fn paths_are_decoded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/crops");
    let path = folder.join("harbour.png");
    let crop = Crop::open(&path).unwrap();
    let recognizer = recognizer();
    let missing = folder.join("missing.png");
    let mut results = recognizer.recognize_stream([path.as_path(), missing.as_path()]);
    assert_eq!(results.next().unwrap().unwrap(), recognizer.recognize(&crop).unwrap());
    let error = results.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Image(ImageError::Io { path, .. }) if path == missing));
    assert!(results.next().is_none());
}

#[test]
fn a_source_is_read_no_further_than_needed() {
    let recognizer = recognizer();
    let image = random_crop(4, 60, 20);
    let taken = Cell::new(0);
    let source = std::iter::repeat_with(|| {
        taken.set(taken.get() + 1);
        &image
    });
    let mut stream = recognizer.recognize_stream(source);
    assert_eq!(taken.get(), 0);
    stream.next().unwrap().unwrap();
    let window = taken.get();
    assert!(window <= 32 * rayon::current_num_threads(), "{window} crops were taken");
    stream.by_ref().take(window - 1).for_each(|result| drop(result.unwrap()));
    assert_eq!(taken.get(), window);
}

/// Bytes of memory that the process has in use.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Emissions and resized crops of so many would take 600 MB. (100 000 crops take no more: 12 kB
/// between the first 10 000 and the last.)
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat() {
    let recognizer = recognizer();
    let images: Vec<_> = (0..50).map(|i| random_crop(i, size(i).0, size(i).1)).collect();
    let crops = (0..8_000usize).map(|i| &images[i % images.len()]);
    let mut warm = 0;
    let mut characters = 0;
    for (count, result) in recognizer.recognize_stream(crops).enumerate() {
        characters += result.unwrap().chars.len();
        if count == 2_000 {
            warm = resident();
        }
    }
    let growth = resident().saturating_sub(warm);
    println!("{characters} characters; {warm} bytes after 2 000 crops, {growth} more at the end");
    assert!(growth < 4 << 20, "{growth} bytes more after 8 000 crops than after 2 000");
}
