//! NEON, the vectors that every 64-bit ARM CPU has.

use std::arch::aarch64::*;

use super::Simd;

/// Four lanes on 64-bit ARM.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Neon;

// SAFETY: a load and a store access the four elements of a vector.
//
// "SAFETY: baseline" below: the intrinsics need NEON, for which the whole program is compiled where
// this file is.
unsafe impl Simd for Neon {
    type V = float32x4_t;

    lanes!(4);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: baseline.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> Self::V {
        // SAFETY: baseline; the caller gives 4 readable elements.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store_to(self, v: Self::V, to: *mut f32) {
        // SAFETY: baseline; the caller gives 4 writable elements.
        unsafe { vst1q_f32(to, v) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vminq_f32(a, b) }
    }

    #[inline(always)]
    fn float(self, v: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe { vcvtq_f32_s32(vreinterpretq_s32_f32(v)) }
    }

    #[inline(always)]
    fn integer_sub_mul(self, a: Self::V, b: i32, c: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe {
            let (a, c) = (vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(c));
            vreinterpretq_f32_s32(vmlsq_s32(a, c, vdupq_n_s32(b)))
        }
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::V, n: Self::V) -> Self::V {
        // SAFETY: baseline.
        unsafe {
            let n = vshlq_n_s32::<23>(vreinterpretq_s32_f32(n));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), n))
        }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: baseline.
        unsafe { vpadds_f32(vadd_f32(vget_low_f32(v), vget_high_f32(v))) }
    }

    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        // SAFETY: baseline.
        unsafe { vmaxvq_f32(v) }
    }

    /// Four elements of every row are loaded at once and multiplied from their lanes: a load for
    /// four multiplications of a row and a vector.
    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        sums: &mut [[Self::V; NV]; MR],
        rows: &[*const f32; MR],
        panel: *const f32,
        len: usize,
    ) {
        let width = NV * Self::LANES;
        let mut own = *sums;
        let (mut rows, mut panel) = (*rows, panel);
        for _ in 0..len / 4 {
            // SAFETY: baseline; the caller gives `len` elements of each row and rows of the panel,
            // and every time around takes four of them. The pointers end no further than one behind
            // the last element.
            unsafe {
                let x: [float32x4_t; MR] = std::array::from_fn(|row| vld1q_f32(rows[row]));
                multiply_add_lane::<0, MR, NV>(&mut own, &x, panel);
                multiply_add_lane::<1, MR, NV>(&mut own, &x, panel.add(width));
                multiply_add_lane::<2, MR, NV>(&mut own, &x, panel.add(2 * width));
                multiply_add_lane::<3, MR, NV>(&mut own, &x, panel.add(3 * width));
                rows = rows.map(|row| row.add(4));
                panel = panel.add(4 * width);
            }
        }
        *sums = own;
        // SAFETY: what remains of the rows and of the panel.
        unsafe { super::multiply_add_rows(self, sums, &rows, panel, len % 4) }
    }
}

/// A row of the panel times one lane of every row's elements.
///
/// # Safety
/// `NV` vectors of the panel are readable.
#[inline(always)]
unsafe fn multiply_add_lane<const LANE: i32, const MR: usize, const NV: usize>(
    sums: &mut [[float32x4_t; NV]; MR],
    x: &[float32x4_t; MR],
    panel: *const f32,
) {
    // SAFETY: NEON belongs to the baseline; the caller gives the vectors.
    unsafe {
        let columns: [float32x4_t; NV] = std::array::from_fn(|v| vld1q_f32(panel.add(v * 4)));
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = vfmaq_laneq_f32::<LANE>(*sum, column, *x);
            }
        }
    }
}
