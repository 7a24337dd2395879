//! GELU by itself, and its derivative.

use std::mem::MaybeUninit;

use super::super::buffer::filled;
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::math;
use super::super::parts::{Chunks, for_each_part};
use super::super::simd::Simd;

/// Values of a task.
const BLOCK: usize = 1 << 14;

/// The exact GELU of every value, with the accuracy of the forward kernels.
pub(crate) fn gelu(x: &[f32]) -> Vec<f32> {
    gelu_for(Isa::best(), x)
}

fn gelu_for(isa: Isa, x: &[f32]) -> Vec<f32> {
    let write = |out: &mut [MaybeUninit<f32>]| {
        for_each_part(Chunks::new(out, BLOCK), &|task, out| {
            dispatch(isa, Forward { x: &x[task * BLOCK..][..out.len()], out });
        });
    };
    // SAFETY: the chunks make up the output, and a `Forward` writes its own in full.
    unsafe { filled(x.len(), write) }
}

/// `gelu(x)`; and `dy` becomes `dy * gelu'(x)`: absolute error of the derivative below 2e-6.
pub(crate) fn gelu_backward(x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    gelu_backward_for(Isa::best(), x, dy)
}

fn gelu_backward_for(isa: Isa, x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let write = |out: &mut [MaybeUninit<f32>]| {
        let parts = (Chunks::new(out, BLOCK), Chunks::new(dy, BLOCK));
        for_each_part(parts, &|task, (out, dy)| {
            dispatch(isa, Backward { x: &x[task * BLOCK..][..out.len()], dy, out });
        });
    };
    // SAFETY: the chunks make up the output, and a `Backward` writes its own in full.
    unsafe { filled(x.len(), write) }
}

/// Writes as many values as both slices have.
struct Forward<'a> {
    x: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let ((x, x_rest), (out, out_rest)) = (S::split(self.x), S::split_uninit(self.out));
        for (x, out) in x.iter().zip(out) {
            simd.init(math::gelu(simd, simd.load(x)), out);
        }
        let y = simd.lanes(math::gelu(simd, simd.load_part(x_rest, 0.0)));
        out_rest.iter_mut().zip(y).for_each(|(out, y)| _ = out.write(y));
    }
}

/// Writes as many values as all the slices have.
struct Backward<'a> {
    x: &'a [f32],
    dy: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let ((x, x_rest), (dy, dy_rest)) = (S::split(self.x), S::split_mut(self.dy));
        let (out, out_rest) = S::split_uninit(self.out);
        for ((x, dy), out) in x.iter().zip(dy).zip(out) {
            let (y, derivative) = value_and_derivative(simd, simd.load(x));
            simd.init(y, out);
            simd.store(simd.mul(simd.load(dy), derivative), dy);
        }
        let (y, derivative) = value_and_derivative(simd, simd.load_part(x_rest, 0.0));
        let (y, derivative) = (simd.lanes(y), simd.lanes(derivative));
        for (i, (out, dy)) in out_rest.iter_mut().zip(dy_rest).enumerate() {
            out.write(y[i]);
            *dy *= derivative[i];
        }
    }
}

/// `gelu(x)` and `gelu'(x)`.
#[inline(always)]
fn value_and_derivative<S: Simd>(simd: S, x: S::V) -> (S::V, S::V) {
    const PEAK: f32 = 0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    // Phi(x) and phi(x) of the normal distribution.
    let half = simd.splat(0.5);
    let erf = math::erf(simd, simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2)));
    let cumulative = simd.mul_add(half, erf, half);
    let exponent = simd.mul(simd.mul(x, x), simd.splat(-0.5 * std::f32::consts::LOG2_E));
    let density = simd.mul(math::exp2_non_positive(simd, exponent), simd.splat(PEAK));
    (simd.mul(x, cumulative), simd.mul_add(x, density, cumulative))
}

#[cfg(test)]
mod tests {
    use super::super::super::math::tests::{erf, gelu as plain_gelu};
    use super::*;

    #[test]
    fn stated_accuracy() {
        let count = 100_003;
        let x: Vec<f32> =
            (0..count).map(|i| -12.0 + 24.0 * i as f32 / (count - 1) as f32).collect();
        for isa in Isa::all() {
            let mut gradient = vec![1.0; count];
            let values = gelu_backward_for(isa, &x, &mut gradient);
            for ((&x, &value), &derivative) in x.iter().zip(&values).zip(&gradient) {
                let x = f64::from(x);
                let expected = 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
                    + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let error = (f64::from(derivative) - expected).abs();
                assert!(error < 2e-6, "{isa:?}: gelu' at {x} is off by {error:.2e}");
                let error = (f64::from(value) - plain_gelu(x)).abs();
                assert!(error < 1e-6 + 4e-7 * x.abs(), "{isa:?}: gelu at {x}, {error:.2e}");
            }
            assert!(gelu_for(isa, &x).iter().zip(&x).all(|(y, &x)| {
                (f64::from(*y) - plain_gelu(x.into())).abs() < 1e-6 + 4e-7 * f64::from(x.abs())
            }));
        }
    }
}
