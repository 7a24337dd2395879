//! Multi-head self-attention.

use candle_core::{D, Result, Tensor};

use super::softmax;
use crate::ops::{Grid, MAP_REACH, MAP_WIDTH};

/// `softmax(q k^T / sqrt(d)) v` for each head: `[rows, 3 * dim]` to `[rows, dim]`; and the softmax,
/// `[sequences, heads, length, length]`.
pub(super) fn attend(qkv: &Tensor, heads: usize, length: usize) -> Result<(Tensor, Tensor)> {
    let (rows, channels) = qkv.dims2()?;
    let dim = channels / 3;
    let head_dim = dim / heads;
    let qkv = qkv.reshape(((), length, 3, heads, head_dim))?.permute((2, 0, 3, 1, 4))?;
    let qkv = qkv.contiguous()?;
    let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
    let scores = (q.matmul(&k.t()?)? * (head_dim as f64).powf(-0.5))?;
    let weights = softmax(&scores, 3)?;
    let mixed = weights.matmul(&v)?.transpose(1, 2)?.reshape((rows, dim))?;
    Ok((mixed, weights))
}

/// The map of weights `[sequences, heads, tokens, tokens]`, `[sequences * columns * rows,
/// MAP_WIDTH]`.
pub(super) fn map(weights: &Tensor, grid: Grid) -> Result<Tensor> {
    let Grid { height, width } = grid;
    let means = weights.mean(1)?.reshape(((), height, width, height, width))?.mean(1)?;
    let padded = means.pad_with_zeros(D::Minus1, MAP_REACH, MAP_REACH)?;
    let columns = (0..width)
        .map(|column| padded.narrow(1, column, 1)?.narrow(3, column, MAP_WIDTH))
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&columns, 1)?.reshape(((), MAP_WIDTH))
}
