//! Memory of a training with every option of the recipe: it does not grow with the steps.

#![cfg(all(feature = "train", target_os = "linux"))]

use std::sync::Arc;

use candle_core::Device;
use image::{Rgb, RgbImage};
use svtrv2::Charset;
use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig};
use svtrv2::train::{
    Initialization, LabelledCrop, LoaderOptions, Network, Recipe, Source, Trainer,
};

/// Crops with stripes.
struct Stripes;

impl Source for Stripes {
    fn len(&self) -> Option<u64> {
        None
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        let image = RgbImage::from_fn(128, 32, |x, y| {
            Rgb([(x * 7 + y) as u8, u64::from(x).wrapping_mul(index) as u8, (y * 8) as u8])
        });
        let label = ["ab", "cab", "b"][(index % 3) as usize].to_owned();
        Ok(LabelledCrop { name: index.to_string(), image, label })
    }
}

fn network(charset: &Charset) -> Network {
    let stage = StageConfig::new;
    let encoder = SvtrConfig::new([stage(32, 1, 1, 0), stage(64, 2, 1, 1), stage(128, 4, 0, 1)]);
    let frm = FrmConfig { heads: 4, mlp_dim: 512 };
    let config =
        Config { num_classes: charset.classes(), max_ratio: 4, ..Config::svtr(encoder, frm) };
    Network::with_initialization(&config, Initialization::FanIn, &Device::Cpu, 1).unwrap()
}

/// Kilobytes of memory that the process has in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_stays_flat() {
    let charset = Charset::from_characters("abc").unwrap();
    let teacher = network(&charset).to_weights(&charset).unwrap();
    let recipe = Recipe {
        steps: 1000,
        batch_size: 1,
        accumulate: 2,
        average: 0.99,
        clip_norm: 1.0,
        drop_path: 0.1,
        sgm_weight: 1.0,
        distillation_weight: 1.0,
        temperature: 2.0,
        ..Recipe::default()
    };
    let loading = LoaderOptions { augment: true, ..LoaderOptions::default() };
    let sources: Vec<svtrv2::train::WeightedSource> = vec![(Arc::new(Stripes), 1.0)];
    let trainer = Trainer::new(network(&charset), charset, recipe, sources, loading).unwrap();
    let mut trainer = trainer.with_teacher(&teacher).unwrap();
    for _ in 0..100 {
        trainer.step().unwrap();
    }
    let before = resident();
    for _ in 0..500 {
        trainer.step().unwrap();
    }
    // The parameters alone are 1.6 megabytes; kept at every step they would be 800.
    let grown = resident().saturating_sub(before);
    assert!(grown < 20_000, "{grown} kB more after 500 steps");
}
