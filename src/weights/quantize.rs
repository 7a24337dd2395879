//! Rounding weights to integers with a scale a row, and writing them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;

use super::gptq::Gptq;
use super::levels::{self, MAX, QuantizedTensor, activation_bits, round};
use super::quantized::{
    ACTIVATION_BITS_VERSION, CODED, PLAIN_VERSION, QuantizedParameters, SCALES, SMOOTHING_SCALES,
    SMOOTHING_VERSION, factors_fit,
};
use super::safetensors::{Encoded, metadata, serialize, write_bytes};
use super::{StorageType, Weights};
use crate::cpu::ActivationBits;
use crate::error::{ConfigError, Result};
use crate::ops::int8;

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
        let mut vectors = BTreeMap::new();
        let mut matrices = Vec::new();
        for (name, tensor) in &self.tensors {
            let (values, shape) = (tensor.values(name)?, tensor.shape().to_vec());
            let keep = options.keep.iter().any(|part| name.contains(part.as_str()));
            if shape.len() > 1 && shape[0] > 1 && !values.is_empty() && !keep {
                matrices.push(Matrix::new(name, values, shape, options)?);
            } else {
                vectors.insert(name.clone(), (values, shape));
            }
        }
        let write = |round: &(dyn Fn(&Matrix) -> QuantizedTensor + Sync)| {
            let rounded: Vec<_> = matrices.par_iter().map(round).collect();
            let mut vectors = vectors.clone();
            for (matrix, rounded) in matrices.iter().zip(&rounded) {
                if let Some(means) = options.input_means.get(matrix.name)
                    && let Some((bias, _)) = vectors.get_mut(&bias_name(matrix.name))
                {
                    matrix.correct(rounded, means, bias)?;
                }
            }
            let mut tensors = Vec::new();
            for (name, (values, shape)) in vectors {
                let encoded = Encoded::new(&name, &values, shape, StorageType::F16)?;
                tensors.push((name, encoded));
            }
            let parts = matrices.par_iter().zip(&rounded);
            tensors
                .par_extend(parts.flat_map_iter(|(m, rounded)| m.parts(rounded, options.coding)));
            let shapes = matrices.iter().map(|m| (m.name.to_owned(), m.shape.clone())).collect();
            let twelve_bit_inputs: BTreeSet<String> = (matrices.iter())
                .filter(|matrix| matrix.activation_bits == ActivationBits::Twelve)
                .map(|matrix| matrix.name.to_owned())
                .collect();
            let version = if !twelve_bit_inputs.is_empty() {
                ACTIVATION_BITS_VERSION
            } else if matrices.iter().any(|matrix| matrix.smoothing_scales.is_some()) {
                SMOOTHING_VERSION
            } else {
                PLAIN_VERSION
            };
            let parameters = QuantizedParameters { version, shapes, twelve_bit_inputs };
            serialize(&tensors, metadata(self, Some(parameters))?)
        };
        match options.rate {
            Rate::Bits(bits) => {
                check_bits("rate", bits)?;
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

/// Whether weights may be rounded to so many bits.
pub(super) fn check_bits(option: &'static str, bits: u8) -> Result<()> {
    if (2..=8).contains(&bits) {
        return Ok(());
    }
    Err(ConfigError::new(option, format!("{bits} bits a weight are not in 2..=8")).into())
}

/// The name of the bias of a weight's layer.
pub(super) fn bias_name(weight: &str) -> String {
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

/// A parameter that is rounded.
pub(super) struct Matrix<'a> {
    name: &'a str,
    values: Vec<f32>,
    shape: Vec<usize>,
    extra_bits: f64,
    smoothing_scales: Option<Vec<f32>>,
    activation_bits: ActivationBits,
    /// One a group.
    feedback: Vec<Gptq>,
}

impl<'a> Matrix<'a> {
    /// A parameter with its options.
    pub(super) fn new(
        name: &'a str,
        values: Vec<f32>,
        shape: Vec<usize>,
        options: &QuantizeOptions,
    ) -> Result<Self> {
        let extra = options.extra_bits.iter().find(|(part, _)| name.contains(part.as_str()));
        let extra_bits = extra.map_or(0.0, |extra| extra.1);
        if !extra_bits.is_finite() {
            return Err(ConfigError::new("extra_bits", extra_bits.to_string()).into());
        }
        let smoothing_scales = match options.smoothing_scales.get(name) {
            None => None,
            Some(factors) => {
                let factors = f16_scales(factors).unwrap_or_else(|| factors.clone());
                if !factors_fit(&factors, &shape) {
                    let detail = format!("{} factors do not fit {name}", factors.len());
                    return Err(ConfigError::new("smoothing_scales", detail).into());
                }
                Some(factors)
            }
        };
        let feedback = match options.input_covariances.get(name) {
            None => Vec::new(),
            Some(covariances) => {
                let feedback = feedback_of_groups(covariances, &shape, smoothing_scales.as_deref());
                feedback.ok_or_else(|| {
                    let detail = format!("{} covariances do not fit {name}", covariances.len());
                    ConfigError::new("input_covariances", detail)
                })?
            }
        };
        let activation_bits = activation_bits(name, &options.twelve_bit_inputs);
        Ok(Matrix { name, values, shape, extra_bits, smoothing_scales, activation_bits, feedback })
    }

    /// Integers a row.
    fn columns(&self) -> usize {
        self.values.len() / self.shape[0]
    }

    /// The values, divided by the factors.
    fn divided(&self) -> Cow<'_, [f32]> {
        let Some(factors) = &self.smoothing_scales else {
            return Cow::Borrowed(&self.values);
        };
        let (rows, channels) = (self.shape[0], self.shape[1]);
        let mut values = self.values.clone();
        for (row, values) in values.chunks_exact_mut(self.columns()).enumerate() {
            let factors = int8::of_row(factors, channels, row, rows);
            for (taps, factor) in values.chunks_exact_mut(self.columns() / channels).zip(factors) {
                taps.iter_mut().for_each(|value| *value /= factor);
            }
        }
        Cow::Owned(values)
    }

    /// Adds to the layer's bias what makes up for the mean error of the rounded values.
    pub(super) fn correct(
        &self,
        rounded: &QuantizedTensor,
        means: &[f32],
        bias: &mut [f32],
    ) -> Result<()> {
        let (rows, columns) = (self.shape[0], self.columns());
        let groups = means.len().checked_div(columns).unwrap_or(0);
        let fits = groups > 0 && means.len() == groups * columns && rows.is_multiple_of(groups);
        if !fits || bias.len() != rows || means.iter().any(|mean| !mean.is_finite()) {
            let detail = format!("{} means do not fit {}", means.len(), self.name);
            return Err(ConfigError::new("input_means", detail).into());
        }
        let rounded = rounded.clone().into_levels().dequantized();
        let of_rows = self.values.chunks_exact(columns).zip(rounded.chunks_exact(columns));
        for (row, ((exact, rounded), bias)) in of_rows.zip(bias).enumerate() {
            let means = int8::of_row(means, columns, row, rows);
            let errors = exact.iter().zip(rounded).map(|(exact, rounded)| exact - rounded);
            *bias += errors.zip(means).map(|(error, mean)| error * mean).sum::<f32>();
        }
        Ok(())
    }

    /// The tensors that stand for this parameter in a file.
    fn parts(&self, rounded: &QuantizedTensor, coding: Coding) -> Vec<(String, Encoded)> {
        let vector = |values: &[f32]| match f16_scales(values) {
            Some(_) => Encoded::f16(values, vec![values.len()]),
            None => Encoded::f32(values, vec![values.len()]),
        };
        let scales = vector(&rounded.scales);
        let levels = match coding {
            Coding::Plain => {
                (self.name.to_owned(), Encoded::i8(&rounded.levels, self.shape.clone()))
            }
            Coding::Entropy => {
                (format!("{}{CODED}", self.name), Encoded::bytes(levels::encode(rounded)))
            }
        };
        let mut parts = vec![levels, (format!("{}{SCALES}", self.name), scales)];
        if let Some(factors) = &rounded.smoothing_scales {
            parts.push((format!("{}{SMOOTHING_SCALES}", self.name), vector(factors)));
        }
        parts
    }

    pub(super) fn rounded_to_bits(&self, bits: f64) -> QuantizedTensor {
        let bits = (bits + self.extra_bits).round().clamp(2.0, 8.0) as u32;
        let most = (1 << (bits - 1)) - 1;
        self.rounded(most, |row| best_scale(row, most))
    }

    /// Rounds to `step` times every row's root mean square.
    fn rounded_to_step(&self, step: f64) -> QuantizedTensor {
        self.rounded(MAX, |row| {
            let square = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
            let scale = (step * (square / row.len() as f64).sqrt()) as f32;
            // Nothing is clipped.
            fitted(row, scale.max(magnitude(row) / MAX as f32), MAX)
        })
    }

    fn rounded(&self, most: i32, scale: impl Fn(&[f32]) -> f32) -> QuantizedTensor {
        let values = self.divided();
        let rows = || values.chunks_exact(self.columns());
        let scales: Vec<f32> = rows().map(scale).collect();
        let scales = f16_scales(&scales).unwrap_or(scales);
        let levels = (values.par_chunks_exact(self.columns()).zip(&scales).enumerate())
            .flat_map_iter(|(i, (row, &scale))| {
                match self.feedback.get(i * self.feedback.len() / self.shape[0]) {
                    Some(feedback) => feedback.round_row(row, scale, most),
                    None => row.iter().map(|&value| round(value, scale, most) as i8).collect(),
                }
            })
            .collect();
        let (shape, smoothing_scales) = (self.shape.clone(), self.smoothing_scales.clone());
        QuantizedTensor {
            shape,
            levels,
            scales,
            smoothing_scales,
            activation_bits: self.activation_bits,
        }
    }
}

/// The feedback of each group of a parameter, from all their covariances; `None` if these do not fit.
fn feedback_of_groups(
    covariances: &[f32],
    shape: &[usize],
    factors: Option<&[f32]>,
) -> Option<Vec<Gptq>> {
    let columns = shape[1..].iter().product::<usize>();
    let (channels, taps) = (shape[1], columns.checked_div(shape[1])?);
    let len = columns.checked_mul(columns).filter(|&len| len > 0)?;
    let groups = covariances.len() / len;
    if groups == 0 || covariances.len() != groups * len || !shape[0].is_multiple_of(groups) {
        return None;
    }
    let of_group = |(group, covariance): (usize, &[f32])| {
        let factors = factors.map(|factors| {
            let factors = int8::of_row(factors, channels, group, groups);
            factors.iter().flat_map(|&factor| std::iter::repeat_n(factor, taps)).collect::<Vec<_>>()
        });
        Gptq::new(covariance, columns, factors.as_deref())
    };
    covariances.chunks_exact(len).enumerate().map(of_group).collect()
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
