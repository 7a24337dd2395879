//! The shape of a network: the published variants and anything between and beyond.

use serde::{Deserialize, Serialize};

use crate::charset::Charset;
use crate::error::{ConfigError, Result};
use crate::resize::check_max_ratio;

/// Channels a head of attention, and of a grouped convolution, in the published variants.
pub(crate) const HEAD_DIM: usize = 32;

/// Hidden units of an MLP per channel in the published variants.
const MLP_RATIO: usize = 4;

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

/// The configuration of a network (paper table 1; SVTRv2-T, -S and -B are the named constructors).
///
/// ```
/// use svtrv2::model::Config;
///
/// let config = Config { num_classes: 1_000, max_ratio: 12, ..Config::tiny() };
/// config.validate()?;
/// assert_eq!(config.variant(), Some("T"));
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredConfig")]
pub struct Config {
    /// The encoder's stages.
    pub stages: [StageConfig; 3],
    /// Heads of attention of the feature rearrangement module.
    pub frm_heads: usize,
    /// Hidden units of the feature rearrangement module's MLP; 4 times its channels in the
    /// published variants.
    pub frm_mlp_dim: usize,
    /// Classes: the blank and the symbols of the charset.
    pub num_classes: usize,
    /// The widest aspect ratio that keeps its width; see [`crate::resize::target_size`].
    pub max_ratio: u32,
}

/// A configuration as files store it: those of the published MLP widths may leave them out.
#[derive(Deserialize)]
struct StoredConfig {
    stages: [StageConfig; 3],
    frm_heads: usize,
    frm_mlp_dim: Option<usize>,
    num_classes: usize,
    max_ratio: u32,
}

impl From<StoredConfig> for Config {
    fn from(stored: StoredConfig) -> Self {
        let StoredConfig { stages, frm_heads, frm_mlp_dim, num_classes, max_ratio } = stored;
        let published = stages[2].dim.saturating_mul(MLP_RATIO);
        let frm_mlp_dim = frm_mlp_dim.unwrap_or(published);
        Config { stages, frm_heads, frm_mlp_dim, num_classes, max_ratio }
    }
}

/// Classes of the English charset with the blank.
const ENGLISH_CLASSES: usize = 95;
/// The ratio limit of the checkpoints trained on short text.
pub(crate) const SHORT_TEXT_RATIO: u32 = 4;

impl Config {
    fn published(dims: [usize; 3], local: [usize; 3], global: [usize; 3]) -> Self {
        let stage = |i: usize| StageConfig::new(dims[i], dims[i] / HEAD_DIM, local[i], global[i]);
        Config {
            stages: [stage(0), stage(1), stage(2)],
            frm_heads: dims[2] / HEAD_DIM,
            frm_mlp_dim: dims[2] * MLP_RATIO,
            num_classes: ENGLISH_CLASSES,
            max_ratio: SHORT_TEXT_RATIO,
        }
    }

    /// SVTRv2-T: 5.1 million parameters with 95 classes.
    pub fn tiny() -> Self {
        Self::published([64, 128, 256], [3, 3, 0], [0, 3, 3])
    }

    /// SVTRv2-S: 11.3 million parameters with 95 classes.
    pub fn small() -> Self {
        Self::published([96, 192, 384], [3, 3, 0], [0, 3, 3])
    }

    /// SVTRv2-B: 19.8 million parameters with 95 classes.
    pub fn base() -> Self {
        Self::published([128, 256, 384], [6, 2, 0], [0, 4, 6])
    }

    /// "T", "S" or "B" if the network is one of the published ones, whatever the class count.
    pub fn variant(&self) -> Option<&'static str> {
        [("T", Self::tiny()), ("S", Self::small()), ("B", Self::base())]
            .into_iter()
            .find(|(_, config)| {
                self.stages == config.stages
                    && self.frm_heads == config.frm_heads
                    && self.frm_mlp_dim == config.frm_mlp_dim
            })
            .map(|(name, _)| name)
    }

    /// Channels of the encoder's output.
    pub fn feature_dim(&self) -> usize {
        self.stages[2].dim
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field, its value and what is permitted.
    pub fn validate(&self) -> Result<()> {
        for stage in &self.stages {
            check_dim("dim", stage.dim)?;
            check_heads("heads", stage.heads, stage.dim)?;
            check_mlp("mlp_dim", stage.mlp_dim)?;
            if stage.blocks() > MAX_BLOCKS {
                let detail = format!(
                    "{} and {} blocks in a stage, together at most {MAX_BLOCKS}",
                    stage.local_blocks, stage.global_blocks
                );
                return Err(ConfigError::new("local_blocks, global_blocks", detail).into());
            }
        }
        if !self.stages[0].dim.is_multiple_of(2) {
            let detail = format!("{} of the first stage is odd", self.stages[0].dim);
            return Err(ConfigError::new("dim", detail).into());
        }
        check_heads("frm_heads", self.frm_heads, self.feature_dim())?;
        check_mlp("frm_mlp_dim", self.frm_mlp_dim)?;
        if !(2..=MAX_CLASSES).contains(&self.num_classes) {
            let detail = format!("{} is not in 2..={MAX_CLASSES}", self.num_classes);
            return Err(ConfigError::new("num_classes", detail).into());
        }
        check_max_ratio(self.max_ratio)?;
        Ok(())
    }
}

// Far beyond any useful network; they keep a damaged file from asking for all memory.
const MAX_DIM: usize = 1 << 14;
const MAX_MLP_DIM: usize = MLP_RATIO * MAX_DIM;
const MAX_BLOCKS: usize = 1 << 10;
/// Every code point of Unicode that stands for a character has room.
const MAX_CLASSES: usize = Charset::MAX_SYMBOLS + 1;

fn check_dim(field: &'static str, dim: usize) -> Result<(), ConfigError> {
    if (1..=MAX_DIM).contains(&dim) {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{dim} is not in 1..={MAX_DIM}")))
    }
}

fn check_mlp(field: &'static str, mlp_dim: usize) -> Result<(), ConfigError> {
    if (1..=MAX_MLP_DIM).contains(&mlp_dim) {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{mlp_dim} is not in 1..={MAX_MLP_DIM}")))
    }
}

fn check_heads(field: &'static str, heads: usize, dim: usize) -> Result<(), ConfigError> {
    if heads >= 1 && dim.is_multiple_of(heads) {
        Ok(())
    } else {
        Err(ConfigError::new(field, format!("{heads} does not divide the dimension {dim}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_variants() {
        for (name, config) in [("T", Config::tiny()), ("S", Config::small()), ("B", Config::base())]
        {
            config.validate().unwrap();
            assert_eq!(config.variant(), Some(name));
            let depth = |i: usize| config.stages[i].local_blocks + config.stages[i].global_blocks;
            assert_eq!((depth(1), depth(0)), (6, if name == "B" { 6 } else { 3 }));
        }
    }

    #[test]
    fn faults_name_the_field() {
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 9] = [
            ("local_blocks, global_blocks", |c| {
                c.stages[0] = StageConfig::new(64, 2, usize::MAX, 2);
            }),
            ("mlp_dim", |c| c.stages[1].mlp_dim = 0),
            ("frm_mlp_dim", |c| c.frm_mlp_dim = usize::MAX),
            ("dim", |c| c.stages[1].dim = 0),
            ("dim", |c| c.stages[0] = StageConfig { dim: 33, heads: 1, ..c.stages[0] }),
            ("heads", |c| c.stages[2].heads = 7),
            ("frm_heads", |c| c.frm_heads = 0),
            ("num_classes", |c| c.num_classes = 1),
            ("max_ratio", |c| c.max_ratio = 0),
        ];
        for (field, spoil) in cases {
            let mut config = Config::tiny();
            spoil(&mut config);
            match config.validate() {
                Err(crate::Error::Config(error)) => assert_eq!(error.field, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn files_without_mlp_widths_have_the_published_ones() {
        let config = Config::small();
        let mut json = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<Config>(json.clone()).unwrap(), config);
        let fields = json.as_object_mut().unwrap();
        fields.remove("frm_mlp_dim").unwrap();
        for stage in fields["stages"].as_array_mut().unwrap() {
            stage.as_object_mut().unwrap().remove("mlp_dim").unwrap();
        }
        assert_eq!(serde_json::from_value::<Config>(json).unwrap(), config);
        let narrow = Config { frm_mlp_dim: 7, ..config };
        let json = serde_json::to_string(&narrow).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), narrow);
        assert_eq!(narrow.variant(), None);
    }
}
