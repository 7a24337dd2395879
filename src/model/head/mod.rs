//! The heads: from a grid of features to the logits of each frame.

mod frames;
pub(super) mod frm;
pub(super) mod light_svtr;
pub(super) mod pooled;
pub(super) mod svtr_neck;

use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Result};
use crate::model::layers;
use crate::ops::{Epilogue, Grid, Layers, Ops, Scope};
use frames::pool_columns;
use frm::{Frm, FrmConfig};
use light_svtr::{LightSvtr, LightSvtrConfig};
use pooled::{Pooled, PooledConfig};
use svtr_neck::{SvtrNeck, SvtrNeckConfig};

/// The head of a network: what makes the logits of each frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HeadConfig {
    /// The feature rearrangement module: SVTRv2. A frame a column of the features.
    Frm(FrmConfig),
    /// The SVTR neck: OpenOCR's multilingual models. A frame two columns.
    SvtrNeck(SvtrNeckConfig),
    /// LightSVTR: PP-OCRv6 small. A frame two columns.
    LightSvtr(LightSvtrConfig),
    /// Convolutions of the frames alone: PP-OCRv6 tiny. A frame two columns.
    Pooled(PooledConfig),
}

impl HeadConfig {
    /// Columns of the features that make a frame.
    pub(super) fn columns(&self) -> usize {
        match self {
            HeadConfig::Frm(_) => 1,
            HeadConfig::SvtrNeck(_) | HeadConfig::LightSvtr(_) | HeadConfig::Pooled(_) => 2,
        }
    }

    pub(super) fn blocks(&self) -> usize {
        match self {
            HeadConfig::SvtrNeck(config) => config.blocks,
            HeadConfig::LightSvtr(config) => config.blocks,
            HeadConfig::Frm(_) | HeadConfig::Pooled(_) => 1,
        }
    }

    pub(super) fn validate(&self, feature_dim: usize) -> Result<(), ConfigError> {
        match self {
            HeadConfig::Frm(config) => config.validate(feature_dim),
            HeadConfig::SvtrNeck(config) => config.validate(feature_dim),
            HeadConfig::LightSvtr(config) => config.validate(),
            HeadConfig::Pooled(config) => config.validate(),
        }
    }
}

/// The logits of a batch.
pub(crate) struct FrameLogits<T> {
    /// `[batch * frames, classes]`
    pub logits: T,
    /// Frames of an image.
    pub frames: usize,
}

/// The head of a network.
pub(super) enum Head<L: Layers> {
    /// Its last operation contains the classifier.
    Frm(Frm<L>),
    SvtrNeck(SvtrNeck<L>, L::Linear),
    LightSvtr(LightSvtr<L>, L::Linear),
    Pooled(Pooled<L>, L::Linear),
}

impl<L: Layers> Head<L> {
    /// For features of `dim` channels.
    pub(super) fn new(
        config: &HeadConfig,
        dim: usize,
        classes: usize,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let classifier = |in_dim| layers::linear::<L>(in_dim, classes, &scope.below("fc"));
        Ok(match config {
            HeadConfig::Frm(config) => Head::Frm(Frm::new(config, dim, classes, scope)?),
            HeadConfig::SvtrNeck(config) => {
                let neck = SvtrNeck::new(config, dim, &scope.below("svtr_encoder"))?;
                Head::SvtrNeck(neck, classifier(config.dim)?)
            }
            HeadConfig::LightSvtr(config) => {
                let neck = LightSvtr::new(config, dim, &scope.below("svtr_encoder"))?;
                Head::LightSvtr(neck, classifier(config.dim)?)
            }
            HeadConfig::Pooled(config) => {
                let neck = Pooled::new(config, dim, scope)?;
                Head::Pooled(neck, classifier(config.dim)?)
            }
        })
    }

    /// Features `[rows, dim]` on `grid` to logits.
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        grid: Grid,
    ) -> Result<FrameLogits<O::Tensor>> {
        let (x, frames, classifier) = match self {
            Head::Frm(head) => {
                let logits = head.forward(ops, x, grid)?;
                return Ok(FrameLogits { logits, frames: grid.width });
            }
            Head::SvtrNeck(neck, classifier) => {
                let (x, frames) = pool_columns(ops, x, grid)?;
                (neck.forward(ops, &x, frames)?, frames, classifier)
            }
            Head::LightSvtr(neck, classifier) => {
                let (x, frames) = pool_columns(ops, x, grid)?;
                (neck.forward(ops, &x, frames)?, frames, classifier)
            }
            Head::Pooled(neck, classifier) => {
                let (x, frames) = pool_columns(ops, x, grid)?;
                (neck.forward(ops, &x, frames)?, frames, classifier)
            }
        };
        let logits = ops.linear(classifier, &x, Epilogue::Store)?;
        Ok(FrameLogits { logits, frames: frames.width })
    }
}
