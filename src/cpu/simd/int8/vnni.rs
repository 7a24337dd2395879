//! Products of int8 with the vector neural network instructions of x86-64.

use std::arch::x86_64::*;

use super::super::{Avx2, Avx512, Product, Simd};
use super::avx2::words_of_bytes;
use super::{InputRange, Int8Product, MAX_WORDS, Words};

/// The dot products of AVX-VNNI, in vectors of AVX2.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct AvxVnni(());

impl AvxVnni {
    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    pub(in crate::cpu) fn new() -> Self {
        AvxVnni(())
    }
}

// SAFETY: it reads a word of each row and a row of the panel for each k below `len`.
//
// "SAFETY: proven" below: the intrinsics need what `new` is compiled for, and `self` only exists where
// `new` could be called: in code that runs on a CPU with it.
unsafe impl Product<Avx2> for AvxVnni {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = true;

    multiply_add_rows!(Avx2, |at| _mm256_loadu_si256(at), _mm256_set1_epi32, |sum, x, column| {
        _mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(_mm256_castps_si256(sum), x, column))
    });
}

impl Int8Product<Avx2> for AvxVnni {
    const WORDS: Words = Words::Bytes;

    #[inline(always)]
    fn words(self, _: Avx2, numbers: __m256, range: InputRange) -> [u32; MAX_WORDS] {
        // SAFETY: proven.
        unsafe { words_of_bytes(numbers, range) }
    }
}

/// The dot products of AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512Vnni(());

impl Avx512Vnni {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(in crate::cpu) fn new() -> Self {
        Avx512Vnni(())
    }
}

// SAFETY: as above.
unsafe impl Product<Avx512> for Avx512Vnni {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = true;

    multiply_add_rows!(Avx512, |at| _mm512_loadu_si512(at), _mm512_set1_epi32, |sum, x, column| {
        _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), x, column))
    });
}

impl Int8Product<Avx512> for Avx512Vnni {
    const WORDS: Words = Words::Bytes;

    #[inline(always)]
    fn words(self, _: Avx512, numbers: __m512, range: InputRange) -> [u32; MAX_WORDS] {
        let mut words = [0; MAX_WORDS];
        // SAFETY: proven; four words are written, of eight.
        unsafe {
            let rounded = _mm512_cvtps_epi32(numbers);
            // At least 0, as no number is below the least; narrowing saturates at 255.
            let raised = _mm512_add_epi32(rounded, _mm512_set1_epi32(range.zero));
            let bytes = _mm512_cvtusepi32_epi8(raised);
            _mm_storeu_si128(words.as_mut_ptr().cast(), bytes);
        }
        words
    }
}

/// The products of i16 of AVX-512 VNNI: twice as many as of f32, half as many as of bytes.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512VnniHalves(());

impl Avx512VnniHalves {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(in crate::cpu) fn new() -> Self {
        Avx512VnniHalves(())
    }
}

// SAFETY: as above.
unsafe impl Product<Avx512> for Avx512VnniHalves {
    type Left = u32;
    type Right = u16;
    const INTEGER: bool = true;

    multiply_add_rows!(
        Avx512,
        |at| _mm512_cvtepi8_epi16(_mm256_loadu_si256(at)),
        _mm512_set1_epi32,
        |sum, x, column| {
            _mm512_castsi512_ps(_mm512_dpwssd_epi32(_mm512_castps_si512(sum), x, column))
        }
    );
}

impl Int8Product<Avx512> for Avx512VnniHalves {
    const WORDS: Words = Words::I16x2;

    #[inline(always)]
    fn words(self, _: Avx512, numbers: __m512, range: InputRange) -> [u32; MAX_WORDS] {
        let mut words = [0; MAX_WORDS];
        // SAFETY: proven; eight words are written, of eight.
        unsafe {
            let rounded = _mm512_cvtps_epi32(numbers);
            let rounded = _mm512_max_epi32(rounded, _mm512_set1_epi32(range.least()));
            let rounded = _mm512_min_epi32(rounded, _mm512_set1_epi32(range.largest()));
            let halves = _mm512_cvtepi32_epi16(rounded);
            _mm256_storeu_si256(words.as_mut_ptr().cast(), halves);
        }
        words
    }
}
