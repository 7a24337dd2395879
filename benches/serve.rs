//! Times the network on request, for comparisons with other runtimes in interleaved rounds.
//!
//! Reads lines `WEIGHTS HEIGHT WIDTH BATCH THREADS PASSES` from standard input and answers each
//! with the milliseconds of every pass on a line. `benches/compare.py` drives it.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use svtrv2::model::Model;
use svtrv2::weights::Weights;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` and `cargo bench` run every bench without input: nothing to do.
    let mut models: HashMap<String, Model> = HashMap::new();
    let mut pools: HashMap<usize, rayon::ThreadPool> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [path, numbers @ ..] = &line.split_whitespace().collect::<Vec<_>>()[..] else {
            continue;
        };
        let numbers: Vec<usize> = numbers.iter().map(|n| n.parse()).collect::<Result<_, _>>()?;
        let [height, width, batch, threads, passes] = numbers[..] else {
            return Err(format!("cannot read {line:?}").into());
        };
        if !models.contains_key(*path) {
            let model = Weights::open(path)?.model(DType::F32, &Device::Cpu)?;
            models.insert((*path).to_owned(), model);
        }
        let model = &models[*path];
        let pool = match pools.entry(threads) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
            }
        };
        let images = Tensor::arange(0f32, (batch * 3 * height * width) as f32, &Device::Cpu)?;
        let images = (images * 0.37)?.sin()?.reshape((batch, 3, height, width))?;
        let times = pool.install(|| -> Result<Vec<String>, svtrv2::Error> {
            (0..passes)
                .map(|_| {
                    let start = Instant::now();
                    model.forward(&images)?;
                    Ok(format!("{:.3}", start.elapsed().as_secs_f64() * 1e3))
                })
                .collect()
        })?;
        println!("{}", times.join(" "));
    }
    Ok(())
}
