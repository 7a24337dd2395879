//! The parameters of a network in training.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::error::{ComputeError, Result, ShapeMismatch};
use crate::ops::{Init, ParameterSource};

/// What newly initialised linear layers start from. (Convolutions always start from a Kaiming normal
/// distribution, fan-out.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initialization {
    /// The published one: a normal distribution with a standard deviation of 0.02. It needs the
    /// published widths, large batches and a long training.
    #[default]
    Published,
    /// A normal distribution whose standard deviation is one over the root of the layer's inputs: small
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

    /// Builds from these parameters. Those that are missing are newly initialised and added; without
    /// a start they are an error.
    ///
    /// A new parameter depends on the seed and on its name, not on the others.
    pub(super) fn build<T>(
        &mut self,
        init: Option<InitSpec>,
        device: &Device,
        batch_norms: bool,
        build: impl FnOnce(&dyn ParameterSource<Tensor>) -> Result<T>,
    ) -> Result<T> {
        let parameters = RefCell::new(std::mem::take(self));
        let source = Initializing { parameters, init, device, batch_norms };
        let built = build(&source);
        *self = source.parameters.into_inner();
        built
    }

    /// These parameters as bfloat16 copies, whose gradients are theirs.
    pub(super) fn in_bf16(&self, batch_norms: bool) -> InBf16<'_> {
        InBf16 { parameters: self, batch_norms }
    }
}

/// What newly initialised parameters are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct InitSpec {
    pub initialization: Initialization,
    pub seed: u64,
}

/// Casts parameters to bfloat16, differentiably. Those of batch norms stay in f32.
pub(super) struct InBf16<'a> {
    parameters: &'a Parameters,
    batch_norms: bool,
}

impl ParameterSource<Tensor> for InBf16<'_> {
    fn get(&self, name: &str, _: &[usize], _: Init) -> Result<Tensor> {
        let var = self.parameters.vars.get(name);
        let var = var.ok_or_else(|| ComputeError::MissingParameter { name: name.to_owned() })?;
        let tensor = self.parameters.tensor(name, var);
        if is_batch_norm(name) { Ok(tensor) } else { Ok(tensor.to_dtype(DType::BF16)?) }
    }

    fn has_batch_norms(&self) -> bool {
        self.batch_norms
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

/// Initialises missing parameters.
struct Initializing<'a> {
    parameters: RefCell<Parameters>,
    init: Option<InitSpec>,
    device: &'a Device,
    batch_norms: bool,
}

impl ParameterSource<Tensor> for Initializing<'_> {
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let mut parameters = self.parameters.borrow_mut();
        if !parameters.vars.contains_key(name) {
            let Some(InitSpec { initialization, seed }) = self.init else {
                return Err(ComputeError::MissingParameter { name: name.to_owned() }.into());
            };
            let init = match (initialization, shape) {
                (Initialization::FanIn, &[_, inputs]) if !name.ends_with("embedding.weight") => {
                    Init::Normal((inputs as f64).powf(-0.5))
                }
                _ => init,
            };
            let values = sample(init, shape, seed_of(seed, name));
            let var = Var::from_tensor(&Tensor::from_vec(values, shape, self.device)?)?;
            parameters.vars.insert(name.to_owned(), var);
        }
        let var = &parameters.vars[name];
        if var.dims() != shape {
            let (name, expected, found) = (name.to_owned(), shape.to_vec(), var.dims().to_vec());
            let mismatch = ShapeMismatch { name, expected, found };
            return Err(ComputeError::ParameterShape(mismatch).into());
        }
        Ok(parameters.tensor(name, var))
    }

    fn has_batch_norms(&self) -> bool {
        self.batch_norms
    }
}

/// A seed for a name: FNV-1a over its bytes, from the seed on.
fn seed_of(seed: u64, name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let bytes = seed.to_le_bytes();
    bytes.into_iter().chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, step)
}

/// Values of a newly initialised parameter.
fn sample(init: Init, shape: &[usize], seed: u64) -> Vec<f32> {
    let count = shape.iter().product();
    match init {
        Init::Constant(value) => vec![value as f32; count],
        Init::Normal(std_dev) => normal(count, 0.0, std_dev, seed),
        Init::Kaiming => {
            let outputs: usize = shape.iter().take(1).chain(shape.iter().skip(2)).product();
            normal(count, 0.0, 2f64.sqrt() / (outputs as f64).sqrt(), seed)
        }
    }
}

/// Normally distributed numbers by the method of Box and Muller.
fn normal(count: usize, mean: f64, std_dev: f64, seed: u64) -> Vec<f32> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        values.push((mean + std_dev * radius * angle.cos()) as f32);
        values.push((mean + std_dev * radius * angle.sin()) as f32);
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
        let std_dev = (squares / values.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 0.03 && (std_dev - 2.0).abs() < 0.03, "{mean}, {std_dev}");
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
