//! Functions of a vector: powers of two, the error function, GELU, swish.
//!
//! The accuracies stated here are tested on every instruction set of the machine against f64.

use super::simd::Simd;

/// Adding this to a number of magnitude below 2^22 rounds it to an integer, which then stands in
/// the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `2^x` for `x <= 0`, which is all that a softmax needs: relative error below 2e-7, and below
/// -126 the value at -126 (1.2e-38).
#[inline(always)]
pub(super) fn exp2_non_positive<S: Simd>(simd: S, x: S::V) -> S::V {
    exp2_up_to_126(simd, x)
}

/// `2^x` for `x <= 126`, as [`exp2_non_positive`].
#[inline(always)]
fn exp2_up_to_126<S: Simd>(simd: S, x: S::V) -> S::V {
    // On [-1/2, 1/2], fitted for the least largest relative error (2e-9 before rounding).
    const POLYNOMIAL: [f32; 7] = [
        1.534_581_2e-4,
        1.339_993_1e-3,
        9.618_489e-3,
        5.550_328_6e-2,
        2.402_264_6e-1,
        6.931_472e-1,
        1.0,
    ];
    let x = simd.max(x, simd.splat(-126.0));
    let shifted = simd.add(x, simd.splat(ROUND));
    let r = simd.sub(x, simd.sub(shifted, simd.splat(ROUND)));
    let mut y = simd.splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        y = simd.mul_add(y, r, simd.splat(*coefficient));
    }
    simd.add_exponent(y, shifted)
}

/// The error function: absolute error below 6e-7 everywhere.
///
/// A rational function of `x^2` times `x` on [-3.9, 3.9], fitted for the least largest error
/// (Lawson's iteration on 4 000 Chebyshev nodes), and its value at the ends beyond.
#[inline(always)]
pub(super) fn erf<S: Simd>(simd: S, x: S::V) -> S::V {
    const END: f32 = 3.9;
    const NUMERATOR: [f32; 5] =
        [3.371_763_3e-4, 9.409_157e-3, 6.998_588e-2, 3.321_408_3e-1, 1.128_377_1];
    const DENOMINATOR: [f32; 6] =
        [1.954_208_2e-5, 2.390_116e-3, 2.635_564_1e-2, 1.713_270_5e-1, 6.276_624e-1, 1.0];
    let x = simd.min(simd.max(x, simd.splat(-END)), simd.splat(END));
    let square = simd.mul(x, x);
    let mut p = simd.splat(NUMERATOR[0]);
    for coefficient in &NUMERATOR[1..] {
        p = simd.mul_add(p, square, simd.splat(*coefficient));
    }
    let mut q = simd.splat(DENOMINATOR[0]);
    for coefficient in &DENOMINATOR[1..] {
        q = simd.mul_add(q, square, simd.splat(*coefficient));
    }
    simd.div(simd.mul(x, p), q)
}

/// The exact GELU, `x (1 + erf(x / sqrt 2)) / 2`: absolute error below `1e-7 + 4e-7 |x|`.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::V) -> S::V {
    let half = simd.mul(x, simd.splat(0.5));
    let erf = erf(simd, simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2)));
    simd.mul_add(half, erf, half)
}

/// The logistic function, `1 / (1 + e^-x)`: absolute error below 2e-7.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.div(simd.splat(1.0), one_and_exp(simd, x))
}

/// Swish, `x / (1 + e^-x)`: absolute error below `1e-7 + 3e-7 |x|`.
#[inline(always)]
pub(super) fn swish<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.div(x, one_and_exp(simd, x))
}

/// `1 + e^-x`
#[inline(always)]
fn one_and_exp<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.add(exp_negated(simd, x), simd.splat(1.0))
}

/// `e^-x`: relative error below `2e-7 + 6e-8 |x|`, and beyond `|x|` of 87 the value there.
#[inline(always)]
pub(super) fn exp_negated<S: Simd>(simd: S, x: S::V) -> S::V {
    let exponent = simd.mul(x, simd.splat(-std::f32::consts::LOG2_E));
    exp2_up_to_126(simd, simd.min(exponent, simd.splat(126.0)))
}

/// `max(x, 0)`; what is NaN stays so where an instruction set keeps the second operand of a maximum.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.max(simd.splat(0.0), x)
}

/// The hard sigmoid, `clamp(x / 6 + 1 / 2, 0, 1)`: exact but for rounding.
#[inline(always)]
pub(super) fn hard_sigmoid<S: Simd>(simd: S, x: S::V) -> S::V {
    let gate = simd.mul_add(x, simd.splat(1.0 / 6.0), simd.splat(0.5));
    simd.min(simd.max(gate, simd.splat(0.0)), simd.splat(1.0))
}

/// Hard swish, `x` times its [`hard_sigmoid`].
#[inline(always)]
pub(super) fn hard_swish<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.mul(x, hard_sigmoid(simd, x))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::dispatch::{Isa, Kernel, dispatch};
    use super::*;

    /// erf by its Taylor series, and by its continued fraction where that converges badly.
    pub(in crate::cpu) fn erf(x: f64) -> f64 {
        let tail = |x: f64| {
            let fraction = (1..60).rev().fold(x, |f, n| x + f64::from(n) / 2.0 / f);
            (-x * x).exp() / (fraction * std::f64::consts::PI.sqrt())
        };
        match x.abs() {
            a if a > 3.0 => x.signum() * (1.0 - tail(a)),
            _ => {
                let (mut term, mut sum) = (x, x);
                for n in 1..100 {
                    let n = f64::from(n);
                    term *= -x * x / n;
                    sum += term / (2.0 * n + 1.0);
                }
                sum * std::f64::consts::FRAC_2_SQRT_PI
            }
        }
    }

    pub(in crate::cpu) fn gelu(x: f64) -> f64 {
        0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
    }

    pub(in crate::cpu) fn swish(x: f64) -> f64 {
        x / (1.0 + (-x).exp())
    }

    #[derive(Clone, Copy)]
    enum Function {
        Exp2,
        Erf,
        Gelu,
        Sigmoid,
        Swish,
        Relu,
    }

    struct Map<'a>(Function, &'a mut [f32]);

    impl Kernel for Map<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
            let (vectors, rest) = S::split_mut(self.1);
            assert!(rest.is_empty(), "only whole vectors");
            for x in vectors {
                let v = simd.load(x);
                let y = match self.0 {
                    Function::Exp2 => exp2_non_positive(simd, v),
                    Function::Erf => super::erf(simd, v),
                    Function::Gelu => super::gelu(simd, v),
                    Function::Sigmoid => super::sigmoid(simd, v),
                    Function::Swish => super::swish(simd, v),
                    Function::Relu => super::relu(simd, v),
                };
                simd.store(y, x);
            }
        }
    }

    /// The largest of `error(x, found)` over `from..=to`.
    fn largest(
        isa: Isa,
        function: Function,
        range: (f32, f32),
        error: impl Fn(f64, f64) -> f64,
    ) -> f64 {
        const STEPS: usize = 200_000;
        let x: Vec<f32> = (0..STEPS)
            .map(|i| range.0 + (range.1 - range.0) * i as f32 / (STEPS - 1) as f32)
            .collect();
        let mut y = x.clone();
        dispatch(isa, Map(function, &mut y));
        x.iter().zip(&y).map(|(&x, &y)| error(x.into(), y.into())).fold(0.0, f64::max)
    }

    #[test]
    fn stated_accuracies() {
        for isa in Isa::all() {
            let exp =
                largest(isa, Function::Exp2, (-126.0, 0.0), |x, y| (y / x.exp2() - 1.0).abs());
            assert!(exp < 2e-7, "{isa:?}: exp2 {exp:.2e}");
            let floor = largest(isa, Function::Exp2, (-1e5, -126.0), |_, y| y);
            assert!(floor < 1.3e-38, "{isa:?}: exp2 below -126 is {floor:.2e}");
            let erf_error = largest(isa, Function::Erf, (-12.0, 12.0), |x, y| (y - erf(x)).abs());
            assert!(erf_error < 6e-7, "{isa:?}: erf {erf_error:.2e}");
            let gelu_error = largest(isa, Function::Gelu, (-12.0, 12.0), |x, y| {
                (y - gelu(x)).abs() / (1e-7 + 4e-7 * x.abs())
            });
            assert!(gelu_error < 1.0, "{isa:?}: gelu {gelu_error:.2}");
            let sigmoid_error = largest(isa, Function::Sigmoid, (-150.0, 150.0), |x, y| {
                (y - 1.0 / (1.0 + (-x).exp())).abs()
            });
            assert!(sigmoid_error < 2e-7, "{isa:?}: sigmoid {sigmoid_error:.2e}");
            for ends in [(-12.0, 12.0), (-150.0, 150.0)] {
                let swish_error = largest(isa, Function::Swish, ends, |x, y| {
                    (y - swish(x)).abs() / (1e-7 + 3e-7 * x.abs())
                });
                assert!(swish_error < 1.0, "{isa:?}: swish {swish_error:.2}");
            }
            let relu_error =
                largest(isa, Function::Relu, (-3.0, 3.0), |x, y| (y - x.max(0.0)).abs());
            assert_eq!(relu_error, 0.0, "{isa:?}");
        }
    }
}
