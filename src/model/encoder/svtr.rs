//! The encoder of SVTRv2 (paper section 3.1): patch embedding, then three stages of blocks.

use super::Features;
use super::patch_embed::PatchEmbed;
use super::svtr_block::Block;
use super::svtr_config::{LocalMixer, StageConfig, SvtrConfig, block_index};
use crate::error::Result;
use crate::model::layers;
use crate::ops::{ConvConfig, ConvShape, Epilogue, Grid, Layers, Ops, Scope};

/// Epsilon of the norms between the stages.
const DOWNSAMPLE_EPS: f64 = 1e-5;

/// The encoder: images `[batch * height * width, 3]` to features
/// `[batch * height / 8 * width / 4, dim]`.
pub(in crate::model) struct Svtr<L: Layers> {
    patch_embed: PatchEmbed<L>,
    stages: Vec<Stage<L>>,
}

impl<L: Layers> Svtr<L> {
    pub(in crate::model) fn new(config: &SvtrConfig, scope: &Scope<L::Parameter>) -> Result<Self> {
        let dim = config.stages[0].dim;
        let patch_embed = PatchEmbed::new(dim, &scope.below("pope.patch_embed"))?;
        let count: usize = config.stages.iter().map(StageConfig::blocks).sum();
        let mut stages = Vec::with_capacity(config.stages.len());
        let mut before = 0;
        for (i, stage) in config.stages.iter().enumerate() {
            let next = config.stages.get(i + 1).map(|next| (next.dim, (config.row_strides[i], 1)));
            let depth = |block: usize| (before + block) as f64 / (count - 1).max(1) as f64;
            let mixer = config.local_mixer;
            stages.push(Stage::new(mixer, stage, next, depth, &scope.below("stages").below(i))?);
            before += stage.blocks();
        }
        Ok(Svtr { patch_embed, stages })
    }

    pub(in crate::model) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
        with_map: bool,
    ) -> Result<Features<O::Tensor>> {
        let (tokens, grid) = self.patch_embed.forward(ops, images, grid)?;
        let mut features = Features { tokens, grid, map: None };
        for (i, stage) in self.stages.iter().enumerate() {
            let last = i + 1 == self.stages.len();
            features = stage.forward(ops, features.tokens, features.grid, with_map && last)?;
        }
        Ok(features)
    }
}

/// Blocks of one width, and the convolution that leads to the next.
struct Stage<L: Layers> {
    blocks: Vec<Block<L>>,
    downsample: Option<Downsample<L>>,
}

impl<L: Layers> Stage<L> {
    fn new(
        mixer: LocalMixer,
        config: &StageConfig,
        next: Option<(usize, (usize, usize))>,
        depth: impl Fn(usize) -> f64,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let blocks = (0..config.blocks())
            .map(|block| {
                let scope = scope.below("blocks").below(block_index(config, block));
                if block < config.local_blocks {
                    Block::local(mixer, config, depth(block), &scope)
                } else {
                    Block::global(config, depth(block), &scope)
                }
            })
            .collect::<Result<_>>()?;
        let downsample = next
            .map(|(dim, stride)| {
                Downsample::new(config.dim, dim, stride, &scope.below("downsample"))
            })
            .transpose()?;
        Ok(Stage { blocks, downsample })
    }

    /// The map is the mean over every second block but the last one: they tell best where a
    /// character is (measured on words with known glyph boxes). The last block looks at the whole
    /// word.
    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        mut x: O::Tensor,
        grid: Grid,
        with_map: bool,
    ) -> Result<Features<O::Tensor>> {
        let mut maps = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let last = i > 0 && i + 1 == self.blocks.len();
            if with_map && i % 2 == 0 && !last {
                let (next, map) = block.forward_with_map(ops, x, grid)?;
                x = next;
                maps.extend(map);
            } else {
                x = block.forward(ops, x, grid)?;
            }
        }
        let map = match maps.split_first() {
            Some((first, others)) => Some(ops.mean(first, others)?),
            None => None,
        };
        let (tokens, grid) = match &self.downsample {
            Some(downsample) => downsample.forward(ops, &x, grid)?,
            None => (x, grid),
        };
        Ok(Features { tokens, grid, map })
    }
}

/// A convolution to the next stage's width, then a norm.
struct Downsample<L: Layers> {
    conv: L::Conv,
    norm: L::LayerNorm,
    config: ConvConfig,
}

impl<L: Layers> Downsample<L> {
    fn new(
        in_dim: usize,
        out_dim: usize,
        stride: (usize, usize),
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let config = ConvConfig::dense(in_dim, out_dim, ConvShape::new_3x3(stride));
        Ok(Downsample {
            conv: layers::conv::<L>(config, &scope.below("conv"))?,
            norm: layers::layer_norm::<L>(out_dim, DOWNSAMPLE_EPS, &scope.below("norm"))?,
            config,
        })
    }

    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        grid: Grid,
    ) -> Result<(O::Tensor, Grid)> {
        let y = ops.conv(&self.conv, x, grid, Epilogue::Store)?;
        Ok((ops.layer_norm(&self.norm, &y)?, self.config.output_grid(grid)))
    }
}
