//! Plain Rust: the oracle of the other instruction sets, and what any CPU can run.
//!
//! Where vectors belong to the target's baseline (NEON on 64-bit ARM, SSE2 on x86-64, `simd128` where
//! WebAssembly is built with it), compilers make them of these arrays.

use super::Simd;

/// Eight lanes of plain arithmetic.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Portable;

const LANES: usize = 8;
/// Whether the target multiplies and adds in one instruction; otherwise `f32::mul_add` is a call
/// into libm.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], op: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| op(a[i], b[i]))
}

impl Simd for Portable {
    type V = [f32; LANES];
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller gives LANES readable elements; an array of f32 needs no more
        // alignment than the pointer has.
        unsafe { from.cast::<Self::V>().read() }
    }

    #[inline(always)]
    unsafe fn store(v: Self::V, to: *mut f32) {
        // SAFETY: the caller gives LANES writable elements.
        unsafe { to.cast::<Self::V>().write(v) };
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        if FUSED {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, f32::max)
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, f32::min)
    }

    #[inline(always)]
    unsafe fn add_exponent(a: Self::V, n: Self::V) -> Self::V {
        zip(a, n, |a, n| f32::from_bits(a.to_bits().wrapping_add(n.to_bits() << 23)))
    }
}
