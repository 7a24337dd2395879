//! Products of int8 in WebAssembly.

use std::arch::wasm32::*;

use super::super::{Product, Simd, Wasm};
use super::{InputRange, Int8Product, MAX_WORDS, Words};

/// The products of i16 of `simd128`, twice as many as of f32.
///
/// The dot product of bytes that relaxed SIMD has is exact with every engine only if one of its
/// operands lies in 0..=127. Rows have 0..=255 and weights -127..=127, so that two products would take
/// the place of one, with sums apart: on CPUs whose instruction it is not, that is slower than this.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct WasmInt8;

// SAFETY: it reads a word of each row and a row of the panel for each k below `len`.
unsafe impl Product<Wasm> for WasmInt8 {
    type Left = u32;
    type Right = u16;
    const INTEGER: bool = true;

    multiply_add_rows!(
        Wasm,
        |at: *const u64| i16x8_load_extend_i8x8(at.cast()),
        i32x4_splat,
        |sum, x, column| i32x4_add(sum, i32x4_dot_i16x8(x, column))
    );
}

impl Int8Product<Wasm> for WasmInt8 {
    const WORDS: Words = Words::I16x2;

    #[inline(always)]
    fn words(self, _: Wasm, numbers: v128, range: InputRange) -> [u32; MAX_WORDS] {
        let rounded = i32x4_trunc_sat_f32x4(f32x4_nearest(numbers));
        let rounded = i32x4_max(rounded, i32x4_splat(range.least()));
        let rounded = i32x4_min(rounded, i32x4_splat(range.largest()));
        let halves = i16x8_narrow_i32x4(rounded, rounded);
        let mut words = [0; MAX_WORDS];
        words[0] = u32x4_extract_lane::<0>(halves);
        words[1] = u32x4_extract_lane::<1>(halves);
        words
    }
}
