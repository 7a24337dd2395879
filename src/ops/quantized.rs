//! A parameter in integers: what files store, calibration chooses and int8 inference computes with.

use crate::cpu;

/// How finely int8 inference rounds the input of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ActivationBits {
    /// To 255 steps between the least and the largest number.
    #[default]
    Eight,
    /// To 4095 steps. Where a CPU multiplies four bytes at once (VNNI, dot products of ARM) the layer takes
    /// about twice the time; where it multiplies pairs of 16 bits anyway (AVX2, WebAssembly), none more.
    Twelve,
}

/// As the kernels take it.
impl From<ActivationBits> for cpu::ActivationBits {
    fn from(bits: ActivationBits) -> Self {
        match bits {
            ActivationBits::Eight => cpu::ActivationBits::Eight,
            ActivationBits::Twelve => cpu::ActivationBits::Twelve,
        }
    }
}

/// A parameter in integers, `[rows, columns]` in row-major order: for a linear layer or a
/// convolution, an output channel a row.
///
/// The weight is `levels[row * columns + column] * scales[row]`, times the factor of the column's input
/// channel if there are `smoothing_scales`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QuantizedTensor {
    /// The parameter's shape; the first dimension are the rows, the second the input channels of a group.
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
    /// Values `[rows, columns]` rounded to 127 of each row's largest magnitude.
    pub(crate) fn rounded(values: &[f32], rows: usize) -> Self {
        let (levels, scales) = cpu::weight_levels(values, rows);
        QuantizedTensor {
            shape: vec![rows, levels.len().checked_div(rows).unwrap_or(0)],
            levels,
            scales,
            smoothing_scales: None,
            activation_bits: ActivationBits::Eight,
        }
    }

    /// In f32. The number of smoothing scales is a multiple of the input channels of a row.
    pub(crate) fn dequantized(&self) -> Vec<f32> {
        let rows = self.scales.len();
        let columns = self.levels.len().checked_div(rows).unwrap_or(0).max(1);
        let taps: usize = self.shape.iter().skip(2).product();
        let channels = columns.checked_div(taps).unwrap_or(0);
        let mut values = Vec::with_capacity(self.levels.len());
        for (row, (levels, &scale)) in
            self.levels.chunks_exact(columns).zip(&self.scales).enumerate()
        {
            let Some(factors) = &self.smoothing_scales else {
                values.extend(levels.iter().map(|&level| f32::from(level) * scale));
                continue;
            };
            let factors = of_row(factors, channels, row, rows);
            for (taps, factor) in levels.chunks_exact(taps).zip(factors) {
                values.extend(taps.iter().map(|&level| f32::from(level) * scale * factor));
            }
        }
        values
    }

    /// The highest magnitude of an integer, at least 1.
    pub(crate) fn most(&self) -> u8 {
        self.levels.iter().map(|level| level.unsigned_abs()).max().unwrap_or(0).max(1)
    }
}

/// The part of values of all input channels, group after group, that belongs to the group of an
/// output channel (`row` of `rows`), whose group has `len` of them.
pub(crate) fn of_row<T>(values: &[T], len: usize, row: usize, rows: usize) -> &[T] {
    let groups = values.len() / len;
    &values[row * groups / rows * len..][..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of two channels, three taps.
    #[test]
    fn factors_are_those_of_the_row_s_group() {
        let tensor = QuantizedTensor {
            shape: vec![2, 2, 3],
            levels: vec![1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6],
            scales: vec![0.5, 2.0],
            smoothing_scales: Some(vec![1.0, 10.0, 100.0, 1000.0]),
            activation_bits: ActivationBits::Eight,
        };
        let first = [0.5, 1.0, 1.5, 20.0, 25.0, 30.0];
        let second = [-200.0, -400.0, -600.0, -8000.0, -10_000.0, -12_000.0];
        assert_eq!(tensor.dequantized(), [first, second].concat());
        assert_eq!(tensor.most(), 6);
        let plain = QuantizedTensor { smoothing_scales: None, ..tensor };
        assert_eq!(plain.dequantized()[5..7], [3.0, -2.0]);
    }

    #[test]
    fn rounding_fills_the_range() {
        let rounded = QuantizedTensor::rounded(&[1.0, -0.5, 0.0, 0.0], 2);
        assert_eq!(rounded.levels, [127, -64, 0, 0]);
        assert_eq!(rounded.shape, [2, 2]);
        assert_eq!(rounded.scales, [1.0 / 127.0, 0.0]);
        assert!(QuantizedTensor::rounded(&[], 0).dequantized().is_empty());
    }
}
