//! The patch embedding: two convolutions of stride 2, each with a batch norm and a GELU.

use crate::error::Result;
use crate::model::layers;
use crate::ops::{Activation, ConvConfig, ConvShape, Epilogue, Grid, Layers, Ops, Scope};

/// Images of 3 channels to tokens on a grid of a quarter of the height and of the width.
pub(super) struct PatchEmbed<L: Layers> {
    steps: [Step<L>; 2],
}

impl<L: Layers> PatchEmbed<L> {
    pub(super) fn new(dim: usize, scope: &Scope<L::Parameter>) -> Result<Self> {
        let step = |index: usize, in_dim: usize, out_dim: usize| {
            let config = ConvConfig::dense(in_dim, out_dim, ConvShape::new_3x3((2, 2)));
            Step::new(config, &scope.below(index))
        };
        Ok(PatchEmbed { steps: [step(0, 3, dim / 2)?, step(1, dim / 2, dim)?] })
    }

    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
    ) -> Result<(O::Tensor, Grid)> {
        let [first, second] = &self.steps;
        let (x, grid) = first.forward(ops, &images, grid)?;
        second.forward(ops, &x, grid)
    }
}

/// A convolution, a batch norm (folded into it for inference) and a GELU.
struct Step<L: Layers> {
    conv: L::Conv,
    norm: Option<L::BatchNorm>,
    config: ConvConfig,
}

impl<L: Layers> Step<L> {
    fn new(config: ConvConfig, scope: &Scope<L::Parameter>) -> Result<Self> {
        let conv = scope.below("conv");
        if scope.has_batch_norms() {
            let conv = layers::conv_without_bias::<L>(config, &conv)?;
            let norm = layers::batch_norm::<L>(config.out_dim, &scope.below("norm"))?;
            return Ok(Step { conv, norm: Some(norm), config });
        }
        Ok(Step { conv: layers::conv::<L>(config, &conv)?, norm: None, config })
    }

    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        grid: Grid,
    ) -> Result<(O::Tensor, Grid)> {
        let y = match &self.norm {
            Some(norm) => {
                let y = ops.conv(&self.conv, x, grid, Epilogue::Store)?;
                ops.batch_norm_gelu(norm, &y)?
            }
            None => ops.conv(&self.conv, x, grid, Epilogue::Activate(Activation::Gelu))?,
        };
        Ok((y, self.config.output_grid(grid)))
    }
}
