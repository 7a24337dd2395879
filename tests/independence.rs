//! A crop's result does not depend on its neighbours, their order or the number of threads.

mod support;

use image::RgbImage;
use support::{pattern_weights, random_crop, toy_config, trained_weights};
use svtrv2::weights::Weights;
use svtrv2::{Charset, Crop, Error, Lines, Options, Orientation, Recognition, Recognizer};

/// Crops of many shapes, several of each target size.
fn mixed_crops(count: u64) -> Vec<RgbImage> {
    (0..count)
        .map(|i| {
            let height = 8 + (i * 13 % 60) as u32;
            // Every ninth is a long line.
            let width = 8 + (i * 37 % 300) as u32 * if i % 9 == 8 { 6 } else { 1 };
            random_crop(i, width, height)
        })
        .collect()
}

fn in_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

fn check(weights: &Weights, options: &Options, crops: &[RgbImage]) {
    let crops: Vec<Crop> = crops.iter().map(|crop| Crop::from_rgb(crop).unwrap()).collect();
    let recognizer = Recognizer::new(weights, options.clone()).unwrap();
    let read = |crops: &[Crop]| -> Vec<Recognition> {
        recognizer.recognize_batch(crops).into_iter().map(|r| r.unwrap()).collect()
    };
    let alone: Vec<Recognition> =
        in_threads(1, || crops.iter().map(|crop| recognizer.recognize(crop).unwrap()).collect());
    // A fixed shuffle: multiplication by a number prime to the count.
    let count = crops.len();
    let order: Vec<usize> = (0..count).map(|i| i * 7919 % count).collect();
    let shuffled: Vec<Crop> = order.iter().map(|&i| crops[i].clone()).collect();
    for threads in [1, 2, 3] {
        assert_eq!(in_threads(threads, || read(&crops)), alone, "{threads} threads");
        let recognitions = in_threads(threads, || read(&shuffled));
        for (place, &i) in order.iter().enumerate() {
            assert_eq!(recognitions[place], alone[i], "crop {i} shuffled, {threads} threads");
        }
    }
    for batch_pixels in [0, 1, 5 * 32 * 128, usize::MAX] {
        let options = Options { batch_pixels: Some(batch_pixels), ..options.clone() };
        let recognizer = Recognizer::new(weights, options).unwrap();
        let recognitions: Vec<Recognition> =
            recognizer.recognize_batch(&crops).into_iter().map(|r| r.unwrap()).collect();
        assert_eq!(recognitions, alone, "{batch_pixels} pixels a pass");
    }
}

#[test]
fn toy_network() {
    let options = Options {
        charset: Some(Charset::english()),
        max_ratio: Some(12),
        orientation: Orientation::BestOfTall,
        ..Options::default()
    };
    check(&pattern_weights(&toy_config()), &options, &mixed_crops(200));
}

#[test]
fn lines_and_orientations() {
    let options = Options {
        charset: Some(Charset::english()),
        lines: Lines::Windows { min_ratio: 5, step: 12 },
        orientation: Orientation::Any,
        ..Options::default()
    };
    check(&pattern_weights(&toy_config()), &options, &mixed_crops(60));
}

#[test]
#[ignore = "needs the trained weights: SVTRV2_WEIGHTS"]
fn trained_network() {
    let weights = Weights::open(trained_weights()).unwrap();
    check(&weights, &Options::default(), &mixed_crops(40));
}

#[test]
fn shared_between_threads() {
    fn assert_shareable<T: Send + Sync + Clone + 'static>(_: &T) {}
    let options = Options { charset: Some(Charset::english()), ..Options::default() };
    let recognizer = Recognizer::new(&pattern_weights(&toy_config()), options).unwrap();
    assert_shareable(&recognizer);
    assert_shareable(&pattern_weights(&toy_config()));
    let crop = random_crop(1, 100, 30);
    let expected = recognizer.recognize(&crop).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(recognizer.recognize(&crop).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn empty_batch() -> Result<(), Error> {
    let options = Options { charset: Some(Charset::english()), ..Options::default() };
    let recognizer = Recognizer::new(&pattern_weights(&toy_config()), options)?;
    assert!(recognizer.recognize_batch(&[]).is_empty());
    assert!(recognizer.emissions(&[])?.is_empty());
    Ok(())
}
