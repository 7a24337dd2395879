//! Layer normalisation over the channels.

use std::sync::Arc;

#[cfg(feature = "train")]
use candle_core::bail;
use candle_core::{D, Result, Tensor};
use candle_nn::init::{ONE, ZERO};

use super::builder::{Backend, Builder, values};
#[cfg(feature = "train")]
use super::custom_op::differentiable;
use super::custom_op::unary;
use super::widened;
use crate::cpu;
#[cfg(feature = "train")]
use crate::cpu::backward::layer_norm_backward;
use crate::model::pass::Pass;
#[cfg(feature = "train")]
use crate::model::tape;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    parameters: Parameters,
    eps: f64,
}

/// Weight and bias, each `[dim]`.
#[derive(Debug, Clone)]
enum Parameters {
    Tensors(Tensor, Tensor),
    Kernels(Arc<(Vec<f32>, Vec<f32>)>),
}

impl LayerNorm {
    pub(crate) fn new(dim: usize, eps: f64, builder: &Builder) -> Result<Self> {
        let weight = builder.get(dim, "weight", ONE)?;
        let bias = builder.get(dim, "bias", ZERO)?;
        let parameters = match builder.backend() {
            Backend::Tensors => Parameters::Tensors(weight, bias),
            Backend::Kernels => Parameters::Kernels(Arc::new((values(&weight)?, values(&bias)?))),
        };
        Ok(LayerNorm { parameters, eps })
    }

    /// As [`LayerNorm::forward`], for what is not recorded: the tensor library follows the
    /// gradients, on a CPU through kernels.
    #[cfg(feature = "train")]
    pub(crate) fn forward_differentiable(&self, x: &Tensor) -> Result<Tensor> {
        let Parameters::Tensors(weight, bias) = &self.parameters else {
            return self.forward(x, Pass::INFERENCE);
        };
        let dim = weight.elem_count();
        if x.dims().last() != Some(&dim) {
            bail!("a layer norm of {dim} over {:?}", x.shape());
        }
        let eps = self.eps as f32;
        let forward =
            move |x: &[f32], weight: &[f32], bias: &[f32]| cpu::layer_norm(x, weight, bias, eps);
        let backward = move |x: &[f32], weight: &[f32], dy: &[f32]| {
            let found = layer_norm_backward(x, weight, eps, dy);
            [found.input, found.weight, found.bias]
        };
        differentiable("layer_norm", [x, weight, bias], x.shape(), forward, backward)
            .unwrap_or_else(|| self.forward(x, Pass::INFERENCE))
    }

    /// `[.., dim]` to the same shape. The statistics of half-precision inputs are taken in f32.
    #[cfg_attr(not(feature = "train"), expect(unused_variables))]
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let (Parameters::Tensors(weight, bias), Some(tape)) = (&self.parameters, pass.tape()) {
            return tape::layer_norm(tape, x, weight, bias, self.eps as f32);
        }
        let (weight, bias) = match &self.parameters {
            Parameters::Tensors(weight, bias) => (weight, bias),
            Parameters::Kernels(parameters) => {
                let (weight, bias) = parameters.as_ref();
                return unary("layer_norm", x, x.shape(), |x| {
                    cpu::layer_norm(x, weight, bias, self.eps as f32)
                });
            }
        };
        // Composed of differentiable operations: candle's fused layer norm has no backward pass.
        let dtype = x.dtype();
        let x = widened(x)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        normed.to_dtype(dtype)?.broadcast_mul(weight)?.broadcast_add(bias)
    }
}
