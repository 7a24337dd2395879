//! Activations by themselves, and their derivatives.

use std::mem::MaybeUninit;

use super::super::buffer::filled;
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::gemm::Activation;
use super::super::math;
use super::super::parts::{Chunks, for_each_part};
use super::super::simd::Simd;

/// Values of a task.
const BLOCK: usize = 1 << 14;

/// The activation of every value, with the accuracy of the forward kernels.
pub(crate) fn activate(activation: Activation, x: &[f32]) -> Vec<f32> {
    activate_for(Isa::best(), activation, x)
}

fn activate_for(isa: Isa, activation: Activation, x: &[f32]) -> Vec<f32> {
    let write = |out: &mut [MaybeUninit<f32>]| {
        for_each_part(Chunks::new(out, BLOCK), &|task, out| {
            dispatch(isa, Forward { activation, x: &x[task * BLOCK..][..out.len()], out });
        });
    };
    // SAFETY: the chunks make up the output, and a `Forward` writes its own in full.
    unsafe { filled(x.len(), write) }
}

/// `f(x)`; and `dy` becomes `dy * f'(x)`: absolute error of the derivative below 2e-6. That of a ReLU is 0
/// at 0.
pub(crate) fn activate_backward(activation: Activation, x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    activate_backward_for(Isa::best(), activation, x, dy)
}

fn activate_backward_for(isa: Isa, activation: Activation, x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let write = |out: &mut [MaybeUninit<f32>]| {
        let parts = (Chunks::new(out, BLOCK), Chunks::new(dy, BLOCK));
        for_each_part(parts, &|task, (out, dy)| {
            dispatch(isa, Backward { activation, x: &x[task * BLOCK..][..out.len()], dy, out });
        });
    };
    // SAFETY: the chunks make up the output, and a `Backward` writes its own in full.
    unsafe { filled(x.len(), write) }
}

/// Writes as many values as both slices have.
struct Forward<'a> {
    activation: Activation,
    x: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let activation = self.activation;
        let ((x, x_rest), (out, out_rest)) = (S::split(self.x), S::split_uninit(self.out));
        for (x, out) in x.iter().zip(out) {
            simd.init(activation.of(simd, simd.load(x)), out);
        }
        let y = simd.lanes(activation.of(simd, simd.load_part(x_rest, 0.0)));
        out_rest.iter_mut().zip(y).for_each(|(out, y)| _ = out.write(y));
    }
}

/// Writes as many values as all the slices have.
struct Backward<'a> {
    activation: Activation,
    x: &'a [f32],
    dy: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let Backward { activation, x, dy, out } = self;
        let ((x, x_rest), (dy, dy_rest)) = (S::split(x), S::split_mut(dy));
        let (out, out_rest) = S::split_uninit(out);
        for ((x, dy), out) in x.iter().zip(dy).zip(out) {
            let (y, derivative) = value_and_derivative(simd, activation, simd.load(x));
            simd.init(y, out);
            simd.store(simd.mul(simd.load(dy), derivative), dy);
        }
        let (y, derivative) = value_and_derivative(simd, activation, simd.load_part(x_rest, 0.0));
        let (y, derivative) = (simd.lanes(y), simd.lanes(derivative));
        for (i, (out, dy)) in out_rest.iter_mut().zip(dy_rest).enumerate() {
            out.write(y[i]);
            *dy *= derivative[i];
        }
    }
}

/// `f(x)` and `f'(x)`.
#[inline(always)]
fn value_and_derivative<S: Simd>(simd: S, activation: Activation, x: S::V) -> (S::V, S::V) {
    match activation {
        Activation::Gelu => gelu_and_derivative(simd, x),
        Activation::Swish => {
            let (one, e) = (simd.splat(1.0), math::exp_negated(simd, x));
            let sigmoid = simd.div(one, simd.add(one, e));
            // 1 - sigmoid(x) without the rounding of 1 - x.
            let complement = simd.mul(e, sigmoid);
            let y = simd.mul(x, sigmoid);
            (y, simd.mul_add(y, complement, sigmoid))
        }
        Activation::HardSwish => {
            let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
            let gate = math::hard_sigmoid(simd, x);
            // 1 where the gate is neither 0 nor 1, as for the ReLU.
            let large = simd.splat(f32::from_bits(254 << 23));
            let between = simd.max(simd.mul(gate, simd.sub(one, gate)), zero);
            let step = simd.min(one, simd.mul(between, large));
            let slope = simd.mul(step, simd.splat(1.0 / 6.0));
            (simd.mul(x, gate), simd.mul_add(x, slope, gate))
        }
        Activation::Relu => {
            let y = math::relu(simd, x);
            // 1 for whatever is above 0: twice 2^127 times the least positive number is above 1.
            let (one, large) = (simd.splat(1.0), simd.splat(f32::from_bits(254 << 23)));
            let step = simd.min(one, simd.mul(y, large));
            (y, simd.min(one, simd.mul(step, large)))
        }
    }
}

#[inline(always)]
fn gelu_and_derivative<S: Simd>(simd: S, x: S::V) -> (S::V, S::V) {
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
    use super::super::super::math::tests::{erf, gelu as plain_gelu, swish as plain_swish};
    use super::*;

    /// `f(x)` and `f'(x)` in f64.
    fn plain(activation: Activation, x: f64) -> (f64, f64) {
        match activation {
            Activation::Gelu => {
                let cumulative = 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                (plain_gelu(x), cumulative + x * density)
            }
            Activation::Swish => {
                let sigmoid = 1.0 / (1.0 + (-x).exp());
                (plain_swish(x), sigmoid * (1.0 + x * (1.0 - sigmoid)))
            }
            Activation::HardSwish => {
                let gate = (x / 6.0 + 0.5).clamp(0.0, 1.0);
                (x * gate, gate + if gate > 0.0 && gate < 1.0 { x / 6.0 } else { 0.0 })
            }
            Activation::Relu => (x.max(0.0), f64::from(u8::from(x > 0.0))),
        }
    }

    #[test]
    fn stated_accuracy() {
        let count = 100_003;
        let line = (0..count).map(|i| -12.0 + 24.0 * i as f32 / (count - 1) as f32);
        let x: Vec<f32> = line.chain([0.0, 1e-45, -1e-45, 1e-30, 80.0, -80.0, 120.0]).collect();
        for (isa, activation) in Isa::all().into_iter().flat_map(|isa| {
            [Activation::Gelu, Activation::Swish, Activation::HardSwish, Activation::Relu]
                .map(|a| (isa, a))
        }) {
            let mut gradient = vec![1.0; x.len()];
            let values = activate_backward_for(isa, activation, &x, &mut gradient);
            let alone = activate_for(isa, activation, &x);
            for (i, &x) in x.iter().enumerate() {
                let (value, derivative) = plain(activation, x.into());
                let row = format!("{isa:?}, {activation:?} at {x}");
                let error = (f64::from(gradient[i]) - derivative).abs();
                assert!(error < 2e-6, "{row}: the derivative is off by {error:.2e}");
                for found in [values[i], alone[i]] {
                    let error = (f64::from(found) - value).abs();
                    assert!(error < 1e-6 + 4e-7 * f64::from(x.abs()), "{row}: off by {error:.2e}");
                }
            }
        }
    }
}
