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

/// Taps that one multiplication covers in the horizontal pass.
const GROUP: usize = 4;
/// Bytes that a load takes: the group's pixels and a few more.
const LOAD: usize = 16;

/// Rows that share the loads of weights.
const ROWS: usize = 4;

/// Weights of four taps, laid out as the pixels are after the shuffle: pixels 0 and 1 in the low
/// half, 2 and 3 in the high one, each as pairs of one channel: `r0 r1 g0 g1 b0 b1 - -`.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Group {
    high: [i16; 16],
    low: [i16; 16],
}

/// The groups of every output pixel, one behind the other.
pub(super) fn groups(filter: &Filter) -> Vec<Group> {
    let mut groups = Vec::with_capacity(filter.len() * filter.taps.div_ceil(GROUP));
    for output in 0..filter.len() {
        let (_, weights) = filter.window(output);
        for taps in weights.chunks(GROUP) {
            let mut four = [(0, 0); GROUP];
            for (halves, &weight) in four.iter_mut().zip(taps) {
                *halves = split(weight);
            }
            let [a, b, c, d] = four;
            let spread =
                |a: i16, b: i16, c: i16, d: i16| [a, b, a, b, a, b, 0, 0, c, d, c, d, c, d, 0, 0];
            groups
                .push(Group { high: spread(a.0, b.0, c.0, d.0), low: spread(a.1, b.1, c.1, d.1) });
        }
    }
    groups
}

/// Samples that the vertical pass computes at a time.
const LANES: usize = 16;

/// Rows that lie a multiple of [`LANES`] apart, with room for a vector behind the last.
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

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn resample_rows(rows: &[u8], filter: &Filter) -> Rows {
    let groups = filter.groups();
    let row_len = filter.in_size * 3;
    let count = rows.len() / row_len;
    let mut out = Rows::new(count, filter.len() * 3);
    let stride = out.stride;
    // A load reads beyond the window, which in the last rows could be beyond the image.
    let mut padded = vec![0u8; ROWS * row_len + LOAD + GROUP * 3];
    for index in (0..count).step_by(ROWS) {
        let some = ROWS.min(count - index);
        let from = &rows[index * row_len..];
        let from = if from.len() >= padded.len() {
            from
        } else {
            // What is missing of the rows is computed from stale samples and thrown away.
            padded[..from.len().min(ROWS * row_len)]
                .copy_from_slice(&from[..from.len().min(ROWS * row_len)]);
            &padded
        };
        let mut pixels = [[0u8; 4]; ROWS];
        for output in 0..filter.len() {
            // SAFETY: four rows are there, with `LOAD + GROUP * 3` bytes behind them.
            unsafe { pixel_of_rows(from, groups, filter, output, &mut pixels) };
            for (row, pixel) in pixels[..some].iter().enumerate() {
                let at = (index + row) * stride + output * 3;
                out.samples[at..at + 4].copy_from_slice(pixel);
            }
        }
    }
    out
}

/// # Safety
/// The CPU has AVX2; [`ROWS`] rows in `from` are followed by `LOAD + GROUP * 3` readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pixel_of_rows(
    from: &[u8],
    groups: &[Group],
    filter: &Filter,
    output: usize,
    pixels: &mut [[u8; 4]; ROWS],
) {
    #[rustfmt::skip]
    let shuffle = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
    );
    let row_len = filter.in_size * 3;
    debug_assert!(from.len() >= ROWS * row_len + GROUP * 3 + LOAD);
    let mut high = [_mm256_setzero_si256(); ROWS];
    let mut low = [_mm256_setzero_si256(); ROWS];
    let first = filter.first[output] * 3;
    let a_pixel = filter.taps.div_ceil(GROUP);
    let groups = &groups[output * a_pixel..][..a_pixel];
    // SAFETY: a group starts inside the window, which lies in the row; there are readable bytes
    // behind the last row. The weights are aligned.
    unsafe {
        let mut at = from.as_ptr().add(first);
        for group in groups {
            let high_weights = _mm256_load_si256(group.high.as_ptr().cast());
            let low_weights = _mm256_load_si256(group.low.as_ptr().cast());
            for row in 0..ROWS {
                let bytes = _mm_loadu_si128(at.add(row * row_len).cast());
                let samples = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), shuffle);
                let high_products = _mm256_madd_epi16(samples, high_weights);
                let low_products = _mm256_madd_epi16(samples, low_weights);
                high[row] = _mm256_add_epi32(high[row], high_products);
                low[row] = _mm256_add_epi32(low[row], low_products);
            }
            at = at.add(GROUP * 3);
        }
    }
    let join = |row: usize| {
        let sums = _mm256_add_epi32(_mm256_slli_epi32::<LOW_BITS>(high[row]), low[row]);
        _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
    };
    let round = |a: __m128i, b: __m128i| {
        let sums = _mm256_add_epi32(_mm256_set_m128i(b, a), _mm256_set1_epi32(HALF));
        let sums = _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sums);
        // Both narrowing steps saturate: that is the clipping.
        _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
    };
    let bytes = _mm_packus_epi16(round(join(0), join(1)), round(join(2), join(3)));
    // SAFETY: sixteen bytes, unaligned.
    unsafe { _mm_storeu_si128(pixels.as_mut_ptr().cast(), bytes) };
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn resample_columns(rows: &Rows, filter: &Filter) -> Rows {
    let mut out = Rows::new(filter.len(), rows.len);
    assert!(
        rows.samples.len() >= filter.in_size * rows.stride + LANES && out.stride == rows.stride
    );
    let stride = rows.stride;
    let mut pairs = Vec::with_capacity(filter.taps.div_ceil(2));
    for (output, out) in out.samples.chunks_exact_mut(stride).take(filter.len()).enumerate() {
        let (first, weights) = filter.window(output);
        // Two weights as one 32-bit element; the odd last tap is paired with its own row at 0.
        pairs.clear();
        pairs.extend(weights.chunks(2).enumerate().map(|(pair, weights)| {
            let (high, low) = split(weights[0]);
            let (next_high, next_low) = split(weights.get(1).copied().unwrap_or(0));
            let join = |a: i16, b: i16| i32::from(a as u16) | i32::from(b) << 16;
            let row = (first + 2 * pair) * stride;
            let next = row + (weights.len() - 1) * stride;
            (row, next, join(high, next_high), join(low, next_low))
        }));
        for at in (0..stride).step_by(LANES) {
            let mut high = [_mm256_setzero_si256(); 2];
            let mut low = [_mm256_setzero_si256(); 2];
            for &(row, next, high_weights, low_weights) in &pairs {
                debug_assert!(next + at + LANES <= rows.samples.len());
                // SAFETY: both rows belong to the window, and `at + LANES` is inside a row.
                let (a, b) = unsafe {
                    (
                        _mm_loadu_si128(rows.samples.as_ptr().add(row + at).cast()),
                        _mm_loadu_si128(rows.samples.as_ptr().add(next + at).cast()),
                    )
                };
                let halves = [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)];
                for half in 0..2 {
                    let samples = _mm256_cvtepu8_epi16(halves[half]);
                    let high_products = _mm256_madd_epi16(samples, _mm256_set1_epi32(high_weights));
                    let low_products = _mm256_madd_epi16(samples, _mm256_set1_epi32(low_weights));
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
            // SAFETY: `at + LANES` is inside the output's row.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), bytes) };
        }
    }
    out
}
