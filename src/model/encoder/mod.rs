//! The visual encoders: images to a grid of features.

mod patch_embed;
pub(super) mod repvit;
mod svtr;
mod svtr_block;
pub(super) mod svtr_config;

use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Result};
use crate::ops::{Grid, Layers, Ops, Scope};
use repvit::{RepVit, RepVitConfig};
use svtr::Svtr;
use svtr_config::{StageConfig, SvtrConfig};

/// The encoder of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EncoderConfig {
    /// SVTRv2's: convolutions and attention over all positions.
    Svtr(SvtrConfig),
    /// RepViT's kind: depthwise and pointwise convolutions.
    #[serde(rename = "repvit")]
    RepVit(RepVitConfig),
}

impl EncoderConfig {
    /// Channels of the features.
    pub fn feature_dim(&self) -> usize {
        match self {
            EncoderConfig::Svtr(config) => config.feature_dim(),
            EncoderConfig::RepVit(config) => config.feature_dim(),
        }
    }

    pub(super) fn blocks(&self) -> usize {
        match self {
            EncoderConfig::Svtr(config) => config.stages.iter().map(StageConfig::blocks).sum(),
            EncoderConfig::RepVit(config) => config.blocks.len(),
        }
    }

    /// What the names of the parameters start with whose layers compute in f32 where the network runs in
    /// int8.
    pub(crate) fn f32_scope(&self) -> Option<&'static str> {
        match self {
            EncoderConfig::Svtr(_) => None,
            EncoderConfig::RepVit(_) => Some(repvit::STEM_SCOPE),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            EncoderConfig::Svtr(config) => config.validate(),
            EncoderConfig::RepVit(config) => {
                if let Some(block) = config.blocks.iter().find(|block| block.column_stride != 1) {
                    let detail = format!("{} in a recogniser", block.column_stride);
                    return Err(ConfigError::new("column_stride", detail));
                }
                config.validate()
            }
        }
    }
}

/// What an encoder gives out.
pub(crate) struct Features<T> {
    /// `[batch * grid.positions(), dim]`
    pub tokens: T,
    /// Where the tokens stand.
    pub grid: Grid,
    /// The mean attention map ([`Ops::attention_with_map`]) of every second block of the last stage,
    /// if it was asked for and the encoder has attention there.
    pub map: Option<T>,
}

/// The encoder of a network.
pub(super) enum Encoder<L: Layers> {
    Svtr(Svtr<L>),
    RepVit(RepVit<L>),
}

impl<L: Layers> Encoder<L> {
    pub(super) fn new(config: &EncoderConfig, scope: &Scope<L::Parameter>) -> Result<Self> {
        Ok(match config {
            EncoderConfig::Svtr(config) => Encoder::Svtr(Svtr::new(config, scope)?),
            EncoderConfig::RepVit(config) => Encoder::RepVit(RepVit::new(config, scope)?),
        })
    }

    /// Images `[batch * grid.positions(), 3]` to features.
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
        with_map: bool,
    ) -> Result<Features<O::Tensor>> {
        match self {
            Encoder::Svtr(encoder) => encoder.forward(ops, images, grid, with_map),
            Encoder::RepVit(encoder) => encoder.forward(ops, images, grid),
        }
    }
}
