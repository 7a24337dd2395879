//! The encoder's two kinds of block (paper section 3.1; reference module `svtrv2`).
//!
//! Both are post-norm: `x = norm1(x + mixer(x))`, `x = norm2(x + mlp(x))`.

use candle_core::{Result, Tensor};

use super::config::StageConfig;
use super::layers::{Builder, Conv2d, ConvConfig, Grid, LayerNorm, Mlp, SelfAttention};
use super::pass::Pass;

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
    /// Where it stands among all the encoder's blocks, from 0 (first) to 1 (last).
    depth: f64,
}

impl Block {
    pub(super) fn local(stage: &StageConfig, depth: f64, builder: &Builder) -> Result<Self> {
        let config = ConvConfig {
            in_dim: stage.dim,
            out_dim: stage.dim,
            groups: stage.heads,
            stride: (1, 1),
        };
        let conv = |i: usize| Conv2d::new(config, &builder.pp("mixer").pp(i));
        Self::new(Mixer::Local(Box::new([conv(0)?, conv(1)?])), stage, depth, builder)
    }

    pub(super) fn global(stage: &StageConfig, depth: f64, builder: &Builder) -> Result<Self> {
        let attention = SelfAttention::new(stage.dim, stage.heads, true, &builder.pp("mixer"))?;
        Self::new(Mixer::Global(attention), stage, depth, builder)
    }

    fn new(mixer: Mixer, stage: &StageConfig, depth: f64, builder: &Builder) -> Result<Self> {
        Ok(Block {
            mixer,
            norm1: LayerNorm::new(stage.dim, EPS, &builder.pp("norm1"))?,
            mlp: Mlp::new(stage.dim, stage.mlp_dim, &builder.pp("mlp"))?,
            norm2: LayerNorm::new(stage.dim, EPS, &builder.pp("norm2"))?,
            depth,
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
            return Ok((self.forward(x, grid, Pass::INFERENCE)?, None));
        };
        let (mixed, map) = attention.forward_add_with_map(x, x, grid)?;
        Ok((self.behind_mixer(&mixed, Pass::INFERENCE)?, Some(map)))
    }

    /// `[batch, height * width, dim]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor, grid: Grid, pass: Pass) -> Result<Tensor> {
        let mixed = match pass.drop_path(self.depth, x.dim(0)?) {
            None => match &self.mixer {
                Mixer::Local(convs) => {
                    let (y, _) = convs[0].forward(x, grid, pass)?;
                    convs[1].forward_add(&y, grid, x, pass)?
                }
                Mixer::Global(attention) => attention.forward_add(x, x, pass)?,
            },
            Some(factors) => {
                let branch = match &self.mixer {
                    Mixer::Local(convs) => {
                        let (y, _) = convs[0].forward(x, grid, pass)?;
                        convs[1].forward(&y, grid, pass)?.0
                    }
                    Mixer::Global(attention) => attention.forward(x, pass)?,
                };
                add_scaled(x, &branch, factors, pass)?
            }
        };
        self.behind_mixer(&mixed, pass)
    }

    fn behind_mixer(&self, mixed: &Tensor, pass: Pass) -> Result<Tensor> {
        let x = self.norm1.forward(mixed, pass)?;
        let y = match pass.drop_path(self.depth, x.dim(0)?) {
            None => self.mlp.forward_add(&x, &x, pass)?,
            Some(factors) => add_scaled(&x, &self.mlp.forward(&x, pass)?, factors, pass)?,
        };
        self.norm2.forward(&y, pass)
    }
}

/// `x + factor * branch` with a factor a sample.
fn add_scaled(x: &Tensor, branch: &Tensor, factors: Vec<f32>, pass: Pass) -> Result<Tensor> {
    #[cfg(feature = "train")]
    if let Some(tape) = pass.tape() {
        return tape.add_scaled(x, branch, factors);
    }
    let _ = pass;
    let factors = Tensor::new(factors, x.device())?.to_dtype(x.dtype())?.reshape(((), 1, 1))?;
    x + branch.broadcast_mul(&factors)?
}
