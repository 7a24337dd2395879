//! Products of int8 on 64-bit ARM.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::neon::{LaneProduct, multiply_add_lanes};
use super::super::{Neon, Product, Simd};
use super::{InputRange, Int8Product, MAX_WORDS, Words};

/// Makes a [`LaneProduct`] the product of words.
macro_rules! product_of_lanes {
    ($product:ty) => {
        // SAFETY: it reads a word of each row and a row of the panel for each k below `len`.
        unsafe impl Product<Neon> for $product {
            type Left = u32;
            type Right = <Self as LaneProduct>::Right;
            const INTEGER: bool = true;

            #[inline(always)]
            unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
                self,
                _: Neon,
                sums: &mut [[<Neon as Simd>::V; NV]; MR],
                rows: &[*const u32; MR],
                panel: *const <Self as LaneProduct>::Right,
                len: usize,
            ) {
                // SAFETY: the contract is the same.
                unsafe { multiply_add_lanes(self, sums, rows, panel, len) }
            }
        }
    };
}

/// The products of i16 that every CPU has. They are no faster than those of f32, but a model has a
/// quarter of the size.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct NeonInt8;

// SAFETY: four times two bytes are loaded.
//
// "SAFETY: baseline" below: the intrinsics need NEON, for which the whole program is compiled where
// this file is.
unsafe impl LaneProduct for NeonInt8 {
    type Right = u16;
    /// What the first and the second number of a word are multiplied with.
    type Columns = [int16x4_t; 2];

    #[inline(always)]
    unsafe fn columns(self, from: *const u16) -> [int16x4_t; 2] {
        // SAFETY: baseline; the caller gives four elements of two bytes.
        unsafe {
            let pairs = vreinterpretq_s32_s16(vmovl_s8(vld1_s8(from.cast())));
            [vmovn_s32(pairs), vshrn_n_s32::<16>(pairs)]
        }
    }

    #[inline(always)]
    fn multiply_add<const LANE: i32>(
        self,
        sum: float32x4_t,
        [first, second]: [int16x4_t; 2],
        x: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: baseline.
        unsafe {
            let (sum, x) = (vreinterpretq_s32_f32(sum), vreinterpretq_s16_f32(x));
            let sum = match LANE {
                0 => vmlal_laneq_s16::<1>(vmlal_laneq_s16::<0>(sum, first, x), second, x),
                1 => vmlal_laneq_s16::<3>(vmlal_laneq_s16::<2>(sum, first, x), second, x),
                2 => vmlal_laneq_s16::<5>(vmlal_laneq_s16::<4>(sum, first, x), second, x),
                _ => vmlal_laneq_s16::<7>(vmlal_laneq_s16::<6>(sum, first, x), second, x),
            };
            vreinterpretq_f32_s32(sum)
        }
    }
}

product_of_lanes!(NeonInt8);

impl Int8Product<Neon> for NeonInt8 {
    const WORDS: Words = Words::I16x2;

    #[inline(always)]
    fn words(self, _: Neon, numbers: float32x4_t, range: InputRange) -> [u32; MAX_WORDS] {
        let mut words = [0; MAX_WORDS];
        // SAFETY: baseline; two words are written, of eight.
        unsafe {
            let rounded = vcvtnq_s32_f32(numbers);
            let rounded = vmaxq_s32(rounded, vdupq_n_s32(range.least()));
            let rounded = vminq_s32(rounded, vdupq_n_s32(range.largest()));
            vst1_s16(words.as_mut_ptr().cast(), vmovn_s32(rounded));
        }
        words
    }
}

/// The dot products of four bytes of the extension DotProd.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct NeonDot(());

impl NeonDot {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(in crate::cpu) fn new() -> Self {
        NeonDot(())
    }
}

// SAFETY: four times four bytes are loaded.
unsafe impl LaneProduct for NeonDot {
    type Right = u32;
    type Columns = uint32x4_t;

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> uint32x4_t {
        // SAFETY: baseline; the caller gives four elements.
        unsafe { vld1q_u32(from) }
    }

    /// The intrinsic is not stable.
    #[inline(always)]
    fn multiply_add<const LANE: i32>(
        self,
        mut sum: float32x4_t,
        columns: uint32x4_t,
        x: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: the instruction needs what `new` is compiled for, and `self` only exists where
        // `new` could be called; it changes no memory and no flags.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {columns:v}.16b, {x:v}.4b[{lane}]",
                sum = inlateout(vreg) sum,
                columns = in(vreg) columns,
                x = in(vreg) x,
                lane = const LANE,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

product_of_lanes!(NeonDot);

impl Int8Product<Neon> for NeonDot {
    const WORDS: Words = Words::SignedBytes;

    /// Narrowing saturates, which keeps the integers in their range.
    #[inline(always)]
    fn words(self, _: Neon, numbers: float32x4_t, range: InputRange) -> [u32; MAX_WORDS] {
        let mut words = [0; MAX_WORDS];
        // SAFETY: baseline.
        unsafe {
            let raised =
                vaddq_s32(vcvtnq_s32_f32(numbers), vdupq_n_s32(Self::WORDS.offset(range.zero)));
            let halves = vqmovn_s32(raised);
            let bytes = vqmovn_s16(vcombine_s16(halves, halves));
            words[0] = vget_lane_u32::<0>(vreinterpret_u32_s8(bytes));
        }
        words
    }
}
