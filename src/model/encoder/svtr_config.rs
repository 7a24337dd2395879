//! The shape of SVTRv2's encoder (paper table 1).

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::model::limits::{MAX_BLOCKS, MLP_RATIO, check_dim, check_heads, check_mlp};

/// Channels a head of attention, and of a grouped convolution, in the published variants.
pub(crate) const HEAD_DIM: usize = 32;

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

/// Index in a published checkpoint of a stage's block.
///
/// In a stage that goes from local to global blocks, the reference keeps a step without
/// parameters in the list between them, which takes an index.
pub(crate) fn block_index(stage: &StageConfig, block: usize) -> usize {
    let skips = stage.local_blocks > 0 && block >= stage.local_blocks;
    block + usize::from(skips)
}
