//! Folding the patch embedding's batch norm into its convolutions.

use std::collections::BTreeMap;

use super::tensor::StoredTensor;
use crate::error::{Result, ShapeMismatch, WeightsError};

/// Epsilon of the batch norms.
const EPS: f64 = 1e-5;

/// Replaces each convolution and batch norm of the patch embedding by one convolution with bias.
///
/// In f64, rounded once. Files whose batch norm is folded already are left as they are.
pub(super) fn fold_batch_norm(
    mut tensors: BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, StoredTensor>> {
    for i in 0..2 {
        let prefix = format!("encoder.pope.patch_embed.{i}");
        if tensors.contains_key(&format!("{prefix}.norm.running_var")) {
            fold(&mut tensors, &prefix)?;
        }
    }
    Ok(tensors)
}

fn fold(tensors: &mut BTreeMap<String, StoredTensor>, prefix: &str) -> Result<()> {
    let conv_name = format!("{prefix}.conv.weight");
    let bias_name = format!("{prefix}.conv.bias");
    let has_bias = tensors.contains_key(&bias_name);
    let mut take = |name: String| -> Result<(Vec<f32>, Vec<usize>)> {
        match tensors.remove(&name) {
            Some(tensor) => Ok((tensor.values(&name)?, tensor.shape().to_vec())),
            None => Err(misfit(vec![name], Vec::new())),
        }
    };
    let (mut weight, shape) = take(conv_name.clone())?;
    let &[channels, ..] = shape.as_slice() else {
        let detail = format!("{conv_name} has no dimensions");
        return Err(WeightsError::NotSvtrv2(detail).into());
    };
    let mut vector = |name: String| -> Result<Vec<f32>> {
        let (values, found) = take(name.clone())?;
        if found == [channels] {
            Ok(values)
        } else {
            let expected = vec![channels];
            Err(misfit(Vec::new(), vec![ShapeMismatch { name, expected, found }]))
        }
    };
    let gamma = vector(format!("{prefix}.norm.weight"))?;
    let beta = vector(format!("{prefix}.norm.bias"))?;
    let mean = vector(format!("{prefix}.norm.running_mean"))?;
    let variance = vector(format!("{prefix}.norm.running_var"))?;
    // A convolution in front of a batch norm needs no bias, but may have one.
    let mut bias = if has_bias { vector(bias_name.clone())? } else { vec![0.0; channels] };

    // A kernel a channel: none are left over, and there are none if there are no channels.
    let per_channel = weight.len().checked_div(channels).unwrap_or(0).max(1);
    for (channel, kernel) in weight.chunks_exact_mut(per_channel).enumerate().take(channels) {
        let scale = f64::from(gamma[channel]) / (f64::from(variance[channel]) + EPS).sqrt();
        for value in kernel {
            *value = (f64::from(*value) * scale) as f32;
        }
        let shifted = f64::from(bias[channel]) - f64::from(mean[channel]);
        bias[channel] = (shifted * scale + f64::from(beta[channel])) as f32;
    }
    tensors.insert(conv_name, StoredTensor::computed(weight, shape));
    tensors.insert(bias_name, StoredTensor::computed(bias, vec![channels]));
    Ok(())
}

fn misfit(missing: Vec<String>, misshapen: Vec<ShapeMismatch>) -> crate::Error {
    WeightsError::Misfit { missing, misshapen, unexpected: Vec::new() }.into()
}
