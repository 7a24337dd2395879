//! Matrices of integers of 8 bits.

use super::super::buffer::AlignedBuffer;
use super::super::dispatch::{Int8Isa, Int8Kernel, dispatch_int8};
use super::super::rounding::group_count;
use super::super::simd::{Int8Product, MAX_NUMBERS, Simd};
use super::super::tile::Tile;
use super::outlier_rows::PackedOutlierRows;
use super::packed::padded;
use super::{Epilogue, Gemm, Integers, Matrix, Origin, Panels, RowScale, RowScales, Rows};

/// A matrix `[k, n]` of integers with a scale a column and a bias, packed for an instruction set.
#[derive(Clone)]
pub(crate) struct Int8Matrix {
    isa: Int8Isa,
    k: usize,
    /// Rows whose products are scaled together; a multiple of those of a word, or all of them.
    group: usize,
    n: usize,
    /// `[panel][word][width]`; a word is two bytes or four.
    panels: AlignedBuffer<u16>,
    /// What is left of large weights where the instruction set has only room for small ones.
    outlier_rows: Option<PackedOutlierRows>,
    /// The sums of the columns, as bits of i32, `[groups, panel * width]`.
    sums: AlignedBuffer,
    /// `[panel * width]`
    scale: AlignedBuffer,
    /// `[panel * width]`
    bias: AlignedBuffer,
}

impl std::fmt::Debug for Int8Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Int8Matrix({} x {}, {:?})", self.k, self.n, self.isa)
    }
}

impl Int8Matrix {
    /// Packs the matrix whose element in row `k` and column `n` is `scales[n] * element(k, n)`, for left
    /// rows of which `group` numbers have one scale.
    ///
    /// # Panics
    /// If there are several groups, and their rows make no whole words.
    pub(in crate::cpu) fn new(
        isa: Int8Isa,
        k: usize,
        group: usize,
        element: impl Fn(usize, usize) -> i8,
        scales: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let n = scales.len();
        assert!(group >= k || group.is_multiple_of(MAX_NUMBERS), "groups that end in a word");
        let groups = group_count(k, group);
        let (width, numbers) = (isa.panel_width(), isa.words().numbers());
        let words = k.div_ceil(numbers);
        let columns = n.div_ceil(width) * width;
        let mut panels = AlignedBuffer::<u16>::zeroed(columns * words * numbers / 2);
        let mut sums = AlignedBuffer::<f32>::zeroed(columns * groups);
        let panel_len = (width * words * numbers).max(1);
        let bytes = panels.bytes_mut();
        for (panel, packed) in bytes.chunks_exact_mut(panel_len).enumerate() {
            for column in panel * width..n.min((panel + 1) * width) {
                for (of_group, start) in (0..k).step_by(group.max(1)).enumerate() {
                    let mut sum = 0i32;
                    for row in start..k.min(start + group) {
                        let value = element(row, column);
                        sum = sum.wrapping_add(i32::from(value));
                        let word = row / numbers * width + column % width;
                        packed[word * numbers + row % numbers] = value as u8;
                    }
                    sums.as_mut_slice()[of_group * columns + column] = f32::from_bits(sum as u32);
                }
            }
        }
        let outlier_rows = isa
            .most_of_four()
            .map(|most| PackedOutlierRows::split_off(panels.bytes_mut(), words, width, most));
        let scale = padded(scales, n, width);
        let bias = padded(bias.unwrap_or_default(), n, width);
        Int8Matrix { isa, k, group, n, panels, outlier_rows, sums, scale, bias }
    }

    pub(in crate::cpu) fn isa(&self) -> Int8Isa {
        self.isa
    }

    /// Rows whose products are scaled together.
    pub(in crate::cpu) fn group(&self) -> usize {
        self.group
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.k
    }

    /// Columns.
    pub(crate) fn columns(&self) -> usize {
        self.n
    }
}

impl Matrix for Int8Matrix {
    type Left = u32;

    fn k(&self) -> usize {
        self.k.div_ceil(self.isa.words().numbers())
    }

    fn n(&self) -> usize {
        self.n
    }

    fn panel_width(&self) -> usize {
        self.isa.panel_width()
    }

    fn scale_group(&self) -> usize {
        self.group.div_ceil(self.isa.words().numbers())
    }

    fn zero(&self, scale: RowScale) -> u32 {
        u32::from_ne_bytes([scale.zero as u8; MAX_NUMBERS])
    }

    fn multiply<R: Rows<Element = u32>>(
        &self,
        rows: &R,
        origin: Origin,
        scales: RowScales,
        epilogue: Epilogue,
        out: Tile,
    ) {
        let kernel = Int8Gemm { rows, matrix: self, origin, scales, epilogue, out };
        dispatch_int8(self.isa, kernel);
    }
}

struct Int8Gemm<'a, R> {
    rows: &'a R,
    matrix: &'a Int8Matrix,
    origin: Origin,
    scales: RowScales<'a>,
    epilogue: Epilogue<'a>,
    out: Tile<'a>,
}

impl<R: Rows<Element = u32>> Int8Kernel for Int8Gemm<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P)
    where
        S: Simd,
        P: Int8Product<S>,
    {
        let Int8Gemm { rows, matrix, origin, scales, epilogue, out } = self;
        let integers = Integers {
            groups: group_count(matrix.k, matrix.group),
            sums: matrix.sums.as_slice(),
            scale: matrix.scale.as_slice(),
            rows: scales,
        };
        let data = matrix.panels.view::<P::Right>();
        let outlier_rows = matrix.outlier_rows.as_ref().map(PackedOutlierRows::rows);
        let width = matrix.isa.panel_width();
        let bias = Some(matrix.bias.as_slice());
        let matrix = Panels::new(Matrix::k(matrix), matrix.n, width, data, bias);
        let matrix = matrix.with_integers(integers).with_outlier_rows(outlier_rows);
        let Origin { first_row, first_panel } = origin;
        Gemm { rows, first_row, matrix, first_panel, epilogue, out }
            .multiply::<S, P, MR, NV>(simd, product);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::conv::ConvShape;
    use super::super::super::conv::tests::int8_conv_for;
    use super::super::super::linear::tests::{int8_linear_for, noise};
    use super::super::super::rounding::{ActivationBits, scale_group};
    use super::*;

    const BITS: [ActivationBits; 2] = [ActivationBits::Eight, ActivationBits::Twelve];

    /// Integers of so many bits, both ends in every group of a row that has room, so that they are not
    /// scaled.
    fn integers(
        seed: u32,
        count: usize,
        row: usize,
        group: usize,
        bits: ActivationBits,
    ) -> Vec<f32> {
        let largest = (bits.steps() / 2) as f32;
        let mut x: Vec<f32> = noise(seed, count).iter().map(|x| (x * largest).round()).collect();
        for group in x.chunks_mut(row).flat_map(|row| row.chunks_mut(group)) {
            match group {
                [first, .., last] => (*first, *last) = (-largest - 1.0, largest),
                group => group.fill(bits.steps() as f32),
            }
        }
        x
    }

    fn levels(seed: u32, count: usize) -> Vec<i8> {
        noise(seed, count).iter().map(|x| (x * 127.0).round() as i8).collect()
    }

    /// Sums of integers are exact, so that every instruction set gives the same: what plain integers
    /// give. Those of several groups are added in f32.
    #[test]
    fn sums_are_exact() {
        BITS.into_iter().for_each(sums_are_exact_with);
    }

    fn sums_are_exact_with(bits: ActivationBits) {
        for (rows, k, n) in [
            (1, 1, 1),
            (2, 3, 5),
            (7, 33, 17),
            (13, 385, 31),
            (128, 96, 33),
            (33, 128, 64),
            (9, 1531, 40),
        ] {
            let group = scale_group(k);
            let x = integers(1, rows * k, k, group, bits);
            let mut levels = levels(2, n * k);
            // The largest sum there is, in the first row and column.
            levels[..k].fill(-127);
            let mut x = x;
            x[..k].fill(bits.steps() as f32);
            let expected: Vec<f32> = (0..rows * n)
                .map(|at| {
                    let (x, w) = (&x[at / n * k..][..k], &levels[at % n * k..][..k]);
                    let sum = |(x, w): (&[f32], &[i8])| {
                        x.iter().zip(w).map(|(&x, &w)| x as i32 * i32::from(w)).sum::<i32>() as f32
                    };
                    x.chunks(group).zip(w.chunks(group)).map(sum).sum()
                })
                .collect();
            for isa in Int8Isa::all() {
                let found = int8_linear_for(isa, &x, &levels, &vec![1.0; n], None, bits);
                assert!(found == expected, "{isa:?}, {bits:?}, {rows} x {k} x {n}");
            }
        }
    }

    #[test]
    fn sums_of_convolutions_are_exact() {
        let (height, width, in_dim, out_dim) = (5, 7, 16, 10);
        let cases = [
            (1, ConvShape::new_3x3((1, 1))),
            (2, ConvShape::new_3x3((2, 1))),
            (2, ConvShape::new_3x3((1, 1))),
            (2, ConvShape::centred((5, 5), (1, 1))),
            (1, ConvShape::centred((1, 3), (1, 1))),
        ];
        for ((groups, shape), bits) in
            cases.into_iter().flat_map(|case| BITS.map(|bits| (case, bits)))
        {
            let image = height * width * in_dim;
            let x = integers(3, 2 * image, image, image, bits);
            let levels = levels(4, out_dim * in_dim / groups * shape.taps());
            let scales = vec![1.0; out_dim];
            let run = |isa| {
                let grid = (height, width);
                int8_conv_for(isa, &x, grid, (&levels, &scales), groups, shape, bits)
            };
            let all = Int8Isa::all();
            let expected = run(all[0]);
            assert!(expected.iter().any(|&sum| sum != 0.0));
            for isa in all {
                assert!(run(isa) == expected, "{isa:?}, {bits:?}, {groups} groups, {shape:?}");
            }
        }
    }

    /// FNV-1a of the output of `platforms_agree_to_the_bit`.
    const CHECKSUM: u64 = 0xe251_4f30_2b71_761f;
    /// With several groups, whose scaled sums are added.
    const GROUPED_CHECKSUM: u64 = 0x05c8_bb3c_cac0_3f7b;
    /// With inputs of 12 bits.
    const TWELVE_BITS_CHECKSUM: u64 = 0xfec9_7e61_8e87_411f;

    fn checksum(isa: Int8Isa, k: usize, bits: ActivationBits) -> u64 {
        let (rows, n) = (24, 97);
        let (x, levels) = (noise(7, rows * k), levels(8, n * k));
        let scales: Vec<f32> = noise(9, n).iter().map(|x| x.abs() + 0.5).collect();
        let found = int8_linear_for(isa, &x, &levels, &scales, None, bits);
        found.iter().flat_map(|x| x.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// What comes out is the same to the bit on every platform, whatever its instructions: integers are
    /// rounded alike, sums are exact, and scales are multiplied in one order. Where a group's sum is added
    /// to that of others, on all with fused multiply-add.
    #[test]
    fn platforms_agree_to_the_bit() {
        for isa in Int8Isa::all() {
            let found = checksum(isa, 251, ActivationBits::Eight);
            assert_eq!(found, CHECKSUM, "{isa:?}: {found:#x}");
            let found = checksum(isa, 251, ActivationBits::Twelve);
            assert_eq!(found, TWELVE_BITS_CHECKSUM, "{isa:?}, 12 bits: {found:#x}");
        }
        for isa in Int8Isa::fused() {
            let found = checksum(isa, 1291, ActivationBits::Eight);
            assert_eq!(found, GROUPED_CHECKSUM, "{isa:?}, groups: {found:#x}");
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let levels = vec![1i8; 20];
        let cases = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for (bad, bits) in cases.into_iter().flat_map(|bad| BITS.map(|bits| (bad, bits))) {
            for at in [0, 16, 19] {
                let mut x = noise(6, 40);
                x[at] = bad;
                for isa in Int8Isa::all() {
                    let found = int8_linear_for(isa, &x, &levels, &[1.0], None, bits);
                    assert!(found[0].is_nan() && found[1].is_finite(), "{isa:?}: {bad} at {at}");
                }
            }
        }
    }
}
