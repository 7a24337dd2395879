//! The integers of 8 bits that weights are rounded to, and in training what rounding makes of weights
//! and inputs.

#[cfg(feature = "train")]
use rayon::prelude::*;

use super::simd::{InputRange, MAX_NUMBERS};

/// The largest magnitude of a weight's integer.
pub(crate) const MAX_LEVEL: f32 = 127.0;
/// Numbers of a row that share a scale, at most: one large number leaves few steps to the others. (Against a
/// scale a row, SVTRv2-B's power of errors is less by 13 % for 2 % more time; with 256, by 20 % for 7 %.)
const MAX_OF_GROUP: usize = 512;

/// How finely int8 inference rounds the input of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum ActivationBits {
    /// To 255 steps between the least and the largest number.
    #[default]
    Eight,
    /// To 4095 steps. Where a CPU multiplies four bytes at once (VNNI, dot products of ARM) the layer takes
    /// about twice the time; where it multiplies pairs of 16 bits anyway (AVX2, WebAssembly), none more.
    Twelve,
}

impl ActivationBits {
    /// Steps between the least and the largest integer.
    pub(crate) const fn steps(self) -> i32 {
        match self {
            ActivationBits::Eight => 255,
            ActivationBits::Twelve => 4095,
        }
    }

    /// How many products with weights an i32 can sum up, whatever the numbers.
    pub(crate) const fn most_products(self) -> usize {
        (i32::MAX / (self.steps() * MAX_LEVEL as i32)) as usize
    }
}

/// How the input of a layer becomes integers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Int8Input {
    /// What it is multiplied with before it is rounded, a factor a channel.
    pub factors: Option<Vec<f32>>,
    pub bits: ActivationBits,
}

/// How many numbers of a linear layer's input of `k` share a scale: the row is divided into the fewest groups
/// of at most 512, nearly equal ones of whole words.
pub(super) fn scale_group(k: usize) -> usize {
    k.div_ceil(group_count(k, MAX_OF_GROUP)).next_multiple_of(MAX_NUMBERS)
}

/// How many groups of at most `group` a row of `k` has, at least one.
pub(super) fn group_count(k: usize, group: usize) -> usize {
    k.div_ceil(group.max(1)).max(1)
}

/// How an input is rounded whose numbers, and 0, lie between `least` and `largest`: what a step stands
/// for, its inverse, and the integers. Where a bound is infinite or NaN, so is the step, and the inverse
/// is 0.
#[inline(always)]
pub(super) fn input_scale(
    least: f32,
    largest: f32,
    bits: ActivationBits,
) -> (f32, f32, InputRange) {
    let steps = bits.steps();
    let scale = (largest - least) / steps as f32;
    let factor = if scale > 0.0 && scale.is_finite() { scale.recip() } else { 0.0 };
    let zero = (-least * factor).round_ties_even().clamp(0.0, steps as f32) as i32;
    (scale, factor, InputRange { zero, steps })
}

/// A weight of so many rows in integers and a scale a row: 127 is the row's largest magnitude.
pub(crate) fn weight_levels(weight: &[f32], rows: usize) -> (Vec<i8>, Vec<f32>) {
    let columns = weight.len().checked_div(rows).unwrap_or(0).max(1);
    let mut levels = Vec::with_capacity(weight.len());
    let mut scales = Vec::with_capacity(rows);
    for row in weight.chunks_exact(columns) {
        let (scale, factor) = row_scale(row);
        levels.extend(row.iter().map(|x| (x * factor).round_ties_even() as i8));
        scales.push(scale);
    }
    (levels, scales)
}

/// A row's scale, and its inverse: 0 for a row of zeros.
fn row_scale(row: &[f32]) -> (f32, f32) {
    let scale = row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / MAX_LEVEL;
    if scale.is_normal() { (scale, scale.recip()) } else { (0.0, 0.0) }
}

/// What a weight is in int8 inference: its [levels](weight_levels) times their scales.
#[cfg(feature = "train")]
pub(crate) fn rounded_weight(weight: &[f32], rows: usize) -> Vec<f32> {
    let columns = weight.len().checked_div(rows).unwrap_or(0).max(1);
    let mut rounded = weight.to_vec();
    rounded.par_chunks_mut(columns).for_each(|row| {
        let (scale, factor) = row_scale(row);
        row.iter_mut().for_each(|x| *x = (*x * factor).round_ties_even() * scale);
    });
    rounded
}

/// What the input of a layer is in int8 inference with 8 bits: rows of `k` numbers, each group of which is
/// rounded to 255 steps of its range, 0 included.
#[cfg(feature = "train")]
pub(crate) fn rounded_input(x: &[f32], k: usize, group: usize) -> Vec<f32> {
    let mut rounded = x.to_vec();
    rounded.par_chunks_mut(k.max(1)).for_each(|row| {
        row.chunks_mut(group.max(1)).for_each(round_group);
    });
    rounded
}

#[cfg(feature = "train")]
fn round_group(group: &mut [f32]) {
    let least = group.iter().fold(0.0f32, |least, &x| least.min(x));
    let largest = group.iter().fold(0.0f32, |largest, &x| largest.max(x));
    let (scale, factor, range) = input_scale(least, largest, ActivationBits::Eight);
    let (least, largest) = (range.least() as f32, range.largest() as f32);
    group.iter_mut().for_each(|x| {
        *x = (*x * factor).round_ties_even().clamp(least, largest) * scale;
    });
}
