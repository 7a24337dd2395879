//! A parameter on its way to integers.

use std::borrow::Cow;

use rayon::prelude::*;

use super::QuantizeOptions;
use super::gptq::Gptq;
use super::scales::{MAX, best_scale, fitted, magnitude, round};
use crate::error::{ConfigError, Result};
use crate::ops::quantized::{ActivationBits, QuantizedTensor, of_row};
use crate::weights::{f16_scales, factors_fit};

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
        let activation_bits = super::activation_bits(name, &options.twelve_bit_inputs);
        Ok(Matrix { name, values, shape, extra_bits, smoothing_scales, activation_bits, feedback })
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// How many values it has.
    pub(super) fn size(&self) -> usize {
        self.values.len()
    }

    /// Bits more than others.
    pub(super) fn extra_bits(&self) -> f64 {
        self.extra_bits
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
            let factors = of_row(factors, channels, row, rows);
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
        let rounded = rounded.dequantized();
        let of_rows = self.values.chunks_exact(columns).zip(rounded.chunks_exact(columns));
        for (row, ((exact, rounded), bias)) in of_rows.zip(bias).enumerate() {
            let means = of_row(means, columns, row, rows);
            let errors = exact.iter().zip(rounded).map(|(exact, rounded)| exact - rounded);
            *bias += errors.zip(means).map(|(error, mean)| error * mean).sum::<f32>();
        }
        Ok(())
    }

    /// Rounds to integers of so many bits, and as many more as the parameter has.
    pub(super) fn rounded_to_bits(&self, bits: f64) -> QuantizedTensor {
        let bits = (bits + self.extra_bits).round().clamp(2.0, 8.0) as u32;
        let most = (1 << (bits - 1)) - 1;
        self.rounded(most, |row| best_scale(row, most))
    }

    /// Rounds to `step` times every row's root mean square.
    pub(super) fn rounded_to_step(&self, step: f64) -> QuantizedTensor {
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
            let factors = of_row(factors, channels, group, groups);
            factors.iter().flat_map(|&factor| std::iter::repeat_n(factor, taps)).collect::<Vec<_>>()
        });
        Gptq::new(covariance, columns, factors.as_deref())
    };
    covariances.chunks_exact(len).enumerate().map(of_group).collect()
}
