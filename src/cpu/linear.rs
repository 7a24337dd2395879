//! Linear layers: `x W^T + b`, with what follows them fused in.

use std::mem::MaybeUninit;

use super::buffer::filled;
use super::dispatch::{Int8Isa, Isa};
#[cfg(feature = "train")]
use super::gemm::Bf16Matrix;
use super::gemm::{
    DenseRows, Epilogue, Int8Matrix, Int8Rows, Matrix, Origin, PackedMatrix, RowScale, RowScales,
    block_rows,
};
use super::parts::for_each_part;
use super::rounding::{Int8Input, group_count, scale_group};
use super::tile::{Grid, Output, Tile};

/// Tasks that the panels of a product are spread over at most.
const PANEL_TASKS: usize = 8;

/// Panels of a task where `columns` are in panels of `width`.
pub(super) fn task_panels(columns: usize, width: usize) -> usize {
    columns.div_ceil(width).div_ceil(PANEL_TASKS)
}

/// Packs a linear layer's weight `[out, in]` and bias `[out]`.
pub(crate) fn pack_linear(weight: &[f32], out_dim: usize, bias: Option<&[f32]>) -> PackedMatrix {
    pack_linear_for(Isa::best(), weight, out_dim, bias)
}

pub(super) fn pack_linear_for(
    isa: Isa,
    weight: &[f32],
    out_dim: usize,
    bias: Option<&[f32]>,
) -> PackedMatrix {
    let in_dim = weight.len().checked_div(out_dim).unwrap_or(0);
    PackedMatrix::new(isa, in_dim, out_dim, |k, n| weight[n * in_dim + k], bias)
}

/// `epilogue(x W^T + b)` for `x` of rows of `in` elements: rows of `out` elements.
pub(crate) fn linear(x: &[f32], layer: &PackedMatrix, epilogue: Epilogue) -> Vec<f32> {
    let rows = rows_of(x, layer);
    let write = |out: &mut [MaybeUninit<f32>]| {
        linear_into(x, None, rows, layer, epilogue, Output::uninit(out));
    };
    // SAFETY: `linear_into` writes every row and column.
    unsafe { filled(rows * layer.n(), write) }
}

/// The rows of a layer's input, in chunks that are scaled together.
pub(super) fn source_of<'a, M: Matrix>(
    x: &'a [M::Left],
    rows: usize,
    layer: &M,
) -> DenseRows<'a, M::Left> {
    let source = DenseRows::new(x, rows, layer.k(), layer.k());
    let grouped = group_count(layer.k(), layer.scale_group()) > 1;
    if grouped { source.in_chunks(layer.scale_group()) } else { source }
}

/// Rows of a layer's input.
pub(super) fn rows_of(x: &[f32], layer: &PackedMatrix) -> usize {
    let rows = x.len().checked_div(layer.k()).unwrap_or(0);
    assert_eq!(x.len(), rows * layer.k(), "the input has no whole rows");
    rows
}

/// Writes every element of `out`, `[rows, layer.n()]`. Only integers have scales, one a group of a row.
pub(super) fn linear_into<M: Matrix>(
    x: &[M::Left],
    scales: Option<&[RowScale]>,
    rows: usize,
    layer: &M,
    epilogue: Epilogue,
    out: Output,
) {
    if let Epilogue::Add(other) = epilogue {
        assert_eq!(other.len(), rows * layer.n(), "the residual has another size");
    }
    let source = source_of(x, rows, layer);
    let groups = group_count(layer.k(), layer.scale_group());
    let width = layer.panel_width();
    let grid = Grid {
        segments: 1,
        segment_rows: rows,
        block_rows: block_rows(rows),
        columns: layer.n(),
        block_columns: task_panels(layer.n(), width) * width,
    };
    for_each_part(grid.tiles(out), &|_, (place, out)| {
        let origin =
            Origin { first_row: place.rows.start, first_panel: place.columns.start / width };
        let of_rows = place.rows.start * groups..place.rows.end * groups;
        let scales = scales.map_or(RowScales::NONE, |scales| RowScales::Each(&scales[of_rows]));
        layer.multiply(&source, origin, scales, epilogue, out);
    });
}

/// A linear layer whose products are of int8, packed.
#[derive(Debug, Clone)]
pub(crate) struct Int8Linear {
    matrix: Int8Matrix,
    input: Int8Input,
}

impl Int8Linear {
    /// Packs the weight `scales[o] * levels[o, i]`, `[out, in]`, and bias `[out]`.
    pub(crate) fn new(
        levels: &[i8],
        scales: &[f32],
        bias: Option<&[f32]>,
        input: Int8Input,
    ) -> Self {
        Self::new_for(Int8Isa::best().for_weights(levels, 1), levels, scales, bias, input)
    }

    fn new_for(
        isa: Int8Isa,
        levels: &[i8],
        scales: &[f32],
        bias: Option<&[f32]>,
        input: Int8Input,
    ) -> Self {
        let isa = isa.for_input(input.bits);
        let in_dim = levels.len().checked_div(scales.len()).unwrap_or(0);
        assert_eq!(levels.len(), in_dim * scales.len(), "a scale for each row");
        let fits = input.factors.as_ref().is_none_or(|factors| factors.len() == in_dim);
        assert!(fits, "a factor for each channel");
        let element = |k, n| levels[n * in_dim + k];
        let matrix = Int8Matrix::new(isa, in_dim, Self::scale_group(in_dim), element, scales, bias);
        Int8Linear { matrix, input }
    }

    /// How many numbers of a row of the input share a scale.
    pub(crate) fn scale_group(in_dim: usize) -> usize {
        scale_group(in_dim)
    }

    /// Channels of the input.
    pub(crate) fn in_dim(&self) -> usize {
        self.matrix.rows()
    }

    /// Channels of the output.
    pub(crate) fn out_dim(&self) -> usize {
        self.matrix.columns()
    }

    /// Writes every element of `out`, `[rows, out]`.
    pub(super) fn run_into(&self, x: &[f32], rows: usize, epilogue: Epilogue, out: Output) {
        assert_eq!(x.len(), rows * self.in_dim(), "the input has no whole rows");
        let (isa, group) = (self.matrix.isa(), self.matrix.group());
        let x = Int8Rows::new(isa, x, self.in_dim(), group, &self.input);
        linear_into(&x.words, Some(&x.scales), rows, &self.matrix, epilogue, out);
    }

    /// Writes every element of `out`, on this thread.
    pub(super) fn multiply_here(&self, x: &[f32], epilogue: Epilogue, out: Tile) {
        let (isa, group) = (self.matrix.isa(), self.matrix.group());
        let x = Int8Rows::on_this_thread(isa, x, self.in_dim(), group, &self.input);
        let source = source_of(&x.words, out.rows(), &self.matrix);
        let scales = RowScales::Each(&x.scales);
        self.matrix.multiply(&source, Origin::FIRST, scales, epilogue, out);
    }
}

/// [`linear`] with products of int8: each group of a row of `x` is rounded by its own range.
pub(crate) fn linear_int8(x: &[f32], layer: &Int8Linear, epilogue: Epilogue) -> Vec<f32> {
    let rows = x.len().checked_div(layer.in_dim()).unwrap_or(0);
    let write = |out: &mut [MaybeUninit<f32>]| {
        layer.run_into(x, rows, epilogue, Output::uninit(out));
    };
    // SAFETY: `run_into` writes every row and column.
    unsafe { filled(rows * layer.out_dim(), write) }
}

/// [`linear`] with products of bf16, for a left matrix in words.
#[cfg(feature = "train")]
pub(super) fn linear_bf16(x: &[u32], layer: &Bf16Matrix, epilogue: Epilogue) -> Vec<f32> {
    let rows = x.len().checked_div(layer.k()).unwrap_or(0);
    assert_eq!(x.len(), rows * layer.k(), "the input has no whole rows");
    let write = |out: &mut [MaybeUninit<f32>]| {
        linear_into(x, None, rows, layer, epilogue, Output::uninit(out));
    };
    // SAFETY: `linear_into` writes every row and column.
    unsafe { filled(rows * layer.n(), write) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::gemm::Activation;
    use super::super::rounding::ActivationBits;
    use super::*;

    /// Pseudo-random values in -1..1.
    pub(in crate::cpu) fn noise(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                f64::from(state) as f32 / 2_147_483_648.0 - 1.0
            })
            .collect()
    }

    pub(in crate::cpu) fn assert_close(found: &[f32], expected: &[f64], at: f64, row: &str) {
        assert_eq!(found.len(), expected.len(), "{row}");
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= at, "{row}: {found} instead of {expected} at {i}");
        }
    }

    /// [`linear_int8`] with an instruction set.
    pub(in crate::cpu) fn int8_linear_for(
        isa: Int8Isa,
        x: &[f32],
        levels: &[i8],
        scales: &[f32],
        bias: Option<&[f32]>,
        bits: ActivationBits,
    ) -> Vec<f32> {
        let input = Int8Input { factors: None, bits };
        linear_int8(x, &Int8Linear::new_for(isa, levels, scales, bias, input), Epilogue::Store)
    }

    /// The definition, in f64.
    fn plain(x: &[f32], weight: &[f32], out_dim: usize, bias: &[f32]) -> Vec<f64> {
        let in_dim = weight.len() / out_dim;
        let row = |x: &[f32]| -> Vec<f64> {
            (0..out_dim)
                .map(|n| {
                    let dot = |(x, w): (&f32, &f32)| f64::from(*x) * f64::from(*w);
                    let weight = &weight[n * in_dim..][..in_dim];
                    f64::from(bias[n]) + x.iter().zip(weight).map(dot).sum::<f64>()
                })
                .collect()
        };
        x.chunks_exact(in_dim).flat_map(row).collect()
    }

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for (rows, in_dim, out_dim) in [
                (1, 1, 1),
                (1, 384, 95),
                (2, 3, 5),
                (6, 32, 16),
                (7, 33, 17),
                (13, 385, 31),
                (128, 96, 33),
                (135, 128, 64),
                (150, 771, 40),
            ] {
                let row = format!("{isa:?}, {rows} x {in_dim} x {out_dim}");
                let x = noise(1, rows * in_dim);
                let weight = noise(2, out_dim * in_dim);
                let bias = noise(3, out_dim);
                let other = noise(4, rows * out_dim);
                let expected = plain(&x, &weight, out_dim, &bias);
                let tolerance = 1e-6 * in_dim as f64 + 2e-6;

                let layer = pack_linear_for(isa, &weight, out_dim, Some(&bias));
                assert_close(&linear(&x, &layer, Epilogue::Store), &expected, tolerance, &row);
                let sum: Vec<f64> =
                    expected.iter().zip(&other).map(|(a, b)| a + f64::from(*b)).collect();
                let found = linear(&x, &layer, Epilogue::Add(&other));
                assert_close(&found, &sum, tolerance, &row);
                let gelu: Vec<f64> =
                    expected.iter().copied().map(super::super::math::tests::gelu).collect();
                let found = linear(&x, &layer, Activation::Gelu.into());
                assert_close(&found, &gelu, 2.0 * tolerance + 1e-5, &row);
                let swish: Vec<f64> =
                    expected.iter().copied().map(super::super::math::tests::swish).collect();
                let found = linear(&x, &layer, Activation::Swish.into());
                assert_close(&found, &swish, 2.0 * tolerance + 1e-5, &row);
                let relu: Vec<f64> = expected.iter().map(|x| x.max(0.0)).collect();
                let found = linear(&x, &layer, Activation::Relu.into());
                assert_close(&found, &relu, tolerance, &row);

                let layer = pack_linear_for(isa, &weight, out_dim, None);
                let unbiased = plain(&x, &weight, out_dim, &vec![0.0; out_dim]);
                assert_close(&linear(&x, &layer, Epilogue::Store), &unbiased, tolerance, &row);
            }
        }
    }

    /// Rows are rounded to 255 or 4095 steps: what comes out differs by some 1e-2 or 1e-3 of its size, and
    /// with every instruction set alike.
    #[test]
    fn int8_is_close() {
        let (rows, in_dim, out_dim) = (150, 200, 70);
        let (x, bias) = (noise(1, rows * in_dim), noise(2, out_dim));
        let levels: Vec<i8> =
            noise(3, out_dim * in_dim).iter().map(|x| (x * 127.0).round() as i8).collect();
        let scales: Vec<f32> = noise(4, out_dim).iter().map(|x| 0.01 * (1.5 + x)).collect();
        let weight: Vec<f32> = (levels.iter().enumerate())
            .map(|(i, &level)| f32::from(level) * scales[i / in_dim])
            .collect();
        let exact = plain(&x, &weight, out_dim, &bias);
        let other = noise(5, rows * out_dim);
        let all = Int8Isa::all();
        for (bits, error) in [(ActivationBits::Eight, 0.25), (ActivationBits::Twelve, 0.02)] {
            let first = int8_linear_for(all[0], &x, &levels, &scales, Some(&bias), bits);
            assert_close(&first, &exact, error, "portable");
        }
        let first =
            int8_linear_for(all[0], &x, &levels, &scales, Some(&bias), ActivationBits::Eight);
        for isa in all {
            let input = Int8Input::default();
            let layer = Int8Linear::new_for(isa, &levels, &scales, Some(&bias), input);
            let found = linear_int8(&x, &layer, Epilogue::Store);
            let like: Vec<f64> = first.iter().map(|&x| f64::from(x)).collect();
            assert_close(&found, &like, 1e-5, &format!("{isa:?}"));
            let added = linear_int8(&x, &layer, Epilogue::Add(&other));
            let like: Vec<f32> = found.iter().zip(&other).map(|(a, b)| a + b).collect();
            assert!(added == like, "{isa:?}");
            for row in 0..rows {
                let alone = linear_int8(&x[row * in_dim..][..in_dim], &layer, Epilogue::Store);
                assert!(alone == found[row * out_dim..][..out_dim], "{isa:?}, row {row}");
            }
            assert!(linear_int8(&[], &layer, Epilogue::Store).is_empty());
        }
    }

    #[test]
    fn int8_factors_multiply_the_input() {
        for in_dim in [3, 37, 96] {
            let x = noise(1, 5 * in_dim);
            let factors: Vec<f32> = noise(2, in_dim).iter().map(|x| 1.5 + x).collect();
            let products: Vec<f32> =
                x.iter().zip(factors.iter().cycle()).map(|(x, factor)| x * factor).collect();
            let levels: Vec<i8> = noise(3, 4 * in_dim).iter().map(|x| (x * 127.0) as i8).collect();
            for isa in Int8Isa::all() {
                let layer = |factors| {
                    let input = Int8Input { factors, bits: ActivationBits::Eight };
                    Int8Linear::new_for(isa, &levels, &[0.01; 4], None, input)
                };
                let found = linear_int8(&x, &layer(Some(factors.clone())), Epilogue::Store);
                let expected = linear_int8(&products, &layer(None), Epilogue::Store);
                assert!(found == expected, "{isa:?}, {in_dim}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (rows, in_dim, out_dim) = (140, 400, 70);
        let x = noise(5, rows * in_dim);
        let weight = noise(6, out_dim * in_dim);
        for isa in Isa::all() {
            let layer = pack_linear_for(isa, &weight, out_dim, None);
            let all = linear(&x, &layer, Activation::Gelu.into());
            for row in 0..rows {
                let alone = linear(&x[row * in_dim..][..in_dim], &layer, Activation::Gelu.into());
                assert!(alone == all[row * out_dim..][..out_dim], "{isa:?}, row {row}");
            }
        }
    }

    #[test]
    fn empty() {
        let layer = pack_linear(&noise(7, 12), 3, None);
        assert!(linear(&[], &layer, Epilogue::Store).is_empty());
    }
}
