//! WebAssembly's 128-bit vectors.

use std::arch::wasm32::*;

use super::Simd;

/// Four lanes in WebAssembly built with `simd128`.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Wasm;

// SAFETY of the blocks below: the trait's contract says that the CPU has these instructions, and
// that pointers are good for 4 elements.
impl Simd for Wasm {
    type V = v128;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_splat(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: as above.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(v: Self::V, to: *mut f32) {
        // SAFETY: as above.
        unsafe { v128_store(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_add(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_sub(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_mul(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_div(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_add(f32x4_mul(a, b), c) }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_max(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { f32x4_min(a, b) }
    }

    #[inline(always)]
    unsafe fn add_exponent(a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { i32x4_add(a, i32x4_shl(n, 23)) }
    }
}
