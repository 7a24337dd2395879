//! Recognises again and again, and makes and ends threads: memory stays flat, and the same crop has the
//! same result every time.
//!
//!     cargo bench -p svtrv2-benches --features embedded --bench soak -- 1000000 50000 1000
//!
//! The numbers are recognitions by the smallest network, by the embedded one, and pools of eight threads.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use svtrv2::model::{Config, StageConfig};
use svtrv2::{Charset, Crop, Options, PixelFormat, Recognizer};

/// What a part may grow by from its first tenth to its end, in kB.
const MOST_GROWTH: i64 = 2048;

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
    let crops: Vec<Crop> = (0..64).map(|number| crop(number, 300)).collect();
    let narrow: Vec<Crop> = (0..64).map(|number| crop(number, 60)).collect();
    let smallest = smallest();
    recognitions("smallest network", &smallest, &crops, small);
    #[cfg(feature = "embedded")]
    recognitions("embedded network", &Recognizer::embedded().unwrap(), &narrow, embedded);
    #[cfg(not(feature = "embedded"))]
    assert!(narrow.is_empty() || embedded == 0, "this needs the feature embedded");
    watched("pools of 8 threads", pools, |_| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
        let results = pool.install(|| smallest.recognize_batch(&crops[..16]));
        assert!(results.into_iter().all(|result| result.is_ok()));
    });
}

/// The smallest network with blocks of all kinds.
fn smallest() -> Recognizer {
    let stage = |local, global| StageConfig { mlp_dim: 2, ..StageConfig::new(2, 1, local, global) };
    let config = Config {
        stages: [stage(1, 0), stage(0, 1), stage(0, 1)],
        frm_heads: 1,
        frm_mlp_dim: 2,
        num_classes: 11,
        max_ratio: 12,
    };
    let charset = Charset::from_characters("0123456789").unwrap();
    let weights = support::pattern_weights(&config).with_charset(charset).unwrap();
    Recognizer::new(&weights, Options::default()).unwrap()
}

/// A crop of noise, 1 to 64 pixels high and up to `widest` wide.
fn crop(number: u64, widest: u64) -> Crop {
    let (width, height) = (1 + number * 131 % widest, 1 + number * 37 % 64);
    let pixels = support::random_crop(number, width as u32, height as u32).into_raw();
    let stride = 3 * width as usize;
    Crop::from_raw(PixelFormat::Rgb8, width as u32, height as u32, stride, &pixels).unwrap()
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
    let growth = resident[9] - resident[0];
    assert!(growth <= MOST_GROWTH, "{name}: {growth} kB more than after the first tenth");
}

/// A number of the process's state; 0 where the system does not tell it.
fn status(field: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
