//! From a weights file of any kind to a network.
//!
//! [`Weights::open`] tells the format from the bytes: safetensors (this crate's own files and
//! OpenOCR's), PyTorch's zip-format `.pth`, and, with the feature `onnx`, ONNX exports: SVTRv2's,
//! OpenOCR's, PP-OCRv6's. Whatever the file calls its tensors, [`Weights`] holds them under one set of
//! names: the published checkpoints', with batch norms and the branches of reparameterised convolutions
//! folded, and 1x1 convolutions as matrices.
//!
//! This crate writes safetensors: exact or in f16 ([`Weights::save`]), or rounded to integers
//! ([`Weights::save_quantized`]). docs/weights_format.md describes both.

mod buffer;
mod detector;
#[cfg(any(feature = "embedded", feature = "latin"))]
mod embedded;
mod fingerprint;
mod fold;
mod format;
mod infer;
mod levels;
mod limits;
mod names;
#[cfg(feature = "onnx")]
mod onnx;
mod pickle;
#[cfg(feature = "onnx")]
mod protobuf;
mod pth;
mod quantized;
mod safetensors;
mod shape;
mod symbols;
mod tensor;
#[cfg(feature = "train")]
mod training;
#[cfg(feature = "candle")]
mod var_builder;
mod write_quantized;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::charset::Charset;
use crate::error::{ComputeError, ConfigError, Result, ShapeMismatch, WeightsError};
#[cfg(feature = "candle")]
use crate::inference::CandleModel;
use crate::inference::{Backend, Device, Model, Precision};
use crate::model::{Config, DetectorConfig, parameter_shapes};
use crate::ops::{Init, ParameterSource, int8};
use buffer::Buffer;
use tensor::StoredTensor;

pub use crate::ops::quantized::{ActivationBits, QuantizedTensor};
pub use detector::DetectorWeights;
pub use format::Format;
#[cfg(feature = "train")]
pub(crate) use limits::MAX_RANK;
pub(crate) use quantized::factors_fit;
pub use safetensors::StorageType;
pub(crate) use safetensors::write_bytes;
#[cfg(feature = "train")]
pub(crate) use safetensors::{Encoded, check_header, write_file};
#[cfg(feature = "train")]
pub(crate) use training::Values;
pub use write_quantized::Coding;
pub(crate) use write_quantized::{f16_scales, to_bytes as quantized_bytes};

/// The parameters of a network, still in their file, with what is needed to run it.
///
/// ```no_run
/// use svtrv2::weights::Weights;
///
/// let weights = Weights::open("svtrv2_b.safetensors")?;
/// println!("{:?}: {}", weights.format(), weights.config().variant().unwrap_or("?"));
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Weights {
    format: Format,
    tensors: Tensors,
    config: Config,
    charset: Option<Charset>,
    temperature: Option<f32>,
    precision: Precision,
}

impl Weights {
    /// Opens a weights file of any known format.
    ///
    /// The file stays open, and parameters are read when they are asked for: a network that is built from
    /// them is never in memory twice. If the file is changed or truncated meanwhile, what is read later gives
    /// [`WeightsError::Changed`] (as far as the file's length and time of change tell). Renaming another file to
    /// `path` changes nothing.
    ///
    /// The file must be a regular one; [`Weights::from_reader`] takes pipes. What is allocated for a
    /// damaged or hostile file is proportional to its size (docs/robustness.md).
    ///
    /// # Errors
    /// [`WeightsError`], naming what is wrong with the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_buffer(Buffer::open(path.as_ref())?)
    }

    /// Takes the bytes of a weights file of any known format: a `Vec<u8>`, or without a copy a
    /// `&'static [u8]` as of [`include_bytes!`].
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::from_buffer(bytes.into().into())
    }

    /// Reads a weights file of any known format to its end: limit a reader that may be endless
    /// ([`Read::take`]).
    ///
    /// # Errors
    /// [`WeightsError::Read`], and as [`Weights::open`].
    pub fn from_reader(mut reader: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(WeightsError::Read)?;
        Self::from_bytes(bytes)
    }

    fn from_buffer(buffer: Buffer) -> Result<Self> {
        let (format, file, tensors) = read(buffer, Purpose::Recognition)?;
        Self::from_tensors(format, file, tensors)
    }

    fn from_tensors(format: Format, mut file: WeightsFile, tensors: Tensors) -> Result<Self> {
        if file.detector.is_some() {
            let detail = "it finds text and does not read it: DetectorWeights opens it".to_owned();
            return Err(WeightsError::NotSvtrv2 { detail }.into());
        }
        let tensors = fold::fold(tensors)?;
        let config = match file.config.take() {
            Some(config) => config,
            None => infer::config(&tensors)?,
        };
        config.validate()?;
        check_fit(config.blocks(), || parameter_shapes(&config), &tensors)?;
        if let Some(charset) = &file.charset {
            charset.check_classes(config.num_classes)?;
        }
        if let Some(temperature) = file.temperature {
            ConfigError::check_positive("temperature", temperature)?;
        }
        let WeightsFile { charset, temperature, precision, .. } = file;
        Ok(Weights { format, tensors, config, charset, temperature, precision })
    }

    /// The format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The network's configuration: stored in this crate's own files, otherwise inferred from the
    /// shapes of the tensors (then `max_ratio` is 4 and heads have 32 channels, as published).
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The charset stored with the weights; only this crate's own files have one.
    pub fn charset(&self) -> Option<&Charset> {
        self.charset.as_ref()
    }

    /// The temperature that confidences are calibrated with, 1 if the file tells none; only this
    /// crate's own files have one.
    pub fn temperature(&self) -> f32 {
        self.temperature.unwrap_or(1.0)
    }

    /// What the network runs in by default: f32, unless the file states int8.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Replaces what the network runs in by default; [`Weights::save_quantized`] writes it into the
    /// file, [`Weights::save`] does not. It is the same as [`Options::precision`](crate::Options::precision): which
    /// parameters are rounded, and which stay in f32, is theirs ([`Weights::int8_model`]).
    ///
    /// # Errors
    /// [`ConfigError`] for another precision than f32 and int8.
    pub fn with_precision(mut self, precision: Precision) -> Result<Self> {
        if !matches!(precision, Precision::F32 | Precision::Int8) {
            let detail = format!("weights state F32 or Int8, not {precision:?}");
            return Err(ConfigError::new("precision", detail).into());
        }
        self.precision = precision;
        Ok(self)
    }

    /// Replaces the temperature ([`decode::fit_temperature`](crate::decode::fit_temperature) finds
    /// one).
    ///
    /// # Errors
    /// [`ConfigError`] if it is not a finite number above 0.
    pub fn with_temperature(mut self, temperature: f32) -> Result<Self> {
        ConfigError::check_positive("temperature", temperature)?;
        self.temperature = Some(temperature);
        Ok(self)
    }

    /// Replaces the ratio limit, which foreign files do not tell.
    ///
    /// # Errors
    /// [`ConfigError`] if it is 0 or above 256.
    pub fn with_max_ratio(mut self, max_ratio: u32) -> Result<Self> {
        self.config.max_ratio = max_ratio;
        self.config.validate()?;
        Ok(self)
    }

    /// Adds the charset, which foreign files do not tell.
    ///
    /// # Errors
    /// [`CharsetError::ClassCount`](crate::CharsetError::ClassCount) if it does not fit the
    /// network, [`CharsetError::Contradiction`](crate::CharsetError::Contradiction) if the file
    /// already holds another.
    pub fn with_charset(mut self, charset: Charset) -> Result<Self> {
        match &self.charset {
            Some(stored) => charset.check_agrees_with(stored)?,
            None => charset.check_classes(self.config.num_classes)?,
        }
        self.charset = Some(charset);
        Ok(self)
    }

    /// The parameters' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A parameter's values in row-major order and its shape, by its name in the published
    /// checkpoints; `None` if there is none.
    ///
    /// # Errors
    /// [`WeightsError::NonFinite`]; [`WeightsError::Io`] and [`WeightsError::Changed`] if the file can no longer be
    /// read.
    pub fn tensor(&self, name: &str) -> Result<Option<(Vec<f32>, Vec<usize>)>> {
        let Some(tensor) = self.tensors.get(name) else {
            return Ok(None);
        };
        Ok(Some((tensor.values(name)?, tensor.shape().to_vec())))
    }

    /// Whether any parameter is stored in integers.
    pub fn is_quantized(&self) -> bool {
        self.tensors.values().any(StoredTensor::is_quantized)
    }

    /// A parameter in integers with a scale a row; `None` if there is none of that name, or if it
    /// is not stored so.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] if the integers are damaged.
    pub fn quantized_tensor(&self, name: &str) -> Result<Option<QuantizedTensor>> {
        self.tensors.get(name).map_or(Ok(None), |tensor| tensor.quantized_values(name))
    }

    /// Builds the network for inference on a CPU in f32.
    ///
    /// # Errors
    /// [`WeightsError::NonFinite`] if a parameter is NaN or infinite; [`WeightsError::Io`] and
    /// [`WeightsError::Changed`] if the file can no longer be read.
    pub fn model(&self) -> Result<Model> {
        Model::new(&self.config, self)
    }

    /// Builds the network for inference on a CPU with its products in int8
    /// ([`Precision::Int8`]). Parameters that are stored in integers are taken as they are. In a quantised
    /// file, the layers of other parameters compute in f32; of exact weights, rows are rounded to 127 of their
    /// largest magnitude.
    ///
    /// # Errors
    /// As [`Weights::model`]; [`WeightsError::Malformed`] if integers are damaged.
    pub fn int8_model(&self) -> Result<Model> {
        Model::new_int8(&self.config, self)
    }

    /// Builds the network in candle's differentiable operations, on any device, its parameters in
    /// `dtype`.
    ///
    /// # Errors
    /// As [`Weights::model`]; [`Error::Compute`](crate::Error::Compute) if the device fails.
    #[cfg(feature = "candle")]
    pub fn candle_model(
        &self,
        dtype: candle_core::DType,
        device: &candle_core::Device,
    ) -> Result<CandleModel> {
        CandleModel::new(&self.config, self, device, dtype)
    }

    /// Builds the network as it runs fastest on a device in a precision.
    pub(crate) fn backend(&self, device: Device, precision: Precision) -> Result<Backend> {
        Backend::new(&self.config, self, device, precision)
    }

    /// Builds the network as it runs fastest in f32 on a device of candle's.
    #[cfg(feature = "train")]
    pub(crate) fn execution_on(&self, device: &candle_core::Device) -> Result<Backend> {
        Backend::on_device(&self.config, self, device, self.precision())
    }

    /// Writes a self-contained safetensors file: parameters, configuration, charset and
    /// temperature.
    ///
    /// The file is written beside its final place, flushed to the disk and then renamed: whatever
    /// happens, the old file or the whole new one stands under `path`. A symbolic link stays, and
    /// the file that it leads to is replaced. The permissions of a replaced file are kept.
    ///
    /// # Errors
    /// [`WeightsError::Io`], also if `path` is a device or a pipe; [`WeightsError::NonFinite`]; [`WeightsError::OutOfRange`] if a
    /// parameter exceeds the storage type; [`CharsetError::Missing`](crate::CharsetError::Missing)
    /// without a charset.
    pub fn save(&self, path: impl AsRef<Path>, storage: StorageType) -> Result<()> {
        safetensors::write(self, path.as_ref(), storage)
    }
}

/// What a network is for. Only exports whose graphs are told by their structure ask.
#[derive(Clone, Copy)]
enum Purpose {
    Recognition,
    Detection,
}

/// Reads a file of any known format; its tensors get the published names.
#[cfg_attr(
    not(feature = "onnx"),
    allow(unused_variables, reason = "other formats say it themselves")
)]
fn read(buffer: Buffer, purpose: Purpose) -> Result<(Format, WeightsFile, Tensors)> {
    let format = Format::detect(&buffer.read(0..buffer.len().min(Format::DETECTED_BY))?)?;
    let mut file = match format {
        Format::Safetensors => safetensors::read(buffer)?,
        Format::Pth => pth::read(buffer)?,
        #[cfg(feature = "onnx")]
        Format::Onnx => {
            let mut file = onnx::read(buffer.loaded()?, purpose)?;
            file.tensors.values_mut().for_each(StoredTensor::unload);
            file
        }
        #[cfg(not(feature = "onnx"))]
        Format::Onnx => {
            return Err(WeightsError::FeatureDisabled { format: "ONNX", feature: "onnx" }.into());
        }
    };
    let tensors = names::canonical(std::mem::take(&mut file.tensors))?;
    Ok((format, file, tensors))
}

/// Compares the file's tensors with what a network of so many blocks asks for.
fn check_fit(
    blocks: usize,
    wanted: impl FnOnce() -> Result<Vec<(String, Vec<usize>)>>,
    tensors: &Tensors,
) -> Result<()> {
    // Without this the list of what is missing could be far longer than the file.
    if blocks > tensors.len() {
        let detail = format!("{blocks} blocks, but {} tensors", tensors.len());
        return Err(WeightsError::NotSvtrv2 { detail }.into());
    }
    let wanted: BTreeMap<_, _> = wanted()?.into_iter().collect();
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for (name, expected) in &wanted {
        match tensors.get(name) {
            None => missing.push(name.clone()),
            Some(tensor) if tensor.shape() != expected => misshapen.push(ShapeMismatch {
                name: name.clone(),
                expected: expected.clone(),
                found: tensor.shape().to_vec(),
            }),
            Some(_) => {}
        }
    }
    let unexpected: Vec<String> =
        tensors.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        Ok(())
    } else {
        Err(WeightsError::Misfit { missing, misshapen, unexpected }.into())
    }
}

/// The tensor of a parameter that a network asks for.
fn parameter<'a>(tensors: &'a Tensors, name: &str, shape: &[usize]) -> Result<&'a StoredTensor> {
    let Some(tensor) = tensors.get(name) else {
        return Err(ComputeError::MissingParameter { name: name.to_owned() }.into());
    };
    if tensor.shape() != shape {
        let (expected, found) = (shape.to_vec(), tensor.shape().to_vec());
        let mismatch = ShapeMismatch { name: name.to_owned(), expected, found };
        return Err(ComputeError::ParameterShape(mismatch).into());
    }
    Ok(tensor)
}

/// Hands parameters to the network as it is built, straight from the file.
impl ParameterSource<Vec<f32>> for Weights {
    fn get(&self, name: &str, shape: &[usize], _: Init) -> Result<Vec<f32>> {
        parameter(&self.tensors, name, shape)?.values(name)
    }
}

/// The same for a network in int8: integers stay integers.
impl ParameterSource<int8::Values> for Weights {
    fn get(&self, name: &str, shape: &[usize], _: Init) -> Result<int8::Values> {
        let tensor = parameter(&self.tensors, name, shape)?;
        if tensor.is_kept_f32() || self.config.computes_in_f32(name) {
            return Ok(int8::Values::KeepF32(tensor.values(name)?));
        }
        Ok(match tensor.quantized_values(name)? {
            Some(quantized) => int8::Values::Int8(quantized),
            None => int8::Values::F32(tensor.values(name)?),
        })
    }
}

/// Tensors by their names.
type Tensors = BTreeMap<String, StoredTensor>;

/// What a format's reader finds in a file.
struct WeightsFile {
    /// Tensors under the file's own names.
    tensors: Tensors,
    /// The configuration of a network that finds text, where the file holds one.
    detector: Option<DetectorConfig>,
    /// The stored configuration, if the format has one.
    config: Option<Config>,
    /// The stored charset, if the format has one.
    charset: Option<Charset>,
    /// The stored temperature, if the format has one.
    temperature: Option<f32>,
    /// What the network is to run in.
    precision: Precision,
}

impl WeightsFile {
    fn from_tensors(tensors: Tensors) -> Self {
        WeightsFile {
            tensors,
            detector: None,
            config: None,
            charset: None,
            temperature: None,
            precision: Precision::F32,
        }
    }
}

/// The metadata key of this crate's own files. There is one only: the order of several would
/// differ from one writing to the next.
pub(crate) const METADATA_KEY: &str = "svtrv2";

/// Shares a buffer between the tensors that lie in it.
type SharedBuffer = Arc<Buffer>;
