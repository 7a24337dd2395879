//! A parameter in integers with a scale a row.

use std::collections::BTreeSet;
use std::ops::Range;

use super::SharedBuffer;
use super::shape::element_count;
use crate::cpu::{self, ActivationBits};
use crate::error::{Result, WeightsError};
use crate::ops::int8;
use crate::rans;

pub(super) const FORMAT: &str = "quantised safetensors";

/// The highest magnitude of an integer.
pub(super) const MAX: i32 = cpu::MAX_LEVEL as i32;

/// A parameter in integers, `[rows, columns]` in row-major order: for a linear layer or a
/// convolution, an output channel a row.
///
/// The weight is `levels[row * columns + column] * scales[row]`, times the factor of the column's input
/// channel if there are `smoothing_scales`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QuantizedTensor {
    /// The parameter's shape; the first dimension are the rows.
    pub shape: Vec<usize>,
    /// The integers, -127..=127.
    pub levels: Vec<i8>,
    /// A scale a row.
    pub scales: Vec<f32>,
    /// What int8 inference multiplies the layer's input with before it is rounded, a factor an input
    /// channel (of all groups of a convolution).
    pub smoothing_scales: Option<Vec<f32>>,
    /// How finely int8 inference rounds the layer's input.
    pub activation_bits: ActivationBits,
}

impl QuantizedTensor {
    /// For a layer.
    pub(super) fn into_levels(self) -> int8::Levels {
        let taps = self.shape.iter().skip(2).product();
        let QuantizedTensor { levels, scales, smoothing_scales: factors, activation_bits, .. } =
            self;
        int8::Levels { levels, scales, taps, factors, activation_bits }
    }

    /// The highest magnitude of an integer, at least 1.
    pub(super) fn most(&self) -> u8 {
        self.levels.iter().map(|level| level.unsigned_abs()).max().unwrap_or(0).max(1)
    }
}

/// The integers and scales of a parameter, still in their file.
#[derive(Clone)]
pub(super) struct StoredLevels {
    pub(super) buffer: SharedBuffer,
    pub(super) bytes: Range<usize>,
    pub(super) coded: bool,
    pub(super) scales: Vec<f32>,
    pub(super) smoothing_scales: Option<Vec<f32>>,
    pub(super) activation_bits: ActivationBits,
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
        let (shape, scales) = (shape.to_vec(), self.scales.clone());
        let (smoothing_scales, activation_bits) =
            (self.smoothing_scales.clone(), self.activation_bits);
        Ok(QuantizedTensor { shape, levels, scales, smoothing_scales, activation_bits })
    }
}

/// How finely the input of a layer is rounded, by the names of those with 12 bits.
pub(super) fn activation_bits(name: &str, twelve_bit_inputs: &BTreeSet<String>) -> ActivationBits {
    if twelve_bit_inputs.contains(name) { ActivationBits::Twelve } else { ActivationBits::Eight }
}

/// The integer of a weight; 0 in a row whose scale is 0.
pub(super) fn round(value: f32, scale: f32, most: i32) -> i32 {
    if scale == 0.0 { 0 } else { ((value / scale).round_ties_even() as i32).clamp(-most, most) }
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
    if !(1..=MAX).contains(&i32::from(most)) {
        return Err("the highest integer is not in 1..=127");
    }
    let symbols = rans::decode(bytes, 2 * usize::from(most) + 1, count)?;
    Ok(symbols.into_iter().map(|symbol| symbol.wrapping_sub(most) as i8).collect())
}

pub(super) fn damaged(name: &str, detail: &str) -> crate::Error {
    let detail = format!("parameter {name}: {detail}");
    WeightsError::Malformed { format: FORMAT, detail }.into()
}
