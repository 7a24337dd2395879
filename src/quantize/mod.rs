//! Rounding a network's weights to integers, and finding out on crops how.
//!
//! [`Weights::save_quantized`] rounds as [`QuantizeOptions`] say and writes a file (docs/weights_format.md).
//! [`Weights::calibrate_int8`] runs the network on crops and finds options with which inference in int8
//! ([`Precision::Int8`]) errs less:
//!
//! ```no_run
//! use svtrv2::quantize::{CalibrationOptions, QuantizeOptions};
//! use svtrv2::weights::Weights;
//! use svtrv2::{Crop, Options, Precision, Recognizer};
//!
//! let weights = Weights::open("svtrv2_b.safetensors")?;
//! let recognizer = Recognizer::new(&weights, Options::default())?;
//! let crops = recognizer.resize(&Crop::open("crop.png")?)?;
//! let found = weights.calibrate_int8(&crops, CalibrationOptions::default(), |_, _| ())?;
//! let mut options = QuantizeOptions::int8();
//! found.apply(&mut options);
//! weights.with_precision(Precision::Int8)?.save_quantized("int8.safetensors", &options)?;
//! # Ok::<(), svtrv2::Error>(())
//! ```

mod calibrate;
mod gptq;
mod matrix;
mod scales;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;

use crate::error::{ConfigError, Result};
use crate::inference::Precision;
use crate::ops::quantized::{ActivationBits, QuantizedTensor};
use crate::weights::{self, Weights};
use matrix::Matrix;

pub use crate::weights::Coding;
pub use calibrate::{CalibratedLayer, CalibrationOptions, Int8Calibration};

/// How [`Weights::save_quantized`] rounds weights.
///
/// Matrices and convolutions are rounded to integers with a scale a row (an output channel), on
/// both sides of 0 alike; vectors (biases, norms) become f16.
///
/// ```
/// use svtrv2::quantize::{QuantizeOptions, Rate};
///
/// let options = QuantizeOptions { rate: Rate::Bytes(8_000_000), ..QuantizeOptions::default() };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// How finely weights are rounded.
    pub rate: Rate,
    /// How the integers are stored.
    pub coding: Coding,
    /// Bits more, or fewer, for every parameter whose name holds the text; the first that matches
    /// counts.
    pub extra_bits: Vec<(String, f64)>,
    /// Parameters whose name holds one of the texts are not rounded but stored in f16. Inference in int8 computes
    /// their layers in f32. (The stem of a RepViT encoder is kept for int8 without being named.)
    pub keep: Vec<String>,
    /// What int8 inference multiplies the input of a layer with before it is rounded, by the name of
    /// the layer's weight: a factor above 0 an input channel. The weight is divided by them before it
    /// is rounded. [`Weights::calibrate_int8`] finds them.
    pub smoothing_scales: BTreeMap<String, Vec<f32>>,
    /// Means of what a layer's weights are multiplied with, by the name of the weight: `[input channels]`
    /// of a linear layer, `[input channels, 9]` of a convolution. The layer's bias makes up for the mean
    /// error that rounding makes with them (Nagel et al., 2019,
    /// [arXiv 1906.04721](https://arxiv.org/abs/1906.04721)).
    pub input_means: BTreeMap<String, Vec<f32>>,
    /// Covariances of what the weights of an output channel are multiplied with, by the name of the
    /// weight: `[groups, weights, weights]`, with `[input channels / groups, 9]` weights an output channel
    /// of a convolution and one group of a linear layer. A weight is rounded so that it makes up for the
    /// errors of those rounded before it, as far as their inputs vary together (Frantar et al., 2023,
    /// [arXiv 2210.17323](https://arxiv.org/abs/2210.17323)).
    pub input_covariances: BTreeMap<String, Vec<f32>>,
    /// Layers, by the names of their weights, whose input int8 inference rounds to 12 bits rather than 8
    /// ([`ActivationBits::Twelve`]). [`Weights::calibrate_int8`] finds those that gain most.
    pub twelve_bit_inputs: BTreeSet<String>,
}

impl Default for QuantizeOptions {
    /// 8 bits, entropy-coded.
    fn default() -> Self {
        QuantizeOptions {
            rate: Rate::Bits(8),
            coding: Coding::Entropy,
            extra_bits: Vec::new(),
            keep: Vec::new(),
            smoothing_scales: BTreeMap::new(),
            input_means: BTreeMap::new(),
            input_covariances: BTreeMap::new(),
            twelve_bit_inputs: BTreeSet::new(),
        }
    }
}

impl QuantizeOptions {
    /// Bits of the weights of layers that compute in int8.
    ///
    /// With AVX2 alone, products of bytes are summed up in 16 bits, for which weights of 8 bits are too large: they
    /// take a third more time, and read as many words. Other CPUs take the same time for both. So this is the only
    /// width that files for int8 have, but for the layers with inputs of 12 bits, whose weights have one bit more.
    pub const INT8_BITS: u8 = 7;

    /// For inference in int8: weights of [`QuantizeOptions::INT8_BITS`], stored as they are.
    pub fn int8() -> Self {
        QuantizeOptions {
            rate: Rate::Bits(Self::INT8_BITS),
            coding: Coding::Plain,
            ..Self::default()
        }
    }
}

/// How finely [`Weights::save_quantized`] rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many bits a weight, 2..=8: integers of up to `2^(bits - 1) - 1`, the scale of each row
    /// where the squared error is least.
    Bits(u8),
    /// The finest rounding with which the file has at most so many bytes. The integers reach up to
    /// 127; the scale is the same share of the root mean square of every row, for a parameter in
    /// proportion to the cube root of its size, so that small parameters, which cost little, are
    /// rounded finely.
    Bytes(u64),
}

impl Weights {
    /// Writes a self-contained safetensors file with rounded weights (docs/weights_format.md); it
    /// opens like any other.
    ///
    /// # Errors
    /// [`ConfigError`] if the options are out of range, or not even the coarsest rounding fits the
    /// bytes; otherwise as [`Weights::save`].
    pub fn save_quantized(&self, path: impl AsRef<Path>, options: &QuantizeOptions) -> Result<()> {
        weights::write_bytes(path.as_ref(), &quantized_file(self, options)?)
    }
}

fn quantized_file(weights: &Weights, options: &QuantizeOptions) -> Result<Vec<u8>> {
    let mut others = BTreeMap::new();
    let mut matrices = Vec::new();
    for name in weights.names() {
        let (values, shape) = weights.tensor(name)?.unwrap_or_default();
        let keep = options.keep.iter().any(|part| name.contains(part.as_str()))
            || (weights.precision() == Precision::Int8 && weights.config().computes_in_f32(name));
        if shape.len() > 1 && shape[0] > 1 && !values.is_empty() && !keep {
            matrices.push(Matrix::new(name, values, shape, options)?);
        } else {
            others.insert(name.to_owned(), (values, shape));
        }
    }
    let write = |round: &(dyn Fn(&Matrix) -> QuantizedTensor + Sync)| {
        let rounded = matrices.par_iter().map(|matrix| (matrix.name(), round(matrix)));
        let rounded: Vec<(&str, QuantizedTensor)> = rounded.collect();
        let mut others = others.clone();
        for (matrix, (name, rounded)) in matrices.iter().zip(&rounded) {
            if let Some(means) = options.input_means.get(*name)
                && let Some((bias, _)) = others.get_mut(&bias_name(name))
            {
                matrix.correct(rounded, means, bias)?;
            }
        }
        weights::quantized_bytes(weights, others, &rounded, options.coding)
    };
    match options.rate {
        Rate::Bits(bits) => {
            check_bits("rate", bits)?;
            write(&|matrix| matrix.rounded_to_bits(f64::from(bits)))
        }
        Rate::Bytes(most) => {
            let largest = matrices.iter().map(Matrix::size).max().unwrap_or(1) as f64;
            let at = |log_step: f64| {
                write(&|matrix| {
                    let size = matrix.size() as f64 / largest;
                    matrix.rounded_to_step((log_step - matrix.extra_bits()).exp2() * size.cbrt())
                })
            };
            // The finest step makes 127 of an eighth of the root mean square, the coarsest
            // rounds nearly everything to 0.
            finest(most, [-10.0, 8.0], at)
        }
    }
}

/// Whether weights may be rounded to so many bits.
fn check_bits(option: &'static str, bits: u8) -> Result<()> {
    if (2..=8).contains(&bits) {
        return Ok(());
    }
    Err(ConfigError::new(option, format!("{bits} bits a weight are not in 2..=8")).into())
}

/// How finely the input of a layer is rounded, by the names of those with 12 bits.
fn activation_bits(name: &str, twelve_bit_inputs: &BTreeSet<String>) -> ActivationBits {
    if twelve_bit_inputs.contains(name) { ActivationBits::Twelve } else { ActivationBits::Eight }
}

/// The name of the bias of a weight's layer.
fn bias_name(weight: &str) -> String {
    format!("{}bias", weight.strip_suffix("weight").unwrap_or(weight))
}

/// Bisects for the lowest step whose file is small enough.
fn finest(
    most: u64,
    [mut low, mut high]: [f64; 2],
    at: impl Fn(f64) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| bytes.len() as u64 <= most;
    let finest = at(low)?;
    if fits(&finest) {
        return Ok(finest);
    }
    let mut best = at(high)?;
    if !fits(&best) {
        let detail = format!("{most} bytes are too few, {} the least", best.len());
        return Err(ConfigError::new("rate", detail).into());
    }
    // 18 * 2^-14: a step is found to 0.1 %.
    for _ in 0..14 {
        let middle = (low + high) / 2.0;
        let bytes = at(middle)?;
        if fits(&bytes) {
            (high, best) = (middle, bytes);
        } else {
            low = middle;
        }
    }
    Ok(best)
}
