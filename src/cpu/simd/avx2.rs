//! AVX2 with fused multiply-add.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Simd;

/// Eight lanes on x86-64 since 2013.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx2(());

impl Avx2 {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(in crate::cpu) fn new() -> Self {
        Avx2(())
    }
}

// SAFETY: a load and a store access the eight elements of a vector.
//
// "SAFETY: proven" below: the intrinsics need AVX2 and FMA, and `self` only exists where `new` could
// be called: in code that runs on a CPU with them.
unsafe impl Simd for Avx2 {
    type V = __m256;

    lanes!(8);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> Self::V {
        // SAFETY: proven; the caller gives 8 readable elements.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store_to(self, v: Self::V, to: *mut f32) {
        // SAFETY: proven; the caller gives 8 writable elements.
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn float(self, v: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe { _mm256_cvtepi32_ps(_mm256_castps_si256(v)) }
    }

    #[inline(always)]
    fn integer_sub_mul(self, a: Self::V, b: i32, c: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe {
            let product = _mm256_mullo_epi32(_mm256_set1_epi32(b), _mm256_castps_si256(c));
            _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(a), product))
        }
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: proven.
        unsafe {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), n))
        }
    }

    #[inline(always)]
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        // SAFETY: proven.
        unsafe {
            let (lower, upper) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            (
                _mm256_permute2f128_ps::<0x20>(lower, upper),
                _mm256_permute2f128_ps::<0x31>(lower, upper),
            )
        }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: proven.
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }

    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        // SAFETY: proven.
        unsafe {
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }

    #[inline(always)]
    fn has_nan(self, v: Self::V) -> bool {
        // SAFETY: proven.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v)) != 0 }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction, and it accepts any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        sums: &mut [[Self::V; NV]; MR],
        rows: &[*const f32; MR],
        panel: *const f32,
        len: usize,
    ) {
        // SAFETY: proven; the casts are to the same type, as MR and NV say; the caller's contract is
        // that of the functions called.
        unsafe {
            match (MR, NV) {
                (6, 2) => {
                    let sums = &mut *std::ptr::from_mut(sums).cast::<[[__m256; 2]; 6]>();
                    six_rows(sums, &*std::ptr::from_ref(rows).cast(), panel, len);
                }
                (4, 2) => {
                    let sums = &mut *std::ptr::from_mut(sums).cast::<[[__m256; 2]; 4]>();
                    four_rows(sums, &*std::ptr::from_ref(rows).cast(), panel, len);
                }
                _ => super::multiply_add_rows(self, sums, rows, panel, len),
            }
        }
    }
}

/// One row times two vectors of columns: broadcast an element into `$x`, multiply, add.
macro_rules! row {
    ($row:literal, $offset:literal, $x:literal, $low:literal, $high:literal) => {
        concat!(
            "vbroadcastss ",
            $x,
            ", dword ptr [{r",
            $row,
            "} + 4*{k} + ",
            $offset,
            "]\n",
            "vfmadd231ps ",
            $low,
            ", ",
            $x,
            ", ymm12\n",
            "vfmadd231ps ",
            $high,
            ", ",
            $x,
            ", ymm13\n",
        )
    };
}

/// A row of the panel, 64 bytes each, into `ymm12` and `ymm13`.
macro_rules! columns {
    ($offset:literal) => {
        concat!(
            "vmovups ymm12, ymmword ptr [{b} + ",
            $offset,
            "]\n",
            "vmovups ymm13, ymmword ptr [{b} + ",
            $offset,
            " + 32]\n",
        )
    };
}

macro_rules! four {
    ($b:literal, $a:literal) => {
        concat!(
            columns!($b),
            row!("0", $a, "ymm14", "ymm0", "ymm1"),
            row!("1", $a, "ymm15", "ymm2", "ymm3"),
            row!("2", $a, "ymm14", "ymm4", "ymm5"),
            row!("3", $a, "ymm15", "ymm6", "ymm7"),
        )
    };
}

macro_rules! six {
    ($b:literal, $a:literal) => {
        concat!(
            four!($b, $a),
            row!("4", $a, "ymm14", "ymm8", "ymm9"),
            row!("5", $a, "ymm15", "ymm10", "ymm11"),
        )
    };
}

// In assembly because compilers move the broadcasts ahead of their use until the sixteen registers
// do not suffice, and then spill sums inside the loop (measured: a tenth of the time).
six_rows!(f32, f32, steps!(six, ["0", "64", "128", "192"], "256", "64"));
four_rows!(f32, f32, steps!(four, ["0", "64", "128", "192"], "256", "64"));
