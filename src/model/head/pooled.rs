//! The neck of PP-OCRv6's tiny recogniser: convolutions of the frames.

use serde::{Deserialize, Serialize};

use super::frames::{FrameConv, check_taps};
use crate::error::{ConfigError, Result};
use crate::model::layers;
use crate::model::limits::check_dim;
use crate::ops::{Activation, Epilogue, Grid, Layers, Ops, Scope};

const HARD_SWISH: Activation = Activation::HardSwish;

/// The shape of the neck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PooledConfig {
    /// Channels that the classifier takes; 80 in PP-OCRv6 tiny.
    pub dim: usize,
    /// Frames that the depthwise convolution sees, an odd number; 5 in PP-OCRv6 tiny.
    pub taps: usize,
}

impl PooledConfig {
    /// That of PP-OCRv6 tiny.
    pub fn published() -> Self {
        PooledConfig { dim: 80, taps: 5 }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_dim("neck dim", self.dim)?;
        check_taps(self.taps)
    }
}

/// The neck: frames `[rows, features]` to `[rows, dim]`.
pub(in crate::model) struct Pooled<L: Layers> {
    mix: FrameConv<L>,
    point: L::Linear,
    reduce: L::Linear,
}

impl<L: Layers> Pooled<L> {
    pub(super) fn new(
        config: &PooledConfig,
        features: usize,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let conv = |name: &str| scope.below("svtr_encoder").below(name).below("conv");
        Ok(Pooled {
            mix: FrameConv::depthwise(features, config.taps, &conv("mix"))?,
            point: layers::linear::<L>(features, features, &conv("point"))?,
            reduce: layers::linear::<L>(features, config.dim, &scope.below("reduce"))?,
        })
    }

    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        features: &O::Tensor,
        frames: Grid,
    ) -> Result<O::Tensor> {
        let x = self.mix.forward(ops, features, frames, HARD_SWISH)?;
        let x = ops.linear(&self.point, &x, Epilogue::Activate(HARD_SWISH))?;
        ops.linear(&self.reduce, &x, Epilogue::Store)
    }
}
