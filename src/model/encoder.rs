//! The visual encoder (paper section 3.1): patch embedding, then three stages of blocks.

use candle_core::{Result, Tensor};

use super::block::Block;
use super::config::{Config, StageConfig};
use super::layers::{Builder, Conv2d, ConvConfig, Grid, LayerNorm, PatchConv};
use super::pass::Pass;

/// Epsilon of the norms between the stages.
const DOWNSAMPLE_EPS: f64 = 1e-5;

/// Strides of the convolutions that lead from one stage to the next.
const DOWNSAMPLE_STRIDES: [(usize, usize); 2] = [(1, 1), (2, 1)];

/// The encoder: `[batch, 3, height, width]` to `[batch, height / 8 * width / 4, dim]`.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    patch_embed: [PatchConv; 2],
    stages: Vec<Stage>,
}

impl Encoder {
    pub(super) fn new(config: &Config, builder: &Builder) -> Result<Self> {
        let dim = config.stages[0].dim;
        let conv = |i: usize, in_dim: usize, out_dim: usize| {
            let config = ConvConfig { in_dim, out_dim, groups: 1, stride: (2, 2) };
            PatchConv::new(config, &builder.pp("pope.patch_embed").pp(i))
        };
        let patch_embed = [conv(0, 3, dim / 2)?, conv(1, dim / 2, dim)?];
        let count: usize = config.stages.iter().map(StageConfig::blocks).sum();
        let mut stages = Vec::with_capacity(config.stages.len());
        let mut before = 0;
        for (i, stage) in config.stages.iter().enumerate() {
            let next = config.stages.get(i + 1).map(|next| (next.dim, DOWNSAMPLE_STRIDES[i]));
            let depth = |block: usize| (before + block) as f64 / (count - 1).max(1) as f64;
            stages.push(Stage::new(stage, next, depth, &builder.pp("stages").pp(i))?);
            before += stage.blocks();
        }
        Ok(Encoder { patch_embed, stages })
    }

    /// The features as tokens, and their grid.
    pub(super) fn forward(&self, images: &Tensor, pass: Pass) -> Result<(Tensor, Grid)> {
        let (x, grid, _) = self.run(images, false, pass)?;
        Ok((x, grid))
    }

    /// As [`Encoder::forward`], and the mean attention map of every second block of the last stage;
    /// `None` if no block there is a global one.
    pub(super) fn forward_with_map(
        &self,
        images: &Tensor,
    ) -> Result<(Tensor, Grid, Option<Tensor>)> {
        self.run(images, true, Pass::INFERENCE)
    }

    fn run(
        &self,
        images: &Tensor,
        with_map: bool,
        pass: Pass,
    ) -> Result<(Tensor, Grid, Option<Tensor>)> {
        let (_, _, height, width) = images.dims4()?;
        let mut grid = Grid { height, width };
        let mut x = images.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
        for conv in &self.patch_embed {
            (x, grid) = conv.forward_gelu(&x, grid, pass)?;
        }
        let mut map = None;
        for (i, stage) in self.stages.iter().enumerate() {
            let last = i + 1 == self.stages.len();
            (x, grid, map) = stage.forward(&x, grid, with_map && last, pass)?;
        }
        Ok((x, grid, map))
    }
}

/// Index in a published checkpoint of a stage's block.
///
/// In a stage that goes from local to global blocks, the reference keeps a step without
/// parameters in the list between them, which takes an index.
pub(crate) fn block_index(stage: &StageConfig, block: usize) -> usize {
    let skips = stage.local_blocks > 0 && block >= stage.local_blocks;
    block + usize::from(skips)
}

/// Blocks of one width, and the convolution that leads to the next.
#[derive(Debug, Clone)]
struct Stage {
    blocks: Vec<Block>,
    downsample: Option<Downsample>,
}

impl Stage {
    fn new(
        config: &StageConfig,
        next: Option<(usize, (usize, usize))>,
        depth: impl Fn(usize) -> f64,
        builder: &Builder,
    ) -> Result<Self> {
        let blocks = (0..config.blocks())
            .map(|block| {
                let builder = builder.pp("blocks").pp(block_index(config, block));
                if block < config.local_blocks {
                    Block::local(config, depth(block), &builder)
                } else {
                    Block::global(config, depth(block), &builder)
                }
            })
            .collect::<Result<_>>()?;
        let downsample = next
            .map(|(dim, stride)| {
                Downsample::new(config.dim, dim, stride, &builder.pp("downsample"))
            })
            .transpose()?;
        Ok(Stage { blocks, downsample })
    }

    /// Also the mean attention map of its blocks, if it is asked for.
    ///
    /// Of every second block but the last one: they tell best where a character is (measured on
    /// words with known glyph boxes). The last block looks at the whole word.
    fn forward(
        &self,
        x: &Tensor,
        grid: Grid,
        with_map: bool,
        pass: Pass,
    ) -> Result<(Tensor, Grid, Option<Tensor>)> {
        let mut x = x.clone();
        let mut maps = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let last = i > 0 && i + 1 == self.blocks.len();
            if with_map && i % 2 == 0 && !last {
                let (next, map) = block.forward_with_map(&x, grid)?;
                x = next;
                maps.extend(map);
            } else {
                x = block.forward(&x, grid, pass)?;
            }
        }
        let map = match maps.len() {
            0 => None,
            count => {
                let sum = maps.iter().skip(1).try_fold(maps[0].clone(), |sum, map| sum + map)?;
                Some((sum / count as f64)?)
            }
        };
        let (x, grid) = match &self.downsample {
            Some(downsample) => downsample.forward(&x, grid, pass)?,
            None => (x, grid),
        };
        Ok((x, grid, map))
    }
}

/// A convolution to the next stage's width, then a norm.
#[derive(Debug, Clone)]
struct Downsample {
    conv: Conv2d,
    norm: LayerNorm,
}

impl Downsample {
    fn new(
        in_dim: usize,
        out_dim: usize,
        stride: (usize, usize),
        builder: &Builder,
    ) -> Result<Self> {
        let config = ConvConfig { in_dim, out_dim, groups: 1, stride };
        Ok(Downsample {
            conv: Conv2d::new(config, &builder.pp("conv"))?,
            norm: LayerNorm::new(out_dim, DOWNSAMPLE_EPS, &builder.pp("norm"))?,
        })
    }

    fn forward(&self, x: &Tensor, grid: Grid, pass: Pass) -> Result<(Tensor, Grid)> {
        let (x, grid) = self.conv.forward(x, grid, pass)?;
        Ok((self.norm.forward(&x, pass)?, grid))
    }
}
