//! The encoder's two kinds of block (paper section 3.1; reference module `svtrv2`).
//!
//! Both are post-norm: `x = norm1(x + mixer(x))`, `x = norm2(x + mlp(x))`.

use candle_core::{Result, Tensor};

use super::config::StageConfig;
use super::layers::{Builder, Conv2d, ConvConfig, Grid, LayerNorm, Mlp, SelfAttention};

/// Epsilon of the norms inside the blocks.
const EPS: f64 = 1e-6;

/// How a block lets positions see each other.
#[derive(Debug, Clone)]
enum Mixer {
    /// Two grouped 3x3 convolutions with nothing between.
    Local(Box<[Conv2d; 2]>),
    /// Self-attention over all positions.
    Global(SelfAttention),
}

/// A block of the encoder.
#[derive(Debug, Clone)]
pub(super) struct Block {
    mixer: Mixer,
    norm1: LayerNorm,
    mlp: Mlp,
    norm2: LayerNorm,
}

impl Block {
    pub(super) fn local(stage: &StageConfig, builder: &Builder) -> Result<Self> {
        let config = ConvConfig {
            in_dim: stage.dim,
            out_dim: stage.dim,
            groups: stage.heads,
            stride: (1, 1),
        };
        let conv = |i: usize| Conv2d::new(config, &builder.pp("mixer").pp(i));
        Self::new(Mixer::Local(Box::new([conv(0)?, conv(1)?])), stage.dim, builder)
    }

    pub(super) fn global(stage: &StageConfig, builder: &Builder) -> Result<Self> {
        let attention = SelfAttention::new(stage.dim, stage.heads, true, &builder.pp("mixer"))?;
        Self::new(Mixer::Global(attention), stage.dim, builder)
    }

    fn new(mixer: Mixer, dim: usize, builder: &Builder) -> Result<Self> {
        Ok(Block {
            mixer,
            norm1: LayerNorm::new(dim, EPS, &builder.pp("norm1"))?,
            mlp: Mlp::new(dim, &builder.pp("mlp"))?,
            norm2: LayerNorm::new(dim, EPS, &builder.pp("norm2"))?,
        })
    }

    /// As [`Block::forward`], and the map of the attention
    /// ([`SelfAttention::forward_add_with_map`]) if the block has any.
    pub(super) fn forward_with_map(
        &self,
        x: &Tensor,
        grid: Grid,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let Mixer::Global(attention) = &self.mixer else {
            return Ok((self.forward(x, grid)?, None));
        };
        let (mixed, map) = attention.forward_add_with_map(x, x, grid)?;
        Ok((self.behind_mixer(&mixed)?, Some(map)))
    }

    /// `[batch, height * width, dim]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor, grid: Grid) -> Result<Tensor> {
        let mixed = match &self.mixer {
            Mixer::Local(convs) => {
                let (y, _) = convs[0].forward(x, grid)?;
                convs[1].forward_add(&y, grid, x)?
            }
            Mixer::Global(attention) => attention.forward_add(x, x)?,
        };
        self.behind_mixer(&mixed)
    }

    fn behind_mixer(&self, mixed: &Tensor) -> Result<Tensor> {
        let x = self.norm1.forward(mixed)?;
        self.norm2.forward(&self.mlp.forward_add(&x, &x)?)
    }
}
