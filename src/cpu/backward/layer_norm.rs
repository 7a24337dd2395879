//! Gradients of layer normalisation.

use std::mem::MaybeUninit;

use super::super::buffer::filled;
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::layer_norm::{Statistics, statistics};
use super::super::parts::{Chunks, for_each_part};
use super::super::simd::Simd;

/// Rows of a task.
const BLOCK_ROWS: usize = 256;

/// What [`layer_norm_backward`] finds.
pub(crate) struct LayerNormGradients {
    /// For the input, `[rows, dim]`.
    pub input: Vec<f32>,
    /// For the weight, `[dim]`.
    pub weight: Vec<f32>,
    /// For the bias, `[dim]`.
    pub bias: Vec<f32>,
}

/// The gradients of `layer_norm(x, weight, bias, eps)` from that for its result.
pub(crate) fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
) -> LayerNormGradients {
    layer_norm_backward_for(Isa::best(), x, weight, eps, dy)
}

fn layer_norm_backward_for(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
) -> LayerNormGradients {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let dim = weight.len();
    assert_eq!(x.len() % dim.max(1), 0, "the input has no whole rows");
    assert!(dim > 0 || x.is_empty(), "rows without elements");
    let block = BLOCK_ROWS * dim;
    let tasks = x.len().div_ceil(block.max(1));
    let mut partial = vec![0.0f32; tasks * 2 * dim];
    let write = |out: &mut [MaybeUninit<f32>]| {
        let parts = (Chunks::new(out, block), Chunks::equal(&mut partial, tasks));
        for_each_part(parts, &|task, (out, sums)| {
            let range = task * block..task * block + out.len();
            dispatch(
                isa,
                Backward { x: &x[range.clone()], dy: &dy[range], weight, eps, out, sums },
            );
        });
    };
    // SAFETY: the chunks make up the output, each has whole rows, and a `Backward` writes every row.
    let input = unsafe { filled(x.len(), write) };
    let (mut of_weight, mut of_bias) = (vec![0.0; dim], vec![0.0; dim]);
    for partial in partial.chunks_exact(2 * dim.max(1)) {
        let (weight, bias) = partial.split_at(dim);
        of_weight.iter_mut().zip(weight).for_each(|(sum, value)| *sum += value);
        of_bias.iter_mut().zip(bias).for_each(|(sum, value)| *sum += value);
    }
    LayerNormGradients { input, weight: of_weight, bias: of_bias }
}

struct Backward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [MaybeUninit<f32>],
    /// `[2, dim]`: this task's sums for weight and bias.
    sums: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// Writes as many rows as all the slices have.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let dim = self.weight.len();
        let share = 1.0 / dim as f32;
        let (w, w_rest) = S::split(self.weight);
        let (weight_sums, bias_sums) = self.sums.split_at_mut(dim);
        let (weight_sums, weight_sums_rest) = S::split_mut(weight_sums);
        let (bias_sums, bias_sums_rest) = S::split_mut(bias_sums);
        let gradients = self.dy.chunks_exact(dim).zip(self.out.chunks_exact_mut(dim));
        for (x, (dy, out)) in self.x.chunks_exact(dim).zip(gradients) {
            let Statistics { mean, factor } = statistics(simd, x, self.eps);
            let ((x, x_rest), (dy, dy_rest)) = (S::split(x), S::split(dy));
            let (out, out_rest) = S::split_uninit(out);
            let (means, factors) = (simd.splat(mean), simd.splat(factor));

            // g = dy * weight; the input's gradient is
            // (g - mean(g) - normed * mean(g * normed)) * factor.
            let (mut g_sums, mut projections) = (simd.splat(0.0), simd.splat(0.0));
            let sums = weight_sums.iter_mut().zip(bias_sums.iter_mut());
            for (((x, dy), w), (weight_sums, bias_sums)) in x.iter().zip(dy).zip(w).zip(sums) {
                let normed = simd.mul(simd.sub(simd.load(x), means), factors);
                let dy = simd.load(dy);
                let g = simd.mul(dy, simd.load(w));
                g_sums = simd.add(g_sums, g);
                projections = simd.mul_add(g, normed, projections);
                simd.store(simd.mul_add(dy, normed, simd.load(weight_sums)), weight_sums);
                simd.store(simd.add(simd.load(bias_sums), dy), bias_sums);
            }
            let (mut g_sum, mut projection) = (simd.sum(g_sums), simd.sum(projections));
            for (i, (x, dy)) in x_rest.iter().zip(dy_rest).enumerate() {
                let normed = (x - mean) * factor;
                let g = dy * w_rest[i];
                g_sum += g;
                projection += g * normed;
                weight_sums_rest[i] += dy * normed;
                bias_sums_rest[i] += dy;
            }
            let (g_mean, projection) = (g_sum * share, projection * share);
            let (g_means, minus) = (simd.splat(g_mean), simd.splat(-projection));
            for (((x, dy), w), out) in x.iter().zip(dy).zip(w).zip(out) {
                let normed = simd.mul(simd.sub(simd.load(x), means), factors);
                let g = simd.mul(simd.load(dy), simd.load(w));
                let centred = simd.mul_add(normed, minus, simd.sub(g, g_means));
                simd.init(simd.mul(centred, factors), out);
            }
            for (((x, dy), w), out) in x_rest.iter().zip(dy_rest).zip(w_rest).zip(out_rest) {
                let normed = (x - mean) * factor;
                out.write((dy * w - g_mean - normed * projection) * factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::*;

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for (rows, dim) in [(1, 2), (3, 7), (2, 16), (300, 64), (5, 384), (2, 100)] {
                let (x, dy) = (noise(1, rows * dim), noise(2, rows * dim));
                let weight = noise(3, dim);
                let (mut input, mut of_weight, mut of_bias) =
                    (Vec::new(), vec![0.0; dim], vec![0.0; dim]);
                for (x, dy) in x.chunks_exact(dim).zip(dy.chunks_exact(dim)) {
                    let wide = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                    let (x, dy) = (wide(x), wide(dy));
                    let mean = |row: &[f64]| row.iter().sum::<f64>() / dim as f64;
                    let m = mean(&x);
                    let squares: Vec<f64> = x.iter().map(|x| (x - m).powi(2)).collect();
                    let factor = (mean(&squares) + 1e-5).sqrt().recip();
                    let normed: Vec<f64> = x.iter().map(|x| (x - m) * factor).collect();
                    let g: Vec<f64> =
                        dy.iter().zip(&weight).map(|(dy, w)| dy * f64::from(*w)).collect();
                    let along: Vec<f64> = g.iter().zip(&normed).map(|(g, n)| g * n).collect();
                    let (g_mean, projection) = (mean(&g), mean(&along));
                    for i in 0..dim {
                        input.push((g[i] - g_mean - normed[i] * projection) * factor);
                        of_weight[i] += dy[i] * normed[i];
                        of_bias[i] += dy[i];
                    }
                }
                let found = layer_norm_backward_for(isa, &x, &weight, 1e-5, &dy);
                let row = format!("{isa:?}, {rows} x {dim}");
                assert_close(&found.input, &input, 2e-4, &row);
                assert_close(&found.weight, &of_weight, 1e-4, &row);
                assert_close(&found.bias, &of_bias, 1e-4, &row);
            }
        }
    }
}
