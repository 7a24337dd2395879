//! The heads: from a grid of features to the logits of each frame.

mod frames;
pub(super) mod frm;
pub(super) mod light_svtr;
pub(super) mod pooled;
pub(super) mod svtr_neck;

use super::config::HeadConfig;
use crate::error::Result;
use crate::model::layers;
use crate::ops::{Epilogue, Grid, Layers, Ops, Scope};
use frames::pool_columns;
use frm::Frm;
use light_svtr::LightSvtr;
use pooled::Pooled;
use svtr_neck::SvtrNeck;

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
