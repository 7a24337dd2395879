//! AVX-512.

use std::arch::x86_64::*;

use super::Simd;

/// Sixteen lanes on x86-64 servers.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512(());

impl Avx512 {
    #[inline]
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(in crate::cpu) fn new() -> Self {
        Avx512(())
    }
}

// SAFETY: a load and a store access the sixteen elements of a vector.
//
// "SAFETY: proven" below: the intrinsics need AVX-512F, and `self` only exists where `new` could be
// called: in code that runs on a CPU with it.
unsafe impl Simd for Avx512 {
    type V = __m512;
    /// A row of a panel is multiplied in 16 cycles or more, while the second-level cache brings several. (With
    /// passes and prefetching a crop of B takes 1.03 to 1.04 times as long on a Zen 4.)
    const PASSES: bool = false;

    lanes!(16);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> Self::V {
        // SAFETY: proven; the caller gives 16 readable elements.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store_to(self, v: Self::V, to: *mut f32) {
        // SAFETY: proven; the caller gives 16 writable elements.
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn float(self, v: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm512_cvtepi32_ps(_mm512_castps_si512(v)) }
    }

    #[inline(always)]
    fn integer_sub_mul(self, a: Self::V, b: i32, c: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe {
            let product = _mm512_mullo_epi32(_mm512_set1_epi32(b), _mm512_castps_si512(c));
            _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_castps_si512(a), product))
        }
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(n));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), n))
        }
    }

    #[inline(always)]
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        // SAFETY: proven.
        unsafe {
            let lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let upper =
                _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (_mm512_permutex2var_ps(a, lower, b), _mm512_permutex2var_ps(a, upper, b))
        }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: proven.
        unsafe { _mm512_reduce_add_ps(v) }
    }

    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        // SAFETY: proven.
        unsafe { _mm512_reduce_max_ps(v) }
    }

    #[inline(always)]
    fn largest_of_each(self, a: Self::V, b: Self::V) -> [f32; 2] {
        // SAFETY: proven.
        unsafe {
            // The halves of `a` below those of `b`.
            let halves = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
            let v = _mm512_max_ps(halves, _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b));
            let v = _mm512_max_ps(v, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
            let v = _mm512_max_ps(v, _mm512_permute_ps::<0b01_00_11_10>(v));
            let v = _mm512_max_ps(v, _mm512_permute_ps::<0b10_11_00_01>(v));
            [_mm512_cvtss_f32(v), _mm_cvtss_f32(_mm512_extractf32x4_ps::<2>(v))]
        }
    }

    #[inline(always)]
    fn has_nan(self, v: Self::V) -> bool {
        // SAFETY: proven.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v) != 0 }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction, and it accepts any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
