//! The largest of a row, the sum of its exponentials, and what both make of it: log-probabilities of thousands of classes.

use super::dispatch::{Isa, Kernel, dispatch};
use super::math::exp2_non_positive;
use super::simd::{Simd, largest_of, sum_by};

/// Elements whose exponentials are summed in f32; the sums are added in f64.
const BLOCK: usize = 256;

/// The largest element of a row without NaN; `-inf` for an empty row.
pub(crate) fn largest(row: &[f32]) -> f32 {
    largest_for(Isa::best(), row)
}

fn largest_for(isa: Isa, row: &[f32]) -> f32 {
    dispatch(isa, Largest(row))
}

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> f32 {
        largest_of(simd, self.0)
    }
}

/// The sum of `exp((x - largest) * scale)` over a row whose largest element is `largest`, for a
/// `scale` above 0: relative error below 3e-6. The same bits on every instruction set that fuses
/// products with sums.
///
/// An element at a distance of 87 or more counts as 1.2e-38.
pub(crate) fn sum_of_exponentials(row: &[f32], largest: f32, scale: f32) -> f64 {
    sum_of_exponentials_for(Isa::best(), row, largest, scale)
}

fn sum_of_exponentials_for(isa: Isa, row: &[f32], largest: f32, scale: f32) -> f64 {
    dispatch(isa, SumOfExponentials { row, largest, factor: scale * std::f32::consts::LOG2_E })
}

struct SumOfExponentials<'a> {
    row: &'a [f32],
    largest: f32,
    /// From the base e to the base 2, times the scale.
    factor: f32,
}

impl Kernel for SumOfExponentials<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> f64 {
        let (largest, factor) = (simd.splat(self.largest), simd.splat(self.factor));
        let mut powers = [0.0f32; BLOCK];
        let mut total = 0.0;
        // Loops, not iterators over closures: what is not inlined is not compiled for the instruction set.
        for block in self.row.chunks(BLOCK) {
            let powers = &mut powers[..block.len()];
            let (vectors, rest) = S::split(block);
            let (out, out_rest) = S::split_mut(powers);
            for (x, power) in vectors.iter().zip(out) {
                simd.store(scaled_exp2(simd, simd.load(x), largest, factor), power);
            }
            if !rest.is_empty() {
                let last = simd.load_part(rest, f32::NEG_INFINITY);
                let last = simd.lanes(scaled_exp2(simd, last, largest, factor));
                out_rest.copy_from_slice(&last[..rest.len()]);
            }
            total += f64::from(sum_by(simd, powers, 0.0, |sum, x| simd.add(sum, x)));
        }
        total
    }
}

/// Makes logits `x - largest - log_sum`, each rounded to f32 twice: the first difference, and in f64 the second one.
pub(crate) fn normalize(row: &mut [f32], largest: f32, log_sum: f64) {
    dispatch(Isa::best(), Normalize { row, largest, log_sum });
}

struct Normalize<'a> {
    row: &'a mut [f32],
    largest: f32,
    log_sum: f64,
}

impl Kernel for Normalize<'_> {
    type Output = ();

    /// Plain arithmetic, of which the compiler makes vectors of the instruction set.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) {
        for x in self.row {
            *x = (f64::from(*x - self.largest) - self.log_sum) as f32;
        }
    }
}

/// `2^((x - largest) * factor)`
#[inline(always)]
fn scaled_exp2<S: Simd>(simd: S, x: S::V, largest: S::V, factor: S::V) -> S::V {
    exp2_non_positive(simd, simd.mul(simd.sub(x, largest), factor))
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::noise;
    use super::*;

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for len in [1, 7, 8, 31, 32, 33, 255, 256, 257, 18_710] {
                for scale in [1.0f32, 0.6, 2.5] {
                    let mut row: Vec<f32> = noise(1, len).iter().map(|x| 9.0 * x).collect();
                    if len > 9 {
                        row[5] = f32::NEG_INFINITY;
                    }
                    let plain = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    assert_eq!(largest_for(isa, &row), plain);
                    let terms = row.iter().map(|x| (f64::from(x - plain) * f64::from(scale)).exp());
                    let expected: f64 = terms.sum();
                    let found = sum_of_exponentials_for(isa, &row, plain, scale);
                    let error = (found / expected - 1.0).abs();
                    assert!(error < 3e-6, "{isa:?}, {len}, {scale}: {error}");
                }
            }
            assert_eq!(largest_for(isa, &[]), f32::NEG_INFINITY);
        }
    }

    #[test]
    fn every_instruction_set_normalizes_alike() {
        let row = noise(3, 1003);
        let expected: Vec<f32> =
            row.iter().map(|x| (f64::from(x - 0.9) - 7.123_456_789) as f32).collect();
        for isa in Isa::all() {
            let mut found = row.clone();
            dispatch(isa, Normalize { row: &mut found, largest: 0.9, log_sum: 7.123_456_789 });
            assert_eq!(found, expected, "{isa:?}");
        }
    }

    #[test]
    fn instruction_sets_agree_to_the_bit() {
        let row = noise(2, 18_710);
        let top = largest(&row);
        let sums = Isa::fused().into_iter().map(|isa| sum_of_exponentials_for(isa, &row, top, 0.7));
        let sums: Vec<u64> = sums.map(f64::to_bits).collect();
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{sums:?}");
    }
}
