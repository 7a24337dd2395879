//! The visual encoders: images to a grid of features.

mod patch_embed;
pub(super) mod repvit;
pub(super) mod svtr;
mod svtr_block;

use super::config::EncoderConfig;
use crate::error::Result;
use crate::ops::{Grid, Layers, Ops, Scope};
use repvit::RepVit;
use svtr::Svtr;

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
