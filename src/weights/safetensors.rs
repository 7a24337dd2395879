//! safetensors: OpenOCR's files, and this crate's own with configuration and charset inside.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{self, Dtype, View};
use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::limits::{TensorList, check_name, check_rank};
use super::quantized::{self, Listed, QuantizedParameters};
use super::tensor::{ElementType, StoredTensor};
use super::{METADATA_KEY, Tensors, Weights, WeightsFile};
use crate::charset::{Charset, Symbols};
use crate::error::{CharsetError, Result, WeightsError, shortened};
use crate::files;
use crate::inference::Precision;
use crate::model::{Config, DetectorConfig};

/// What the metadata entry holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Metadata {
    config: Config,
    /// Symbols of the charset, class 1 first.
    charset: Symbols,
    /// What confidences are calibrated with; files without it are not calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    /// What the network is to run in, if that is not f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    precision: Option<StatedPrecision>,
    /// Which parameters are quantised, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantized: Option<QuantizedParameters>,
}

/// What the metadata entry of a network that finds text holds, as JSON.
#[derive(Serialize, Deserialize)]
struct DetectorMetadata {
    config: DetectorConfig,
}

/// A precision that a file states.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatedPrecision {
    Int8,
}

/// The element type that [`Weights::save`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StorageType {
    /// 4 bytes a parameter, exact.
    #[default]
    F32,
    /// 2 bytes a parameter, rounded to 11 significant bits.
    F16,
}

const FORMAT: &str = "safetensors";
/// The metadata key of networks that find text.
const DETECTOR_KEY: &str = "svtrv2_detector";
/// The longest header in bytes: it is parsed as a whole. The largest charset takes some 3 MB of it.
const MAX_HEADER: u64 = 16 << 20;

/// Checks the length of a header before anything is parsed.
pub(crate) fn check_header(bytes: &[u8]) -> Result<()> {
    let len = bytes.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
    if len <= MAX_HEADER {
        return Ok(());
    }
    Err(malformed(format!("a header of {len} bytes, more than {MAX_HEADER}")))
}

/// The header and where the data begin: behind the header's length in 8 bytes, and itself.
fn read_header(buffer: &Buffer) -> Result<(tensor::Metadata, usize)> {
    let len = buffer.read(0..buffer.len().min(8))?;
    check_header(&len)?;
    let len = len.first_chunk().ok_or_else(|| malformed("it ends before the header"))?;
    // At most `MAX_HEADER`.
    let data = 8 + u64::from_le_bytes(*len) as usize;
    if data > buffer.len() {
        return Err(malformed("the header breaks off"));
    }
    let header = buffer.read(8..data)?;
    let header: tensor::Metadata = serde_json::from_slice(&header).map_err(malformed)?;
    if header.data_len().checked_add(data) != Some(buffer.len()) {
        let (wanted, found) = (header.data_len(), buffer.len() - data);
        return Err(malformed(format!("its tensors take {wanted} bytes, it has {found}")));
    }
    Ok((header, data))
}

pub(super) fn read(buffer: Buffer) -> Result<WeightsFile> {
    let buffer = Arc::new(buffer);
    let (header, data) = read_header(&buffer)?;
    let mut listed: BTreeMap<String, Listed> = header
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let bytes = data + start..data + end;
            (name, Listed { bytes, dtype: info.dtype, shape: info.shape.clone() })
        })
        .collect();
    let mut file = WeightsFile::from_tensors(BTreeMap::new());
    let mut quantized = false;
    let mut list = TensorList::new(FORMAT, buffer.len());
    if let Some(json) = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY)) {
        let metadata: Metadata = serde_json::from_str(json).map_err(bad_metadata)?;
        file.config = Some(metadata.config);
        file.charset = Some(Charset::new(metadata.charset.0)?);
        file.temperature = metadata.temperature;
        if let Some(StatedPrecision::Int8) = metadata.precision {
            file.precision = Precision::Int8;
        }
        if let Some(parameters) = metadata.quantized {
            quantized::take(&parameters, &buffer, &mut listed, &mut list)?;
            quantized = true;
        }
    }
    if let Some(json) = header.metadata().as_ref().and_then(|entries| entries.get(DETECTOR_KEY)) {
        let metadata: DetectorMetadata =
            serde_json::from_str(json).map_err(|error| metadata_fault(DETECTOR_KEY, &error))?;
        file.detector = Some(metadata.config);
    }
    for (name, Listed { bytes, dtype, shape }) in listed {
        check_name(FORMAT, &name)?;
        check_rank(FORMAT, &name, shape.len())?;
        let mut tensor = match ElementType::from_dtype(dtype) {
            Some(kind) => StoredTensor::contiguous(&buffer, bytes, kind, shape)
                .ok_or_else(|| malformed(format!("tensor {name} is out of place")))?,
            None => StoredTensor::foreign(&format!("{dtype:?}"), shape),
        };
        if quantized {
            // What a quantised file does not round is meant to be exact.
            tensor.keep_f32();
        }
        list.push(&name, tensor)?;
    }
    file.tensors = list.into_tensors();
    Ok(file)
}

fn bad_metadata(error: serde_json::Error) -> WeightsError {
    metadata_fault(METADATA_KEY, &error)
}

fn metadata_fault(key: &'static str, error: &serde_json::Error) -> WeightsError {
    WeightsError::Metadata { key, detail: shortened(&error.to_string()) }
}

fn malformed(detail: impl std::fmt::Display) -> crate::Error {
    WeightsError::Malformed { format: FORMAT, detail: shortened(&detail.to_string()) }.into()
}

/// A tensor on its way into a file.
#[derive(Clone)]
pub(crate) struct Encoded {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Encoded {
    /// Four bytes a value.
    pub(crate) fn f32(values: &[f32], shape: Vec<usize>) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Encoded { dtype: Dtype::F32, shape, bytes }
    }

    /// Two bytes a value; every magnitude is at most 65504.
    pub(super) fn f16(values: &[f32], shape: Vec<usize>) -> Self {
        let halves = values.iter().map(|&value| half::f16::from_f32(value));
        let bytes = halves.flat_map(|half| half.to_le_bytes()).collect();
        Encoded { dtype: Dtype::F16, shape, bytes }
    }

    /// The values of the tensor `name` in an element type.
    pub(super) fn new(
        name: &str,
        values: &[f32],
        shape: Vec<usize>,
        storage: StorageType,
    ) -> Result<Self> {
        match storage {
            StorageType::F32 => Ok(Encoded::f32(values, shape)),
            StorageType::F16 => {
                let outside = |&value: &f32| !half::f16::from_f32(value).is_finite();
                if let Some(index) = values.iter().position(outside) {
                    let (name, value) = (name.to_owned(), values[index]);
                    return Err(
                        WeightsError::OutOfRange { name, index, value, dtype: "f16" }.into()
                    );
                }
                Ok(Encoded::f16(values, shape))
            }
        }
    }

    /// A byte a value, unsigned.
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Encoded { dtype: Dtype::U8, shape: vec![bytes.len()], bytes }
    }

    /// A byte a value, signed.
    pub(super) fn i8(values: &[i8], shape: Vec<usize>) -> Self {
        let bytes = values.iter().map(|value| value.to_le_bytes()[0]).collect();
        Encoded { dtype: Dtype::I8, shape, bytes }
    }
}

impl View for &Encoded {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

pub(super) fn write(weights: &Weights, path: &Path, storage: StorageType) -> Result<()> {
    write_file(path, &encoded(&weights.tensors, storage)?, metadata(weights, None)?)
}

/// Writes a network that finds text.
pub(super) fn write_detector(
    config: &DetectorConfig,
    tensors: &Tensors,
    path: &Path,
    storage: StorageType,
) -> Result<()> {
    let metadata = DetectorMetadata { config: config.clone() };
    let json =
        serde_json::to_string(&metadata).map_err(|error| metadata_fault(DETECTOR_KEY, &error))?;
    write_bytes(path, &serialize_under(DETECTOR_KEY, &encoded(tensors, storage)?, json)?)
}

fn encoded(tensors: &Tensors, storage: StorageType) -> Result<Vec<(String, Encoded)>> {
    let encode = |(name, tensor): (&String, &StoredTensor)| {
        let shape = tensor.shape().to_vec();
        Ok((name.clone(), Encoded::new(name, &tensor.values(name)?, shape, storage)?))
    };
    tensors.iter().map(encode).collect()
}

/// The metadata entry of a file of these weights.
pub(super) fn metadata(
    weights: &Weights,
    quantized: Option<QuantizedParameters>,
) -> Result<String> {
    let Some(charset) = weights.charset() else {
        let classes = weights.config().num_classes;
        return Err(CharsetError::Missing { classes }.into());
    };
    let metadata = Metadata {
        config: weights.config().clone(),
        charset: Symbols(charset.symbols().to_vec()),
        temperature: weights.temperature,
        // An exact file has nothing in integers.
        precision: (quantized.is_some() && weights.precision == Precision::Int8)
            .then_some(StatedPrecision::Int8),
        quantized,
    };
    Ok(serde_json::to_string(&metadata).map_err(bad_metadata)?)
}

/// Writes a file of tensors and the metadata entry, as a whole or not at all.
pub(crate) fn write_file(path: &Path, tensors: &[(String, Encoded)], json: String) -> Result<()> {
    write_bytes(path, &serialize(tensors, json)?)
}

/// The bytes of a file of tensors and the metadata entry.
pub(super) fn serialize(tensors: &[(String, Encoded)], json: String) -> Result<Vec<u8>> {
    serialize_under(METADATA_KEY, tensors, json)
}

fn serialize_under(key: &str, tensors: &[(String, Encoded)], json: String) -> Result<Vec<u8>> {
    let metadata = HashMap::from([(key.to_owned(), json)]);
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::serialize(views, Some(metadata)).map_err(malformed)
}

/// Writes a file, as a whole or not at all.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    files::replace(path, bytes)
        .map_err(|source| WeightsError::Io { path: path.to_owned(), source }.into())
}
