//! Layer normalisation over the channels.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{
    VarBuilder,
    init::{ONE, ZERO},
};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension.
///
/// Composed of differentiable operations: candle's fused layer norm has no backward pass.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    /// `[dim]`
    weight: Tensor,
    /// `[dim]`
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(dim: usize, eps: f64, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints(dim, "weight", ONE)?;
        let bias = vb.get_with_hints(dim, "bias", ZERO)?;
        Ok(LayerNorm { weight, bias, eps })
    }

    /// `[.., dim]` to the same shape. The statistics of half-precision inputs are taken in f32.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dtype = x.dtype();
        let wide = match dtype {
            DType::F16 | DType::BF16 => DType::F32,
            other => other,
        };
        let x = x.to_dtype(wide)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        normed.to_dtype(dtype)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
