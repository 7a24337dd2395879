//! GELU by itself, and its derivative.

use super::super::buffer::{SharedOut, filled};
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::math;
use super::super::parallel::parallel;
use super::super::simd::Simd;

/// Values of a task.
const BLOCK: usize = 1 << 14;

/// The exact GELU of every value, with the accuracy of the forward kernels.
pub(crate) fn gelu(x: &[f32]) -> Vec<f32> {
    let write = |out: *mut f32| {
        let out = SharedOut(out);
        blocks(x.len(), &|start, end| {
            let x = &x[start..end];
            dispatch(Isa::best(), Forward { x, out: SharedOut(out.at(start)) });
        });
    };
    // SAFETY: the blocks together cover every value.
    unsafe { filled(x.len(), write) }
}

/// `gelu(x)`; and `dy` becomes `dy * gelu'(x)`: absolute error of the derivative below 2e-6.
pub(crate) fn gelu_backward(x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    gelu_backward_for(Isa::best(), x, dy)
}

fn gelu_backward_for(isa: Isa, x: &[f32], dy: &mut [f32]) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let gradients = SharedOut(dy.as_mut_ptr());
    let write = |out: *mut f32| {
        let out = SharedOut(out);
        blocks(x.len(), &|start, end| {
            let (out, dy) = (SharedOut(out.at(start)), SharedOut(gradients.at(start)));
            dispatch(isa, Backward { x: &x[start..end], dy, out });
        });
    };
    // SAFETY: as above.
    unsafe { filled(x.len(), write) }
}

fn blocks(len: usize, run: &(impl Fn(usize, usize) + Sync)) {
    parallel(len.div_ceil(BLOCK), &|task| run(task * BLOCK, len.min((task + 1) * BLOCK)));
}

struct Forward<'a> {
    x: &'a [f32],
    out: SharedOut,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        for (at, part) in parts::<S>(self.x.len()) {
            // SAFETY: the output has a place for every value; the caller made sure of the CPU.
            unsafe {
                let x = part.load(self.x.as_ptr().add(at));
                part.store(math::gelu::<S>(x), self.out.at(at));
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    dy: SharedOut,
    out: SharedOut,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        const PEAK: f32 = 0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
        for (at, part) in parts::<S>(self.x.len()) {
            // SAFETY: as above, and the gradients are this task's own.
            unsafe {
                let x = part.load(self.x.as_ptr().add(at));
                let dy = part.load(self.dy.at(at));
                // Phi(x) and phi(x) of the normal distribution.
                let half = S::splat(0.5);
                let erf = math::erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)));
                let cumulative = S::mul_add(half, erf, half);
                let exponent = S::mul(S::mul(x, x), S::splat(-0.5 * std::f32::consts::LOG2_E));
                let density = S::mul(math::exp2_non_positive::<S>(exponent), S::splat(PEAK));
                let derivative = S::mul_add(x, density, cumulative);
                part.store(S::mul(x, cumulative), self.out.at(at));
                part.store(S::mul(dy, derivative), self.dy.at(at));
            }
        }
    }
}

/// A whole vector, or the first few elements of one.
#[derive(Clone, Copy)]
struct Part<S> {
    len: usize,
    simd: std::marker::PhantomData<S>,
}

impl<S: Simd> Part<S> {
    /// # Safety
    /// `len` elements are readable; the CPU has the instruction set.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> S::V {
        // SAFETY: as the caller promised.
        unsafe {
            if self.len == S::LANES {
                return S::load(from);
            }
            let mut buffer = [0.0; 16];
            std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), self.len);
            S::load(buffer.as_ptr())
        }
    }

    /// # Safety
    /// `len` elements are writable; the CPU has the instruction set.
    #[inline(always)]
    unsafe fn store(self, v: S::V, to: *mut f32) {
        // SAFETY: as the caller promised.
        unsafe {
            if self.len == S::LANES {
                return S::store(v, to);
            }
            let mut buffer = [0.0; 16];
            S::store(v, buffer.as_mut_ptr());
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, self.len);
        }
    }
}

/// Where the vectors of `len` values start; the last may be a part of one.
#[inline(always)]
fn parts<S: Simd>(len: usize) -> impl Iterator<Item = (usize, Part<S>)> {
    (0..len.div_ceil(S::LANES)).map(move |index| {
        let at = index * S::LANES;
        (at, Part { len: S::LANES.min(len - at), simd: std::marker::PhantomData })
    })
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
        }
        assert!(gelu(&x).iter().zip(&x).all(|(y, &x)| {
            (f64::from(*y) - plain_gelu(x.into())).abs() < 1e-6 + 4e-7 * f64::from(x.abs())
        }));
    }
}
