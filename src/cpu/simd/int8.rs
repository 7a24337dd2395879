//! Products of integers of 8 bits, with exact sums in i32.
//!
//! Weights are signed, at most 127 in magnitude. What they are multiplied with are integers from
//! `-zero` to `255 - zero`; each row has a `zero` of its own. A word of 32 bits of the left matrix
//! holds four of these as unsigned bytes, `zero` above their value, or two of them as i16, whatever
//! the instruction set multiplies best. Sums are the same once the bytes' offset is taken back.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512};
use super::{MOST_LANES, Portable, Product, Simd};

/// int8 times int8.
pub(in crate::cpu) trait Int8Product<S: Simd>: Product<S, Left = u32> {
    /// Numbers of a word: [`FOUR`] or [`TWO`].
    const NUMBERS: usize;

    /// The words of a vector of numbers, which are rounded to the nearest integer, to even at a tie:
    /// `LANES / NUMBERS` of them. Integers are raised to `-zero` and lowered to `255 - zero`.
    fn words(self, simd: S, numbers: S::V, zero: i32) -> [u32; MOST_WORDS] {
        let lanes = simd.lanes(numbers);
        let mut words = [0; MOST_WORDS];
        for (word, lanes) in words.iter_mut().zip(lanes[..S::LANES].chunks_exact(Self::NUMBERS)) {
            *word = int8_word(Self::NUMBERS, lanes, zero);
        }
        words
    }
}

/// Numbers of a word of bytes.
pub(in crate::cpu) const FOUR: usize = 4;
/// Numbers of a word of i16.
const TWO: usize = 2;
/// The most words that a vector makes.
pub(in crate::cpu) const MOST_WORDS: usize = MOST_LANES / TWO;
/// The largest byte.
const MOST_BYTE: i32 = 255;

/// The word of `numbers` numbers, of zeros where there are fewer.
#[inline(always)]
pub(in crate::cpu) fn int8_word(numbers: usize, x: &[f32], zero: i32) -> u32 {
    let integer = |i: usize| {
        let x = x.get(i).map_or(0, |x| x.round_ties_even() as i32);
        x.clamp(-zero, MOST_BYTE - zero)
    };
    if numbers == FOUR {
        u32::from_ne_bytes(std::array::from_fn::<u8, FOUR, _>(|i| (integer(i) + zero) as u8))
    } else {
        u32::from(integer(0) as u16) | u32::from(integer(1) as u16) << 16
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
    const NUMBERS: usize = TWO;
}

/// The products of i16 that AVX2 has: twice as many as of f32.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx2Int8(());

#[cfg(target_arch = "x86_64")]
impl Avx2Int8 {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::cpu) fn new() -> Self {
        Avx2Int8(())
    }
}

// SAFETY: it reads a word of each row and a row of the panel for each k below `len`.
//
// "SAFETY: proven" below: the intrinsics need what `new` is compiled for, and `self` only exists where
// `new` could be called: in code that runs on a CPU with it.
#[cfg(target_arch = "x86_64")]
unsafe impl Product<Avx2> for Avx2Int8 {
    type Left = u32;
    type Right = u16;
    const INTEGER: bool = true;

    multiply_add_rows!(
        Avx2,
        |at| _mm256_cvtepi8_epi16(_mm_loadu_si128(at)),
        _mm256_set1_epi32,
        |sum, x, column| {
            let products = _mm256_madd_epi16(x, column);
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), products))
        }
    );
}

#[cfg(target_arch = "x86_64")]
impl Int8Product<Avx2> for Avx2Int8 {
    const NUMBERS: usize = TWO;

    #[inline(always)]
    fn words(self, _: Avx2, numbers: __m256, zero: i32) -> [u32; MOST_WORDS] {
        let mut words = [0; MOST_WORDS];
        // SAFETY: proven; four words are written, of eight.
        unsafe {
            let rounded = _mm256_cvtps_epi32(numbers);
            let rounded = _mm256_max_epi32(rounded, _mm256_set1_epi32(-zero));
            let rounded = _mm256_min_epi32(rounded, _mm256_set1_epi32(MOST_BYTE - zero));
            let halves = _mm256_packs_epi32(rounded, rounded);
            let halves = _mm256_permute4x64_epi64::<0b1000>(halves);
            _mm_storeu_si128(words.as_mut_ptr().cast(), _mm256_castsi256_si128(halves));
        }
        words
    }
}

/// The dot products of AVX-VNNI, in vectors of AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(in crate::cpu) struct AvxVnni(());

#[cfg(target_arch = "x86_64")]
impl AvxVnni {
    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    pub(in crate::cpu) fn new() -> Self {
        AvxVnni(())
    }
}

// SAFETY: as above.
#[cfg(target_arch = "x86_64")]
unsafe impl Product<Avx2> for AvxVnni {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = true;

    multiply_add_rows!(Avx2, |at| _mm256_loadu_si256(at), _mm256_set1_epi32, |sum, x, column| {
        _mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(_mm256_castps_si256(sum), x, column))
    });
}

#[cfg(target_arch = "x86_64")]
impl Int8Product<Avx2> for AvxVnni {
    const NUMBERS: usize = FOUR;

    #[inline(always)]
    fn words(self, _: Avx2, numbers: __m256, zero: i32) -> [u32; MOST_WORDS] {
        let mut words = [0; MOST_WORDS];
        // SAFETY: proven; two words are written, of eight.
        unsafe {
            let rounded = _mm256_cvtps_epi32(numbers);
            let raised = _mm256_add_epi32(rounded, _mm256_set1_epi32(zero));
            let halves = _mm256_packs_epi32(raised, raised);
            let halves = _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(halves));
            let bytes = _mm_packus_epi16(halves, halves);
            _mm_storel_epi64(words.as_mut_ptr().cast(), bytes);
        }
        words
    }
}

/// The dot products of AVX-512 VNNI.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512Vnni(());

#[cfg(target_arch = "x86_64")]
impl Avx512Vnni {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(in crate::cpu) fn new() -> Self {
        Avx512Vnni(())
    }
}

// SAFETY: as above.
#[cfg(target_arch = "x86_64")]
unsafe impl Product<Avx512> for Avx512Vnni {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = true;

    multiply_add_rows!(Avx512, |at| _mm512_loadu_si512(at), _mm512_set1_epi32, |sum, x, column| {
        _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), x, column))
    });
}

#[cfg(target_arch = "x86_64")]
impl Int8Product<Avx512> for Avx512Vnni {
    const NUMBERS: usize = FOUR;

    #[inline(always)]
    fn words(self, _: Avx512, numbers: __m512, zero: i32) -> [u32; MOST_WORDS] {
        let mut words = [0; MOST_WORDS];
        // SAFETY: proven; four words are written, of eight.
        unsafe {
            let raised = _mm512_add_epi32(_mm512_cvtps_epi32(numbers), _mm512_set1_epi32(zero));
            let raised = _mm512_max_epi32(raised, _mm512_setzero_si512());
            let bytes = _mm512_cvtusepi32_epi8(raised);
            _mm_storeu_si128(words.as_mut_ptr().cast(), bytes);
        }
        words
    }
}
