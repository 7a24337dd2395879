//! The passes with AVX2.
//!
//! The multiplication at hand takes 16-bit factors and adds pairs of products in 32 bits. A weight
//! of 23 bits and a sign is split into `high * 256 + low`, and the two sums are joined at the end.

use std::arch::x86_64::*;

use super::{Filter, HALF, PRECISION_BITS};

const LOW_BITS: i32 = 8;

fn split(weight: i32) -> (i16, i16) {
    ((weight >> LOW_BITS) as i16, (weight & ((1 << LOW_BITS) - 1)) as i16)
}

/// Two neighbouring weights, each as a pair of 16-bit factors in a 32-bit element.
#[derive(Clone, Copy)]
pub(super) struct WeightPair {
    high: i32,
    low: i32,
}

impl WeightPair {
    fn new(first: i32, second: i32) -> Self {
        let join = |a: i16, b: i16| i32::from(a as u16) | i32::from(b) << 16;
        let ((high, low), (next_high, next_low)) = (split(first), split(second));
        WeightPair { high: join(high, next_high), low: join(low, next_low) }
    }
}

/// Pairs that every output pixel has in the horizontal pass, where they start at even pixels.
fn pairs_of_window(filter: &Filter) -> usize {
    filter.taps / 2 + 1
}

/// The weights of every output pixel in pairs, the first of them starting at an even pixel.
pub(super) fn weight_pairs(filter: &Filter) -> Vec<WeightPair> {
    let pairs = pairs_of_window(filter);
    let mut all = Vec::with_capacity(filter.len() * pairs);
    let mut shifted = vec![0; 2 * pairs];
    for output in 0..filter.len() {
        let (first, weights) = filter.window(output);
        shifted.fill(0);
        shifted[first % 2..][..weights.len()].copy_from_slice(weights);
        let (twos, _) = shifted.as_chunks::<2>();
        all.extend(twos.iter().map(|&[a, b]| WeightPair::new(a, b)));
    }
    all
}

/// Samples that the vertical pass computes at a time.
const LANES: usize = 16;

/// Rows that lie a multiple of [`LANES`] apart, with room for a vector behind the last.
///
/// Invariant: `samples` are `count * stride + LANES`, and `len < stride`.
pub(super) struct Rows {
    samples: Vec<u8>,
    count: usize,
    /// Samples of a row that count.
    len: usize,
    stride: usize,
}

impl Rows {
    fn new(count: usize, len: usize) -> Self {
        // One more than the samples: pixels are stored as four bytes.
        let stride = (len + 1).next_multiple_of(LANES);
        Rows { samples: vec![0; count * stride + LANES], count, len, stride }
    }

    /// The same rows without gaps.
    pub(super) fn into_compact(mut self) -> Vec<u8> {
        for row in 1..self.count {
            let start = row * self.stride;
            self.samples.copy_within(start..start + self.len, row * self.len);
        }
        self.samples.truncate(self.count * self.len);
        self.samples
    }
}

/// Rows of `len` samples without gaps, copied.
pub(super) fn spread(rows: &[u8], len: usize) -> Rows {
    let count = rows.len() / len;
    let mut spread = Rows::new(count, len);
    for (from, to) in rows.chunks_exact(len).zip(spread.samples.chunks_exact_mut(spread.stride)) {
        to[..len].copy_from_slice(from);
    }
    spread
}

/// Rows that the horizontal pass computes at a time, one a lane.
const BLOCK: usize = 8;

/// One channel of two neighbouring pixels of every row of a block: `a0 b0 a1 b1 ..`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct PixelPair([i16; 2 * BLOCK]);

/// The horizontal pass over `rows` of `in_size` pixels.
#[target_feature(enable = "avx2")]
pub(super) fn resample_rows(rows: &[u8], filter: &Filter) -> Rows {
    let weights = filter.weight_pairs();
    let a_window = pairs_of_window(filter);
    let row_len = filter.in_size * 3;
    let count = rows.len() / row_len;
    let mut out = Rows::new(count, filter.len() * 3);
    let stride = out.stride;
    // A pair more than the pixels have: a window of the last pixels may begin one pixel early.
    let mut pairs = vec![[PixelPair([0; 2 * BLOCK]); 3]; filter.in_size / 2 + 1];
    for start in (0..count).step_by(BLOCK) {
        // What is missing of a block is its last row once more.
        let block: [&[u8]; BLOCK] =
            std::array::from_fn(|row| &rows[(start + row).min(count - 1) * row_len..][..row_len]);
        let mut transposed = 0;
        for (output, weights) in weights.chunks_exact(a_window).enumerate() {
            // No further ahead than this window: its pairs are still in the first-level cache.
            let end = filter.first[output] + filter.taps;
            if transposed < end {
                transposed = transpose(&block, &mut pairs, transposed, end);
            }
            let pairs = &pairs[filter.first[output] / 2..][..a_window];
            let pixels = pixels_of_block(pairs, weights);
            for (row, pixel) in pixels.iter().enumerate().take(count - start) {
                let at = (start + row) * stride + output * 3;
                out.samples[at..at + 4].copy_from_slice(&pixel.to_le_bytes());
            }
        }
    }
    out
}

/// Turns the pixels of a block of rows, from the even one `x` to `end` at least, into pairs with rows
/// side by side; returns where it stopped: at an even pixel, or at the end of the rows.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(
    block: &[&[u8]; BLOCK],
    pairs: &mut [[PixelPair; 3]],
    mut x: usize,
    end: usize,
) -> usize {
    /// Pixels that are turned at a time: 12 bytes of the 16 that a load takes.
    const PIXELS: usize = 4;
    let row_len = block[0].len();
    assert!(block.iter().all(|row| row.len() == row_len), "rows of one length");
    while x < end && x * 3 + 16 <= row_len {
        // SAFETY: x * 3 + 16 is at most the length of every row: 16 bytes are left of it.
        let r: [__m128i; BLOCK] = std::array::from_fn(|i| unsafe {
            _mm_loadu_si128(block[i].as_ptr().add(x * 3).cast())
        });
        // Columns of two rows, then of four, then of eight: two columns a vector, 0 to 11.
        let t = [
            _mm_unpacklo_epi8(r[0], r[1]),
            _mm_unpackhi_epi8(r[0], r[1]),
            _mm_unpacklo_epi8(r[2], r[3]),
            _mm_unpackhi_epi8(r[2], r[3]),
            _mm_unpacklo_epi8(r[4], r[5]),
            _mm_unpackhi_epi8(r[4], r[5]),
            _mm_unpacklo_epi8(r[6], r[7]),
            _mm_unpackhi_epi8(r[6], r[7]),
        ];
        let u = [
            [_mm_unpacklo_epi16(t[0], t[2]), _mm_unpacklo_epi16(t[4], t[6])],
            [_mm_unpackhi_epi16(t[0], t[2]), _mm_unpackhi_epi16(t[4], t[6])],
            [_mm_unpacklo_epi16(t[1], t[3]), _mm_unpacklo_epi16(t[5], t[7])],
        ];
        let mut columns = [_mm_setzero_si128(); 3 * PIXELS];
        for (four, [a, b]) in u.into_iter().enumerate() {
            let (low, high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
            columns[four * 4] = low;
            columns[four * 4 + 1] = _mm_srli_si128::<8>(low);
            columns[four * 4 + 2] = high;
            columns[four * 4 + 3] = _mm_srli_si128::<8>(high);
        }
        for (pair, pixels) in pairs[x / 2..][..PIXELS / 2].iter_mut().enumerate() {
            for (channel, to) in pixels.iter_mut().enumerate() {
                let column = pair * 6 + channel;
                let bytes = _mm_unpacklo_epi8(columns[column], columns[column + 3]);
                let samples = _mm256_cvtepu8_epi16(bytes);
                // SAFETY: a `PixelPair` is the 32 bytes of a vector, and aligned to it.
                unsafe { _mm256_store_si256(to.0.as_mut_ptr().cast(), samples) };
            }
        }
        x += PIXELS;
    }
    if x >= end {
        return x;
    }
    for x in x..row_len / 3 {
        for (channel, to) in pairs[x / 2].iter_mut().enumerate() {
            for (row, samples) in block.iter().enumerate() {
                to.0[row * 2 + x % 2] = samples[x * 3 + channel].into();
            }
        }
    }
    row_len / 3
}

/// One output pixel of every row of a block, as `r + g * 2^8 + b * 2^16`.
#[inline]
#[target_feature(enable = "avx2")]
fn pixels_of_block(pairs: &[[PixelPair; 3]], weights: &[WeightPair]) -> [u32; BLOCK] {
    let mut high = [_mm256_setzero_si256(); 3];
    let mut low = [_mm256_setzero_si256(); 3];
    for (pair, weights) in pairs.iter().zip(weights) {
        let high_weights = _mm256_set1_epi32(weights.high);
        let low_weights = _mm256_set1_epi32(weights.low);
        for channel in 0..3 {
            // SAFETY: a `PixelPair` is the 32 bytes of a vector, and aligned to it.
            let samples = unsafe { _mm256_load_si256(pair[channel].0.as_ptr().cast()) };
            let high_products = _mm256_madd_epi16(samples, high_weights);
            let low_products = _mm256_madd_epi16(samples, low_weights);
            high[channel] = _mm256_add_epi32(high[channel], high_products);
            low[channel] = _mm256_add_epi32(low[channel], low_products);
        }
    }
    let clipped = |channel: usize| {
        let sums = _mm256_add_epi32(_mm256_slli_epi32::<LOW_BITS>(high[channel]), low[channel]);
        let sums = _mm256_add_epi32(sums, _mm256_set1_epi32(HALF));
        let sums = _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sums);
        _mm256_min_epi32(_mm256_max_epi32(sums, _mm256_setzero_si256()), _mm256_set1_epi32(255))
    };
    let green = _mm256_slli_epi32::<8>(clipped(1));
    let blue = _mm256_slli_epi32::<16>(clipped(2));
    let joined = _mm256_or_si256(clipped(0), _mm256_or_si256(green, blue));
    let mut pixels = [0u32; BLOCK];
    // SAFETY: the array is the 32 bytes of a vector; the store need not be aligned.
    unsafe { _mm256_storeu_si256(pixels.as_mut_ptr().cast(), joined) };
    pixels
}

/// The vertical pass over `in_size` rows.
#[target_feature(enable = "avx2")]
pub(super) fn resample_columns(rows: &Rows, filter: &Filter) -> Rows {
    assert_eq!(rows.count, filter.in_size, "columns of another size");
    let mut out = Rows::new(filter.len(), rows.len);
    assert_eq!(out.stride, rows.stride, "the same samples make the same stride");
    let stride = rows.stride;
    let mut pairs = Vec::with_capacity(filter.taps.div_ceil(2));
    for (output, out) in out.samples.chunks_exact_mut(stride).take(filter.len()).enumerate() {
        let (first, weights) = filter.window(output);
        // The odd last tap is paired with its own row at weight 0.
        pairs.clear();
        pairs.extend(weights.chunks(2).enumerate().map(|(pair, weights)| {
            let row = (first + 2 * pair) * stride;
            let next = row + (weights.len() - 1) * stride;
            let second = weights.get(1).copied().unwrap_or(0);
            (row, next, WeightPair::new(weights[0], second))
        }));
        for at in (0..stride).step_by(LANES) {
            let mut high = [_mm256_setzero_si256(); 2];
            let mut low = [_mm256_setzero_si256(); 2];
            for &(row, next, weights) in &pairs {
                let high_weights = _mm256_set1_epi32(weights.high);
                let low_weights = _mm256_set1_epi32(weights.low);
                debug_assert!(row.max(next) + at + LANES <= rows.samples.len());
                // SAFETY: both rows belong to the window, which lies in the filter's `in_size`, as
                // many as there are rows; `at + LANES` is at most the stride, a multiple of LANES.
                let (a, b) = unsafe {
                    (
                        _mm_loadu_si128(rows.samples.as_ptr().add(row + at).cast()),
                        _mm_loadu_si128(rows.samples.as_ptr().add(next + at).cast()),
                    )
                };
                let halves = [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)];
                for half in 0..2 {
                    let samples = _mm256_cvtepu8_epi16(halves[half]);
                    let high_products = _mm256_madd_epi16(samples, high_weights);
                    let low_products = _mm256_madd_epi16(samples, low_weights);
                    high[half] = _mm256_add_epi32(high[half], high_products);
                    low[half] = _mm256_add_epi32(low[half], low_products);
                }
            }
            let words = |half: usize| {
                let sums = _mm256_add_epi32(_mm256_slli_epi32::<LOW_BITS>(high[half]), low[half]);
                let sums = _mm256_add_epi32(sums, _mm256_set1_epi32(HALF));
                let sums = _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sums);
                // Both narrowing steps saturate: that is the clipping.
                _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
            };
            let bytes = _mm_packus_epi16(words(0), words(1));
            // SAFETY: the output's row has `stride` samples, and `at + LANES` is no more.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), bytes) };
        }
    }
    out
}
