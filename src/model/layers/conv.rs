//! Convolutions over tokens.

use candle_core::{Result, Tensor};
use candle_nn::{
    Init, VarBuilder,
    init::{FanInOut, NonLinearity, NormalOrUniform, ZERO},
};

use super::Grid;

/// The published initialisation: Kaiming normal, fan-out.
const WEIGHT_INIT: Init = Init::Kaiming {
    dist: NormalOrUniform::Normal,
    fan: FanInOut::FanOut,
    non_linearity: NonLinearity::ReLU,
};

/// Side of the kernel.
const KERNEL: usize = 3;
/// Zeros around the input.
const PADDING: usize = 1;

/// What a 3x3 convolution with padding 1 does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvConfig {
    /// Input channels.
    pub in_dim: usize,
    /// Output channels.
    pub out_dim: usize,
    /// Groups that the channels are split into.
    pub groups: usize,
    /// Rows and columns from one output position to the next.
    pub stride: (usize, usize),
}

impl ConvConfig {
    /// The grid of the output for an input on `grid`.
    pub(crate) fn output_grid(&self, grid: Grid) -> Grid {
        let steps = |size: usize, stride: usize| (size + 2 * PADDING - KERNEL) / stride + 1;
        Grid { height: steps(grid.height, self.stride.0), width: steps(grid.width, self.stride.1) }
    }
}

/// A 3x3 convolution with padding 1 and bias over tokens.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    /// `[out, in / groups, 3, 3]`
    weight: Tensor,
    /// `[out]`
    bias: Tensor,
    config: ConvConfig,
}

impl Conv2d {
    pub(crate) fn new(config: ConvConfig, vb: VarBuilder) -> Result<Self> {
        let shape = (config.out_dim, config.in_dim / config.groups, KERNEL, KERNEL);
        let weight = vb.get_with_hints(shape, "weight", WEIGHT_INIT)?;
        let bias = vb.get_with_hints(config.out_dim, "bias", ZERO)?;
        Ok(Conv2d { weight, bias, config })
    }

    /// `[batch, height * width, in]` to `[batch, height' * width', out]` and its grid.
    pub(crate) fn forward(&self, x: &Tensor, grid: Grid) -> Result<(Tensor, Grid)> {
        let (batch, _, dim) = x.dims3()?;
        let x = x.reshape((batch, grid.height, grid.width, dim))?.permute((0, 3, 1, 2))?;
        let (rows, columns) = self.config.stride;
        // One stride for both axes is all that the tensor library has: convolve with the smaller
        // one and keep every so many positions of the other.
        let stride = rows.min(columns);
        let y = x.contiguous()?.conv2d(&self.weight, PADDING, stride, 1, self.config.groups)?;
        let y = every(&y, 2, rows / stride)?;
        let y = every(&y, 3, columns / stride)?;
        let out = self.config.output_grid(grid);
        let y = y.permute((0, 2, 3, 1))?.reshape((
            batch,
            out.height * out.width,
            self.config.out_dim,
        ))?;
        Ok((y.broadcast_add(&self.bias)?, out))
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
