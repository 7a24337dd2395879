//! Folding what training keeps apart: batch norms into their convolutions, the branches of a
//! reparameterised convolution into one, and 1x1 convolutions into matrices.
//!
//! | in the file | after folding |
//! |---|---|
//! | `X.conv`, `X.norm` (batch norm) | `X.conv.{weight,bias}` |
//! | `X.c`, `X.bn` | `X.c.{weight,bias}` |
//! | `X.{conv.c,conv.bn,conv1,bn}` | `X.conv.c.{weight,bias}`, depthwise |
//! | a weight `[out, in, 1, 1]` | `[out, in]` |
//!
//! Files that are folded already, by an exporter or by this crate, stay as they are.

mod branches;

use std::collections::BTreeMap;

use super::tensor::StoredTensor;
use crate::error::{Result, ShapeMismatch, WeightsError};

/// Epsilon of the batch norms.
const EPS: f64 = 1e-5;
/// What tells a batch norm from a layer norm, which has no statistics.
const VARIANCE: &str = ".running_var";

/// The tensors of a file under their canonical names.
type Tensors = BTreeMap<String, StoredTensor>;

/// Folds all that can be folded.
///
/// In f64, rounded once for each convolution. A convolution that a batch norm was folded into has a
/// bias.
///
/// # Errors
/// [`WeightsError::Misfit`] if a batch norm has no convolution, or its vectors do not fit;
/// [`WeightsError::NonFinite`].
pub(super) fn fold(mut tensors: Tensors) -> Result<Tensors> {
    let norms: Vec<String> =
        tensors.keys().filter_map(|name| Some(name.strip_suffix(VARIANCE)?.to_owned())).collect();
    // The sums of branches take the branches' own batch norms along.
    let (sums, single): (Vec<&String>, Vec<&String>) =
        norms.iter().partition(|norm| branches::is_sum(&tensors, norm));
    for norm in &sums {
        branches::fold(&mut tensors, norm)?;
    }
    for norm in single {
        if !tensors.contains_key(&format!("{norm}{VARIANCE}")) {
            continue;
        }
        let conv = convolution_of(norm).ok_or_else(|| WeightsError::NotSvtrv2 {
            detail: format!("{norm}{VARIANCE} follows no convolution"),
        })?;
        let batch_norm = BatchNorm::take(&mut tensors, norm, &conv)?;
        let (mut kernels, shape) = Kernels::take(&mut tensors, &conv)?;
        batch_norm.fold_into(&mut kernels);
        kernels.put(&mut tensors, &conv, shape);
    }
    squeeze(&mut tensors);
    Ok(tensors)
}

/// The module of the convolution in front of a batch norm.
fn convolution_of(norm: &str) -> Option<String> {
    let (scope, kind) = norm.rsplit_once('.')?;
    match kind {
        "norm" => Some(format!("{scope}.conv")),
        "bn" => Some(format!("{scope}.c")),
        _ => None,
    }
}

/// Convolutions of 1x1 are products with a matrix.
fn squeeze(tensors: &mut Tensors) {
    for (name, tensor) in tensors.iter_mut() {
        if let &[rows, columns, 1, 1] = tensor.shape()
            && name.ends_with(".weight")
            && let Some(matrix) = tensor.reshaped(vec![rows, columns])
        {
            *tensor = matrix;
        }
    }
}

/// A batch norm as it acts on its input: `(x - mean) * scale + beta`, a channel each.
struct BatchNorm {
    mean: Vec<f32>,
    scale: Vec<f64>,
    beta: Vec<f32>,
}

impl BatchNorm {
    /// Takes a batch norm out of the tensors; `conv` is the module whose channels it has.
    fn take(tensors: &mut Tensors, norm: &str, conv: &str) -> Result<Self> {
        let conv_name = format!("{conv}.weight");
        let Some(weight) = tensors.get(&conv_name) else {
            return Err(misfit(vec![conv_name], Vec::new()));
        };
        let channels = weight.shape().first().copied().ok_or_else(|| no_dimensions(&conv_name))?;
        let mut vector = |part: &str| take_vector(tensors, format!("{norm}.{part}"), channels);
        let gamma = vector("weight")?;
        let beta = vector("bias")?;
        let mean = vector("running_mean")?;
        let variance = vector("running_var")?;
        let scale: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(gamma, variance)| f64::from(*gamma) / (f64::from(*variance) + EPS).sqrt())
            .collect();
        Ok(BatchNorm { mean, scale, beta })
    }

    fn fold_into(&self, kernels: &mut Kernels) {
        for (kernel, scale) in kernels.weight.chunks_exact_mut(kernels.per_channel).zip(&self.scale)
        {
            kernel.iter_mut().for_each(|value| *value *= scale);
        }
        for (((bias, scale), mean), beta) in
            kernels.bias.iter_mut().zip(&self.scale).zip(&self.mean).zip(&self.beta)
        {
            *bias = (*bias - f64::from(*mean)) * scale + f64::from(*beta);
        }
    }
}

/// A convolution while it is folded.
struct Kernels {
    weight: Vec<f64>,
    /// Zeros if the file has none.
    bias: Vec<f64>,
    /// Numbers of a kernel, that of an output channel.
    per_channel: usize,
}

impl Kernels {
    /// Takes a convolution out of the tensors, with the shape of its weight.
    fn take(tensors: &mut Tensors, conv: &str) -> Result<(Self, Vec<usize>)> {
        let name = format!("{conv}.weight");
        let (weight, shape) = take(tensors, &name)?;
        let channels = shape.first().copied().ok_or_else(|| no_dimensions(&name))?;
        let bias_name = format!("{conv}.bias");
        let bias = match tensors.contains_key(&bias_name) {
            true => take_vector(tensors, bias_name, channels)?,
            false => vec![0.0; channels],
        };
        // There are no kernels if there are no channels, nor if they are empty.
        let per_channel = weight.len().checked_div(channels).unwrap_or(0).max(1);
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Ok((Kernels { weight: wide(weight), bias: wide(bias), per_channel }, shape))
    }

    /// Puts it back, rounded to f32.
    fn put(self, tensors: &mut Tensors, conv: &str, shape: Vec<usize>) {
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        let channels = vec![self.bias.len()];
        let weight = StoredTensor::computed(narrow(self.weight), shape);
        tensors.insert(format!("{conv}.weight"), weight);
        let bias = StoredTensor::computed(narrow(self.bias), channels);
        tensors.insert(format!("{conv}.bias"), bias);
    }
}

fn take(tensors: &mut Tensors, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
    match tensors.remove(name) {
        Some(tensor) => Ok((tensor.values(name)?, tensor.shape().to_vec())),
        None => Err(misfit(vec![name.to_owned()], Vec::new())),
    }
}

fn take_vector(tensors: &mut Tensors, name: String, channels: usize) -> Result<Vec<f32>> {
    let (values, found) = take(tensors, &name)?;
    if found == [channels] {
        return Ok(values);
    }
    let expected = vec![channels];
    Err(misfit(Vec::new(), vec![ShapeMismatch { name, expected, found }]))
}

fn no_dimensions(name: &str) -> crate::Error {
    WeightsError::NotSvtrv2 { detail: format!("{name} has no dimensions") }.into()
}

fn misfit(missing: Vec<String>, misshapen: Vec<ShapeMismatch>) -> crate::Error {
    WeightsError::Misfit { missing, misshapen, unexpected: Vec::new() }.into()
}

#[cfg(test)]
mod tests;
