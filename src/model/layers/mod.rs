//! The layers that the network is written in, one a file.
//!
//! Activations are *tokens*, `[batch, height * width, channels]` with the channels last, all the
//! way through: linear layers, norms and attention take them as they are, and the local blocks'
//! convolutions are given the [`Grid`] that the tokens stand on.
//!
//! A layer computes with tensor operations or with kernels, as its [`Backend`] says; the network
//! above does not know which.

use candle_core::{DType, Result, Tensor};

mod attention;
#[cfg(feature = "train")]
mod batch_norm;
mod builder;
mod conv;
mod custom_op;
mod layer_norm;
mod linear;
mod patch_conv;
mod vertical_attention;

pub(crate) use attention::SelfAttention;
pub(crate) use builder::{Backend, Builder};
pub(crate) use conv::{Conv2d, ConvConfig};
pub(crate) use layer_norm::LayerNorm;
#[cfg(feature = "train")]
pub(crate) use linear::Linear;
pub(crate) use linear::Mlp;
pub(crate) use patch_conv::PatchConv;
pub(crate) use vertical_attention::VerticalAttention;

/// Half-precision values in f32, in which sums are taken; others as they are.
fn widened(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

/// The rows and columns that a sequence of tokens stands on, row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub height: usize,
    pub width: usize,
}
