//! One training step of T, S or B, for `compare.py` to time: forward, CTC loss, backward, AdamW.
//!
//! Reads lines "<threads> <steps>" and answers each with the milliseconds of every step.
//! Usage: train_step {t,s,b} batch height width

use std::io::BufRead;
use std::time::Instant;

use candle_core::{Device, Tensor};
use svtrv2::model::Config;
use svtrv2::train::{AdamW, AdamWOptions, Network, PassOptions, ctc_loss};

/// Symbols of a label.
const LABEL: u32 = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [variant, batch, height, width] = &arguments[..] else {
        // What `cargo bench` calls it with: there is nobody to answer.
        println!("usage: train_step {{t,s,b}} batch height width");
        return Ok(());
    };
    svtrv2::train::keep_freed_memory();
    let (batch, height, width) = (batch.parse()?, height.parse()?, width.parse()?);
    let config = match variant.as_str() {
        "t" => Config::tiny(),
        "s" => Config::small(),
        _ => Config::base(),
    };
    let mut network = Network::new(&config, &Device::Cpu, 1)?;
    let mut optimizer = AdamW::new(AdamWOptions::default());
    let images = Tensor::rand(-1f32, 1.0, (batch, 3, height, width), &Device::Cpu)?;
    let labels: Vec<Vec<u32>> = (0..batch as u32)
        .map(|i| (0..LABEL).map(|j| 1 + (31 * i + 17 * j) % 94).collect())
        .collect();
    let mut seed = 0;
    let mut step = || -> svtrv2::Result<()> {
        seed += 1;
        let options = PassOptions { seed, ..PassOptions::default() };
        let pass = network.forward(&images, &options)?;
        let loss = ctc_loss(pass.logits(), &labels, true)?.mean(0)?;
        let gradients = pass.backward(&loss)?;
        optimizer.step(&mut network, &gradients, 1e-4)?;
        Ok(())
    };
    step()?;
    println!("svtrv2 {}", env!("CARGO_PKG_VERSION"));
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let numbers: Vec<usize> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [threads, count] = numbers[..] else {
            return Err(format!("not threads and steps: {line}").into());
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            pool.install(&mut step)?;
            times.push(format!("{:.2}", start.elapsed().as_secs_f64() * 1e3));
        }
        println!("{}", times.join(" "));
    }
    Ok(())
}
