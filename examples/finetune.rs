//! Fine-tunes a network for more symbols:
//! `cargo run --release --features train --example finetune -- WEIGHTS CHARACTERS DATASET OUT`.
//!
//! CHARACTERS are those that the network does not know yet; DATASET is a folder with `labels.tsv` or
//! an LMDB folder. `svtrv2-cli` trains with validation, checkpoints and logs.

use std::sync::Arc;

use svtrv2::Charset;
use svtrv2::data::Dataset;
use svtrv2::train::{LoaderOptions, Network, Recipe, Trainer};
use svtrv2::weights::StorageType;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, characters, dataset, out] = &arguments[..] else {
        return Err("usage: finetune WEIGHTS CHARACTERS DATASET OUT".into());
    };
    let (mut network, stored) = Network::open(weights, &candle_core::Device::Cpu, 0)?;
    let old = stored.ok_or("the weights carry no charset")?;
    let new = Charset::from_characters(&(old.symbols().concat() + characters))?;
    network.change_charset(&old, &new)?;

    let recipe = Recipe { steps: 300, batch_size: 32, learning_rate: 3e-3, ..Recipe::default() };
    let sources = vec![(Arc::new(Dataset::open(dataset)?) as _, 1.0)];
    let mut trainer = Trainer::new(network, new, recipe, sources, LoaderOptions::default())?;
    while !trainer.is_done() {
        let report = trainer.step()?;
        println!("step {}: loss {:.3}", report.step, report.loss);
    }
    trainer.weights()?.save(out, StorageType::F32)?;
    Ok(())
}
