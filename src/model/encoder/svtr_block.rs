//! The encoder's two kinds of block (paper section 3.1; reference module `svtrv2`).
//!
//! Both are post-norm: `x = norm1(x + mixer(x))`, `x = norm2(x + mlp(x))`.

use super::svtr_config::{LocalMixer, StageConfig};
use crate::error::Result;
use crate::model::attention::{Mlp, SelfAttention};
use crate::model::layers;
use crate::ops::{Activation, ConvConfig, ConvShape, Epilogue, Grid, Layers, Ops, Scope};

/// Epsilon of the norms inside the blocks.
const EPS: f64 = 1e-6;

/// How a block mixes positions.
enum Mixer<L: Layers> {
    /// Grouped convolutions, one or two with nothing between.
    Local { first: Option<L::Conv>, last: L::Conv },
    /// Self-attention over all positions.
    Global(SelfAttention<L>),
}

/// A block of the encoder.
pub(super) struct Block<L: Layers> {
    mixer: Mixer<L>,
    norm1: L::LayerNorm,
    mlp: Mlp<L>,
    norm2: L::LayerNorm,
    /// Where it stands among all the encoder's blocks, from 0 (first) to 1 (last).
    depth: f64,
}

impl<L: Layers> Block<L> {
    pub(super) fn local(
        mixer: LocalMixer,
        stage: &StageConfig,
        depth: f64,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let shape = match mixer {
            LocalMixer::Two3x3 => ConvShape::new_3x3((1, 1)),
            LocalMixer::One5x5 => ConvShape::centred((5, 5), (1, 1)),
        };
        let (in_dim, groups) = (stage.dim, stage.heads);
        let config = ConvConfig { in_dim, out_dim: in_dim, groups, shape };
        let conv = |i: usize| layers::conv::<L>(config, &scope.below("mixer").below(i));
        let mixer = match mixer {
            LocalMixer::Two3x3 => Mixer::Local { first: Some(conv(0)?), last: conv(1)? },
            LocalMixer::One5x5 => Mixer::Local { first: None, last: conv(0)? },
        };
        Self::new(mixer, stage, depth, scope)
    }

    pub(super) fn global(
        stage: &StageConfig,
        depth: f64,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let attention = SelfAttention::new(stage.dim, stage.heads, true, &scope.below("mixer"))?;
        Self::new(Mixer::Global(attention), stage, depth, scope)
    }

    fn new(
        mixer: Mixer<L>,
        stage: &StageConfig,
        depth: f64,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        Ok(Block {
            mixer,
            norm1: layers::layer_norm::<L>(stage.dim, EPS, &scope.below("norm1"))?,
            mlp: Mlp::new(stage.dim, stage.mlp_dim, Activation::Gelu, &scope.below("mlp"))?,
            norm2: layers::layer_norm::<L>(stage.dim, EPS, &scope.below("norm2"))?,
            depth,
        })
    }

    /// `[rows, dim]` to the same shape.
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: O::Tensor,
        grid: Grid,
    ) -> Result<O::Tensor> {
        let add = Epilogue::Add { residual: &x, depth: self.depth };
        let mixed = match &self.mixer {
            Mixer::Local { first: Some(first), last } => {
                let y = ops.conv(first, &x, grid, Epilogue::Store)?;
                ops.conv(last, &y, grid, add)?
            }
            Mixer::Local { first: None, last } => ops.conv(last, &x, grid, add)?,
            Mixer::Global(attention) => attention.forward(ops, &x, grid.positions(), add)?,
        };
        drop(x);
        self.after_mixer(ops, mixed)
    }

    /// As [`Block::forward`], and the map of the attention if the block is a global one.
    pub(super) fn forward_with_map<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: O::Tensor,
        grid: Grid,
    ) -> Result<(O::Tensor, Option<O::Tensor>)> {
        let Mixer::Global(attention) = &self.mixer else {
            return Ok((self.forward(ops, x, grid)?, None));
        };
        let add = Epilogue::Add { residual: &x, depth: self.depth };
        let (mixed, map) = attention.forward_with_map(ops, &x, grid, add)?;
        drop(x);
        Ok((self.after_mixer(ops, mixed)?, Some(map)))
    }

    fn after_mixer<O: Ops<Layers = L>>(&self, ops: &O, mixed: O::Tensor) -> Result<O::Tensor> {
        let x = ops.layer_norm(&self.norm1, &mixed)?;
        drop(mixed);
        let y = self.mlp.forward_add(ops, &x, &x, self.depth)?;
        drop(x);
        ops.layer_norm(&self.norm2, &y)
    }
}
