//! Recognises crops on a GPU, or on the CPU where there is none:
//! `cargo run --release --features cuda --example gpu -- WEIGHTS IMAGE...`.
//!
//! A GPU is fast on large batches in 16 bits, so passes through the network are larger there.

use svtrv2::weights::Weights;
use svtrv2::{Crop, Device, Options, Precision, Recognizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args().skip(1);
    let weights = Weights::open(paths.next().ok_or("usage: gpu WEIGHTS IMAGE...")?)?;
    let gpu = Options {
        device: if cfg!(feature = "metal") { Device::Metal(0) } else { Device::Cuda(0) },
        precision: Some(Precision::F16),
        batch_pixels: Some(64 * 32 * 128),
        ..Options::default()
    };
    let recognizer = Recognizer::new(&weights, gpu).or_else(|error| {
        eprintln!("no GPU ({}), so the CPU", error.report());
        Recognizer::new(&weights, Options::default())
    })?;
    let paths: Vec<String> = paths.collect();
    let crops = paths.iter().map(Crop::open).collect::<Result<Vec<_>, _>>()?;
    for (path, recognition) in paths.iter().zip(recognizer.recognize_batch(&crops)) {
        println!("{path}: {}", recognition?.text);
    }
    Ok(())
}
