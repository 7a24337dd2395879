//! Recognises again and again, and makes and ends threads: memory stays flat, and the same crop has the
//! same result every time.
//!
//!     cargo bench -p svtrv2-benches --features embedded --bench soak -- 1000000 50000 1000
//!
//! The numbers are recognitions by the smallest network, by the embedded one, and pools of eight threads.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use image::RgbImage;
use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig};
use svtrv2::{Charset, Crop, Options, PixelFormat, Recognizer};

/// What a part may grow by from its second tenth to its end, in kB.
const MAX_GROWTH: i64 = 2048;

fn main() {
    // `cargo bench` adds an option.
    let numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let &[small, embedded, pools] = numbers.as_slice() else {
        eprintln!(
            "three numbers: recognitions by the smallest network, by the embedded one, pools"
        );
        std::process::exit(2);
    };
    let [wide, narrow] = [300, 60].map(images);
    let [wide, narrow] = [&wide, &narrow].map(|images| images.iter().map(crop).collect::<Vec<_>>());
    let smallest = smallest();
    recognitions("smallest network", &smallest, &wide, small);
    #[cfg(feature = "embedded")]
    recognitions("embedded network", &Recognizer::embedded().unwrap(), &narrow, embedded);
    #[cfg(not(feature = "embedded"))]
    assert!(narrow.is_empty() || embedded == 0, "this needs the feature embedded");
    watched("pools of 8 threads", pools, |_| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
        let results = pool.install(|| smallest.recognize_batch(&wide[..16]));
        assert!(results.into_iter().all(|result| result.is_ok()));
    });
}

/// The smallest network with blocks of all kinds.
fn smallest() -> Recognizer {
    let stage = |local, global| StageConfig { mlp_dim: 2, ..StageConfig::new(2, 1, local, global) };
    let encoder = SvtrConfig::new([stage(1, 0), stage(0, 1), stage(0, 1)]);
    let frm = FrmConfig { heads: 1, mlp_dim: 2 };
    let config = Config { num_classes: 11, max_ratio: 12, ..Config::svtr(encoder, frm) };
    let charset = Charset::from_characters("0123456789").unwrap();
    let weights = support::pattern_weights(&config).with_charset(charset).unwrap();
    Recognizer::new(&weights, Options::default()).unwrap()
}

/// Images of noise, 1 to 64 pixels high and up to `widest` wide.
fn images(widest: u64) -> Vec<RgbImage> {
    let size = |number: u64| ((1 + number * 131 % widest) as u32, (1 + number * 37 % 64) as u32);
    let image = |number| support::random_crop(number, size(number).0, size(number).1);
    (0..64).map(image).collect()
}

fn crop(image: &RgbImage) -> Crop<'_> {
    let (width, height) = image.dimensions();
    Crop::from_raw(PixelFormat::Rgb8, width, height, 3 * width as usize, image.as_raw()).unwrap()
}

fn recognitions(name: &str, recognizer: &Recognizer, crops: &[Crop], count: usize) {
    let read = |crop: &Crop| {
        let recognition = recognizer.recognize(crop).unwrap();
        (recognition.text, recognition.confidence.to_bits())
    };
    let expected: Vec<_> = crops.iter().map(read).collect();
    watched(name, count, |number| {
        let number = number % crops.len();
        assert!(read(&crops[number]) == expected[number], "{name}: crop {number}");
    });
}

/// Runs so often, and says at every tenth how much memory the process has in use.
fn watched(name: &str, count: usize, mut run: impl FnMut(usize)) {
    let start = Instant::now();
    let mut resident = Vec::new();
    for tenth in 0..10 {
        (count * tenth / 10..count * (tenth + 1) / 10).for_each(&mut run);
        let (kb, threads) = (status("VmRSS:"), status("Threads:"));
        println!(
            "{name}: {} done, {kb} kB, {threads} threads, {:.0} s",
            count * (tenth + 1) / 10,
            start.elapsed().as_secs_f64()
        );
        resident.push(kb);
    }
    let growth = resident[9] - resident[1];
    assert!(growth <= MAX_GROWTH, "{name}: {growth} kB more than after the second tenth");
}

/// A number of the process's state; 0 where the system does not tell it.
fn status(field: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
