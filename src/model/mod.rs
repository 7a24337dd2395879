//! The network of SVTRv2: its configuration, topology and parameters.
//!
//! Encoder ([`Config`] says how large), feature rearrangement module, classifier. It is written
//! once, over an interface of operations, and knows no implementation of it; see
//! [`inference`](crate::inference) for what runs it. Parameters have the names of the published
//! checkpoints.

mod attention;
mod block;
mod config;
mod encoder;
mod frm;
pub(crate) mod layers;
mod parameters;
mod patch_embed;

use crate::error::Result;
use crate::ops::{Grid, Layers, Ops, Scope};
use encoder::Encoder;
use frm::Frm;

pub use config::{Config, StageConfig};
pub(crate) use config::{HEAD_DIM, SHORT_TEXT_RATIO};
pub(crate) use encoder::{Features, block_index};
pub use parameters::parameter_shapes;

/// The network: encoder, feature rearrangement module and classifier, with layers of type `L`.
pub(crate) struct Network<L: Layers> {
    encoder: Encoder<L>,
    frm: Frm<L>,
}

impl<L: Layers> Network<L> {
    /// Builds the network from parameters under the published checkpoints' names.
    pub(crate) fn new(config: &Config, parameters: &Scope<L::Parameter>) -> Result<Self> {
        config.validate()?;
        Ok(Network {
            encoder: Encoder::new(config, &parameters.below("encoder"))?,
            frm: Frm::new(config, &parameters.below("decoder"))?,
        })
    }

    /// The encoder's features of images: tokens `[batch * grid.positions(), 3]` of red, green and
    /// blue in -1..=1.
    pub(crate) fn encode<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
        with_map: bool,
    ) -> Result<Features<O::Tensor>> {
        self.encoder.forward(ops, images, grid, with_map)
    }

    /// The logits, `[batch * grid.width, classes]`, of the encoder's features.
    pub(crate) fn classify<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        features: &Features<O::Tensor>,
    ) -> Result<O::Tensor> {
        self.frm.forward(ops, &features.tokens, features.grid)
    }
}
