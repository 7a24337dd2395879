//! Gradients of linear layers `y = x W^T + b`.

use super::super::gemm::{Bf16Matrix, Epilogue, PackedMatrix, bf16_rows};
use super::super::linear::{linear, linear_bf16, pack_linear_for};
use super::super::parts::{Chunks, for_each_part};
use super::products::{Kind, Products};
use super::transposed_product::{DensePieces, outer_products};

/// Rows of a segment of a dense matrix.
const SEGMENT_ROWS: usize = 256;
/// Rows of a task of column sums.
const SUM_ROWS: usize = 1024;

/// `epilogue(x W^T + b)` in training: the weight `[out, in]` is packed anew.
pub(crate) fn linear_forward(
    products: Products,
    x: &[f32],
    weight: &[f32],
    out_dim: usize,
    bias: Option<&[f32]>,
    epilogue: Epilogue,
) -> Vec<f32> {
    match products.0 {
        Kind::F32(isa) => linear(x, &pack_linear_for(isa, weight, out_dim, bias), epilogue),
        Kind::Bf16(isa) => {
            let in_dim = weight.len().checked_div(out_dim).unwrap_or(0);
            let element = |k: usize, n: usize| weight[n * in_dim + k];
            let packed = Bf16Matrix::new(isa, in_dim, out_dim, element, bias);
            linear_bf16(&bf16_rows(isa, x, in_dim), &packed, epilogue)
        }
    }
}

/// `dy W`, plus `other` if there is one: the gradient for the input, `[rows, in]`, from that for
/// the output, `[rows, out]`, and the weight `[out, in]`.
pub(crate) fn linear_input_gradient(
    products: Products,
    dy: &[f32],
    weight: &[f32],
    out_dim: usize,
    other: Option<&[f32]>,
) -> Vec<f32> {
    let in_dim = weight.len().checked_div(out_dim).unwrap_or(0);
    let epilogue = other.map_or(Epilogue::Store, Epilogue::Add);
    match products.0 {
        Kind::F32(isa) => {
            linear(dy, &PackedMatrix::from_rows(isa, out_dim, in_dim, weight), epilogue)
        }
        Kind::Bf16(isa) => {
            let element = |k: usize, n: usize| weight[k * in_dim + n];
            let packed = Bf16Matrix::new(isa, out_dim, in_dim, element, None);
            linear_bf16(&bf16_rows(isa, dy, out_dim), &packed, epilogue)
        }
    }
}

/// `dy^T x`: the gradient for the weight, `[out, in]`.
pub(crate) fn linear_weight_gradient(
    products: Products,
    x: &[f32],
    dy: &[f32],
    in_dim: usize,
    out_dim: usize,
) -> Vec<f32> {
    let rows = x.len().checked_div(in_dim).unwrap_or(0);
    assert_eq!(dy.len(), rows * out_dim, "input and output differ in rows");
    // The narrower matrix is the left one: it is the dearer to pack.
    let product = |a: &[f32], a_columns: usize, b: &[f32], b_columns: usize| {
        let whole = rows / SEGMENT_ROWS;
        let part = |first: usize, segments: usize, segment_rows: usize| {
            outer_products(products, a_columns, b_columns, segments, segment_rows, |segment| {
                let row = first + segment * segment_rows;
                let b = DensePieces { values: &b[row * b_columns..], stride: b_columns };
                (&a[row * a_columns..], a_columns, b)
            })
        };
        let mut sums = part(0, whole, SEGMENT_ROWS);
        let rest = rows - whole * SEGMENT_ROWS;
        if rest > 0 {
            let last = part(rows - rest, 1, rest);
            sums.iter_mut().zip(last).for_each(|(sum, value)| *sum += value);
        }
        sums
    };
    if out_dim <= in_dim {
        product(dy, out_dim, x, in_dim)
    } else {
        transposed(&product(x, in_dim, dy, out_dim), out_dim)
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(x: &[f32], columns: usize) -> Vec<f32> {
    /// Side of the squares that are turned one after the other.
    const SIDE: usize = 16;
    let rows = x.len().checked_div(columns).unwrap_or(0);
    let mut turned = vec![0.0; x.len()];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for column in left..columns.min(left + SIDE) {
                for row in top..rows.min(top + SIDE) {
                    turned[column * rows + row] = x[row * columns + column];
                }
            }
        }
    }
    turned
}

/// The sums over the rows of `[rows, columns]`: the gradient for a bias.
pub(crate) fn column_sums(x: &[f32], columns: usize) -> Vec<f32> {
    let task_len = SUM_ROWS * columns;
    let tasks = x.len().div_ceil(task_len.max(1));
    let mut partial = vec![0.0f32; tasks * columns];
    for_each_part(Chunks::equal(&mut partial, tasks), &|task, sums| {
        let rows = &x[task * task_len..x.len().min((task + 1) * task_len)];
        for row in rows.chunks_exact(columns) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    });
    let mut sums = vec![0.0; columns];
    for partial in partial.chunks_exact(columns.max(1)) {
        for (sum, value) in sums.iter_mut().zip(partial) {
            *sum += value;
        }
    }
    sums
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// For sums of `count` products of numbers in -1..1: that of f32, or for numbers rounded to bf16,
    /// by 2^-9 of their size at most, some six standard deviations of what the errors add up to.
    pub(in super::super) fn tolerance(coarser: bool, count: usize, f32: f64) -> f64 {
        if coarser { 0.01 * (count as f64).sqrt() } else { f32 }
    }

    /// `a^T b` in f64.
    fn plain(a: &[f32], a_columns: usize, b: &[f32], b_columns: usize) -> Vec<f64> {
        let mut sums = vec![0.0; a_columns * b_columns];
        for (a, b) in a.chunks_exact(a_columns).zip(b.chunks_exact(b_columns)) {
            for (sums, a) in sums.chunks_exact_mut(b_columns).zip(a) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum += f64::from(*a) * f64::from(*b);
                }
            }
        }
        sums
    }

    #[test]
    fn forward_equals_the_plain_version() {
        for (rows, in_dim, out_dim) in [(1, 1, 1), (5, 33, 7), (300, 64, 40)] {
            let (x, weight) = (noise(1, rows * in_dim), noise(2, out_dim * in_dim));
            let (bias, other) = (noise(3, out_dim), noise(4, rows * out_dim));
            let x_columns = transposed(&x, in_dim);
            let mut expected = plain(&x_columns, rows, &transposed(&weight, in_dim), out_dim);
            for (i, sum) in expected.iter_mut().enumerate() {
                *sum += f64::from(bias[i % out_dim]) + f64::from(other[i]);
            }
            for (products, coarser) in Products::all() {
                let row = format!("{products:?}, {rows} x {in_dim} x {out_dim}");
                let epilogue = Epilogue::Add(&other);
                let found = linear_forward(products, &x, &weight, out_dim, Some(&bias), epilogue);
                assert_close(&found, &expected, tolerance(coarser, in_dim, 1e-4), &row);
            }
        }
    }

    #[test]
    fn weight_gradient_equals_the_plain_version() {
        for (rows, in_dim, out_dim) in
            [(1, 1, 1), (3, 7, 5), (256, 32, 16), (700, 33, 130), (300, 130, 33), (5000, 17, 9)]
        {
            let (x, dy) = (noise(1, rows * in_dim), noise(2, rows * out_dim));
            let expected = plain(&dy, out_dim, &x, in_dim);
            for (products, coarser) in Products::all() {
                let found = linear_weight_gradient(products, &x, &dy, in_dim, out_dim);
                let row = format!("{products:?}, {rows} x {in_dim} x {out_dim}");
                let tolerance = tolerance(coarser, rows, 4e-7 * rows as f64 + 1e-6);
                assert_close(&found, &expected, tolerance, &row);
            }
        }
    }

    #[test]
    fn input_gradient_equals_the_plain_version() {
        let (rows, in_dim, out_dim) = (37, 20, 50);
        let (dy, weight) = (noise(5, rows * out_dim), noise(6, out_dim * in_dim));
        let other = noise(7, rows * in_dim);
        let dy_columns = transposed(&dy, out_dim);
        let expected = plain(&dy_columns, rows, &weight, in_dim);
        let sum: Vec<f64> = expected.iter().zip(&other).map(|(a, b)| a + f64::from(*b)).collect();
        for (products, coarser) in Products::all() {
            let row = format!("{products:?}");
            let tolerance = tolerance(coarser, out_dim, 1e-4);
            let found = linear_input_gradient(products, &dy, &weight, out_dim, None);
            assert_close(&found, &expected, tolerance, &row);
            let found = linear_input_gradient(products, &dy, &weight, out_dim, Some(&other));
            assert_close(&found, &sum, tolerance, &row);
        }
    }

    #[test]
    fn column_sums_equal_the_plain_version() {
        for (rows, columns) in [(1, 1), (37, 50), (1024, 3), (2500, 7)] {
            let x = noise(8, rows * columns);
            let expected = plain(&vec![1.0; rows], 1, &x, columns);
            let found = column_sums(&x, columns);
            assert_close(&found, &expected, 1e-6 * rows as f64, &format!("{rows} x {columns}"));
        }
    }

    #[test]
    fn no_rows() {
        for (products, _) in Products::all() {
            assert_eq!(linear_weight_gradient(products, &[], &[], 3, 2), [0.0; 6]);
            assert!(linear_input_gradient(products, &[], &[1.0; 6], 2, None).is_empty());
            assert!(linear_forward(products, &[], &[1.0; 6], 2, None, Epilogue::Store).is_empty());
        }
        assert_eq!(column_sums(&[], 3), [0.0; 3]);
    }
}
