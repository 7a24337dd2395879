//! The encoder of SVTRv2 (paper section 3.1): patch embedding, then three stages of blocks.

use serde::{Deserialize, Serialize};

use super::Features;
use super::patch_embed::PatchEmbed;
use super::svtr_block::Block;
use crate::error::{ConfigError, Result};
use crate::model::config::{MAX_BLOCKS, MLP_RATIO, check_dim, check_heads, check_mlp};
use crate::model::layers;
use crate::ops::{ConvConfig, ConvShape, Epilogue, Grid, Layers, Ops, Scope};

/// Channels a head of attention, and of a grouped convolution, in the published variants.
pub(crate) const HEAD_DIM: usize = 32;

/// Epsilon of the norms between the stages.
const DOWNSAMPLE_EPS: f64 = 1e-5;

/// One of the encoder's three stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredStage")]
pub struct StageConfig {
    /// Channels.
    pub dim: usize,
    /// Heads of attention in global blocks, groups of the convolutions in local blocks.
    pub heads: usize,
    /// Blocks that mix neighbours by convolution; they come first.
    pub local_blocks: usize,
    /// Blocks that mix all positions by attention; they come after the local ones.
    pub global_blocks: usize,
    /// Hidden units of the blocks' MLPs; 4 times the channels in the published variants.
    pub mlp_dim: usize,
}

/// A stage as files store it: those of the published MLP width may leave it out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredStage {
    dim: usize,
    heads: usize,
    local_blocks: usize,
    global_blocks: usize,
    mlp_dim: Option<usize>,
}

impl From<StoredStage> for StageConfig {
    fn from(stored: StoredStage) -> Self {
        let StoredStage { dim, heads, local_blocks, global_blocks, mlp_dim } = stored;
        let published = StageConfig::new(dim, heads, local_blocks, global_blocks);
        StageConfig { mlp_dim: mlp_dim.unwrap_or(published.mlp_dim), ..published }
    }
}

impl StageConfig {
    /// A stage whose MLPs have the published width, 4 times the channels.
    pub fn new(dim: usize, heads: usize, local_blocks: usize, global_blocks: usize) -> Self {
        let mlp_dim = dim.saturating_mul(MLP_RATIO);
        StageConfig { dim, heads, local_blocks, global_blocks, mlp_dim }
    }

    /// Blocks of either kind.
    pub fn blocks(&self) -> usize {
        self.local_blocks.saturating_add(self.global_blocks)
    }
}

/// What the local blocks mix neighbours with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LocalMixer {
    /// Two grouped 3x3 convolutions: SVTRv2-T, -S and -B.
    #[default]
    #[serde(rename = "two_3x3")]
    Two3x3,
    /// One grouped 5x5 convolution: OpenOCR's multilingual "server" model.
    #[serde(rename = "one_5x5")]
    One5x5,
}

/// The shape of SVTRv2's encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SvtrConfig {
    /// The stages.
    pub stages: [StageConfig; 3],
    /// What local blocks mix neighbours with.
    #[serde(default)]
    pub local_mixer: LocalMixer,
    /// By what the height shrinks behind the first stage and behind the second, 1 or 2 each; 1 and 2 in
    /// SVTRv2-T, -S and -B.
    #[serde(default = "published_row_strides")]
    pub row_strides: [usize; 2],
}

fn published_row_strides() -> [usize; 2] {
    [1, 2]
}

impl SvtrConfig {
    /// An encoder with the mixers and strides of SVTRv2-T, -S and -B.
    pub fn new(stages: [StageConfig; 3]) -> Self {
        let (local_mixer, row_strides) = (LocalMixer::default(), published_row_strides());
        SvtrConfig { stages, local_mixer, row_strides }
    }

    /// A published variant: heads of 32 channels, MLPs of four times the channels.
    pub(crate) fn published(dims: [usize; 3], local: [usize; 3], global: [usize; 3]) -> Self {
        let stage = |i: usize| StageConfig::new(dims[i], dims[i] / HEAD_DIM, local[i], global[i]);
        Self::new([stage(0), stage(1), stage(2)])
    }

    /// Channels of the output.
    pub(crate) fn feature_dim(&self) -> usize {
        self.stages[2].dim
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        for stage in &self.stages {
            check_dim("dim", stage.dim)?;
            check_heads("heads", stage.heads, stage.dim)?;
            check_mlp("mlp_dim", stage.mlp_dim)?;
            if stage.blocks() > MAX_BLOCKS {
                let detail = format!(
                    "{} and {} blocks in a stage, together at most {MAX_BLOCKS}",
                    stage.local_blocks, stage.global_blocks
                );
                return Err(ConfigError::new("local_blocks, global_blocks", detail));
            }
        }
        if !self.stages[0].dim.is_multiple_of(2) {
            let detail = format!("{} of the first stage is odd", self.stages[0].dim);
            return Err(ConfigError::new("dim", detail));
        }
        if let Some(stride) = self.row_strides.iter().find(|stride| !(1..=2).contains(*stride)) {
            return Err(ConfigError::new("row_strides", format!("{stride} is not 1 or 2")));
        }
        Ok(())
    }
}

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

/// Index in a published checkpoint of a stage's block.
///
/// In a stage that goes from local to global blocks, the reference keeps a step without
/// parameters in the list between them, which takes an index.
pub(crate) fn block_index(stage: &StageConfig, block: usize) -> usize {
    let skips = stage.local_blocks > 0 && block >= stage.local_blocks;
    block + usize::from(skips)
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
