//! From a grid of features to a row of frames, and what mixes neighbouring frames.

use crate::error::{ComputeError, ConfigError, Result};
use crate::model::layers;
use crate::ops::{Activation, ConvConfig, ConvShape, Epilogue, Grid, Layers, Ops, Scope};

/// Columns that make a frame.
pub(super) const COLUMNS: usize = 2;

/// The mean of every two columns over the whole height: `[batch * frames, channels]`, and the grid of
/// the frames. A last odd column is dropped.
pub(super) fn pool_columns<O: Ops>(
    ops: &O,
    x: &O::Tensor,
    grid: Grid,
) -> Result<(O::Tensor, Grid)> {
    let window = (grid.height, COLUMNS);
    let frames = grid.pooled(window);
    if frames.positions() == 0 {
        return Err(ComputeError::TooNarrow { columns: grid.width, needed: COLUMNS }.into());
    }
    Ok((ops.average_pool(x, grid, window)?, frames))
}

/// A convolution along the frames, with its batch norm folded in.
pub(super) struct FrameConv<L: Layers>(L::Conv);

impl<L: Layers> FrameConv<L> {
    /// Over `taps` frames, an odd number of them: `[rows, in_dim]` to `[rows, out_dim]`.
    pub(super) fn dense(
        in_dim: usize,
        out_dim: usize,
        taps: usize,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let config = ConvConfig::dense(in_dim, out_dim, shape(taps));
        Ok(FrameConv(layers::conv::<L>(config, scope)?))
    }

    /// The same of every channel by itself.
    pub(super) fn depthwise(dim: usize, taps: usize, scope: &Scope<L::Parameter>) -> Result<Self> {
        Ok(FrameConv(layers::conv::<L>(ConvConfig::depthwise(dim, shape(taps)), scope)?))
    }

    /// `activation(conv(x))`
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        frames: Grid,
        activation: Activation,
    ) -> Result<O::Tensor> {
        ops.conv(&self.0, x, frames, Epilogue::Activate(activation))
    }
}

fn shape(taps: usize) -> ConvShape {
    ConvShape::centred((1, taps), (1, 1))
}

/// The most frames that a convolution sees.
const MAX_TAPS: usize = 7;

/// Checks the number of frames that a convolution sees.
pub(super) fn check_taps(taps: usize) -> Result<(), ConfigError> {
    if taps.is_multiple_of(2) || taps > MAX_TAPS {
        let detail = format!("{taps} is not an odd number up to {MAX_TAPS}");
        return Err(ConfigError::new("neck taps", detail));
    }
    Ok(())
}
