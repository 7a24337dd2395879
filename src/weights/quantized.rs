//! Weights in integers with a scale a row: what a quantised file holds.
//!
//! docs/weights_format.md describes the file. A parameter `NAME` of the shape `[rows, ..]` is
//! either
//!
//! - `NAME`, I8 in its own shape: the integers as they are; or
//! - `NAME.rans`, U8: the highest magnitude `L` of an integer in one byte, then the integers plus
//!   `L` in row-major order, entropy-coded ([`crate::rans`]) over `2 L + 1` symbols;
//!
//! and `NAME.scales`, F16 or F32 `[rows]`: a weight is its integer times its row's scale.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::SharedBuffer;
use super::tensor::{ElementType, StoredTensor, element_count};
use crate::error::{Result, WeightsError};
use crate::rans;

pub(super) const CODED: &str = ".rans";
pub(super) const SCALES: &str = ".scales";
/// The version of the layout that this crate writes and reads.
pub(super) const VERSION: u32 = 1;
/// The highest magnitude of an integer.
pub(super) const MOST: i32 = 127;

/// What the metadata entry says of quantised parameters.
#[derive(Serialize, Deserialize)]
pub(super) struct QuantizedParameters {
    pub(super) version: u32,
    /// The shape of every quantised parameter.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
}

/// A parameter in integers, `[rows, columns]` in row-major order: for a linear layer or a
/// convolution, an output channel a row.
///
/// The weight is `levels[row * columns + column] * scales[row]`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QuantizedTensor {
    /// The parameter's shape; the first dimension are the rows.
    pub shape: Vec<usize>,
    /// The integers, -127..=127.
    pub levels: Vec<i8>,
    /// A scale a row.
    pub scales: Vec<f32>,
}

impl QuantizedTensor {
    /// The weights.
    pub(super) fn values(&self) -> Vec<f32> {
        let columns = self.levels.len().checked_div(self.scales.len()).unwrap_or(0).max(1);
        let rows = self.levels.chunks_exact(columns).zip(&self.scales);
        rows.flat_map(|(row, &scale)| row.iter().map(move |&level| f32::from(level) * scale))
            .collect()
    }

    /// The highest magnitude of an integer, at least 1.
    pub(super) fn most(&self) -> u8 {
        self.levels.iter().map(|level| level.unsigned_abs()).max().unwrap_or(0).max(1)
    }
}

/// The integers and scales of a parameter, still in their file.
#[derive(Clone)]
pub(super) struct StoredLevels {
    buffer: SharedBuffer,
    bytes: Range<usize>,
    coded: bool,
    scales: Vec<f32>,
}

impl StoredLevels {
    /// Tells the system that the integers will not be read again soon.
    pub(super) fn release(&self) {
        self.buffer.release(self.bytes.clone());
    }

    /// Reads the integers of the parameter `name`.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<QuantizedTensor> {
        let bytes = &self.buffer.as_slice()[self.bytes.clone()];
        let levels = if self.coded {
            let count = element_count(shape).unwrap_or(usize::MAX);
            decode(bytes, count).map_err(|detail| damaged(name, detail))?
        } else {
            bytes.iter().map(|&byte| i8::from_le_bytes([byte])).collect()
        };
        if levels.contains(&i8::MIN) {
            return Err(damaged(name, "an integer is -128"));
        }
        Ok(QuantizedTensor { shape: shape.to_vec(), levels, scales: self.scales.clone() })
    }
}

/// The bytes of `NAME.rans`.
pub(super) fn encode(tensor: &QuantizedTensor) -> Vec<u8> {
    let most = tensor.most();
    let symbols: Vec<u8> =
        tensor.levels.iter().map(|&level| (i16::from(level) + i16::from(most)) as u8).collect();
    let mut bytes = vec![most];
    bytes.extend(rans::encode(&symbols, 2 * usize::from(most) + 1));
    bytes
}

fn decode(bytes: &[u8], count: usize) -> Result<Vec<i8>, &'static str> {
    let (&most, bytes) = bytes.split_first().ok_or("no integers")?;
    if !(1..=MOST).contains(&i32::from(most)) {
        return Err("the highest integer is not in 1..=127");
    }
    let symbols = rans::decode(bytes, 2 * usize::from(most) + 1, count)?;
    Ok(symbols.into_iter().map(|symbol| symbol.wrapping_sub(most) as i8).collect())
}

/// A tensor of a safetensors file as the header describes it.
pub(super) struct Listed {
    pub(super) bytes: Range<usize>,
    pub(super) dtype: safetensors::Dtype,
    pub(super) shape: Vec<usize>,
}

/// Takes the quantised parameters out of a file's tensors.
///
/// # Errors
/// [`WeightsError`]: the version is unknown; a parameter is missing, stands twice, or its parts do
/// not fit each other. Counts are checked against the bytes, so that reading a parameter later
/// allocates at most 64 integers a byte.
pub(super) fn take(
    parameters: &QuantizedParameters,
    buffer: &SharedBuffer,
    listed: &mut BTreeMap<String, Listed>,
) -> Result<Vec<(String, StoredTensor)>> {
    if parameters.version != VERSION {
        let detail = format!("version {} of quantised weights, not {VERSION}", parameters.version);
        return Err(WeightsError::Metadata { key: super::METADATA_KEY, detail }.into());
    }
    let mut tensors = Vec::with_capacity(parameters.shapes.len());
    for (name, shape) in &parameters.shapes {
        let scales = scales(name, buffer, listed.remove(&format!("{name}{SCALES}")))?;
        let (levels, coded) = match (listed.remove(name), listed.remove(&format!("{name}{CODED}")))
        {
            (Some(plain), None) => (plain, false),
            (None, Some(coded)) => (coded, true),
            (None, None) => return Err(damaged(name, "it has no integers")),
            (Some(_), Some(_)) => return Err(damaged(name, "it has integers twice")),
        };
        let count = element_count(shape).ok_or_else(|| damaged(name, "its shape overflows"))?;
        if shape.first() != Some(&scales.len()) || count == 0 {
            return Err(damaged(name, "it has not a scale a row"));
        }
        let bytes = buffer.as_slice().get(levels.bytes.clone());
        let bytes = bytes.ok_or_else(|| damaged(name, "it lies outside the file"))?;
        let fits = match levels.dtype {
            safetensors::Dtype::I8 => !coded && levels.shape == *shape && bytes.len() == count,
            safetensors::Dtype::U8 => coded && rans::check_count(bytes, count).is_ok(),
            _ => false,
        };
        if !fits {
            return Err(damaged(name, "its integers do not fit its shape"));
        }
        let Listed { bytes, .. } = levels;
        let levels = StoredLevels { buffer: buffer.clone(), bytes, coded, scales };
        tensors.push((name.clone(), StoredTensor::quantized(levels, shape.clone())));
    }
    Ok(tensors)
}

fn scales(name: &str, buffer: &SharedBuffer, listed: Option<Listed>) -> Result<Vec<f32>> {
    let Some(Listed { bytes, dtype, shape }) = listed else {
        return Err(damaged(name, "it has no scales"));
    };
    let Some(kind) = ElementType::from_dtype(dtype).filter(|_| shape.len() == 1) else {
        return Err(damaged(name, "its scales are no floating-point vector"));
    };
    let scales = StoredTensor::contiguous(buffer, bytes, kind, shape)
        .ok_or_else(|| damaged(name, "its scales are out of place"))?;
    scales.values(&format!("{name}{SCALES}"))
}

fn damaged(name: &str, detail: &str) -> crate::Error {
    let detail = format!("parameter {name}: {detail}");
    WeightsError::Malformed { format: "quantised safetensors", detail }.into()
}
