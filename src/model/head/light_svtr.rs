//! The neck of PP-OCRv6's recognisers ("LightSVTR"): a depthwise convolution and transformer blocks over
//! the frames, beside a projection of the frames themselves.

use serde::{Deserialize, Serialize};

use super::frames::{FrameConv, check_taps};
use crate::error::{ConfigError, Result};
use crate::model::attention::{BlockShape, PreNormBlock};
use crate::model::layers;
use crate::model::limits::{check_blocks, check_dim, check_heads, check_mlp};
use crate::ops::{Activation, Epilogue, Grid, Layers, Ops, Scope};

/// Epsilon of the norms inside the blocks, and behind them.
const BLOCK_EPS: f64 = 1e-5;
const NORM_EPS: f64 = 1e-6;
const SWISH: Activation = Activation::Swish;

/// The shape of the LightSVTR neck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightSvtrConfig {
    /// Channels of the blocks and of what the classifier takes; 120 in PP-OCRv6 small.
    pub dim: usize,
    /// Heads of attention; 8 in PP-OCRv6 small.
    pub heads: usize,
    /// Hidden units of the blocks' MLPs; twice the channels in PP-OCRv6 small.
    pub mlp_dim: usize,
    /// Transformer blocks; 2 in PP-OCRv6 small.
    pub blocks: usize,
    /// Frames that the depthwise convolution sees, an odd number; 7 in PP-OCRv6 small.
    pub taps: usize,
}

impl LightSvtrConfig {
    /// That of PP-OCRv6 small.
    pub fn published() -> Self {
        LightSvtrConfig { dim: 120, heads: 8, mlp_dim: 240, blocks: 2, taps: 7 }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_dim("neck dim", self.dim)?;
        check_heads("neck heads", self.heads, self.dim)?;
        check_mlp("neck mlp_dim", self.mlp_dim)?;
        check_blocks("neck blocks", self.blocks)?;
        check_taps(self.taps)
    }
}

/// The neck: frames `[rows, features]` to `[rows, dim]`.
pub(in crate::model) struct LightSvtr<L: Layers> {
    skip: L::Linear,
    reduce: L::Linear,
    mix: FrameConv<L>,
    blocks: Vec<PreNormBlock<L>>,
    norm: L::LayerNorm,
}

impl<L: Layers> LightSvtr<L> {
    pub(super) fn new(
        config: &LightSvtrConfig,
        features: usize,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let LightSvtrConfig { dim, heads, mlp_dim, blocks, taps } = *config;
        let conv = |name: &str| scope.below(name).below("conv");
        let shape = BlockShape { dim, heads, mlp_dim, activation: SWISH, eps: BLOCK_EPS };
        let block =
            |index: usize| PreNormBlock::new(shape, &scope.below("svtr_block").below(index));
        Ok(LightSvtr {
            skip: layers::linear::<L>(features, dim, &conv("skip"))?,
            reduce: layers::linear::<L>(features, dim, &conv("reduce"))?,
            mix: FrameConv::depthwise(dim, taps, &conv("mix"))?,
            blocks: (0..blocks).map(block).collect::<Result<_>>()?,
            norm: layers::layer_norm::<L>(dim, NORM_EPS, &scope.below("norm"))?,
        })
    }

    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        features: &O::Tensor,
        frames: Grid,
    ) -> Result<O::Tensor> {
        let swish = || Epilogue::Activate(SWISH);
        let skip = ops.linear(&self.skip, features, swish())?;
        let x = ops.linear(&self.reduce, features, swish())?;
        let mut x = ops.add(&x, &self.mix.forward(ops, &x, frames, SWISH)?)?;
        for block in &self.blocks {
            x = block.forward(ops, &x, frames.positions())?;
        }
        ops.add(&ops.layer_norm(&self.norm, &x)?, &skip)
    }
}
