//! The parameters of a network in training.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::{Init, VarBuilder, init::NormalOrUniform, var_builder::SimpleBackend};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// What fresh linear layers start from. (Convolutions always start from a Kaiming normal
/// distribution, fan-out.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initialization {
    /// The published one: a normal distribution with a deviation of 0.02. It takes the published
    /// widths, batches and a long training.
    #[default]
    Published,
    /// A normal distribution whose deviation is one over the root of the layer's inputs: small
    /// networks and batches leave the plateau, on which all time steps are blank, many times sooner.
    FanIn,
}

/// Parameters by their names in the published checkpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    pub vars: BTreeMap<String, Var>,
    /// Those that stay as they are.
    pub frozen: Vec<String>,
}

impl Parameters {
    /// Whether a parameter is one that training changes by gradients.
    pub(super) fn trains(&self, name: &str) -> bool {
        !is_statistic(name) && !self.frozen.iter().any(|prefix| starts_with(name, prefix))
    }

    /// A parameter for the network: what is not a variable gets no gradient. Storage is shared either
    /// way.
    fn tensor(&self, name: &str, var: &Var) -> Tensor {
        if self.trains(name) { var.as_tensor().clone() } else { var.detach() }
    }

    /// A builder that hands out these parameters, and fresh ones for those that lack.
    ///
    /// A fresh parameter depends on the seed and on its name, not on the others.
    pub(super) fn build<T>(
        &mut self,
        device: &Device,
        initialization: Initialization,
        seed: u64,
        build: impl FnOnce(VarBuilder) -> Result<T>,
    ) -> Result<T> {
        let parameters = Mutex::new(std::mem::take(self));
        let source = Source { parameters, initialization, seed };
        let vb = VarBuilder::from_backend(Box::new(&source), DType::F32, device.clone());
        let built = build(vb);
        *self = source.parameters.into_inner().unwrap_or_else(PoisonError::into_inner);
        built
    }

    /// A builder that hands out bfloat16 copies of these parameters, whose gradients are theirs.
    pub(super) fn in_bf16<T>(&self, device: &Device, build: impl FnOnce(VarBuilder) -> T) -> T {
        build(VarBuilder::from_backend(Box::new(InBf16(self)), DType::BF16, device.clone()))
    }
}

/// Casts parameters to bfloat16, differentiably. What batch norms have stays as it is.
struct InBf16<'a>(&'a Parameters);

impl SimpleBackend for InBf16<'_> {
    fn get(&self, _: Shape, name: &str, _: Init, _: DType, _: &Device) -> Result<Tensor> {
        let var = self.0.vars.get(name);
        let var = var.ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.into() })?;
        let tensor = self.0.tensor(name, var);
        if is_batch_norm(name) { Ok(tensor) } else { tensor.to_dtype(DType::BF16) }
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.vars.contains_key(name)
    }
}

/// Whether a parameter is one of the patch embedding's batch norms.
fn is_batch_norm(name: &str) -> bool {
    name.contains("patch_embed.") && name.contains(".norm.")
}

/// Whether a name is `prefix` or lies below it.
pub(super) fn starts_with(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || prefix.ends_with('.'))
}

/// Running statistics are no parameters of the loss.
pub(super) fn is_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

struct Source {
    parameters: Mutex<Parameters>,
    initialization: Initialization,
    seed: u64,
}

impl SimpleBackend for &Source {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        _: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        if !parameters.vars.contains_key(name) {
            let init = match (self.initialization, shape.dims()) {
                (Initialization::FanIn, &[_, inputs]) if !name.ends_with("embedding.weight") => {
                    Init::Randn { mean: 0.0, stdev: (inputs as f64).powf(-0.5) }
                }
                _ => init,
            };
            let values = sample(init, &shape, seed_of(self.seed, name));
            let var = Var::from_tensor(&Tensor::from_vec(values, shape.clone(), device)?)?;
            parameters.vars.insert(name.to_owned(), var);
        }
        let var = &parameters.vars[name];
        if var.shape() != &shape {
            let msg = format!("the parameter {name} has another shape");
            let (expected, got) = (shape, var.shape().clone());
            return Err(candle_core::Error::UnexpectedShape { msg, expected, got }.bt());
        }
        Ok(parameters.tensor(name, var))
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// A seed for a name: FNV-1a over its bytes, from the seed on.
fn seed_of(seed: u64, name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let bytes = seed.to_le_bytes();
    bytes.into_iter().chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, step)
}

/// Values of a fresh parameter.
fn sample(init: Init, shape: &Shape, seed: u64) -> Vec<f32> {
    let count = shape.elem_count();
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut uniform = |low: f64, high: f64| -> Vec<f32> {
        (0..count).map(|_| (low + (high - low) * rng.random::<f64>()) as f32).collect()
    };
    match init {
        Init::Const(value) => vec![value as f32; count],
        Init::Uniform { lo, up } => uniform(lo, up),
        Init::Randn { mean, stdev } => normal(count, mean, stdev, seed),
        Init::Kaiming { dist, fan, non_linearity } => {
            let deviation = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => normal(count, 0.0, deviation, seed),
                NormalOrUniform::Uniform => {
                    let bound = 3f64.sqrt() * deviation;
                    uniform(-bound, bound)
                }
            }
        }
    }
}

/// Box and Muller's way to normally distributed numbers.
fn normal(count: usize, mean: f64, deviation: f64, seed: u64) -> Vec<f32> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        values.push((mean + deviation * radius * angle.cos()) as f32);
        values.push((mean + deviation * radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers() {
        let values = normal(100_001, 1.0, 2.0, 7);
        assert_eq!(values.len(), 100_001);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
        let deviation = (squares / values.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.03 && (deviation - 2.0).abs() < 0.03, "{mean}, {deviation}");
        assert!(normal(5, 0.0, 1.0, 1) != normal(5, 0.0, 1.0, 2));
    }

    #[test]
    fn frozen_prefixes() {
        let frozen = vec!["encoder.stages.1".to_owned(), "decoder.fc.bias".to_owned()];
        let parameters = Parameters { frozen, ..Default::default() };
        for (name, trains) in [
            ("encoder.stages.1.blocks.0.norm1.weight", false),
            ("encoder.stages.10.blocks.0.norm1.weight", true),
            ("decoder.fc.bias", false),
            ("decoder.fc.weight", true),
            ("encoder.pope.patch_embed.0.norm.running_var", false),
        ] {
            assert_eq!(parameters.trains(name), trains, "{name}");
        }
    }
}
