//! Gradients of layer normalisation.

use super::super::buffer::{SharedOut, filled};
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::parallel::parallel;
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
    let block = BLOCK_ROWS * dim;
    let tasks = x.len().div_ceil(block.max(1));
    let mut partial = vec![0.0f32; tasks * 2 * dim];
    let sums = SharedOut(partial.as_mut_ptr());
    let write = |out: *mut f32| {
        let out = SharedOut(out);
        parallel(tasks, &|task| {
            let range = task * block..x.len().min((task + 1) * block);
            let sums = SharedOut(sums.at(task * 2 * dim));
            let out = SharedOut(out.at(range.start));
            dispatch(
                isa,
                Backward { x: &x[range.clone()], dy: &dy[range], weight, eps, out, sums },
            );
        });
    };
    // SAFETY: the blocks together cover every row.
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
    out: SharedOut,
    /// `[2, dim]`: this task's sums for weight and bias.
    sums: SharedOut,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        let dim = self.weight.len();
        let whole = dim / S::LANES * S::LANES;
        let share = 1.0 / dim as f32;
        let w = self.weight.as_ptr();
        let rows = self.x.chunks_exact(dim).zip(self.dy.chunks_exact(dim));
        for (index, (x_row, dy_row)) in rows.enumerate() {
            let (x, dy) = (x_row.as_ptr(), dy_row.as_ptr());
            // SAFETY: whole vectors of a row, then its rest; the output's row and the sums are this
            // task's own; the caller made sure of the CPU.
            unsafe {
                let out = self.out.at(index * dim);
                let (weight_sums, bias_sums) = (self.sums.0, self.sums.at(dim));
                let mut sums = S::splat(0.0);
                for at in (0..whole).step_by(S::LANES) {
                    sums = S::add(sums, S::load(x.add(at)));
                }
                let mean = (S::sum(sums) + x_row[whole..].iter().sum::<f32>()) * share;
                let means = S::splat(mean);
                let mut squares = S::splat(0.0);
                for at in (0..whole).step_by(S::LANES) {
                    let centred = S::sub(S::load(x.add(at)), means);
                    squares = S::mul_add(centred, centred, squares);
                }
                let rest = x_row[whole..].iter().map(|x| (x - mean) * (x - mean)).sum::<f32>();
                let factor = ((S::sum(squares) + rest) * share + self.eps).sqrt().recip();
                let factors = S::splat(factor);

                // g = dy * weight; the input's gradient is
                // (g - mean(g) - normed * mean(g * normed)) * factor.
                let (mut g_sums, mut projections) = (S::splat(0.0), S::splat(0.0));
                for at in (0..whole).step_by(S::LANES) {
                    let normed = S::mul(S::sub(S::load(x.add(at)), means), factors);
                    let dy = S::load(dy.add(at));
                    let g = S::mul(dy, S::load(w.add(at)));
                    g_sums = S::add(g_sums, g);
                    projections = S::mul_add(g, normed, projections);
                    let sum = S::mul_add(dy, normed, S::load(weight_sums.add(at)));
                    S::store(sum, weight_sums.add(at));
                    S::store(S::add(S::load(bias_sums.add(at)), dy), bias_sums.add(at));
                }
                let (mut g_sum, mut projection) = (S::sum(g_sums), S::sum(projections));
                for at in whole..dim {
                    let normed = (x_row[at] - mean) * factor;
                    let g = dy_row[at] * self.weight[at];
                    g_sum += g;
                    projection += g * normed;
                    *weight_sums.add(at) += dy_row[at] * normed;
                    *bias_sums.add(at) += dy_row[at];
                }
                let (g_mean, projection) = (g_sum * share, projection * share);
                let (g_means, minus) = (S::splat(g_mean), S::splat(-projection));
                for at in (0..whole).step_by(S::LANES) {
                    let normed = S::mul(S::sub(S::load(x.add(at)), means), factors);
                    let g = S::mul(S::load(dy.add(at)), S::load(w.add(at)));
                    let centred = S::mul_add(normed, minus, S::sub(g, g_means));
                    S::store(S::mul(centred, factors), out.add(at));
                }
                for at in whole..dim {
                    let normed = (x_row[at] - mean) * factor;
                    let g = dy_row[at] * self.weight[at];
                    *out.add(at) = (g - g_mean - normed * projection) * factor;
                }
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
