//! Inference with candle: on any device, differentiable.

use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::model::{Config, FrameLogits, Network};
use crate::ops::candle::{Candle, Tensors, image_tokens};
use crate::ops::{Grid, Init, MAP_WIDTH, ParameterSource, Scope};

/// A network in candle's differentiable operations, on any device.
///
/// It computes what [`Model`](super::Model) does, on a CPU several times slower: there it is its
/// oracle.
#[derive(Clone)]
pub struct CandleModel {
    network: Arc<Network<Tensors>>,
    config: Arc<Config>,
    device: Device,
    dtype: DType,
}

impl fmt::Debug for CandleModel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("CandleModel")
            .field("config", &self.config)
            .field("device", &self.device)
            .field("dtype", &self.dtype)
            .finish_non_exhaustive()
    }
}

impl CandleModel {
    pub(crate) fn new(
        config: &Config,
        parameters: &dyn ParameterSource<Vec<f32>>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let (device, config) = (device.clone(), Arc::new(config.clone()));
        let source = OnDevice { parameters, device: &device, dtype };
        let network = Arc::new(Network::new(&config, &Scope::new(&source))?);
        Ok(CandleModel { network, config, device, dtype })
    }

    /// The logits, `[batch, frames, classes]`, of images `[batch, 3, height, width]` as for
    /// [`Model::forward`](super::Model::forward), on this network's device and of its type.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) if the shape is another or the device fails.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let (batch, grid, tokens) = image_tokens(images)?;
        let features = self.network.encode(&Candle::default(), tokens, grid, false)?;
        let FrameLogits { logits, frames } =
            self.network.classify(&Candle::default(), &features)?;
        Ok(logits.reshape((batch, frames, self.config.num_classes))?)
    }

    /// The logits, and the attention of the network as of
    /// [`Model::forward_with_attention`](super::Model::forward_with_attention).
    ///
    /// # Errors
    /// As [`CandleModel::forward`].
    pub fn forward_with_attention(&self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, grid, tokens) = image_tokens(images)?;
        let features = self.network.encode(&Candle::default(), tokens, grid, true)?;
        let FrameLogits { logits, frames } =
            self.network.classify(&Candle::default(), &features)?;
        let map = match features.map.filter(|_| frames == features.grid.width) {
            Some(map) => map.reshape((batch, frames, features.grid.height, MAP_WIDTH))?,
            None => Tensor::zeros((batch, frames, 0, MAP_WIDTH), self.dtype, &self.device)?,
        };
        Ok((logits.reshape((batch, frames, self.config.num_classes))?, map))
    }

    /// The encoder's features, `[batch, dim, rows, columns]`.
    ///
    /// # Errors
    /// As [`CandleModel::forward`].
    pub fn features(&self, images: &Tensor) -> Result<Tensor> {
        let (batch, grid, tokens) = image_tokens(images)?;
        let features = self.network.encode(&Candle::default(), tokens, grid, false)?;
        let (grid, dim) = (features.grid, self.config.feature_dim());
        let features = features.tokens.reshape((batch, grid.positions(), dim))?.transpose(1, 2)?;
        Ok(features.reshape((batch, dim, grid.height, grid.width))?)
    }

    /// Images as this network takes them.
    pub(super) fn images(&self, values: &[f32], shape: [usize; 4]) -> Result<Tensor> {
        Grid::from_images(&shape, values.len())?;
        Ok(Tensor::from_slice(values, &shape, &self.device)?.to_dtype(self.dtype)?)
    }
}

/// Parameters as tensors on a device.
struct OnDevice<'a> {
    parameters: &'a dyn ParameterSource<Vec<f32>>,
    device: &'a Device,
    dtype: DType,
}

impl ParameterSource<Tensor> for OnDevice<'_> {
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let values = self.parameters.get(name, shape, init)?;
        Ok(Tensor::from_vec(values, shape, self.device)?.to_dtype(self.dtype)?)
    }
}
