//! safetensors: OpenOCR's files, and this crate's own with configuration and charset inside.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::tensor::{ElementType, StoredTensor};
use super::{Weights, WeightsFile};
use crate::charset::Charset;
use crate::error::{CharsetError, Result, WeightsError};
use crate::model::Config;

/// The metadata key of this crate's own files. There is one only: the order of several would
/// differ from one writing to the next.
pub(crate) const METADATA_KEY: &str = "svtrv2";

/// What the metadata entry holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Metadata {
    config: Config,
    /// Symbols of the charset, class 1 first.
    charset: Vec<String>,
    /// What confidences are calibrated with; files without it are not calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
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

pub(super) fn read(buffer: Buffer) -> Result<WeightsFile> {
    let buffer = Arc::new(buffer);
    let bytes = buffer.as_slice();
    let (header_len, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    // The header: its length in 8 bytes, itself, then the data.
    let data = 8 + header_len;
    let mut tensors = Vec::new();
    for (name, info) in header.tensors() {
        let kind = match info.dtype {
            Dtype::F16 => ElementType::F16,
            Dtype::BF16 => ElementType::Bf16,
            Dtype::F32 => ElementType::F32,
            Dtype::F64 => ElementType::F64,
            other => {
                let tensor = StoredTensor::foreign(format!("{other:?}"), info.shape.clone());
                tensors.push((name, tensor));
                continue;
            }
        };
        let (start, end) = info.data_offsets;
        let tensor =
            StoredTensor::contiguous(&buffer, data + start..data + end, kind, info.shape.clone());
        let tensor = tensor.ok_or_else(|| malformed(format!("tensor {name} is out of place")))?;
        tensors.push((name, tensor));
    }
    let mut file = WeightsFile::from_tensors(tensors);
    if let Some(json) = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY)) {
        let metadata: Metadata = serde_json::from_str(json).map_err(bad_metadata)?;
        file.config = Some(metadata.config);
        file.charset = Some(Charset::new(metadata.charset)?);
        file.temperature = metadata.temperature;
    }
    Ok(file)
}

fn bad_metadata(error: serde_json::Error) -> WeightsError {
    WeightsError::Metadata { key: METADATA_KEY, detail: error.to_string() }
}

fn malformed(detail: impl std::fmt::Display) -> crate::Error {
    WeightsError::Malformed { format: "safetensors", detail: detail.to_string() }.into()
}

/// A tensor on its way into a file.
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
    let Some(charset) = weights.charset() else {
        let classes = weights.config().num_classes;
        return Err(CharsetError::Missing { classes }.into());
    };
    let metadata = Metadata {
        config: weights.config().clone(),
        charset: charset.symbols().to_vec(),
        temperature: weights.temperature,
    };
    let json = serde_json::to_string(&metadata).map_err(bad_metadata)?;
    let mut encoded = Vec::with_capacity(weights.tensors.len());
    for (name, tensor) in &weights.tensors {
        let values = tensor.values(name)?;
        encoded.push((name.clone(), encode(name, &values, tensor.shape().to_vec(), storage)?));
    }
    write_file(path, &encoded, json)
}

/// Writes a file of tensors and the metadata entry, as a whole or not at all.
pub(crate) fn write_file(path: &Path, tensors: &[(String, Encoded)], json: String) -> Result<()> {
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(malformed)?;
    write_atomically(path, &bytes)
        .map_err(|source| WeightsError::Io { path: path.to_owned(), source }.into())
}

fn encode(name: &str, values: &[f32], shape: Vec<usize>, storage: StorageType) -> Result<Encoded> {
    match storage {
        StorageType::F32 => Ok(Encoded::f32(values, shape)),
        StorageType::F16 => {
            let halves: Vec<half::f16> =
                values.iter().map(|&value| half::f16::from_f32(value)).collect();
            if let Some(index) = halves.iter().position(|half| !half.is_finite()) {
                let (name, value) = (name.to_owned(), values[index]);
                return Err(WeightsError::OutOfRange { name, index, value, dtype: "f16" }.into());
            }
            let bytes = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
            Ok(Encoded { dtype: Dtype::F16, shape, bytes })
        }
    }
}

/// Writes beside `path`, flushes to the disk, then renames.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.partial", std::process::id()));
    let beside = Path::new(&beside);
    let write = || {
        let mut file = std::fs::File::create(beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(beside, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(beside);
    })
}
