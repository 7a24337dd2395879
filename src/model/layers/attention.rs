//! Multi-head self-attention.

use candle_core::{D, Result, Tensor};

use super::builder::{Backend, Builder};
use super::kernel_op::unary;
use super::linear::Linear;
use crate::kernels;

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

    /// `residual + proj(attention(qkv(x)))`, all `[sequences, tokens, dim]`.
    pub(crate) fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let (_, tokens, dim) = x.dims3()?;
        let qkv = self.qkv.forward(x)?;
        let mixed = match self.backend {
            Backend::Tensors => attend(&qkv, self.heads)?,
            Backend::Kernels => unary("attention", &qkv, x.shape(), |qkv| {
                kernels::attention(qkv, tokens, self.heads, dim)
            })?,
        };
        self.proj.forward_add(&mixed, residual)
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
    // Not candle's fused softmax: that has no backward pass.
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((sequences, tokens, dim))
}
