//! Products of bf16, the upper half of an f32, with sums in f32.
//!
//! A word of 32 bits holds two consecutive elements, the first one in its lower half.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::Avx512;
use super::{Portable, Product, RowProduct, Simd};

/// bf16 times bf16.
pub(in crate::cpu) trait Bf16Product<S: Simd>:
    RowProduct<S> + Product<S, Left = u32, Right = u32>
{
}

/// The bits of the nearest bf16, to even at a tie.
#[inline(always)]
pub(in crate::cpu) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // What is no number stays so.
    let kept = if x.is_nan() { bits | 0x40_0000 } else { rounded };
    (kept >> 16) as u16
}

/// A word of two elements.
#[inline(always)]
pub(in crate::cpu) fn word(low: f32, high: f32) -> u32 {
    u32::from(round(low)) | u32::from(round(high)) << 16
}

/// The elements of a word.
#[inline(always)]
fn halves(word: u32) -> (f32, f32) {
    (f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000))
}

/// In plain arithmetic: the oracle.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct PlainBf16;

// SAFETY: it reads an element of each row and a row of the panel for each k below `len`.
unsafe impl Product<Portable> for PlainBf16 {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = false;

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        _: Portable,
        sums: &mut [[<Portable as Simd>::V; NV]; MR],
        rows: &[*const u32; MR],
        panel: *const u32,
        len: usize,
    ) {
        for k in 0..len {
            for row in 0..MR {
                // SAFETY: k < len.
                let (x, y) = halves(unsafe { *rows[row].add(k) });
                for (column, sum) in sums[row].as_flattened_mut().iter_mut().enumerate() {
                    // SAFETY: k < len, and the column is one of the panel's.
                    let word = unsafe { *panel.add(k * NV * Portable::LANES + column) };
                    let (low, high) = halves(word);
                    *sum += x * low + y * high;
                }
            }
        }
    }
}

impl Bf16Product<Portable> for PlainBf16 {}

impl RowProduct<Portable> for PlainBf16 {
    const ROWS: usize = 2;

    #[inline(always)]
    fn left(self, low: f32, high: f32) -> u32 {
        word(low, high)
    }

    #[inline(always)]
    fn right(
        self,
        _: Portable,
        low: <Portable as Simd>::V,
        high: <Portable as Simd>::V,
    ) -> <Portable as Simd>::V {
        std::array::from_fn(|i| f32::from_bits(word(low[i], high[i])))
    }

    #[inline(always)]
    unsafe fn multiply_add_tile<const MR: usize, const NV: usize>(
        self,
        simd: Portable,
        sums: &mut [[<Portable as Simd>::V; NV]; MR],
        left: &[[u32; MR]],
        panel: *const u32,
    ) {
        for (k, left) in left.iter().enumerate() {
            let rows = left.each_ref().map(std::ptr::from_ref);
            // SAFETY: one element of each row, and the panel's row k.
            unsafe {
                let panel = panel.add(k * NV * Portable::LANES);
                self.multiply_add_rows(simd, sums, &rows, panel, 1);
            }
        }
    }
}

/// The dot products of AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512Bf16(());

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(in crate::cpu) fn new() -> Self {
        Avx512Bf16(())
    }
}

// SAFETY: it reads an element of each row and a row of the panel for each k below `len`.
//
// "SAFETY: proven" below: the intrinsics need AVX-512F and AVX-512 BF16, and `self` only exists where
// `new` could be called: in code that runs on a CPU with them.
#[cfg(target_arch = "x86_64")]
unsafe impl Product<Avx512> for Avx512Bf16 {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = false;

    multiply_add_rows!(Avx512, |at| _mm512_loadu_si512(at), _mm512_set1_epi32, |sum, x, column| {
        _mm512_dpbf16_ps(sum, bf16(x), bf16(column))
    });
}

/// The same bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn bf16(words: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes in which every pattern of bits is a value.
    unsafe { std::mem::transmute(words) }
}

#[cfg(target_arch = "x86_64")]
impl Bf16Product<Avx512> for Avx512Bf16 {}

#[cfg(target_arch = "x86_64")]
impl RowProduct<Avx512> for Avx512Bf16 {
    const ROWS: usize = 2;

    #[inline(always)]
    fn left(self, low: f32, high: f32) -> u32 {
        word(low, high)
    }

    #[inline(always)]
    unsafe fn multiply_add_tile<const MR: usize, const NV: usize>(
        self,
        _: Avx512,
        sums: &mut [[__m512; NV]; MR],
        left: &[[u32; MR]],
        panel: *const u32,
    ) {
        // SAFETY: proven; the panel has a row for each of the tile's.
        unsafe {
            multiply_add_words!(
                Avx512,
                sums,
                panel,
                left.len(),
                |k, row| left[k][row],
                |at| _mm512_loadu_si512(at),
                _mm512_set1_epi32,
                |sum, x, column| _mm512_dpbf16_ps(sum, bf16(x), bf16(column))
            );
        }
    }

    #[inline(always)]
    fn right(self, _: Avx512, low: __m512, high: __m512) -> __m512 {
        // SAFETY: proven.
        unsafe {
            // The lower half of the register has those of `low`, the upper one those of `high`.
            let both = _mm512_cvtne2ps_pbh(high, low);
            let both: __m512i = std::mem::transmute::<__m512bh, __m512i>(both);
            let low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(both));
            let high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(both));
            let words = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
            _mm512_castsi512_ps(words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_even() {
        for (x, expected) in [
            (1.0, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            assert_eq!(round(x), expected, "{x}");
        }
        for bits in [0x7fff_ffff, 0x7f80_0001, 0xffff_ffff] {
            let (nan, _) = halves(word(f32::from_bits(bits), 0.0));
            assert!(nan.is_nan(), "{bits:x}");
        }
    }
}
