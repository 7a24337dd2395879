//! Multi-head self-attention.

use candle_core::{D, Result, Tensor};

use super::builder::{Backend, Builder};
use super::custom_op::unary;
use super::linear::Linear;
use super::{Grid, widened};
use crate::cpu;
use crate::model::pass::Pass;
#[cfg(feature = "train")]
use crate::model::tape;

/// Multi-head self-attention over all tokens of a sequence.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
    backend: Backend,
}

impl SelfAttention {
    pub(crate) fn new(dim: usize, heads: usize, qkv_bias: bool, builder: &Builder) -> Result<Self> {
        let qkv = if qkv_bias { Linear::new } else { Linear::without_bias };
        Ok(SelfAttention {
            qkv: qkv(dim, 3 * dim, &builder.pp("qkv"))?,
            proj: Linear::new(dim, dim, &builder.pp("proj"))?,
            heads,
            backend: builder.backend(),
        })
    }

    /// `proj(attention(qkv(x)))`, all `[sequences, tokens, dim]`.
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.proj.forward(&self.mix(x, pass)?, pass)
    }

    /// `residual + proj(attention(qkv(x)))`, all `[sequences, tokens, dim]`.
    pub(crate) fn forward_add(&self, x: &Tensor, residual: &Tensor, pass: Pass) -> Result<Tensor> {
        self.proj.forward_add(&self.mix(x, pass)?, residual, pass)
    }

    fn mix(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let (_, tokens, dim) = x.dims3()?;
        let qkv = self.qkv.forward(x, pass)?;
        #[cfg(feature = "train")]
        if let (Backend::Tensors, Some(tape)) = (self.backend, pass.tape()) {
            return tape::attention(tape, &qkv, self.heads);
        }
        match self.backend {
            Backend::Tensors => Ok(attend(&qkv, self.heads)?.0),
            Backend::Kernels => unary("attention", &qkv, x.shape(), |qkv| {
                cpu::attention(qkv, tokens, self.heads, dim)
            }),
        }
    }

    /// As [`SelfAttention::forward_add`], and a map of what the tokens of each column look at,
    /// `[sequences, columns, rows, 2 * MAP_REACH + 1]`: the mean over heads and over a column's
    /// tokens of the weights, for the columns up to [`MAP_REACH`](cpu::MAP_REACH) to either
    /// side.
    pub(crate) fn forward_add_with_map(
        &self,
        x: &Tensor,
        residual: &Tensor,
        grid: Grid,
    ) -> Result<(Tensor, Tensor)> {
        let (sequences, tokens, dim) = x.dims3()?;
        let qkv = self.qkv.forward(x, Pass::INFERENCE)?;
        let width = 2 * cpu::MAP_REACH + 1;
        let map_shape = (sequences, grid.width, grid.height, width);
        let (mixed, map) = match self.backend {
            Backend::Tensors => {
                let (mixed, weights) = attend(&qkv, self.heads)?;
                (mixed, map(&weights, grid)?.reshape(map_shape)?)
            }
            Backend::Kernels => {
                let (values, entries) = (x.elem_count(), sequences * tokens * width);
                let both = unary("attention_with_map", &qkv, values + entries, |qkv| {
                    cpu::attention_with_map(qkv, tokens, self.heads, dim, grid.width)
                })?;
                let mixed = both.narrow(0, 0, values)?.reshape(x.shape())?;
                (mixed, both.narrow(0, values, entries)?.reshape(map_shape)?)
            }
        };
        Ok((self.proj.forward_add(&mixed, residual, Pass::INFERENCE)?, map))
    }
}

/// The map of weights `[sequences, heads, tokens, tokens]`.
fn map(weights: &Tensor, grid: Grid) -> Result<Tensor> {
    let Grid { height, width } = grid;
    let reach = cpu::MAP_REACH;
    let means = weights.mean(1)?.reshape(((), height, width, height, width))?.mean(1)?;
    let padded = means.pad_with_zeros(D::Minus1, reach, reach)?;
    let columns = (0..width)
        .map(|column| padded.narrow(1, column, 1)?.narrow(3, column, 2 * reach + 1))
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&columns, 1)
}

/// `softmax(q k^T / sqrt(d)) v` for each head: `[sequences, tokens, 3 * dim]` to `[.., dim]`; and
/// the softmax, `[sequences, heads, tokens, tokens]`.
fn attend(qkv: &Tensor, heads: usize) -> Result<(Tensor, Tensor)> {
    let (sequences, tokens, dim) = qkv.dims3()?;
    let dim = dim / 3;
    let head_dim = dim / heads;
    let qkv = qkv
        .reshape((sequences, tokens, 3, heads, head_dim))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()?;
    let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
    let scores = (q.matmul(&k.t()?)? * (head_dim as f64).powf(-0.5))?;
    // Not candle's fused softmax: that has no backward pass.
    let weights = candle_nn::ops::softmax(&widened(&scores)?, D::Minus1)?.to_dtype(v.dtype())?;
    let mixed = weights.matmul(&v)?.transpose(1, 2)?.reshape((sequences, tokens, dim))?;
    Ok((mixed, weights))
}
