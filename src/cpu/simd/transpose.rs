//! Squares of elements in registers.

use super::{MAX_LANES, Simd};

/// The columns of the square whose rows the first [`LANES`](Simd::LANES) vectors are; the others are left as they are.
#[inline(always)]
pub(in crate::cpu) fn transposed<S: Simd>(
    simd: S,
    mut square: [S::V; MAX_LANES],
) -> [S::V; MAX_LANES] {
    // In the number of an element's vector and, behind it, of its lane, as one binary number, a round
    // moves the highest bit to the end; after as many rounds as a lane has bits both are exchanged.
    let half = S::LANES / 2;
    for _ in 0..S::LANES.ilog2() {
        let rows = square;
        for i in 0..half {
            (square[2 * i], square[2 * i + 1]) = simd.interleave(rows[i], rows[i + half]);
        }
    }
    square
}

#[cfg(test)]
mod tests {
    use super::super::super::dispatch::{Isa, Kernel, dispatch};
    use super::super::super::linear::tests::noise;
    use super::*;

    struct Transposed<'a>(&'a [f32]);

    impl Kernel for Transposed<'_> {
        type Output = (usize, Vec<f32>);

        #[inline(always)]
        fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> Self::Output {
            let mut square = [simd.splat(0.0); MAX_LANES];
            for (row, values) in square.iter_mut().zip(&S::split(self.0).0[..S::LANES]) {
                *row = simd.load(values);
            }
            let square = transposed(simd, square);
            (S::LANES, square.iter().flat_map(|&v| simd.lanes(v)[..S::LANES].to_vec()).collect())
        }
    }

    #[test]
    fn a_square_is_transposed() {
        let values = noise(4, MAX_LANES * MAX_LANES);
        for isa in Isa::all() {
            let (lanes, found) = dispatch(isa, Transposed(&values));
            for i in 0..lanes * lanes {
                assert_eq!(found[i], values[i % lanes * lanes + i / lanes], "{isa:?}: {i}");
            }
        }
    }
}
