//! Sums and maxima of rows.

use super::{MAX_LANES, Simd};

/// The fewest lanes that an instruction set has.
const MIN_LANES: usize = 4;

/// The sum over a slice in sixteen partial sums, which all start at 0: element `i` is added to that of
/// lane `i % 16` by `add(sum, x)`. Then halves are added to halves.
///
/// So the order of the additions does not depend on the width of a vector: instruction sets that round
/// alike give the same bits. `add` has to leave a sum as it is for an `x` of `fill`.
#[inline(always)]
pub(in crate::cpu) fn sum_by<S: Simd>(
    simd: S,
    values: &[f32],
    fill: f32,
    add: impl Fn(S::V, S::V) -> S::V,
) -> f32 {
    let mut sums = [simd.splat(0.0); MAX_LANES / MIN_LANES];
    let sums = &mut sums[..MAX_LANES / S::LANES];
    let (vectors, rest) = S::split(values);
    let mut rounds = vectors.chunks_exact(sums.len());
    for round in &mut rounds {
        for (sum, x) in sums.iter_mut().zip(round) {
            *sum = add(*sum, simd.load(x));
        }
    }
    let last = rounds.remainder();
    for (sum, x) in sums.iter_mut().zip(last) {
        *sum = add(*sum, simd.load(x));
    }
    if !rest.is_empty() {
        sums[last.len()] = add(sums[last.len()], simd.load_part(rest, fill));
    }
    let mut count = sums.len();
    while count > 1 {
        count /= 2;
        for i in 0..count {
            sums[i] = simd.add(sums[i], sums[i + count]);
        }
    }
    simd.sum(sums[0])
}

/// Vectors of a row whose maxima are taken side by side: each would wait for the one before it.
const CHAINS: usize = 4;

/// The largest element of a row without NaN; `-inf` for an empty one.
#[inline(always)]
pub(in crate::cpu) fn largest_of<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (vectors, rest) = S::split(row);
    let mut largest = [simd.load_part(rest, f32::NEG_INFINITY); CHAINS];
    let (fours, others) = vectors.as_chunks::<CHAINS>();
    for four in fours {
        for (largest, scores) in largest.iter_mut().zip(four) {
            *largest = simd.max(*largest, simd.load(scores));
        }
    }
    for (largest, scores) in largest.iter_mut().zip(others) {
        *largest = simd.max(*largest, simd.load(scores));
    }
    for chain in 1..CHAINS {
        largest[0] = simd.max(largest[0], largest[chain]);
    }
    simd.largest(largest[0])
}

#[cfg(test)]
mod tests {
    use super::super::super::dispatch::{Isa, Kernel, dispatch};
    use super::super::super::linear::tests::noise;
    use super::*;

    struct Sum<'a>(&'a [f32]);

    impl Kernel for Sum<'_> {
        type Output = f32;

        #[inline(always)]
        fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> f32 {
            sum_by(simd, self.0, 0.0, |sum, x| simd.add(sum, x))
        }
    }

    #[test]
    fn sums_have_one_order() {
        for len in 0..70 {
            let values = noise(3, len);
            let mut lanes = [0.0; MAX_LANES];
            for (i, x) in values.iter().enumerate() {
                lanes[i % MAX_LANES] += x;
            }
            for count in [8, 4, 2, 1] {
                (0..count).for_each(|lane| lanes[lane] += lanes[lane + count]);
            }
            for isa in Isa::all() {
                assert_eq!(dispatch(isa, Sum(&values)), lanes[0], "{isa:?}, {len}");
            }
        }
    }
}
