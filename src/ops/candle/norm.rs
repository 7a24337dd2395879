//! Layer normalisation and batch normalisation.

use candle_core::{D, Result, Tensor};

use super::{TrainingContext, may_fuse, widened};
use crate::ops::{BatchNormParameters, LayerNormParameters};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension. The statistics of
/// half-precision values are taken in f32.
pub(crate) fn layer_norm(layer: &LayerNormParameters<Tensor>, x: &Tensor) -> Result<Tensor> {
    let LayerNormParameters { weight, bias, eps } = layer;
    if may_fuse(&[x, weight, bias]) {
        return candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, *eps as f32);
    }
    let dtype = x.dtype();
    let x = widened(x)?;
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + *eps)?.sqrt()?)?;
    normed.to_dtype(dtype)?.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Batch normalisation over rows; its parameters are in f32 whatever `x` is in.
pub(super) fn batch_norm(
    layer: &BatchNormParameters<Tensor>,
    x: &Tensor,
    context: Option<&dyn TrainingContext>,
) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = &widened(x)?;
    let (mean, variance) = match context.filter(|context| context.batch_statistics()) {
        Some(context) => {
            let mean = x.mean(0)?;
            let variance = x.broadcast_sub(&mean)?.sqr()?.mean(0)?;
            let unbiased = unbiased(&variance.detach(), x.dim(0)?)?;
            context.found(mean.detach(), unbiased);
            (mean, variance)
        }
        None => (layer.running_mean.detach(), layer.running_var.detach()),
    };
    let normed = x.broadcast_sub(&mean)?.broadcast_div(&(variance + layer.eps)?.sqrt()?)?;
    normed.broadcast_mul(&layer.weight)?.broadcast_add(&layer.bias)?.to_dtype(dtype)
}

/// A variance with n - 1, of `rows` rows, from that with n.
pub(crate) fn unbiased(variance: &Tensor, rows: usize) -> Result<Tensor> {
    if rows > 1 { variance * (rows as f64 / (rows as f64 - 1.0)) } else { Ok(variance.clone()) }
}
