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
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        // SAFETY: baseline.
        unsafe { (vzip1q_f32(a, b), vzip2q_f32(a, b)) }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: baseline.
        unsafe { vpadds_f32(vadd_f32(vget_low_f32(v), vget_high_f32(v))) }
    }

    #[inline(always)]
    fn has_nan(self, v: Self::V) -> bool {
        // SAFETY: baseline.
        unsafe { vminvq_u32(vceqq_f32(v, v)) == 0 }
    }

    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        // SAFETY: baseline.
        unsafe { vmaxvq_f32(v) }
    }

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        sums: &mut [[Self::V; NV]; MR],
        rows: &[*const f32; MR],
        panel: *const f32,
        len: usize,
    ) {
        // SAFETY: the contract is the same.
        unsafe { multiply_add_lanes(FusedF32, sums, rows, panel, len) }
    }
}

/// A product whose elements of the left matrix, words of 32 bits, are multiplied from the lanes of a
/// vector.
///
/// # Safety
/// [`column`](LaneProduct::column) reads four elements.
pub(in crate::cpu) unsafe trait LaneProduct: Copy {
    /// An element of the packed right matrix.
    type Right;
    /// Four columns of a row of the panel.
    type Columns: Copy;

    /// # Safety
    /// Four elements behind the pointer are readable.
    unsafe fn columns(self, from: *const Self::Right) -> Self::Columns;

    /// Adds the products with the word in lane `LANE` of `x`.
    fn multiply_add<const LANE: i32>(
        self,
        sum: float32x4_t,
        columns: Self::Columns,
        x: float32x4_t,
    ) -> float32x4_t;
}

/// f32 times f32.
#[derive(Clone, Copy)]
struct FusedF32;

// SAFETY: a vector is loaded, four elements.
unsafe impl LaneProduct for FusedF32 {
    type Right = f32;
    type Columns = float32x4_t;

    #[inline(always)]
    unsafe fn columns(self, from: *const f32) -> float32x4_t {
        // SAFETY: baseline; the caller gives four elements.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    fn multiply_add<const LANE: i32>(
        self,
        sum: float32x4_t,
        columns: float32x4_t,
        x: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: baseline.
        unsafe { vfmaq_laneq_f32::<LANE>(sum, columns, x) }
    }
}

/// [`Product::multiply_add_rows`](super::Product::multiply_add_rows): four words of every row are
/// loaded at once and multiplied from their lanes, a load for four multiplications of a row and a
/// vector.
///
/// # Safety
/// As there; elements of the left matrix have 32 bits.
#[inline(always)]
pub(super) unsafe fn multiply_add_lanes<P, L, const MR: usize, const NV: usize>(
    product: P,
    sums: &mut [[float32x4_t; NV]; MR],
    rows: &[*const L; MR],
    panel: *const P::Right,
    len: usize,
) where
    P: LaneProduct,
{
    const { assert!(size_of::<L>() == size_of::<f32>()) };
    let width = NV * Neon::LANES;
    let mut own = *sums;
    let (mut rows, mut panel) = (rows.map(|row| row.cast::<f32>()), panel);
    for _ in 0..len / 4 {
        // SAFETY: baseline; the caller gives `len` elements of each row and rows of the panel, and
        // every time around takes four of them. The pointers end no further than one behind the
        // last element.
        unsafe {
            let x: [float32x4_t; MR] = std::array::from_fn(|row| vld1q_f32(rows[row]));
            multiply_add_lane::<P, 0, MR, NV>(product, &mut own, &x, panel);
            multiply_add_lane::<P, 1, MR, NV>(product, &mut own, &x, panel.add(width));
            multiply_add_lane::<P, 2, MR, NV>(product, &mut own, &x, panel.add(2 * width));
            multiply_add_lane::<P, 3, MR, NV>(product, &mut own, &x, panel.add(3 * width));
            rows = rows.map(|row| row.add(4));
            panel = panel.add(4 * width);
        }
    }
    for k in 0..len % 4 {
        // SAFETY: as above; k is below what remains of the rows and of the panel.
        unsafe {
            let x: [float32x4_t; MR] = std::array::from_fn(|row| vld1q_dup_f32(rows[row].add(k)));
            multiply_add_lane::<P, 0, MR, NV>(product, &mut own, &x, panel.add(k * width));
        }
    }
    *sums = own;
}

/// A row of the panel times one lane of every row's elements.
///
/// # Safety
/// `NV` vectors of the panel are readable.
#[inline(always)]
unsafe fn multiply_add_lane<P: LaneProduct, const LANE: i32, const MR: usize, const NV: usize>(
    product: P,
    sums: &mut [[float32x4_t; NV]; MR],
    x: &[float32x4_t; MR],
    panel: *const P::Right,
) {
    // SAFETY: the caller gives the vectors.
    let columns: [P::Columns; NV] =
        std::array::from_fn(|v| unsafe { product.columns(panel.add(v * Neon::LANES)) });
    for (sums, x) in sums.iter_mut().zip(x) {
        for (sum, columns) in sums.iter_mut().zip(columns) {
            *sum = product.multiply_add::<LANE>(*sum, columns, *x);
        }
    }
}
