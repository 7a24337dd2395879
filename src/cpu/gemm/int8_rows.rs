//! Rows of numbers rounded to integers: the left matrices of products of int8.

use super::super::buffer::Scratch;
use super::super::dispatch::{Int8Isa, Int8Kernel, dispatch_int8};
use super::super::parts::{Chunks, for_each_part};
use super::super::rounding::{ActivationBits, Int8Input, group_count, input_scale};
use super::super::simd::{InputRange, Int8Product, MAX_NUMBERS, Simd};
use super::RowScale;

/// Numbers of a task that rounds rows.
const TASK_NUMBERS: usize = 1 << 15;

/// Groups whose scales are computed side by side: each takes a division after the other, for which the CPU would
/// wait.
const SIDE_BY_SIDE: usize = 16;
/// Numbers that are read twice, for their range and to be rounded, while the first-level cache has them: 16 KiB.
const NEAR_NUMBERS: usize = 1 << 12;

/// A left matrix in integers.
pub(in crate::cpu) struct Int8Rows {
    /// Rows of words, the last of which may hold zeros behind the row's numbers.
    pub words: Scratch<u32>,
    /// What the integers stand for, row by row, and in it group by group.
    pub scales: Vec<RowScale>,
}

impl Int8Rows {
    /// Rounds the groups of rows of `k` numbers to integers: so many steps as the bits make from the least
    /// number of a group, or 0 if that is less, to the largest one, or 0. 0 is among them. The integers are
    /// the same with every instruction set.
    ///
    /// With factors the numbers are multiplied before; `k` is a multiple of their count, and they
    /// repeat along the row.
    ///
    /// # Panics
    /// If the words of the instruction set do not hold so many bits.
    pub(in crate::cpu) fn new(
        isa: Int8Isa,
        x: &[f32],
        k: usize,
        group: usize,
        input: &Int8Input,
    ) -> Self {
        let task_rows = TASK_NUMBERS.div_ceil(k.max(1));
        let (mut rounded, words, groups) = Self::with_room(isa, x, k, group, input);
        let parts = (
            Chunks::new(&mut rounded.words, task_rows * words),
            Chunks::new(&mut rounded.scales, task_rows * groups),
        );
        let (factors, bits) = (input.factors.as_deref(), input.bits);
        for_each_part(parts, &|task, (words, scales)| {
            let x = &x[task * task_rows * k..];
            dispatch_int8(isa, Round { x, k, group, factors, bits, words, scales });
        });
        rounded
    }

    /// [`new`](Self::new) inside a task.
    pub(in crate::cpu) fn on_this_thread(
        isa: Int8Isa,
        x: &[f32],
        k: usize,
        group: usize,
        input: &Int8Input,
    ) -> Self {
        let (mut rounded, ..) = Self::with_room(isa, x, k, group, input);
        let Int8Rows { words, scales } = &mut rounded;
        let (factors, bits) = (input.factors.as_deref(), input.bits);
        dispatch_int8(isa, Round { x, k, group, factors, bits, words, scales });
        rounded
    }

    /// Room for the rows, words of a row and its groups.
    fn with_room(
        isa: Int8Isa,
        x: &[f32],
        k: usize,
        group: usize,
        input: &Int8Input,
    ) -> (Self, usize, usize) {
        assert_eq!(isa, isa.for_input(input.bits), "words that are too short");
        let words = k.div_ceil(isa.words().numbers());
        let groups = group_count(k, group);
        let rows = x.len().checked_div(k).unwrap_or(0);
        let none = RowScale { scale: 0.0, zero: 0 };
        let scales = vec![none; rows * groups];
        (Int8Rows { words: Scratch::new(rows * words), scales }, words, groups)
    }
}

struct Round<'a> {
    x: &'a [f32],
    k: usize,
    group: usize,
    factors: Option<&'a [f32]>,
    bits: ActivationBits,
    words: &'a mut [u32],
    scales: &'a mut [RowScale],
}

impl Int8Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P)
    where
        S: Simd,
        P: Int8Product<S>,
    {
        let Round { x, k, group, factors, bits, words, scales } = self;
        let numbers = P::WORDS.numbers();
        let row_words = k.div_ceil(numbers);
        let groups = group_count(k, group);
        let some_rows = (SIDE_BY_SIDE / groups).min(NEAR_NUMBERS / k).max(1);
        let mut products = Scratch::new(if factors.is_some() { some_rows * k } else { 0 });
        let mut ranges = vec![(0.0, 0.0); some_rows * groups];
        let mut inputs = vec![(0.0, InputRange { zero: 0, steps: 0 }); some_rows * groups];
        let rows = x.chunks(some_rows * k).zip(words.chunks_mut(some_rows * row_words));
        for ((x, words), scales) in rows.zip(scales.chunks_mut(some_rows * groups)) {
            let x = match factors {
                Some(factors) => {
                    multiply(simd, x, factors, &mut products[..x.len()]);
                    &products[..x.len()]
                }
                None => x,
            };
            for (x, ranges) in x.chunks_exact(k).zip(ranges.chunks_exact_mut(groups)) {
                for (x, of_group) in x.chunks(group).zip(ranges) {
                    *of_group = range(simd, x);
                }
            }
            for ((&(least, largest), input), of_group) in ranges.iter().zip(&mut inputs).zip(scales)
            {
                // Where a number is infinite or NaN, everything that comes of the group is NaN too.
                let (scale, factor, range) = input_scale(least, largest, bits);
                *input = (factor, range);
                *of_group = RowScale { scale, zero: P::WORDS.offset(range.zero) };
            }
            let rows = x.chunks_exact(k).zip(words.chunks_exact_mut(row_words));
            for ((x, words), inputs) in rows.zip(inputs.chunks_exact(groups)) {
                let of_groups = x.chunks(group).zip(words.chunks_mut(group.div_ceil(numbers)));
                for ((x, words), &(factor, range)) in of_groups.zip(inputs) {
                    round_group(simd, product, x, factor, range, words);
                }
            }
        }
    }
}

/// Writes the integers of a group: its numbers times a factor, rounded.
#[inline(always)]
fn round_group<S, P>(
    simd: S,
    product: P,
    x: &[f32],
    factor: f32,
    range: InputRange,
    words: &mut [u32],
) where
    S: Simd,
    P: Int8Product<S>,
{
    let numbers = P::WORDS.numbers();
    let (vectors, rest) = S::split(x);
    let (whole, last) = words.split_at_mut(vectors.len() * S::LANES / numbers);
    for (words, vector) in whole.chunks_exact_mut(S::LANES / numbers).zip(vectors) {
        let scaled = simd.mul(simd.load(vector), simd.splat(factor));
        words.copy_from_slice(&product.words(simd, scaled, range)[..S::LANES / numbers]);
    }
    for (word, x) in last.iter_mut().zip(rest.chunks(numbers)) {
        let mut scaled = [0.0; MAX_NUMBERS];
        for (scaled, x) in scaled.iter_mut().zip(x) {
            *scaled = x * factor;
        }
        *word = P::WORDS.word(&scaled, range);
    }
}

/// Writes the products of `x` and `factors`, which repeat.
#[inline(always)]
fn multiply<S: Simd>(simd: S, x: &[f32], factors: &[f32], out: &mut [f32]) {
    let (factor_vectors, factor_rest) = S::split(factors);
    let rows = x.chunks_exact(factors.len()).zip(out.chunks_exact_mut(factors.len()));
    for (x, out) in rows {
        let ((x, x_rest), (out, out_rest)) = (S::split(x), S::split_mut(out));
        for ((out, x), factor) in out.iter_mut().zip(x).zip(factor_vectors) {
            simd.store(simd.mul(simd.load(x), simd.load(factor)), out);
        }
        for ((out, x), factor) in out_rest.iter_mut().zip(x_rest).zip(factor_rest) {
            *out = x * factor;
        }
    }
}

/// The least number, or 0, and the largest number, or 0. NaN if a number is infinite or NaN.
#[inline(always)]
fn range<S: Simd>(simd: S, x: &[f32]) -> (f32, f32) {
    let (vectors, rest) = S::split(x);
    let zero = simd.splat(0.0);
    let (mut least, mut largest) = (zero, zero);
    // 0 unless a number is infinite or NaN.
    let mut odd = zero;
    for vector in vectors {
        let x = simd.load(vector);
        least = simd.min(least, x);
        largest = simd.max(largest, x);
        odd = simd.mul_add(x, zero, odd);
    }
    let [least, largest] = simd.largest_of_each(simd.sub(zero, least), largest);
    let odd = if simd.has_nan(odd) { f32::NAN } else { 0.0 };
    let odd = rest.iter().fold(odd, |odd, x| odd + x * 0.0);
    let least = rest.iter().fold(-least, |least, &x| least.min(x));
    let largest = rest.iter().fold(largest, |largest, &x| largest.max(x));
    (least + odd, largest + odd)
}

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::noise;
    use super::*;

    /// The numbers of words.
    fn numbers(isa: Int8Isa, rounded: &Int8Rows, k: usize) -> Vec<i32> {
        let words = isa.words();
        let row = k.div_ceil(words.numbers()).max(1);
        let rows = rounded.words.chunks(row).zip(&rounded.scales);
        rows.flat_map(|(row, of_row)| {
            let numbers = row.iter().flat_map(|&word| words.of(word)).take(k);
            numbers.map(|number| number - of_row.zero).collect::<Vec<_>>()
        })
        .collect()
    }

    #[test]
    fn rows_are_rounded_alike() {
        [ActivationBits::Eight, ActivationBits::Twelve]
            .into_iter()
            .for_each(rows_are_rounded_alike_with);
    }

    fn rows_are_rounded_alike_with(bits: ActivationBits) {
        let steps = bits.steps();
        for k in [1, 2, 3, 4, 5, 16, 31, 64, 67] {
            let mut x = noise(5, 9 * k);
            x[..k].fill(0.0);
            // One sign only, and ties.
            x[k..2 * k].iter_mut().for_each(|x| *x = (x.abs() * steps as f32).floor() + 0.5);
            x[2 * k..3 * k].iter_mut().for_each(|x| *x = -x.abs());
            let expected: Vec<i32> = x
                .chunks(k)
                .flat_map(|row| {
                    let least = row.iter().fold(0.0f32, |least, &x| least.min(x));
                    let largest = row.iter().fold(0.0f32, |largest, &x| largest.max(x));
                    let scale = (largest - least) / steps as f32;
                    let factor = if scale > 0.0 { scale.recip() } else { 0.0 };
                    let zero = (-least * factor).round_ties_even() as i32;
                    let integer = move |x: &f32| (x * factor).round_ties_even() as i32;
                    row.iter().map(move |x| integer(x).clamp(-zero, steps - zero))
                })
                .collect();
            for isa in Int8Isa::all() {
                let isa = isa.for_input(bits);
                let input = Int8Input { factors: None, bits };
                let rounded = Int8Rows::new(isa, &x, k, k, &input);
                assert_eq!(numbers(isa, &rounded, k), expected, "{isa:?}, {k}");
                assert_eq!(rounded.scales[0].scale, 0.0);
                for (i, (x, integer)) in x.iter().zip(&expected).enumerate() {
                    let scale = rounded.scales[i / k].scale;
                    let error = (x - *integer as f32 * scale).abs();
                    assert!(error <= 1.001 * scale, "{isa:?}, {k}: {x} at {i}");
                }
            }
        }
    }
}
