//! Convolutions and pools over tokens.

use candle_core::{DType, Result, Tensor};

use super::widened;
use crate::ops::{ConvParameters, ConvShape, Grid, Padding};

const DILATION: usize = 1;

/// Tokens `[rows, channels]` as images `[batch, channels, height, width]`.
fn images(x: &Tensor, grid: Grid) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let x = x.reshape(((), grid.height, grid.width, channels))?.permute((0, 3, 1, 2))?;
    x.contiguous()
}

/// Images as tokens.
fn tokens(x: &Tensor) -> Result<Tensor> {
    let channels = x.dim(1)?;
    x.permute((0, 2, 3, 1))?.reshape(((), channels))
}

/// `[rows, in]` on `grid` to `[rows', out]`.
pub(super) fn conv(layer: &ConvParameters<Tensor>, x: &Tensor, grid: Grid) -> Result<Tensor> {
    let ConvParameters { weight, bias, config } = layer;
    let ConvShape { stride: (rows, columns), padding, .. } = config.shape;
    let x = images(x, grid)?;
    let Padding { top, left, bottom, right } = padding;
    // Candle has one padding for all sides.
    let (x, padding) = if [left, bottom, right] == [top; 3] {
        (x, top)
    } else {
        (x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?, 0)
    };
    // Nor has it two strides: convolve with the smaller one and keep every so many positions of the
    // other.
    let stride = rows.min(columns);
    let y = if x.device().is_cpu() && x.dtype() == DType::BF16 {
        // On a CPU candle has no convolution in bfloat16.
        let (x, weight) = (widened(&x)?, widened(weight)?);
        x.conv2d(&weight, padding, stride, DILATION, config.groups)?.to_dtype(DType::BF16)?
    } else {
        x.conv2d(weight, padding, stride, DILATION, config.groups)?
    };
    let y = every(&y, 2, rows / stride)?;
    let y = tokens(&every(&y, 3, columns / stride)?)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// [`Ops::average_pool`](crate::ops::Ops::average_pool).
pub(super) fn average_pool(x: &Tensor, grid: Grid, window: (usize, usize)) -> Result<Tensor> {
    let pooled = grid.pooled(window);
    let channels = x.dim(1)?;
    let x = x.reshape(((), grid.height, grid.width, channels))?;
    let x = x.narrow(1, 0, pooled.height * window.0)?.narrow(2, 0, pooled.width * window.1)?;
    let images = x.dim(0)?;
    let shape = [images, pooled.height, window.0, pooled.width, window.1, channels];
    x.contiguous()?.reshape(&shape)?.mean(4)?.mean(2)?.reshape(((), channels))
}

/// [`Ops::max_pool`](crate::ops::Ops::max_pool).
pub(super) fn max_pool(x: &Tensor, grid: Grid, window: (usize, usize)) -> Result<Tensor> {
    // A window that is cut off by the edge has the values of its last row or column more than once.
    let x = images(x, grid)?;
    let padded = x.pad_with_same(2, 0, window.0 - 1)?.pad_with_same(3, 0, window.1 - 1)?;
    let mut largest = x;
    for row in 0..window.0 {
        for column in 0..window.1 {
            let shifted = padded.narrow(2, row, grid.height)?.narrow(3, column, grid.width)?;
            largest = largest.maximum(&shifted)?;
        }
    }
    tokens(&largest)
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
