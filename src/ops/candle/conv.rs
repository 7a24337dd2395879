//! 3x3 convolutions over tokens.

use candle_core::{DType, Result, Tensor};

use super::widened;
use crate::ops::{ConvConfig, ConvParameters, Grid};

const PADDING: usize = 1;
const DILATION: usize = 1;

/// `[rows, in]` on `grid` to `[rows', out]`.
pub(super) fn conv(layer: &ConvParameters<Tensor>, x: &Tensor, grid: Grid) -> Result<Tensor> {
    let ConvParameters { weight, bias, config } = layer;
    let ConvConfig { in_dim, out_dim, groups, stride: (rows, columns) } = *config;
    let x = x.reshape(((), grid.height, grid.width, in_dim))?.permute((0, 3, 1, 2))?;
    let x = x.contiguous()?;
    // Candle has one stride for both axes: convolve with the smaller one and keep every so many
    // positions of the other.
    let stride = rows.min(columns);
    let y = if x.device().is_cpu() && x.dtype() == DType::BF16 {
        // On a CPU candle has no convolution in bfloat16.
        let y = widened(&x)?.conv2d(&widened(weight)?, PADDING, stride, DILATION, groups)?;
        y.to_dtype(DType::BF16)?
    } else {
        x.conv2d(weight, PADDING, stride, DILATION, groups)?
    };
    let y = every(&y, 2, rows / stride)?;
    let y = every(&y, 3, columns / stride)?;
    let y = y.permute((0, 2, 3, 1))?.reshape(((), out_dim))?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// Every `step`-th position along a dimension, from the first on.
fn every(x: &Tensor, dim: usize, step: usize) -> Result<Tensor> {
    if step == 1 {
        return Ok(x.clone());
    }
    let kept: Vec<u32> = (0..x.dim(dim)? as u32).step_by(step).collect();
    let kept = Tensor::new(kept, x.device())?;
    x.index_select(&kept, dim)
}
