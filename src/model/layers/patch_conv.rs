//! The patch embedding's step: a convolution, its batch norm, GELU.

use candle_core::{Result, Tensor};

#[cfg(feature = "train")]
use super::batch_norm::BatchNorm;
#[cfg(feature = "train")]
use super::conv::gelu;
use super::{Builder, Conv2d, ConvConfig, Grid};
use crate::model::pass::Pass;

/// A convolution, a batch norm (folded into it for inference) and a GELU.
#[derive(Debug, Clone)]
pub(crate) struct PatchConv {
    conv: Conv2d,
    #[cfg(feature = "train")]
    norm: Option<BatchNorm>,
}

impl PatchConv {
    pub(crate) fn new(config: ConvConfig, builder: &Builder) -> Result<Self> {
        #[cfg(feature = "train")]
        if builder.batch_norms() {
            return Ok(PatchConv {
                conv: Conv2d::without_bias(config, &builder.pp("conv"))?,
                norm: Some(BatchNorm::new(config.out_dim, &builder.pp("norm"))?),
            });
        }
        Ok(PatchConv {
            conv: Conv2d::new(config, &builder.pp("conv"))?,
            #[cfg(feature = "train")]
            norm: None,
        })
    }

    /// `[batch, height * width, in]` to `[batch, height' * width', out]` and its grid.
    pub(crate) fn forward_gelu(
        &self,
        x: &Tensor,
        grid: Grid,
        pass: Pass,
    ) -> Result<(Tensor, Grid)> {
        #[cfg(feature = "train")]
        if let Some(norm) = &self.norm {
            let (x, grid) = self.conv.forward(x, grid, pass)?;
            return Ok((gelu(&norm.forward(&x, pass)?, pass)?, grid));
        }
        self.conv.forward_gelu(x, grid, pass)
    }
}
