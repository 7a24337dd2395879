//! The networks: their configuration, topology and parameters.
//!
//! A recogniser is an encoder and a head, as [`Config`] says; [`DetectorConfig`] is of a network that finds text. They are written once, over an interface of
//! operations, and know no implementation of it; see [`inference`](crate::inference) for what runs
//! them. Parameters have the names of the published checkpoints, with batch norms and the branches of
//! reparameterised convolutions folded.

mod attention;
mod config;
mod detector;
mod encoder;
mod head;
pub(crate) mod layers;
mod limits;
mod parameters;

use crate::error::Result;
use crate::ops::{Grid, Layers, Ops, Scope};
use encoder::Encoder;
use head::Head;

pub use config::Config;
pub use detector::DetectorConfig;
pub(crate) use detector::{Detector, MAP_PATCH};
pub use encoder::EncoderConfig;
pub(crate) use encoder::Features;
pub use encoder::repvit::{RepVitBlock, RepVitConfig, RepVitKind, RepVitStem};
pub(crate) use encoder::svtr_config::{HEAD_DIM, block_index};
pub use encoder::svtr_config::{LocalMixer, StageConfig, SvtrConfig};
pub(crate) use head::FrameLogits;
pub use head::HeadConfig;
pub use head::frm::FrmConfig;
pub use head::light_svtr::LightSvtrConfig;
pub use head::pooled::PooledConfig;
pub use head::svtr_neck::SvtrNeckConfig;
pub(crate) use parameters::detector_parameter_shapes;
pub use parameters::parameter_shapes;

/// A network with layers of type `L`.
pub(crate) struct Network<L: Layers> {
    encoder: Encoder<L>,
    head: Head<L>,
}

impl<L: Layers> Network<L> {
    /// Builds the network from parameters under the published checkpoints' names.
    pub(crate) fn new(config: &Config, parameters: &Scope<L::Parameter>) -> Result<Self> {
        config.validate()?;
        let (dim, classes) = (config.feature_dim(), config.num_classes);
        Ok(Network {
            encoder: Encoder::new(&config.encoder, &parameters.below("encoder"))?,
            head: Head::new(&config.head, dim, classes, &parameters.below("decoder"))?,
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

    /// The logits of the encoder's features.
    pub(crate) fn classify<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        features: &Features<O::Tensor>,
    ) -> Result<FrameLogits<O::Tensor>> {
        self.head.forward(ops, &features.tokens, features.grid)
    }
}
