//! Weights of networks that find text.

use std::borrow::Cow;
use std::path::Path;

use super::buffer::Buffer;
use super::{
    Format, StorageType, Tensors, WeightsFile, check_fit, fold, int8_parameter, parameter, pth,
    safetensors,
};
#[cfg(feature = "onnx")]
use super::{onnx, tensor::StoredTensor};
use crate::error::{Result, WeightsError};
use crate::inference::DetectorModel;
use crate::model::{DetectorConfig, detector_parameter_shapes};
use crate::ops::{Init, ParameterSource, int8};

/// The parameters of a network that finds text, still in their file.
///
/// ```no_run
/// use svtrv2::weights::{DetectorWeights, StorageType};
///
/// let weights = DetectorWeights::open("PP-OCRv6_det_small.onnx")?;
/// weights.save("detector.safetensors", StorageType::F16)?;
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DetectorWeights {
    tensors: Tensors,
    config: DetectorConfig,
}

impl DetectorWeights {
    /// Opens a safetensors file of this crate's, or with the feature `onnx` the ONNX export of PP-OCRv6's
    /// detectors. As with [`Weights::open`](super::Weights::open) the file stays open, and what is allocated for a
    /// hostile file is proportional to its size.
    ///
    /// # Errors
    /// [`WeightsError`], naming what is wrong with the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_buffer(Buffer::open(path.as_ref())?)
    }

    /// Takes the bytes of such a file.
    ///
    /// # Errors
    /// As [`DetectorWeights::open`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::from_buffer(match bytes.into() {
            Cow::Borrowed(bytes) => Buffer::Static(bytes),
            Cow::Owned(bytes) => Buffer::Owned(bytes),
        })
    }

    fn from_buffer(buffer: Buffer) -> Result<Self> {
        let format = Format::detect(&buffer.read(0..buffer.len().min(Format::DETECTED_BY))?)?;
        let WeightsFile { tensors, detector, .. } = match format {
            Format::Safetensors => safetensors::read(buffer)?,
            Format::Pth => pth::read(buffer)?,
            #[cfg(feature = "onnx")]
            Format::Onnx => {
                let mut file = onnx::read_detector(buffer.loaded()?)?;
                file.tensors.values_mut().for_each(StoredTensor::unload);
                file
            }
            #[cfg(not(feature = "onnx"))]
            Format::Onnx => {
                return Err(
                    WeightsError::FeatureDisabled { format: "ONNX", feature: "onnx" }.into()
                );
            }
        };
        let Some(config) = detector else {
            let detail = "it is no network that finds text of those that are known: PP-OCRv6's detectors, from \
                          ONNX or from this crate's safetensors";
            return Err(WeightsError::NotSvtrv2 { detail: detail.to_owned() }.into());
        };
        config.validate()?;
        if config.encoder.blocks.len() > tensors.len() {
            let (blocks, tensors) = (config.encoder.blocks.len(), tensors.len());
            let detail = format!("{blocks} blocks, but {tensors} tensors");
            return Err(WeightsError::NotSvtrv2 { detail }.into());
        }
        let tensors = fold::fold(tensors)?;
        check_fit(detector_parameter_shapes(&config)?, &tensors)?;
        Ok(DetectorWeights { tensors, config })
    }

    /// The network's configuration.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// Builds the network for inference on a CPU in f32.
    ///
    /// # Errors
    /// [`WeightsError::NonFinite`] if a parameter is NaN or infinite; [`WeightsError::Io`] and
    /// [`WeightsError::Changed`] if the file can no longer be read.
    pub fn model(&self) -> Result<DetectorModel> {
        DetectorModel::new(&self.config, self)
    }

    /// Builds the network for inference on a CPU with its products in int8, the stem's excepted: rows of weights
    /// are rounded to 127 of their largest magnitude.
    ///
    /// # Errors
    /// As [`DetectorWeights::model`].
    pub fn int8_model(&self) -> Result<DetectorModel> {
        DetectorModel::new_int8(&self.config, self)
    }

    /// Writes a self-contained safetensors file, as [`Weights::save`](super::Weights::save) does.
    ///
    /// # Errors
    /// [`WeightsError::Io`], also if `path` is a device or a pipe; [`WeightsError::NonFinite`];
    /// [`WeightsError::OutOfRange`] if a parameter exceeds the storage type.
    pub fn save(&self, path: impl AsRef<Path>, storage: StorageType) -> Result<()> {
        safetensors::write_detector(&self.config, &self.tensors, path.as_ref(), storage)
    }
}

impl ParameterSource<Vec<f32>> for DetectorWeights {
    fn get(&self, name: &str, shape: &[usize], _: Init) -> Result<Vec<f32>> {
        parameter(&self.tensors, name, shape)?.values(name)
    }
}

impl ParameterSource<int8::Values> for DetectorWeights {
    fn get(&self, name: &str, shape: &[usize], _: Init) -> Result<int8::Values> {
        int8_parameter(&self.tensors, name, shape, self.config.computes_in_f32(name))
    }
}
