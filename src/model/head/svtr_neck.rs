//! The SVTR neck of OpenOCR's multilingual models (parameters `decoder.svtr_encoder.*`):
//! transformer blocks over the frames beside the frames themselves.

use serde::{Deserialize, Serialize};

use super::frames::FrameConv;
use crate::error::{ConfigError, Result};
use crate::model::attention::{BlockShape, PreNormBlock};
use crate::model::layers;
use crate::model::limits::{check_blocks, check_dim, check_heads, check_mlp};
use crate::ops::{Activation, Epilogue, Grid, Layers, Ops, Scope};

/// Epsilon of the norms inside the blocks, and behind them.
const BLOCK_EPS: f64 = 1e-5;
const NORM_EPS: f64 = 1e-6;
/// Frames that a convolution sees.
const TAPS: usize = 3;
/// Channels of the features per channel behind the first convolution.
const REDUCTION: usize = 8;
const SWISH: Activation = Activation::Swish;

/// The shape of the SVTR neck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SvtrNeckConfig {
    /// Channels of the blocks and of what the classifier takes; 256 in the published models.
    pub dim: usize,
    /// Heads of attention; 8 in the published models.
    pub heads: usize,
    /// Hidden units of the blocks' MLPs; twice the channels in the published models.
    pub mlp_dim: usize,
    /// Transformer blocks; 2 in the published models.
    pub blocks: usize,
}

impl SvtrNeckConfig {
    /// That of OpenOCR's "server" and "mobile" models.
    pub fn published() -> Self {
        SvtrNeckConfig { dim: 256, heads: 8, mlp_dim: 512, blocks: 2 }
    }

    pub(crate) fn validate(&self, feature_dim: usize) -> Result<(), ConfigError> {
        check_dim("neck dim", self.dim)?;
        check_heads("neck heads", self.heads, self.dim)?;
        check_mlp("neck mlp_dim", self.mlp_dim)?;
        check_blocks("neck blocks", self.blocks)?;
        if feature_dim < REDUCTION {
            let detail = format!("{feature_dim} channels of features, at least {REDUCTION}");
            return Err(ConfigError::new("dim", detail));
        }
        Ok(())
    }
}

/// The neck: frames `[rows, features]` to `[rows, dim]`.
pub(in crate::model) struct SvtrNeck<L: Layers> {
    narrow: FrameConv<L>,
    widen: L::Linear,
    blocks: Vec<PreNormBlock<L>>,
    norm: L::LayerNorm,
    restore: L::Linear,
    join: FrameConv<L>,
    last: L::Linear,
}

impl<L: Layers> SvtrNeck<L> {
    pub(super) fn new(
        config: &SvtrNeckConfig,
        features: usize,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let SvtrNeckConfig { dim, heads, mlp_dim, blocks } = *config;
        let narrow = features / REDUCTION;
        let conv = |name: &str| scope.below(name).below("conv");
        let shape = BlockShape { dim, heads, mlp_dim, activation: SWISH, eps: BLOCK_EPS };
        let block =
            |index: usize| PreNormBlock::new(shape, &scope.below("svtr_block").below(index));
        Ok(SvtrNeck {
            narrow: FrameConv::dense(features, narrow, TAPS, &conv("conv1"))?,
            widen: layers::linear::<L>(narrow, dim, &conv("conv2"))?,
            blocks: (0..blocks).map(block).collect::<Result<_>>()?,
            norm: layers::layer_norm::<L>(dim, NORM_EPS, &scope.below("norm"))?,
            restore: layers::linear::<L>(dim, features, &conv("conv3"))?,
            join: FrameConv::dense(2 * features, narrow, TAPS, &conv("conv4"))?,
            last: layers::linear::<L>(narrow, dim, &conv("conv1x1"))?,
        })
    }

    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        features: &O::Tensor,
        frames: Grid,
    ) -> Result<O::Tensor> {
        let swish = || Epilogue::Activate(SWISH);
        let x = self.narrow.forward(ops, features, frames, SWISH)?;
        let mut x = ops.linear(&self.widen, &x, swish())?;
        for block in &self.blocks {
            x = block.forward(ops, &x, frames.positions())?;
        }
        let x = ops.linear(&self.restore, &ops.layer_norm(&self.norm, &x)?, swish())?;
        let x = self.join.forward(ops, &ops.concat(features, &x)?, frames, SWISH)?;
        ops.linear(&self.last, &x, swish())
    }
}
