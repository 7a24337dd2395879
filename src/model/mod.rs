//! The network: `[batch, 3, height, width]` to logits `[batch, time, class]`.
//!
//! Encoder ([`Config`] says how large), feature rearrangement module, classifier. It is written
//! once, over candle tensors and differentiable operations; parameters come from a
//! [`candle_nn::VarBuilder`] under the names of the published checkpoints, with the batch norm of
//! the patch embedding folded into its convolutions.

mod block;
mod config;
mod encoder;
mod frm;
mod layers;
mod parameters;
mod pass;
#[cfg(feature = "train")]
mod tape;
#[cfg(feature = "train")]
mod training;

use candle_core::Tensor;
use candle_nn::VarBuilder;
use rayon::prelude::*;

use crate::cpu::MAP_REACH;
use crate::error::Result;
use encoder::Encoder;
use frm::Frm;
pub(crate) use layers::{Backend, Builder};
use pass::Pass;

pub use config::{Config, StageConfig};
pub(crate) use config::{HEAD_DIM, SHORT_TEXT_RATIO};
pub(crate) use encoder::block_index;
#[cfg(feature = "train")]
pub(crate) use layers::{LayerNorm, Linear};
pub use parameters::parameter_shapes;
#[cfg(feature = "train")]
pub(crate) use tape::Tape;
#[cfg(feature = "train")]
pub use training::BatchNormMode;
#[cfg(feature = "train")]
pub(crate) use training::Training;

/// The network of SVTRv2: encoder, feature rearrangement module and classifier.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use svtrv2::model::{Config, Model};
///
/// // A network with fresh parameters; trained ones come from `svtrv2::weights::Weights`.
/// let parameters = VarMap::new();
/// let vb = VarBuilder::from_varmap(&parameters, DType::F32, &Device::Cpu);
/// let model = Model::new(&Config::tiny(), vb)?;
/// let images = Tensor::zeros((1, 3, 32, 128), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.forward(&images)?.dims(), [1, 32, 95]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    encoder: Encoder,
    frm: Frm,
    backend: Backend,
}

/// Input pixels that go through the network together on a CPU: one or two crops.
const PART_PIXELS: usize = 2 * 32 * 128;

impl Model {
    /// Builds the network from parameters under the published checkpoints' names.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the configuration is out of range,
    /// [`Error::Compute`](crate::Error::Compute) if a parameter is missing or has another shape.
    pub fn new(config: &Config, parameters: VarBuilder) -> Result<Self> {
        Self::build(config, &Builder::new(parameters, Backend::Tensors))
    }

    /// The same network for inference: the parameters are packed, and on a CPU in f32 it computes
    /// with this crate's kernels, which have no gradient.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn for_inference(config: &Config, parameters: VarBuilder) -> Result<Self> {
        let backend = Backend::for_inference(parameters.dtype, parameters.device());
        Self::build(config, &Builder::new(parameters, backend))
    }

    /// The same network for training: with differentiable operations, and optionally with the
    /// patch embedding's batch norms.
    #[cfg(feature = "train")]
    pub(crate) fn for_training(
        config: &Config,
        parameters: VarBuilder,
        batch_norms: bool,
    ) -> Result<Self> {
        let builder = Builder::new(parameters, Backend::Tensors);
        Self::build(config, &if batch_norms { builder.with_batch_norms() } else { builder })
    }

    /// Features `[batch, positions, dim]` and logits `[batch, width / 4, classes]` of a pass in
    /// training.
    #[cfg(feature = "train")]
    pub(crate) fn forward_training(
        &self,
        images: &Tensor,
        training: &Training,
    ) -> Result<(Tensor, Tensor)> {
        check_images(images)?;
        let pass = Pass::training(training);
        let (features, grid) = self.encoder.forward(images, pass)?;
        let logits = self.frm.forward(&features, grid, pass)?;
        Ok((features, logits))
    }

    fn build(config: &Config, builder: &Builder) -> Result<Self> {
        config.validate()?;
        Ok(Model {
            encoder: Encoder::new(config, &builder.pp("encoder"))?,
            frm: Frm::new(config, &builder.pp("decoder"))?,
            backend: builder.backend(),
        })
    }

    /// The logits, `[batch, width / 4, classes]`, of images `[batch, 3, height, width]`.
    ///
    /// Images are RGB, each sample mapped from 0..=255 to -1..=1. Height and width are those of
    /// [`target_size`](crate::resize::target_size), but any of at least 1 pixel are accepted.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) if the shape is another or the device fails.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        self.in_parts(images, |part| {
            let (features, grid) = self.encoder.forward(part, Pass::INFERENCE)?;
            Ok([self.frm.forward(&features, grid, Pass::INFERENCE)?])
        })
        .map(|[logits]| logits)
    }

    /// The logits as of [`Model::forward`], and where the network looked: how much the features of
    /// each column (one a time step) look at the features around them, `[batch, width / 4, height /
    /// 8, 33]`. The last axis are the columns from 16 before to 16 behind. Weights are the mean over
    /// the heads and over the column's rows of the attention in every second block of the last
    /// stage.
    /// Without attention there they are all 0.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_with_attention(&self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        self.in_parts(images, |part| {
            let (features, grid, map) = self.encoder.forward_with_map(part)?;
            let shape = (part.dim(0)?, grid.width, grid.height, 2 * MAP_REACH + 1);
            let map =
                map.map_or_else(|| Tensor::zeros(shape, images.dtype(), images.device()), Ok)?;
            Ok([self.frm.forward(&features, grid, Pass::INFERENCE)?, map])
        })
        .map(|[logits, attention]| (logits, attention))
    }

    /// Runs images through `forward`, on a CPU in parts.
    ///
    /// A CPU gains nothing from large batches: the activations of [`PART_PIXELS`] still lie in its
    /// caches. Parts are spread over threads first, the work inside them second.
    fn in_parts<const N: usize>(
        &self,
        images: &Tensor,
        forward: impl Fn(&Tensor) -> candle_core::Result<[Tensor; N]> + Sync,
    ) -> Result<[Tensor; N]> {
        check_images(images)?;
        let (batch, _, height, width) = images.dims4()?;
        let part = match self.backend {
            Backend::Tensors => batch,
            Backend::Kernels => (PART_PIXELS / (height * width)).max(1),
        };
        if batch <= part {
            return Ok(forward(images)?);
        }
        let starts: Vec<usize> = (0..batch).step_by(part).collect();
        let parts: Vec<[Tensor; N]> = starts
            .into_par_iter()
            .map(|start| forward(&images.narrow(0, start, part.min(batch - start))?))
            .collect::<candle_core::Result<_>>()?;
        let mut joined = Vec::with_capacity(N);
        for output in 0..N {
            let parts: Vec<&Tensor> = parts.iter().map(|part| &part[output]).collect();
            joined.push(Tensor::cat(&parts, 0)?);
        }
        let lost = |_| candle_core::Error::Msg("an output is missing".into());
        Ok(joined.try_into().map_err(lost)?)
    }

    /// The encoder's features, `[batch, dim, height / 8, width / 4]`, of images as for
    /// [`Model::forward`].
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn features(&self, images: &Tensor) -> Result<Tensor> {
        check_images(images)?;
        let (features, grid) = self.encoder.forward(images, Pass::INFERENCE)?;
        let (batch, _, dim) = features.dims3()?;
        let features = features.transpose(1, 2)?;
        Ok(features.reshape((batch, dim, grid.height, grid.width))?)
    }
}

fn check_images(images: &Tensor) -> candle_core::Result<()> {
    match images.dims4()? {
        (1.., 3, 1.., 1..) => Ok(()),
        _ => candle_core::bail!("images are [batch, 3, height, width], not {:?}", images.dims()),
    }
}
