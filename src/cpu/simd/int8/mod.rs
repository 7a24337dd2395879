//! Products of integers of 8 bits, with exact sums in i32.
//!
//! Weights are signed, at most 127 in magnitude. What they are multiplied with are integers from
//! `-zero` to `steps - zero` ([`InputRange`]); each row has a `zero` of its own. A word of 32 bits of the
//! left matrix holds four or two of these, in the format that the instruction set multiplies best
//! ([`Words`]). Sums are the same once the bytes' offset is taken back.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

#[cfg(target_arch = "x86_64")]
pub(in crate::cpu) use avx2::{Avx2Bytes, Avx2Int8};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub(in crate::cpu) use neon::{NeonDot, NeonInt8};
#[cfg(target_arch = "x86_64")]
pub(in crate::cpu) use vnni::{Avx512Vnni, Avx512VnniHalves, AvxVnni};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(in crate::cpu) use wasm::WasmInt8;

use super::{MAX_LANES, Portable, Product, Simd};

/// int8 times int8.
pub(in crate::cpu) trait Int8Product<S: Simd>: Product<S, Left = u32> {
    /// The format of its words.
    const WORDS: Words;

    /// The words of a vector of numbers, which are rounded to the nearest integer, to even at a tie:
    /// `LANES / WORDS.numbers()` of them. None is below the range; those above become its largest one, as
    /// the least and the largest number, both halfway, may be rounded apart. Bytes hold a range of at
    /// most 255 steps. Of a number that is infinite or NaN any integer comes.
    fn words(self, simd: S, numbers: S::V, range: InputRange) -> [u32; MAX_WORDS] {
        let lanes = simd.lanes(numbers);
        let mut words = [0; MAX_WORDS];
        let lanes = lanes[..S::LANES].chunks_exact(Self::WORDS.numbers());
        for (word, lanes) in words.iter_mut().zip(lanes) {
            *word = Self::WORDS.word(lanes, range);
        }
        words
    }
}

/// The integers that the numbers of a group are rounded to: from `-zero` to `steps - zero`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct InputRange {
    pub zero: i32,
    pub steps: i32,
}

impl InputRange {
    /// The least integer.
    #[inline(always)]
    pub(in crate::cpu) const fn least(self) -> i32 {
        -self.zero
    }

    /// The largest integer.
    #[inline(always)]
    pub(in crate::cpu) const fn largest(self) -> i32 {
        self.steps - self.zero
    }
}

/// What a word of 32 bits holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each instruction set has some of them")]
pub(in crate::cpu) enum Words {
    /// Two i16.
    I16x2,
    /// Four unsigned bytes, `zero` above the integers.
    Bytes,
    /// Four signed bytes, `zero - 128` above the integers.
    SignedBytes,
}

/// The most numbers that a word holds.
pub(in crate::cpu) const MAX_NUMBERS: usize = 4;
/// The most words that a vector makes.
pub(in crate::cpu) const MAX_WORDS: usize = MAX_LANES / 2;
/// How far the range of signed bytes lies below that of unsigned ones.
const SIGN_OFFSET: i32 = 128;

impl Words {
    /// Numbers of a word.
    pub(in crate::cpu) const fn numbers(self) -> usize {
        match self {
            Words::I16x2 => 2,
            Words::Bytes | Words::SignedBytes => 4,
        }
    }

    /// How far the numbers of a word lie above the integers of a row.
    #[inline(always)]
    pub(in crate::cpu) const fn offset(self, zero: i32) -> i32 {
        match self {
            Words::I16x2 => 0,
            Words::Bytes => zero,
            Words::SignedBytes => zero - SIGN_OFFSET,
        }
    }

    /// The word of some numbers, of zeros where there are fewer.
    #[inline(always)]
    pub(in crate::cpu) fn word(self, x: &[f32], range: InputRange) -> u32 {
        let number = |i: usize| {
            let x = x.get(i).map_or(0, |x| x.round_ties_even() as i32);
            x.clamp(range.least(), range.largest()) + self.offset(range.zero)
        };
        match self {
            Words::I16x2 => u32::from(number(0) as u16) | u32::from(number(1) as u16) << 16,
            Words::Bytes | Words::SignedBytes => {
                u32::from_ne_bytes(std::array::from_fn(|i| number(i) as u8))
            }
        }
    }

    /// The numbers of a word, above the integers by the offset.
    #[cfg(test)]
    pub(in crate::cpu) fn of(self, word: u32) -> Vec<i32> {
        match self {
            Words::I16x2 => [word, word >> 16].map(|half| i32::from(half as u16 as i16)).to_vec(),
            Words::Bytes => word.to_ne_bytes().map(i32::from).to_vec(),
            Words::SignedBytes => word.to_ne_bytes().map(|byte| i32::from(byte as i8)).to_vec(),
        }
    }
}

/// In plain arithmetic: the oracle.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct PlainInt8;

// SAFETY: it reads a word of each row and a row of the panel for each k below `len`.
unsafe impl Product<Portable> for PlainInt8 {
    type Left = u32;
    type Right = u16;
    const INTEGER: bool = true;

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        _: Portable,
        sums: &mut [[<Portable as Simd>::V; NV]; MR],
        rows: &[*const u32; MR],
        panel: *const u16,
        len: usize,
    ) {
        for k in 0..len {
            for row in 0..MR {
                // SAFETY: k < len.
                let word = unsafe { *rows[row].add(k) };
                let (x, y) = (i32::from(word as u16 as i16), i32::from((word >> 16) as u16 as i16));
                for (column, sum) in sums[row].as_flattened_mut().iter_mut().enumerate() {
                    // SAFETY: k < len, and the column is one of the panel's.
                    let [low, high] =
                        unsafe { *panel.add(k * NV * Portable::LANES + column) }.to_ne_bytes();
                    let product = x * i32::from(low as i8) + y * i32::from(high as i8);
                    *sum = f32::from_bits((sum.to_bits() as i32).wrapping_add(product) as u32);
                }
            }
        }
    }
}

impl Int8Product<Portable> for PlainInt8 {
    const WORDS: Words = Words::I16x2;
}
