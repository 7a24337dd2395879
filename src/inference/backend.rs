//! One of the ways to run the network, as a device and a precision ask for.

#[cfg(feature = "candle")]
use super::CandleModel;
use super::native::PART_PIXELS;
use super::{Array, Device, Model, Precision};
use crate::error::Result;
use crate::model::Config;
use crate::ops::{ParameterSource, int8};

/// The network, however it runs.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Native(Model),
    #[cfg(feature = "candle")]
    Candle(CandleModel),
}

impl Backend {
    /// The fastest one for a device and a precision.
    pub(crate) fn new<P>(
        config: &Config,
        parameters: &P,
        device: Device,
        precision: Precision,
    ) -> Result<Self>
    where
        P: ParameterSource<Vec<f32>> + ParameterSource<int8::Values>,
    {
        match (device, precision) {
            (Device::Cpu, Precision::F32) => {
                return Ok(Backend::Native(Model::new(config, parameters)?));
            }
            (Device::Cpu, Precision::Int8) => {
                return Ok(Backend::Native(Model::new_int8(config, parameters)?));
            }
            _ => {}
        }
        #[cfg(feature = "candle")]
        {
            let (device, dtype) = (device.open()?, precision.dtype()?);
            Ok(Backend::Candle(CandleModel::new(config, parameters, &device, dtype)?))
        }
        #[cfg(not(feature = "candle"))]
        {
            Err(super::device::unsupported(device, precision))
        }
    }

    /// The fastest one on a device of candle's: in `precision` on a CPU, else in f32.
    #[cfg(feature = "train")]
    pub(crate) fn on_device<P>(
        config: &Config,
        parameters: &P,
        device: &candle_core::Device,
        precision: Precision,
    ) -> Result<Self>
    where
        P: ParameterSource<Vec<f32>> + ParameterSource<int8::Values>,
    {
        if device.is_cpu() {
            return Self::new(config, parameters, Device::Cpu, precision);
        }
        let dtype = candle_core::DType::F32;
        Ok(Backend::Candle(CandleModel::new(config, parameters, device, dtype)?))
    }

    /// Input pixels that one pass through the network best takes at most.
    pub(crate) fn pass_pixels(&self) -> usize {
        match self {
            Backend::Native(_) => PART_PIXELS,
            #[cfg(feature = "candle")]
            Backend::Candle(_) => 256 * 32 * 128,
        }
    }

    /// The logits of images on the network's device, as of [`CandleModel::forward`].
    #[cfg(feature = "train")]
    pub(crate) fn logits(&self, images: &candle_core::Tensor) -> Result<candle_core::Tensor> {
        match self {
            Backend::Native(model) => {
                let shape = images.dims4()?.into();
                let logits = model.forward(&images.flatten_all()?.to_vec1()?, shape)?;
                let shape = &logits.shape;
                Ok(candle_core::Tensor::from_vec(logits.values, shape, images.device())?)
            }
            Backend::Candle(model) => model.forward(images),
        }
    }

    /// [`Model::forward_with_attention`].
    pub(crate) fn forward_with_attention(
        &self,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<(Array<3>, Array<4>)> {
        match self {
            Backend::Native(model) => model.forward_with_attention(images, shape),
            #[cfg(feature = "candle")]
            Backend::Candle(model) => {
                let images = model.images(images, shape)?;
                let (logits, map) = model.forward_with_attention(&images)?;
                let (logits_shape, map_shape) = (logits.dims3()?, map.dims4()?);
                let values = |x: candle_core::Tensor| {
                    x.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()
                };
                let logits = Array { values: values(logits)?, shape: logits_shape.into() };
                Ok((logits, Array { values: values(map)?, shape: map_shape.into() }))
            }
        }
    }
}
