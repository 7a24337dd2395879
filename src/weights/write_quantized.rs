//! Writing files with quantised parameters, as [`quantized`](super::quantized) reads them.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::levels;
use super::quantized::{
    ACTIVATION_BITS_VERSION, CODED, PLAIN_VERSION, QuantizedParameters, SCALES, SMOOTHING_SCALES,
    SMOOTHING_VERSION,
};
use super::safetensors::{Encoded, metadata, serialize};
use super::{StorageType, Weights};
use crate::error::Result;
use crate::ops::quantized::{ActivationBits, QuantizedTensor};

/// How integers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// Entropy-coded: the smallest file; decoded when a parameter is asked for.
    #[default]
    Entropy,
    /// One byte an integer: nothing to decode.
    Plain,
}

/// The bytes of a file of weights with quantised parameters; the others are values and shape, stored in F16.
///
/// # Errors
/// [`WeightsError::OutOfRange`] if F16 cannot hold one of the others;
/// [`CharsetError::Missing`](crate::CharsetError::Missing) without a charset.
pub(crate) fn to_bytes(
    weights: &Weights,
    others: BTreeMap<String, (Vec<f32>, Vec<usize>)>,
    quantized: &[(&str, QuantizedTensor)],
    coding: Coding,
) -> Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for (name, (values, shape)) in others {
        let encoded = Encoded::new(&name, &values, shape, StorageType::F16)?;
        tensors.push((name, encoded));
    }
    let parts = quantized.par_iter().flat_map_iter(|(name, tensor)| parts(name, tensor, coding));
    tensors.par_extend(parts);
    let shapes =
        quantized.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shape.clone())).collect();
    let twelve_bit_inputs: BTreeSet<String> = (quantized.iter())
        .filter(|(_, tensor)| tensor.activation_bits == ActivationBits::Twelve)
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let version = if !twelve_bit_inputs.is_empty() {
        ACTIVATION_BITS_VERSION
    } else if quantized.iter().any(|(_, tensor)| tensor.smoothing_scales.is_some()) {
        SMOOTHING_VERSION
    } else {
        PLAIN_VERSION
    };
    let parameters = QuantizedParameters { version, shapes, twelve_bit_inputs };
    serialize(&tensors, metadata(weights, Some(parameters))?)
}

/// The tensors that stand for a parameter in a file.
fn parts(name: &str, tensor: &QuantizedTensor, coding: Coding) -> Vec<(String, Encoded)> {
    let vector = |values: &[f32]| match f16_scales(values) {
        Some(_) => Encoded::f16(values, vec![values.len()]),
        None => Encoded::f32(values, vec![values.len()]),
    };
    let integers = match coding {
        Coding::Plain => (name.to_owned(), Encoded::i8(&tensor.levels, tensor.shape.clone())),
        Coding::Entropy => (format!("{name}{CODED}"), Encoded::bytes(levels::encode(tensor))),
    };
    let mut parts = vec![integers, (format!("{name}{SCALES}"), vector(&tensor.scales))];
    if let Some(factors) = &tensor.smoothing_scales {
        parts.push((format!("{name}{SMOOTHING_SCALES}"), vector(factors)));
    }
    parts
}

/// The scales rounded to f16; `None` if it holds one of them with fewer than 11 bits.
pub(crate) fn f16_scales(scales: &[f32]) -> Option<Vec<f32>> {
    let normal = half::f16::MIN_POSITIVE.to_f32()..=half::f16::MAX.to_f32();
    let round = |&scale: &f32| {
        let holds = scale == 0.0 || normal.contains(&scale);
        holds.then(|| half::f16::from_f32(scale).to_f32())
    };
    scales.iter().map(round).collect()
}
