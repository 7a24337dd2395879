//! Weights of networks that find text.

use std::borrow::Cow;
use std::path::Path;

use super::buffer::Buffer;
use super::{Purpose, StorageType, Tensors, check_fit, fold, parameter, read, safetensors};
use crate::error::{Result, WeightsError};
use crate::inference::DetectorModel;
use crate::model::{DetectorConfig, detector_parameter_shapes};
use crate::ops::{Init, ParameterSource};

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

    /// Takes the bytes of such a file, as [`Weights::from_bytes`](super::Weights::from_bytes) does.
    ///
    /// # Errors
    /// As [`DetectorWeights::open`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::from_buffer(bytes.into().into())
    }

    fn from_buffer(buffer: Buffer) -> Result<Self> {
        let (_, file, tensors) = read(buffer, Purpose::Detection)?;
        let Some(config) = file.detector else {
            let detail = "it is no network that finds text of those that are known: PP-OCRv6's detectors, from \
                          ONNX or from this crate's safetensors";
            return Err(WeightsError::NotSvtrv2 { detail: detail.to_owned() }.into());
        };
        config.validate()?;
        let tensors = fold::fold(tensors)?;
        let wanted = || detector_parameter_shapes(&config);
        check_fit(config.encoder.blocks.len(), wanted, &tensors)?;
        Ok(DetectorWeights { tensors, config })
    }

    /// The network's configuration.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// Builds the network for inference on a CPU.
    ///
    /// # Errors
    /// [`WeightsError::NonFinite`] if a parameter is NaN or infinite; [`WeightsError::Io`] and
    /// [`WeightsError::Changed`] if the file can no longer be read.
    pub fn model(&self) -> Result<DetectorModel> {
        DetectorModel::new(&self.config, self)
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
