//! Inference on a CPU, in f32 or int8, on plain buffers.

use std::fmt;
use std::sync::Arc;

use super::{Array, Precision};
use crate::cpu;
use crate::error::{ComputeError, Result};
use crate::model::{Config, Features, FrameLogits, Network};
use crate::ops::int8::{self, Int8, PackedInt8};
use crate::ops::native::{Native, Packed, Tokens};
use crate::ops::{Grid, MAP_WIDTH, ParameterSource, Scope};

/// Input pixels that go through the network together: a crop of any of the four common sizes, several smaller
/// ones.
///
/// A CPU gains nothing from batches beyond that: the activations of one crop still lie in its second-level
/// cache, those of two do not.
pub(crate) const PART_PIXELS: usize = 48 * 96;

/// A network on a CPU, with packed parameters: in f32, or with the products of its linear
/// layers and convolutions in int8.
///
/// Copies share the parameters. Work is spread over the threads of the current rayon pool. The
/// result for an image never depends on the other images of the batch or on the number of threads:
/// it is the same to the bit.
///
/// ```no_run
/// use svtrv2::weights::Weights;
///
/// let model = Weights::open("svtrv2_b.safetensors")?.model()?;
/// let images = vec![0.0; 2 * 3 * 32 * 128];
/// let logits = model.forward(&images, [2, 3, 32, 128])?;
/// assert_eq!(logits.shape, [2, 32, 95]);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Clone)]
pub struct Model {
    network: PackedNetwork,
    config: Arc<Config>,
}

#[derive(Clone)]
enum PackedNetwork {
    F32(Arc<Network<Packed>>),
    Int8(Arc<Network<PackedInt8>>),
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Model").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Model {
    pub(crate) fn new(config: &Config, parameters: &dyn ParameterSource<Vec<f32>>) -> Result<Self> {
        let network = Arc::new(Network::new(config, &Scope::new(parameters))?);
        Ok(Model { network: PackedNetwork::F32(network), config: Arc::new(config.clone()) })
    }

    pub(crate) fn new_int8(
        config: &Config,
        parameters: &dyn ParameterSource<int8::Values>,
    ) -> Result<Self> {
        let network = Arc::new(Network::new(config, &Scope::new(parameters))?);
        Ok(Model { network: PackedNetwork::Int8(network), config: Arc::new(config.clone()) })
    }

    /// What the products are computed in: [`Precision::F32`] or [`Precision::Int8`].
    pub fn precision(&self) -> Precision {
        match self.network {
            PackedNetwork::F32(_) => Precision::F32,
            PackedNetwork::Int8(_) => Precision::Int8,
        }
    }

    /// The logits, `[batch, frames, classes]`, of images `[batch, 3, height, width]` in row-major
    /// order. There is a frame for every [`Config::frame_stride`] columns.
    ///
    /// Channels are in the order that [`Config::resizing`] states, each sample mapped from 0..=255 to
    /// -1..=1. Sizes are those of that rule, but any that make a frame are accepted.
    ///
    /// # Errors
    /// [`ComputeError::Images`](crate::ComputeError::Images) if the shape is another,
    /// [`ComputeError::TooNarrow`](crate::ComputeError::TooNarrow) if the images make no frame.
    pub fn forward(&self, images: &[f32], shape: [usize; 4]) -> Result<Array<3>> {
        let run = |tokens, grid| {
            let FrameLogits { logits, frames } =
                self.classify(&self.encode(tokens, grid, false)?)?;
            Ok((frames, [logits.values]))
        };
        let (batch, frames, [logits]) = in_parts(images, shape, run)?;
        Ok(Array { values: logits, shape: [batch, frames, self.config.num_classes] })
    }

    /// The logits as of [`Model::forward`], and the attention of the network: how much the features
    /// of each frame look at the features around them, `[batch, frames, rows, 33]`, where rows are those
    /// of the features' grid. The last axis are the columns from 16 before to 16 behind. Weights are the
    /// mean over the heads and over the column's rows of the attention in every second block of the
    /// last stage. A network that has no attention there, or whose frames are not the columns of the
    /// features, gives an array without rows.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_with_attention(
        &self,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<(Array<3>, Array<4>)> {
        let run = |tokens: Tokens, grid: Grid| {
            let features = self.encode(tokens, grid, true)?;
            let FrameLogits { logits, frames } = self.classify(&features)?;
            let map = features.map.filter(|_| frames == features.grid.width);
            let (rows, map) = match map {
                Some(map) => (features.grid.height, map.values),
                None => (0, Vec::new()),
            };
            Ok(((frames, rows), [logits.values, map]))
        };
        let (batch, (frames, rows), [logits, map]) = in_parts(images, shape, run)?;
        let logits = Array { values: logits, shape: [batch, frames, self.config.num_classes] };
        Ok((logits, Array { values: map, shape: [batch, frames, rows, MAP_WIDTH] }))
    }

    /// The encoder's features, `[batch, dim, rows, columns]`, of images as for [`Model::forward`].
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Array<4>> {
        let dim = self.config.feature_dim();
        let run = |tokens, grid| {
            let features = self.encode(tokens, grid, false)?;
            let (values, grid) = (&features.tokens.values, features.grid);
            Ok((grid, [cpu::channels_first(values, grid.positions(), dim)]))
        };
        let (batch, Grid { height, width }, [values]) = in_parts(images, shape, run)?;
        Ok(Array { values, shape: [batch, dim, height, width] })
    }

    fn encode(&self, tokens: Tokens, grid: Grid, map: bool) -> Result<Features<Tokens>> {
        match &self.network {
            PackedNetwork::F32(network) => network.encode(&Native, tokens, grid, map),
            PackedNetwork::Int8(network) => network.encode(&Int8, tokens, grid, map),
        }
    }

    fn classify(&self, features: &Features<Tokens>) -> Result<FrameLogits<Tokens>> {
        match &self.network {
            PackedNetwork::F32(network) => network.classify(&Native, features),
            PackedNetwork::Int8(network) => network.classify(&Int8, features),
        }
    }
}

/// Runs images through `run` in parts of [`PART_PIXELS`], and joins its outputs; also returns the
/// batch and what `run` says of the outputs' shape.
///
/// Parts are jobs: spread over threads first, the work inside them second.
fn in_parts<S: Copy + Send, const N: usize>(
    images: &[f32],
    shape: [usize; 4],
    run: impl Fn(Tokens, Grid) -> Result<(S, [Vec<f32>; N])> + Sync,
) -> Result<(usize, S, [Vec<f32>; N])> {
    let (batch, grid) = Grid::from_images(&shape, images.len())?;
    let run = |images: &[f32]| {
        run(Tokens { values: cpu::channels_last(images, grid.positions()), channels: 3 }, grid)
    };
    let part = (PART_PIXELS / grid.positions()).max(1);
    if batch <= part {
        let (shape, outputs) = cpu::in_pool(|| run(images))?;
        return Ok((batch, shape, outputs));
    }
    let chunks = images.chunks(part * 3 * grid.positions()).collect();
    let parts: Vec<(S, [Vec<f32>; N])> =
        cpu::map_jobs(chunks, run).into_iter().collect::<Result<_>>()?;
    let Some(&(out_shape, _)) = parts.first() else {
        return Err(ComputeError::Images { shape: shape.to_vec(), values: images.len() }.into());
    };
    // A part is freed when it has been copied: with many classes they are large.
    let count = parts.len();
    let mut joined: [Vec<f32>; N] = std::array::from_fn(|_| Vec::new());
    for (_, outputs) in parts {
        for (joined, output) in joined.iter_mut().zip(outputs) {
            if joined.is_empty() {
                joined.reserve_exact(count * output.len());
            }
            joined.extend_from_slice(&output);
        }
    }
    Ok((batch, out_shape, joined))
}
