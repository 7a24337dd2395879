//! Weights in integers with a scale a row: what a quantised file holds.
//!
//! docs/weights_format.md describes the file. A parameter `NAME` of the shape `[rows, ..]` is
//! either
//!
//! - `NAME`, I8 in its own shape: the integers as they are; or
//! - `NAME.rans`, U8: the highest magnitude `L` of an integer in one byte, then the integers plus
//!   `L` in row-major order, entropy-coded ([`crate::rans`]) over `2 L + 1` symbols;
//!
//! and `NAME.scales`, F16 or F32 `[rows]`: a weight is its integer times its row's scale. With
//! `NAME.input_factors`, F16 or F32 `[input channels]`, it is that times its input channel's factor. The
//! metadata name the layers whose input int8 inference rounds to 12 bits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::SharedBuffer;
use super::levels::{FORMAT, StoredIntegers, damaged};
use super::limits::{TensorList, check_name, check_rank};
use super::shape::element_count;
use super::tensor::{ElementType, StoredTensor};
use crate::error::{Result, WeightsError};
use crate::ops::quantized::{ActivationBits, QuantizedTensor};
use crate::rans;

pub(super) const CODED: &str = ".rans";
pub(super) const SCALES: &str = ".scales";
pub(super) const SMOOTHING_SCALES: &str = ".input_factors";
/// The version of the layout without smoothing scales.
pub(super) const PLAIN_VERSION: u32 = 1;
/// The version of the layout with smoothing scales.
pub(super) const SMOOTHING_VERSION: u32 = 2;
/// The version of the layout with inputs of 12 bits; the latest one.
pub(super) const ACTIVATION_BITS_VERSION: u32 = 3;

/// What the metadata entry says of quantised parameters.
#[derive(Serialize, Deserialize)]
pub(super) struct QuantizedParameters {
    pub(super) version: u32,
    /// The shape of every quantised parameter.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    /// The layers whose input is rounded to 12 bits.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) twelve_bit_inputs: BTreeSet<String>,
}

/// A tensor of a safetensors file as the header describes it.
pub(super) struct Listed {
    pub(super) bytes: Range<usize>,
    pub(super) dtype: safetensors::Dtype,
    pub(super) shape: Vec<usize>,
}

/// Moves the quantised parameters from what the header lists to the list of tensors.
///
/// # Errors
/// [`WeightsError`]: the version is unknown; a parameter is missing, stands twice, or its parts do
/// not fit each other. Counts are checked against the bytes, so that reading a parameter later
/// allocates at most 64 integers a byte.
pub(super) fn take(
    parameters: &QuantizedParameters,
    buffer: &SharedBuffer,
    listed: &mut BTreeMap<String, Listed>,
    list: &mut TensorList,
) -> Result<()> {
    if !(PLAIN_VERSION..=ACTIVATION_BITS_VERSION).contains(&parameters.version) {
        let detail = format!(
            "version {} of quantised weights, not {PLAIN_VERSION} to {ACTIVATION_BITS_VERSION}",
            parameters.version
        );
        return Err(WeightsError::Metadata { key: super::METADATA_KEY, detail }.into());
    }
    let unknown = |name: &&String| !parameters.shapes.contains_key(*name);
    if let Some(name) = parameters.twelve_bit_inputs.iter().find(unknown) {
        return Err(damaged(name, "it has a rounded input but no integers"));
    }
    for (name, shape) in &parameters.shapes {
        check_name(FORMAT, name)?;
        check_rank(FORMAT, name, shape.len())?;
        let scales = match listed.remove(&format!("{name}{SCALES}")) {
            Some(scales) => vector(name, SCALES, buffer, scales)?,
            None => return Err(damaged(name, "it has no scales")),
        };
        let smoothing_scales = listed
            .remove(&format!("{name}{SMOOTHING_SCALES}"))
            .map(|factors| vector(name, SMOOTHING_SCALES, buffer, factors))
            .transpose()?;
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
        if smoothing_scales.as_ref().is_some_and(|factors| !factors_fit(factors, shape)) {
            return Err(damaged(name, "its smoothing scales do not fit its shape"));
        }
        let Listed { bytes, dtype, shape: listed_shape } = levels;
        if bytes.end > buffer.len() {
            return Err(damaged(name, "it lies outside the file"));
        }
        let fits = match dtype {
            safetensors::Dtype::I8 => !coded && listed_shape == *shape && bytes.len() == count,
            safetensors::Dtype::U8 => coded && rans::check_count(bytes.len(), count).is_ok(),
            _ => false,
        };
        if !fits {
            return Err(damaged(name, "its integers do not fit its shape"));
        }
        let activation_bits = match parameters.twelve_bit_inputs.contains(name) {
            true => ActivationBits::Twelve,
            false => ActivationBits::Eight,
        };
        let integers = StoredIntegers { buffer: buffer.clone(), bytes, coded };
        let (shape, levels) = (shape.clone(), Vec::new());
        let tensor = QuantizedTensor { shape, levels, scales, smoothing_scales, activation_bits };
        list.push(name, StoredTensor::quantized(integers, tensor))?;
    }
    Ok(())
}

/// Whether there is a factor above 0 for each input channel of all groups.
pub(crate) fn factors_fit(factors: &[f32], shape: &[usize]) -> bool {
    let [rows, channels, ..] = *shape else {
        return false;
    };
    let groups = factors.len().checked_div(channels).unwrap_or(0);
    // Only convolutions have groups.
    (groups == 1 || groups > 1 && shape.len() > 2)
        && factors.len() == groups * channels
        && rows.is_multiple_of(groups)
        && factors.iter().all(|&factor| factor > 0.0 && factor.is_finite())
}

/// The values of `NAME.scales` or `NAME.input_factors`.
fn vector(
    name: &str,
    suffix: &'static str,
    buffer: &SharedBuffer,
    listed: Listed,
) -> Result<Vec<f32>> {
    let Listed { bytes, dtype, shape } = listed;
    let Some(kind) = ElementType::from_dtype(dtype).filter(|_| shape.len() == 1) else {
        return Err(damaged(name, "its scales or smoothing scales are no floating-point vector"));
    };
    let vector = StoredTensor::contiguous(buffer, bytes, kind, shape)
        .ok_or_else(|| damaged(name, "its scales or smoothing scales are out of place"))?;
    vector.values(&format!("{name}{suffix}"))
}
