//! Rounding weights to integers with a scale a row, and writing them.

use std::path::Path;

use rayon::prelude::*;

use super::levels::{self, MOST, QuantizedTensor};
use super::quantized::{CODED, QuantizedParameters, SCALES, VERSION};
use super::safetensors::{Encoded, metadata, serialize, write_bytes};
use super::{StorageType, Weights};
use crate::error::{ConfigError, Result};

/// How [`Weights::save_quantized`] rounds weights.
///
/// Matrices and convolutions are rounded to integers with a scale a row (an output channel), on
/// both sides of 0 alike; vectors (biases, norms) become f16.
///
/// ```
/// use svtrv2::weights::{QuantizeOptions, Rate};
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
    /// Parameters whose name holds one of the texts are not rounded but stored in f16. Their layers
    /// compute in f32 in a file that states int8 ([`Weights::with_precision`]).
    pub keep: Vec<String>,
}

impl Default for QuantizeOptions {
    /// 8 bits, entropy-coded.
    fn default() -> Self {
        QuantizeOptions {
            rate: Rate::Bits(8),
            coding: Coding::Entropy,
            extra_bits: Vec::new(),
            keep: Vec::new(),
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

/// How integers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// Entropy-coded: the smallest file; decoded when a parameter is asked for.
    #[default]
    Entropy,
    /// One byte an integer: nothing to decode.
    Plain,
}

impl Weights {
    /// Writes a self-contained safetensors file with rounded weights (docs/weights_format.md); it
    /// opens like any other.
    ///
    /// # Errors
    /// [`ConfigError`] if the options are out of range, or not even the coarsest rounding fits the
    /// bytes; otherwise as [`Weights::save`].
    pub fn save_quantized(&self, path: impl AsRef<Path>, options: &QuantizeOptions) -> Result<()> {
        write_bytes(path.as_ref(), &self.quantized_file(options)?)
    }

    fn quantized_file(&self, options: &QuantizeOptions) -> Result<Vec<u8>> {
        let mut vectors = Vec::new();
        let mut matrices = Vec::new();
        for (name, tensor) in &self.tensors {
            let (values, shape) = (tensor.values(name)?, tensor.shape().to_vec());
            let keep = options.keep.iter().any(|part| name.contains(part.as_str()));
            if shape.len() > 1 && shape[0] > 1 && !values.is_empty() && !keep {
                let extra =
                    options.extra_bits.iter().find(|(part, _)| name.contains(part.as_str()));
                let extra_bits = extra.map_or(0.0, |extra| extra.1);
                if !extra_bits.is_finite() {
                    return Err(ConfigError::new("extra_bits", extra_bits.to_string()).into());
                }
                matrices.push(Matrix { name, values, shape, extra_bits });
            } else {
                vectors.push((name.clone(), Encoded::new(name, &values, shape, StorageType::F16)?));
            }
        }
        let write = |round: &(dyn Fn(&Matrix) -> QuantizedTensor + Sync)| {
            let parts: Vec<_> =
                matrices.par_iter().flat_map_iter(|m| m.parts(&round(m), options.coding)).collect();
            let shapes = matrices.iter().map(|m| (m.name.to_owned(), m.shape.clone())).collect();
            let parameters = QuantizedParameters { version: VERSION, shapes };
            let tensors: Vec<_> = vectors.iter().cloned().chain(parts).collect();
            serialize(&tensors, metadata(self, Some(parameters))?)
        };
        match options.rate {
            Rate::Bits(bits) => {
                if !(2..=8).contains(&bits) {
                    let detail = format!("{bits} bits a weight are not in 2..=8");
                    return Err(ConfigError::new("rate", detail).into());
                }
                write(&|matrix| matrix.rounded_to_bits(f64::from(bits)))
            }
            Rate::Bytes(most) => {
                let largest = matrices.iter().map(|m| m.values.len()).max().unwrap_or(1) as f64;
                let at = |log_step: f64| {
                    write(&|matrix| {
                        let size = matrix.values.len() as f64 / largest;
                        matrix.rounded_to_step((log_step - matrix.extra_bits).exp2() * size.cbrt())
                    })
                };
                // The finest step makes 127 of an eighth of the root mean square, the coarsest
                // rounds nearly everything to 0.
                finest(most, [-10.0, 8.0], at)
            }
        }
    }
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

/// A parameter that is rounded.
struct Matrix<'a> {
    name: &'a str,
    values: Vec<f32>,
    shape: Vec<usize>,
    extra_bits: f64,
}

impl Matrix<'_> {
    /// The tensors that stand for this parameter in a file.
    fn parts(&self, rounded: &QuantizedTensor, coding: Coding) -> Vec<(String, Encoded)> {
        let rows = vec![rounded.scales.len()];
        let scales = match f16_scales(&rounded.scales) {
            Some(_) => Encoded::f16(&rounded.scales, rows),
            None => Encoded::f32(&rounded.scales, rows),
        };
        let levels = match coding {
            Coding::Plain => {
                (self.name.to_owned(), Encoded::i8(&rounded.levels, self.shape.clone()))
            }
            Coding::Entropy => {
                (format!("{}{CODED}", self.name), Encoded::bytes(levels::encode(rounded)))
            }
        };
        vec![levels, (format!("{}{SCALES}", self.name), scales)]
    }

    fn rounded_to_bits(&self, bits: f64) -> QuantizedTensor {
        let bits = (bits + self.extra_bits).round().clamp(2.0, 8.0) as u32;
        let most = (1 << (bits - 1)) - 1;
        self.rounded(most, |row| best_scale(row, most))
    }

    /// Rounds to `step` times every row's root mean square.
    fn rounded_to_step(&self, step: f64) -> QuantizedTensor {
        self.rounded(MOST, |row| {
            let square = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
            let scale = (step * (square / row.len() as f64).sqrt()) as f32;
            // Nothing is clipped.
            fitted(row, scale.max(magnitude(row) / MOST as f32), MOST)
        })
    }

    fn rounded(&self, most: i32, scale: impl Fn(&[f32]) -> f32) -> QuantizedTensor {
        let rows = || self.values.chunks_exact(self.values.len() / self.shape[0]);
        let scales: Vec<f32> = rows().map(scale).collect();
        let scales = f16_scales(&scales).unwrap_or(scales);
        let levels = rows()
            .zip(&scales)
            .flat_map(|(row, &scale)| row.iter().map(move |&value| round(value, scale, most) as i8))
            .collect();
        QuantizedTensor { shape: self.shape.clone(), levels, scales }
    }
}

/// The integer of a weight; 0 in a row whose scale is 0.
fn round(value: f32, scale: f32, most: i32) -> i32 {
    if scale == 0.0 { 0 } else { ((value / scale).round_ties_even() as i32).clamp(-most, most) }
}

fn magnitude(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The scale for integers of up to `most` whose squared error is least, of 32 that clip ever more.
fn best_scale(row: &[f32], most: i32) -> f32 {
    let widest = magnitude(row) / most as f32;
    let mut best = (f64::INFINITY, 0.0);
    for clip in 0..32 {
        let scale = fitted(row, widest * 0.95f32.powi(clip), most);
        let error = row
            .iter()
            .map(|&value| f64::from(value - round(value, scale, most) as f32 * scale).powi(2))
            .sum();
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

/// The scale that the integers of `scale` fit best: least squares.
fn fitted(row: &[f32], scale: f32, most: i32) -> f32 {
    let (mut product, mut square) = (0.0, 0.0);
    for &value in row {
        let level = f64::from(round(value, scale, most));
        product += f64::from(value) * level;
        square += level * level;
    }
    if square > 0.0 { (product / square) as f32 } else { 0.0 }
}

/// The scales rounded to f16; `None` if it holds one of them with fewer than 11 bits.
fn f16_scales(scales: &[f32]) -> Option<Vec<f32>> {
    let normal = half::f16::MIN_POSITIVE.to_f32()..=half::f16::MAX.to_f32();
    let round = |&scale: &f32| {
        let holds = scale == 0.0 || normal.contains(&scale);
        holds.then(|| half::f16::from_f32(scale).to_f32())
    };
    scales.iter().map(round).collect()
}
