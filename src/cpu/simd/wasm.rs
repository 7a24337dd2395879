//! WebAssembly's 128-bit vectors.
//!
//! A module either has the instructions or it does not: nothing can be asked at run time, so that
//! the target features decide. With `relaxed-simd` products are added in one instruction, whose
//! rounding is the CPU's.

use std::arch::wasm32::*;

use super::Simd;

/// Four lanes of `simd128`.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Wasm;

// SAFETY: a load and a store access the four elements of a vector.
unsafe impl Simd for Wasm {
    type V = v128;

    lanes!(4);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        f32x4_splat(x)
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> Self::V {
        // SAFETY: the caller gives 4 readable elements.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_to(self, v: Self::V, to: *mut f32) {
        // SAFETY: the caller gives 4 writable elements.
        unsafe { v128_store(to.cast(), v) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        f32x4_mul(a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        f32x4_div(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        f32x4_add(f32x4_mul(a, b), c)
    }

    // The pseudo-maximum is one instruction of x86; the one that handles NaN and signed zeros is
    // seven.
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        f32x4_pmax(b, a)
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        f32x4_pmin(b, a)
    }

    #[inline(always)]
    fn float(self, v: Self::V) -> Self::V {
        f32x4_convert_i32x4(v)
    }

    #[inline(always)]
    fn integer_sub_mul(self, a: Self::V, b: i32, c: Self::V) -> Self::V {
        i32x4_sub(a, i32x4_mul(i32x4_splat(b), c))
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::V, n: Self::V) -> Self::V {
        i32x4_add(a, i32x4_shl(n, 23))
    }

    #[inline(always)]
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b))
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let v = f32x4_add(v, i64x2_shuffle::<1, 1>(v, v));
        f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
    }

    #[inline(always)]
    fn has_nan(self, v: Self::V) -> bool {
        v128_any_true(f32x4_ne(v, v))
    }

    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        let v = self.max(v, i64x2_shuffle::<1, 1>(v, v));
        f32x4_extract_lane::<0>(v).max(f32x4_extract_lane::<1>(v))
    }
}
