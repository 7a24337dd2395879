//! The integers of a parameter in a file, plain or entropy-coded.

use std::ops::Range;

use super::SharedBuffer;
use super::shape::element_count;
use crate::error::{Result, WeightsError};
use crate::ops::quantized::QuantizedTensor;
use crate::rans;

pub(super) const FORMAT: &str = "quantised safetensors";

/// The highest magnitude of an integer.
const MAX: u8 = 127;

/// The integers of a parameter, still in their file.
#[derive(Clone)]
pub(super) struct StoredIntegers {
    pub(super) buffer: SharedBuffer,
    pub(super) bytes: Range<usize>,
    /// Entropy-coded.
    pub(super) coded: bool,
}

impl StoredIntegers {
    /// Reads the integers of the parameter `name`; `tensor` has all else of it.
    pub(super) fn read(&self, name: &str, tensor: &QuantizedTensor) -> Result<QuantizedTensor> {
        let bytes = self.buffer.read(self.bytes.clone())?;
        let levels = if self.coded {
            let count = element_count(&tensor.shape).unwrap_or(usize::MAX);
            decode(&bytes, count).map_err(|detail| damaged(name, detail))?
        } else {
            bytes.iter().map(|&byte| i8::from_le_bytes([byte])).collect()
        };
        if levels.contains(&i8::MIN) {
            return Err(damaged(name, "an integer is -128"));
        }
        Ok(QuantizedTensor { levels, ..tensor.clone() })
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
    if !(1..=MAX).contains(&most) {
        return Err("the highest integer is not in 1..=127");
    }
    let symbols = rans::decode(bytes, 2 * usize::from(most) + 1, count)?;
    Ok(symbols.into_iter().map(|symbol| symbol.wrapping_sub(most) as i8).collect())
}

pub(super) fn damaged(name: &str, detail: &str) -> crate::Error {
    let detail = format!("parameter {name}: {detail}");
    WeightsError::Malformed { format: FORMAT, detail }.into()
}
