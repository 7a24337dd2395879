//! Convolutions over tokens.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};
use candle_nn::{
    Init,
    init::{FanInOut, NonLinearity, NormalOrUniform, ZERO},
};

use super::builder::{Backend, Builder, values};
use super::custom_op::{binary, unary};
use super::{Grid, widened};
use crate::cpu::{self, Epilogue, PackedConv};
use crate::model::pass::Pass;
#[cfg(feature = "train")]
use crate::model::tape;

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
    parameters: Parameters,
    config: ConvConfig,
}

#[derive(Debug, Clone)]
enum Parameters {
    Tensors {
        /// `[out, in / groups, 3, 3]`
        weight: Tensor,
        /// `[out]`
        bias: Option<Tensor>,
    },
    Kernels(Arc<PackedConv>),
}

impl Conv2d {
    pub(crate) fn new(config: ConvConfig, builder: &Builder) -> Result<Self> {
        let ConvConfig { in_dim, out_dim, groups, stride } = config;
        let shape = (out_dim, in_dim / groups, KERNEL, KERNEL);
        let weight = builder.get(shape, "weight", WEIGHT_INIT)?;
        let bias = builder.get(out_dim, "bias", ZERO)?;
        let parameters = match builder.backend() {
            Backend::Tensors => Parameters::Tensors { weight, bias: Some(bias) },
            Backend::Kernels => {
                let (weight, bias) = (values(&weight)?, values(&bias)?);
                let packed = PackedConv::new(&weight, &bias, in_dim, groups, stride);
                Parameters::Kernels(Arc::new(packed))
            }
        };
        Ok(Conv2d { parameters, config })
    }

    /// Without a bias, for a batch norm to follow.
    #[cfg(feature = "train")]
    pub(crate) fn without_bias(config: ConvConfig, builder: &Builder) -> Result<Self> {
        let ConvConfig { in_dim, out_dim, groups, .. } = config;
        let shape = (out_dim, in_dim / groups, KERNEL, KERNEL);
        let weight = builder.get(shape, "weight", WEIGHT_INIT)?;
        Ok(Conv2d { parameters: Parameters::Tensors { weight, bias: None }, config })
    }

    /// `[batch, height * width, in]` to `[batch, height' * width', out]` and its grid.
    #[cfg_attr(not(feature = "train"), expect(unused_variables))]
    pub(crate) fn forward(&self, x: &Tensor, grid: Grid, pass: Pass) -> Result<(Tensor, Grid)> {
        let out = self.config.output_grid(grid);
        #[cfg(feature = "train")]
        if let Some(y) = self.recorded(x, grid, None, pass) {
            return Ok((y?, out));
        }
        let y = match &self.parameters {
            Parameters::Tensors { weight, bias } => {
                self.convolve(x, grid, weight, bias.as_ref())?
            }
            Parameters::Kernels(packed) => unary("conv2d", x, self.output_shape(x, out)?, |x| {
                cpu::conv(x, grid.height, grid.width, packed, Epilogue::Store)
            })?,
        };
        Ok((y, out))
    }

    /// `gelu(forward(x))`.
    pub(crate) fn forward_gelu(
        &self,
        x: &Tensor,
        grid: Grid,
        pass: Pass,
    ) -> Result<(Tensor, Grid)> {
        match &self.parameters {
            Parameters::Tensors { .. } => {
                let (y, out) = self.forward(x, grid, pass)?;
                Ok((gelu(&y, pass)?, out))
            }
            Parameters::Kernels(packed) => {
                let out = self.config.output_grid(grid);
                let y = unary("conv2d_gelu", x, self.output_shape(x, out)?, |x| {
                    cpu::conv(x, grid.height, grid.width, packed, Epilogue::Gelu)
                })?;
                Ok((y, out))
            }
        }
    }

    /// `residual + forward(x)` for a convolution that keeps the grid.
    pub(crate) fn forward_add(
        &self,
        x: &Tensor,
        grid: Grid,
        residual: &Tensor,
        pass: Pass,
    ) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let Some(y) = self.recorded(x, grid, Some(residual), pass) {
            return y;
        }
        match &self.parameters {
            Parameters::Tensors { .. } => residual + self.forward(x, grid, pass)?.0,
            Parameters::Kernels(packed) => {
                binary("conv2d_add", x, residual, residual.shape(), |x, residual| {
                    cpu::conv(x, grid.height, grid.width, packed, Epilogue::Add(residual))
                })
            }
        }
    }

    #[cfg(feature = "train")]
    fn recorded(
        &self,
        x: &Tensor,
        grid: Grid,
        residual: Option<&Tensor>,
        pass: Pass,
    ) -> Option<Result<Tensor>> {
        let tape = pass.tape()?;
        let Parameters::Tensors { weight, bias } = &self.parameters else {
            return None;
        };
        Some(tape::conv(tape, x, grid, self.config, weight, bias.as_ref(), residual))
    }

    fn output_shape(&self, x: &Tensor, out: Grid) -> Result<(usize, usize, usize)> {
        Ok((x.dim(0)?, out.height * out.width, self.config.out_dim))
    }

    fn convolve(
        &self,
        x: &Tensor,
        grid: Grid,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, _, dim) = x.dims3()?;
        let x = x.reshape((batch, grid.height, grid.width, dim))?.permute((0, 3, 1, 2))?;
        let (rows, columns) = self.config.stride;
        // One stride for both axes is all that the tensor library has: convolve with the smaller
        // one and keep every so many positions of the other.
        let stride = rows.min(columns);
        let x = x.contiguous()?;
        let groups = self.config.groups;
        let y = if x.device().is_cpu() && x.dtype() == DType::BF16 {
            // On a CPU the tensor library has no convolution in bfloat16.
            let y = widened(&x)?.conv2d(&widened(weight)?, PADDING, stride, 1, groups)?;
            y.to_dtype(DType::BF16)?
        } else {
            x.conv2d(weight, PADDING, stride, 1, groups)?
        };
        let y = every(&y, 2, rows / stride)?;
        let y = every(&y, 3, columns / stride)?;
        let y = y.permute((0, 2, 3, 1))?;
        let y = y.reshape(self.output_shape(&y, self.config.output_grid(grid))?)?;
        match bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// The exact GELU of a differentiable tensor.
pub(super) fn gelu(x: &Tensor, pass: Pass) -> Result<Tensor> {
    #[cfg(feature = "train")]
    if let Some(tape) = pass.tape() {
        return tape::gelu(tape, x);
    }
    let _ = pass;
    x.gelu_erf()
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
