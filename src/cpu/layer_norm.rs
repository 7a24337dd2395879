//! Layer normalisation of rows.

use super::buffer::{SharedOut, filled};
use super::dispatch::{Isa, Kernel, dispatch};
use super::parallel::parallel;
use super::simd::Simd;

/// Rows of a task.
const BLOCK_ROWS: usize = 64;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` for every row of `weight.len()` elements.
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    layer_norm_for(Isa::best(), x, weight, bias, eps)
}

fn layer_norm_for(isa: Isa, x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    assert_eq!(weight.len(), bias.len(), "weight and bias differ in size");
    let block = BLOCK_ROWS * weight.len();
    let write = |out: *mut f32| {
        let out = SharedOut(out);
        parallel(x.len().div_ceil(block.max(1)), &|task| {
            let rows = &x[task * block..x.len().min((task + 1) * block)];
            let out = SharedOut(out.at(task * block));
            dispatch(isa, Norm { rows, weight, bias, eps, out });
        });
    };
    // SAFETY: the blocks together cover every row.
    unsafe { filled(x.len(), write) }
}

struct Norm<'a> {
    rows: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: SharedOut,
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        let dim = self.weight.len();
        let whole = dim / S::LANES * S::LANES;
        for (index, row) in self.rows.chunks_exact(dim).enumerate() {
            let (x, w, b) = (row.as_ptr(), self.weight.as_ptr(), self.bias.as_ptr());
            // SAFETY: whole vectors of a row, then its rest; the output's row is this task's own.
            unsafe {
                let out = self.out.at(index * dim);
                let mut sums = S::splat(0.0);
                for at in (0..whole).step_by(S::LANES) {
                    sums = S::add(sums, S::load(x.add(at)));
                }
                let sum = S::sum(sums) + row[whole..].iter().sum::<f32>();
                let mean = sum / dim as f32;
                let means = S::splat(mean);
                let mut squares = S::splat(0.0);
                for at in (0..whole).step_by(S::LANES) {
                    let centred = S::sub(S::load(x.add(at)), means);
                    squares = S::mul_add(centred, centred, squares);
                }
                let rest = row[whole..].iter().map(|x| (x - mean) * (x - mean));
                let variance = (S::sum(squares) + rest.sum::<f32>()) / dim as f32;
                let factor = (variance + self.eps).sqrt().recip();
                let factors = S::splat(factor);
                for at in (0..whole).step_by(S::LANES) {
                    let normed = S::mul(S::sub(S::load(x.add(at)), means), factors);
                    let y = S::mul_add(normed, S::load(w.add(at)), S::load(b.add(at)));
                    S::store(y, out.add(at));
                }
                let parameters = self.weight[whole..].iter().zip(&self.bias[whole..]);
                for (i, (x, (weight, bias))) in row[whole..].iter().zip(parameters).enumerate() {
                    *out.add(whole + i) = (x - mean) * factor * weight + bias;
                }
            }
        }
    }
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
