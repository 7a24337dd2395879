//! The reparameterised depthwise convolution of RepViT (Wang et al., 2024, arXiv 2307.09283).
//!
//! While training it is `BN(BN(depthwise 3x3) + depthwise 1x1 + identity)`. All branches are linear
//! in the input, so that their kernels add up: the 1x1 and the identity at the kernel's centre.

use super::{BatchNorm, Kernels, Tensors, VARIANCE, misfit, take, take_vector};
use crate::error::{Result, ShapeMismatch};

/// Whether a batch norm follows the sum of branches.
pub(super) fn is_sum(tensors: &Tensors, norm: &str) -> bool {
    norm.strip_suffix(".bn").is_some_and(|scope| {
        tensors.contains_key(&format!("{scope}.conv1.weight"))
            && tensors.contains_key(&format!("{scope}.conv.c.weight"))
    })
}

/// Replaces the branches `X.conv.c` with its own batch norm `X.conv.bn` (if an exporter did not fold
/// it), `X.conv1` and the identity, and the batch norm behind their sum by `X.conv.c`.
pub(super) fn fold(tensors: &mut Tensors, norm: &str) -> Result<()> {
    let scope = norm.strip_suffix(".bn").unwrap_or(norm);
    let conv = format!("{scope}.conv.c");
    let batch_norm = BatchNorm::take(tensors, norm, &conv)?;
    let own = format!("{scope}.conv.bn");
    let own = match tensors.contains_key(&format!("{own}{VARIANCE}")) {
        true => Some(BatchNorm::take(tensors, &own, &conv)?),
        false => None,
    };
    let (mut kernels, shape) = Kernels::take(tensors, &conv)?;
    if let Some(own) = own {
        own.fold_into(&mut kernels);
    }
    let channels = kernels.bias.len();
    // An odd kernel has a centre; a depthwise one has one input channel.
    let centre = match shape.as_slice() {
        &[_, 1, height, width] if height % 2 == 1 && width % 2 == 1 => (height * width) / 2,
        _ => {
            let name = format!("{conv}.weight");
            let mismatch = ShapeMismatch { name, expected: vec![channels, 1, 3, 3], found: shape };
            return Err(misfit(Vec::new(), vec![mismatch]));
        }
    };

    let point_name = format!("{scope}.conv1.weight");
    let (point, found) = take(tensors, &point_name)?;
    if point.len() != channels {
        let mismatch = ShapeMismatch { name: point_name, expected: vec![channels, 1, 1, 1], found };
        return Err(misfit(Vec::new(), vec![mismatch]));
    }
    let point_bias = format!("{scope}.conv1.bias");
    let point_bias = match tensors.contains_key(&point_bias) {
        true => take_vector(tensors, point_bias, channels)?,
        false => vec![0.0; channels],
    };

    for ((kernel, point), (bias, point_bias)) in kernels
        .weight
        .chunks_exact_mut(kernels.per_channel)
        .zip(&point)
        .zip(kernels.bias.iter_mut().zip(&point_bias))
    {
        if let Some(value) = kernel.get_mut(centre) {
            *value += f64::from(*point) + 1.0;
        }
        *bias += f64::from(*point_bias);
    }
    batch_norm.fold_into(&mut kernels);
    kernels.put(tensors, &conv, shape);
    Ok(())
}
