//! Multi-head self-attention.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::Linear;

/// Multi-head self-attention over all tokens of a sequence.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl SelfAttention {
    pub(crate) fn new(dim: usize, heads: usize, qkv_bias: bool, vb: VarBuilder) -> Result<Self> {
        let qkv = if qkv_bias { Linear::new } else { Linear::without_bias };
        Ok(SelfAttention {
            qkv: qkv(dim, 3 * dim, vb.pp("qkv"))?,
            proj: Linear::new(dim, dim, vb.pp("proj"))?,
            heads,
        })
    }

    /// `residual + proj(attention(qkv(x)))`, all `[sequences, tokens, dim]`.
    pub(crate) fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let mixed = attend(&self.qkv.forward(x)?, self.heads)?;
        residual + self.proj.forward(&mixed)?
    }
}

/// `softmax(q k^T / sqrt(d)) v` for each head: `[sequences, tokens, 3 * dim]` to `[.., dim]`.
fn attend(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (sequences, tokens, dim) = qkv.dims3()?;
    let dim = dim / 3;
    let head_dim = dim / heads;
    let qkv = qkv
        .reshape((sequences, tokens, 3, heads, head_dim))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()?;
    let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
    let scores = (q.matmul(&k.t()?)? * (head_dim as f64).powf(-0.5))?;
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((sequences, tokens, dim))
}
