//! Products of int8 with AVX2.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::{Avx2, Product, Simd};
use super::{InputRange, Int8Product, MAX_WORDS, Words};

/// The products of i16 that AVX2 has: twice as many as of f32.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx2Int8(());

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
unsafe impl Product<Avx2> for Avx2Int8 {
    type Left = u32;
    type Right = u16;
    const INTEGER: bool = true;

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        _: Avx2,
        sums: &mut [[__m256; NV]; MR],
        rows: &[*const u32; MR],
        panel: *const u16,
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
                _ => multiply_add_words!(
                    Avx2,
                    sums,
                    panel,
                    len,
                    |k, row| *rows[row].add(k),
                    |at| _mm256_cvtepi8_epi16(_mm_loadu_si128(at)),
                    _mm256_set1_epi32,
                    |sum, x, column| {
                        let products = _mm256_madd_epi16(x, column);
                        _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), products))
                    }
                ),
            }
        }
    }
}

impl Int8Product<Avx2> for Avx2Int8 {
    const WORDS: Words = Words::I16x2;

    #[inline(always)]
    fn words(self, _: Avx2, numbers: __m256, range: InputRange) -> [u32; MAX_WORDS] {
        let mut words = [0; MAX_WORDS];
        // SAFETY: proven; four words are written, of eight.
        unsafe {
            let rounded = _mm256_cvtps_epi32(numbers);
            let rounded = _mm256_max_epi32(rounded, _mm256_set1_epi32(range.least()));
            let rounded = _mm256_min_epi32(rounded, _mm256_set1_epi32(range.largest()));
            let halves = _mm256_packs_epi32(rounded, rounded);
            let halves = _mm256_permute4x64_epi64::<0b1000>(halves);
            _mm_storeu_si128(words.as_mut_ptr().cast(), _mm256_castsi256_si128(halves));
        }
        words
    }
}

/// The products of bytes that AVX2 has. They are summed in 16 bits, two by the instruction and four before
/// they are widened, so that three multiplications make as many products as four of [`Avx2Int8`]. That needs weights
/// that are not too large.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx2Bytes(());

impl Avx2Bytes {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::cpu) fn new() -> Self {
        Avx2Bytes(())
    }

    /// What the positive weights of a pair (the first two weights of a word, or the last two) and of the pair in
    /// the same place of the next word may sum up to, and the negative ones: 255 times that fits 16 bits.
    pub(in crate::cpu) const MAX_OF_FOUR: i32 = 128;
}

// SAFETY: it reads a word of each row and a row of the panel for each k below `len`. Proven, as above.
unsafe impl Product<Avx2> for Avx2Bytes {
    type Left = u32;
    type Right = u32;
    const INTEGER: bool = true;

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        _: Avx2,
        sums: &mut [[__m256; NV]; MR],
        rows: &[*const u32; MR],
        panel: *const u32,
        len: usize,
    ) {
        let (threes, sums) = sums.as_chunks_mut::<3>();
        let (rows_of_threes, rows) = rows.as_chunks::<3>();
        let (twos, ones) = sums.as_chunks_mut::<2>();
        let (rows_of_twos, rows_of_ones) = rows.as_chunks::<2>();
        // SAFETY: proven; the contract is the same for some of the rows.
        unsafe {
            for (sums, rows) in threes.iter_mut().zip(rows_of_threes) {
                rows_of_bytes(sums, rows, panel, len);
            }
            for (sums, rows) in twos.iter_mut().zip(rows_of_twos) {
                rows_of_bytes(sums, rows, panel, len);
            }
            for (sums, &row) in ones.iter_mut().zip(rows_of_ones) {
                rows_of_bytes(std::array::from_mut(sums), &[row], panel, len);
            }
        }
    }
}

/// Adds up to three rows of bytes times a panel to the sums: two words of a row and of the panel take nine
/// registers beside the sums.
///
/// # Safety
/// As for [`Product::multiply_add_rows`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn rows_of_bytes<const ROWS: usize, const NV: usize>(
    out: &mut [[__m256; NV]; ROWS],
    rows: &[*const u32; ROWS],
    panel: *const u32,
    len: usize,
) {
    let ones = _mm256_set1_epi16(1);
    let columns = |k: usize| -> [__m256i; NV] {
        // SAFETY: k is below `len` wherever this is called.
        std::array::from_fn(|v| unsafe { _mm256_loadu_si256(panel.add((k * NV + v) * 8).cast()) })
    };
    // SAFETY: as above.
    let word = |row: usize, k: usize| _mm256_set1_epi32(unsafe { *rows[row].add(k) } as i32);
    let add = |sum: __m256, pairs: __m256i| {
        let fours = _mm256_madd_epi16(pairs, ones);
        _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), fours))
    };
    let mut sums = *out;
    let mut k = 0;
    while k + 1 < len {
        let (first, second) = (columns(k), columns(k + 1));
        for (row, sums) in sums.iter_mut().enumerate() {
            let (x, y) = (word(row, k), word(row, k + 1));
            for (v, sum) in sums.iter_mut().enumerate() {
                let pairs = _mm256_maddubs_epi16(x, first[v]);
                let pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(y, second[v]));
                *sum = add(*sum, pairs);
            }
        }
        k += 2;
    }
    if k < len {
        let columns = columns(k);
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = word(row, k);
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = add(*sum, _mm256_maddubs_epi16(x, column));
            }
        }
    }
    *out = sums;
}

impl Int8Product<Avx2> for Avx2Bytes {
    const WORDS: Words = Words::Bytes;

    #[inline(always)]
    fn words(self, _: Avx2, numbers: __m256, range: InputRange) -> [u32; MAX_WORDS] {
        // SAFETY: proven.
        unsafe { words_of_bytes(numbers, range) }
    }
}

/// Two words of eight numbers. Narrowing saturates, which keeps the integers in their range.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn words_of_bytes(numbers: __m256, range: InputRange) -> [u32; MAX_WORDS] {
    let mut words = [0; MAX_WORDS];
    let rounded = _mm256_cvtps_epi32(numbers);
    let raised = _mm256_add_epi32(rounded, _mm256_set1_epi32(range.zero));
    let halves = _mm256_packs_epi32(raised, raised);
    let halves = _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(halves));
    let bytes = _mm_packus_epi16(halves, halves);
    // SAFETY: two words are written, of eight.
    unsafe { _mm_storel_epi64(words.as_mut_ptr().cast(), bytes) };
    words
}

/// One row times two vectors of columns: broadcast a word, multiply and add its pairs, add to the sums.
macro_rules! row {
    ($row:literal, $offset:literal, $low:literal, $high:literal) => {
        concat!(
            "vpbroadcastd ymm14, dword ptr [{r",
            $row,
            "} + 4*{k} + ",
            $offset,
            "]\n",
            "vpmaddwd ymm15, ymm14, ymm12\n",
            "vpmaddwd ymm14, ymm14, ymm13\n",
            "vpaddd ",
            $low,
            ", ",
            $low,
            ", ymm15\n",
            "vpaddd ",
            $high,
            ", ",
            $high,
            ", ymm14\n",
        )
    };
}

/// A row of the panel, 32 bytes each, into the i16 of `ymm12` and `ymm13`.
macro_rules! columns {
    ($offset:literal) => {
        concat!(
            "vpmovsxbw ymm12, xmmword ptr [{b} + ",
            $offset,
            "]\n",
            "vpmovsxbw ymm13, xmmword ptr [{b} + ",
            $offset,
            " + 16]\n",
        )
    };
}

macro_rules! four {
    ($b:literal, $a:literal) => {
        concat!(
            columns!($b),
            row!("0", $a, "ymm0", "ymm1"),
            row!("1", $a, "ymm2", "ymm3"),
            row!("2", $a, "ymm4", "ymm5"),
            row!("3", $a, "ymm6", "ymm7"),
        )
    };
}

macro_rules! six {
    ($b:literal, $a:literal) => {
        concat!(four!($b, $a), row!("4", $a, "ymm8", "ymm9"), row!("5", $a, "ymm10", "ymm11"),)
    };
}

// In assembly because compilers keep a sum or an address too many for the sixteen registers (measured: a
// quarter of the time).
six_rows!(u32, u16, steps!(six, ["0", "32", "64", "96"], "128", "32"));
four_rows!(u32, u16, steps!(four, ["0", "32", "64", "96"], "128", "32"));
