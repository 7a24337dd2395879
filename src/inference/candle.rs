//! Inference with candle: on any device, differentiable.

use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};

use crate::error::Result;
use crate::model::{Config, FrameLogits, Network};
use crate::ops::candle::{Candle, Tensors, image_tokens};
use crate::ops::{Grid, Init, MAP_WIDTH, ParameterSource, Scope};

/// A network in candle's operations, on any device. Gradients reach the images, and the parameters of a network
/// whose parameters are variables ([`CandleModel::from_var_builder`]).
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
        Self::build(config, &OnDevice { parameters, device, dtype }, device, dtype)
    }

    fn build(
        config: &Config,
        parameters: &dyn ParameterSource<Tensor>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let network = Arc::new(Network::new(config, &Scope::new(parameters))?);
        let (config, device) = (Arc::new(config.clone()), device.clone());
        Ok(CandleModel { network, config, device, dtype })
    }

    /// Builds the network from tensors of a candle program, on their device and in their type. They have the names
    /// of the published checkpoints, as [`Weights::names`](crate::weights::Weights::names) lists them;
    /// [`VarBuilder::pp`] takes those below a prefix. Batch norms are folded into the convolutions before them.
    ///
    /// Variables of a [`VarMap`](candle_nn::VarMap) that are missing are initialised as for a training from
    /// the start.
    ///
    /// ```
    /// use svtrv2::candle_core::{DType, Device, Tensor};
    /// use svtrv2::candle_nn::{VarBuilder, VarMap};
    /// use svtrv2::inference::CandleModel;
    /// use svtrv2::model::Config;
    ///
    /// let variables = VarMap::new();
    /// let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    /// let model = CandleModel::from_var_builder(&Config::tiny(), builder)?;
    /// let images = Tensor::zeros((1, 3, 32, 128), DType::F32, &Device::Cpu)?;
    /// assert_eq!(model.forward(&images)?.dims(), [1, 32, 95]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`](crate::ConfigError); [`Error::Compute`](crate::Error::Compute) if a tensor is missing or has
    /// another shape than `config` asks for.
    pub fn from_var_builder(config: &Config, builder: VarBuilder) -> Result<Self> {
        config.validate()?;
        let (device, dtype) = (builder.device().clone(), builder.dtype());
        Self::build(config, &Variables(builder), &device, dtype)
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

/// Parameters that a candle program has.
struct Variables<'a>(VarBuilder<'a>);

impl ParameterSource<Tensor> for Variables<'_> {
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let init = match init {
            Init::Constant(value) => candle_nn::Init::Const(value),
            Init::Normal(stdev) => candle_nn::Init::Randn { mean: 0.0, stdev },
            Init::Kaiming => candle_nn::Init::Kaiming {
                dist: NormalOrUniform::Normal,
                fan: FanInOut::FanOut,
                non_linearity: NonLinearity::ReLU,
            },
        };
        Ok(self.0.get_with_hints(shape, name, init)?)
    }
}
