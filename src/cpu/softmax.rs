//! The softmax of a row in vectors, to the base 2.

use super::dispatch::{Isa, Kernel, dispatch};
use super::math::exp2_non_positive;
use super::simd::{Simd, largest_of, sum_by};

/// Replaces scores by the powers of two of their distances from the largest; returns their sum.
#[inline(always)]
pub(super) fn unnormalized_softmax<S: Simd>(simd: S, row: &mut [f32]) -> f32 {
    let largest = simd.splat(largest_of(simd, row));
    let (vectors, rest) = S::split_mut(row);
    for scores in vectors {
        simd.store(exp2_non_positive(simd, simd.sub(simd.load(scores), largest)), scores);
    }
    if !rest.is_empty() {
        let last = simd.load_part(rest, f32::NEG_INFINITY);
        let e = simd.lanes(exp2_non_positive(simd, simd.sub(last, largest)));
        rest.copy_from_slice(&e[..rest.len()]);
    }
    sum_by(simd, row, 0.0, |sum, x| simd.add(sum, x))
}

/// Replaces scores to the base e by weights, which add up to 1.
pub(super) fn softmax(isa: Isa, row: &mut [f32]) {
    row.iter_mut().for_each(|score| *score *= std::f32::consts::LOG2_E);
    let factor = dispatch(isa, UnnormalizedSoftmax(row)).recip();
    row.iter_mut().for_each(|weight| *weight *= factor);
}

struct UnnormalizedSoftmax<'a>(&'a mut [f32]);

impl Kernel for UnnormalizedSoftmax<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> f32 {
        unnormalized_softmax(simd, self.0)
    }
}

/// The backward pass: scales the weights by `factor` and turns the gradients `d` for them into
/// `scale` times those for the scores, `weight * (d - sum(weight * d)) * scale`.
#[cfg(feature = "train")]
#[inline(always)]
pub(super) fn softmax_backward<S: Simd>(
    simd: S,
    weights: &mut [f32],
    d: &mut [f32],
    factor: f32,
    scale: f32,
) {
    assert_eq!(weights.len(), d.len(), "weights and gradients differ in number");
    let (weights, weights_rest) = S::split_mut(weights);
    let (d, d_rest) = S::split_mut(d);
    let (factors, scales) = (simd.splat(factor), simd.splat(scale));
    let mut sums = simd.splat(0.0);
    for (weights, d) in weights.iter_mut().zip(d.iter()) {
        let weight = simd.mul(simd.load(weights), factors);
        simd.store(weight, weights);
        sums = simd.mul_add(weight, simd.load(d), sums);
    }
    let mut sum = simd.sum(sums);
    for (weight, d) in weights_rest.iter_mut().zip(d_rest.iter()) {
        *weight *= factor;
        sum += *weight * d;
    }
    let sums = simd.splat(sum);
    for (weights, d) in weights.iter().zip(d) {
        let centred = simd.sub(simd.load(d), sums);
        simd.store(simd.mul(simd.mul(simd.load(weights), scales), centred), d);
    }
    for (weight, d) in weights_rest.iter().zip(d_rest) {
        *d = *weight * scale * (*d - sum);
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::*;

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for len in (1..70).chain([255, 256, 300]) {
                let scores: Vec<f32> = noise(1, len).iter().map(|x| 9.0 * x).collect();
                let largest = scores.iter().copied().fold(f32::MIN, f32::max);
                let expected: Vec<f64> =
                    scores.iter().map(|x| f64::from(x - largest).exp2()).collect();
                let mut found = scores.clone();
                let sum = dispatch(isa, UnnormalizedSoftmax(&mut found));
                let row = format!("{isa:?}, {len}");
                assert_close(&found, &expected, 1e-6, &row);
                let total = expected.iter().sum::<f64>();
                assert_close(&[sum], &[total], 1e-6 * len as f64, &row);

                let mut found: Vec<f32> =
                    scores.iter().map(|x| x / std::f32::consts::LOG2_E).collect();
                softmax(isa, &mut found);
                let weights: Vec<f64> = expected.iter().map(|x| x / total).collect();
                assert_close(&found, &weights, 2e-6, &row);
            }
        }
    }
}
