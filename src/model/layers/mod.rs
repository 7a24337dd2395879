//! The layers that the network is written in, one a file.
//!
//! Activations are *tokens*, `[batch, height * width, channels]` with the channels last, all the
//! way through: linear layers, norms and attention take them as they are, and the local blocks'
//! convolutions are given the [`Grid`] that the tokens stand on.

mod attention;
mod conv;
mod layer_norm;
mod linear;

pub(crate) use attention::SelfAttention;
pub(crate) use conv::{Conv2d, ConvConfig};
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::{Linear, Mlp};

/// The rows and columns that a sequence of tokens stands on, row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub height: usize,
    pub width: usize,
}
