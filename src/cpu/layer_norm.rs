//! Layer normalisation of rows.

use std::mem::MaybeUninit;

use super::buffer::filled;
use super::dispatch::{Isa, Kernel, dispatch};
use super::parts::{Chunks, for_each_part};
use super::simd::{Simd, sum_by};

/// Numbers of a task.
const TASK_NUMBERS: usize = 1 << 13;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` for every row of `weight.len()` elements.
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    layer_norm_for(Isa::best(), x, weight, bias, eps)
}

pub(super) fn layer_norm_for(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
) -> Vec<f32> {
    let dim = weight.len();
    assert_eq!(dim, bias.len(), "weight and bias differ in size");
    assert_eq!(x.len() % dim.max(1), 0, "the input has no whole rows");
    assert!(dim > 0 || x.is_empty(), "rows without elements");
    let block = TASK_NUMBERS.div_ceil(dim.max(1)) * dim;
    let write = |out: &mut [MaybeUninit<f32>]| {
        for_each_part(Chunks::new(out, block), &|task, out| {
            let rows = &x[task * block..][..out.len()];
            dispatch(isa, Norm { rows, weight, bias, eps, out });
        });
    };
    // SAFETY: the chunks make up the output, each has whole rows, and a `Norm` writes every row.
    unsafe { filled(x.len(), write) }
}

struct Norm<'a> {
    rows: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Norm<'_> {
    type Output = ();

    /// Writes as many rows as both slices have.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let dim = self.weight.len();
        let (weight, weight_rest) = S::split(self.weight);
        let (bias, bias_rest) = S::split(&self.bias[..dim]);
        let rows = self.rows.chunks_exact(dim).zip(self.out.chunks_exact_mut(dim));
        for (row, out) in rows {
            let (x, rest) = S::split(row);
            let (out, out_rest) = S::split_uninit(out);
            let Statistics { mean, factor } = statistics(simd, row, self.eps);
            let (means, factors) = (simd.splat(mean), simd.splat(factor));
            let norm = |x, w, b| simd.mul_add(simd.mul(simd.sub(x, means), factors), w, b);
            for (((x, w), b), out) in x.iter().zip(weight).zip(bias).zip(out) {
                simd.init(norm(simd.load(x), simd.load(w), simd.load(b)), out);
            }
            if !rest.is_empty() {
                let part = |values| simd.load_part(values, 0.0);
                let normed = simd.lanes(norm(part(rest), part(weight_rest), part(bias_rest)));
                out_rest.iter_mut().zip(normed).for_each(|(out, y)| _ = out.write(y));
            }
        }
    }
}

/// Mean and reciprocal standard deviation of a row.
pub(super) struct Statistics {
    pub mean: f32,
    /// `1 / sqrt(variance + eps)`
    pub factor: f32,
}

/// The statistics of a row.
#[inline(always)]
pub(super) fn statistics<S: Simd>(simd: S, row: &[f32], eps: f32) -> Statistics {
    let dim = row.len() as f32;
    let mean = sum_by(simd, row, 0.0, |sum, x| simd.add(sum, x)) / dim;
    let means = simd.splat(mean);
    let squares = sum_by(simd, row, mean, |sum, x| {
        let centred = simd.sub(x, means);
        simd.mul_add(centred, centred, sum)
    });
    Statistics { mean, factor: (squares / dim + eps).sqrt().recip() }
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::*;

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for (rows, dim) in [(1, 1), (3, 7), (2, 16), (130, 96), (5, 384), (1, 100)] {
                let x: Vec<f32> = noise(1, rows * dim).iter().map(|x| 3.0 * x + 5.0).collect();
                let (weight, bias) = (noise(2, dim), noise(3, dim));
                let mut expected = Vec::new();
                for row in x.chunks_exact(dim) {
                    let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
                    let mean = row.iter().sum::<f64>() / dim as f64;
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / dim as f64;
                    expected.extend(row.iter().enumerate().map(|(i, x)| {
                        (x - mean) / (variance + 1e-5).sqrt() * f64::from(weight[i])
                            + f64::from(bias[i])
                    }));
                }
                let found = layer_norm_for(isa, &x, &weight, &bias, 1e-5);
                assert_close(&found, &expected, 1e-5, &format!("{isa:?}, {rows} x {dim}"));
            }
        }
    }
}
