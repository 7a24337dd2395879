//! The two passes of the resampler: weighted sums of 8-bit samples in fixed point.
//!
//! A sum is `(HALF + sum of sample * weight) >> PRECISION_BITS`, clipped to 8 bits, in integers:
//! every instruction set gives the same bytes, whatever order it adds in.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;

use super::dispatch::Isa;

/// Fractional bits of the weights: 32, less 8 for the sample, less 2 for the filter's overshoot.
pub(crate) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// One half in fixed point: rounds the shift that drops the fractional bits.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// The weights of one axis: for every output pixel `taps` weights from its first input pixel on.
///
/// Invariant: every window, `first..first + taps`, lies in `0..in_size`.
pub(crate) struct Filter {
    /// Input pixels of the axis.
    in_size: usize,
    taps: usize,
    first: Vec<usize>,
    /// `[output][taps]`
    weights: Vec<i32>,
    /// The weights once more, as the AVX2 version wants them, made when first asked for.
    #[cfg(target_arch = "x86_64")]
    weight_pairs: std::cell::OnceCell<Vec<avx2::WeightPair>>,
}

impl Filter {
    /// # Panics
    /// If there are not `taps` weights an output pixel, or a window reaches beyond `in_size`.
    pub(crate) fn new(in_size: usize, taps: usize, first: Vec<usize>, weights: Vec<i32>) -> Self {
        assert_eq!(weights.len(), first.len() * taps, "weights are missing");
        let inside = |first: &usize| first.checked_add(taps).is_some_and(|end| end <= in_size);
        assert!(taps > 0 && first.iter().all(inside), "beyond the input");
        Filter {
            in_size,
            taps,
            first,
            weights,
            #[cfg(target_arch = "x86_64")]
            weight_pairs: std::cell::OnceCell::new(),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn weight_pairs(&self) -> &[avx2::WeightPair] {
        self.weight_pairs.get_or_init(|| avx2::weight_pairs(self))
    }

    /// Weights of an output pixel.
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// Output pixels.
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// The first input pixel of an output pixel, and the weights from there.
    pub(crate) fn window(&self, output: usize) -> (usize, &[i32]) {
        (self.first[output], &self.weights[output * self.taps..][..self.taps])
    }
}

/// Both passes, the horizontal one first, each left out without a filter: from rows of `width` RGB
/// pixels to rows of as many pixels as the filters have.
pub(crate) fn resample(
    rgb: &[u8],
    width: usize,
    horizontal: Option<&Filter>,
    vertical: Option<&Filter>,
) -> Vec<u8> {
    resample_for(Isa::best(), rgb, width, horizontal, vertical)
}

fn resample_for(
    isa: Isa,
    rgb: &[u8],
    width: usize,
    horizontal: Option<&Filter>,
    vertical: Option<&Filter>,
) -> Vec<u8> {
    let height = rgb.len() / (width * 3);
    assert_eq!(rgb.len(), height * width * 3, "the input has no whole rows");
    assert!(horizontal.is_none_or(|filter| filter.in_size == width), "rows of another size");
    assert!(vertical.is_none_or(|filter| filter.in_size == height), "columns of another size");
    let new_width = horizontal.map_or(width, Filter::len);
    #[cfg(target_arch = "x86_64")]
    if isa.has_avx2() {
        let rows = match horizontal {
            // SAFETY: the instruction set is the proof that the CPU has AVX2.
            Some(filter) => unsafe { avx2::resample_rows(rgb, filter) },
            None => avx2::spread(rgb, width * 3),
        };
        return match vertical {
            // SAFETY: as above.
            Some(filter) => unsafe { avx2::resample_columns(&rows, filter) }.into_compact(),
            None => rows.into_compact(),
        };
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    if !isa.is_portable() {
        let rows = horizontal.map(|filter| neon::resample_rows(rgb, filter));
        let rows = rows.unwrap_or_else(|| rgb.to_vec());
        return match vertical {
            Some(filter) => neon::resample_columns(&rows, new_width * 3, filter),
            None => rows,
        };
    }
    // No other instruction set has a version of its own.
    let _ = isa;
    let rows = horizontal.map_or_else(|| rgb.to_vec(), |filter| rows_plain(rgb, filter));
    match vertical {
        Some(filter) => columns_plain(&rows, new_width * 3, filter),
        None => rows,
    }
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn rows_plain(rows: &[u8], filter: &Filter) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() / filter.in_size * filter.len());
    for row in rows.chunks_exact(filter.in_size * 3) {
        for output in 0..filter.len() {
            let (first, weights) = filter.window(output);
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(sample) * weight;
                }
            }
            out.extend(sums.map(clip));
        }
    }
    out
}

fn columns_plain(rows: &[u8], row_len: usize, filter: &Filter) -> Vec<u8> {
    let mut out = Vec::with_capacity(filter.len() * row_len);
    let mut sums = vec![HALF; row_len];
    for output in 0..filter.len() {
        let (first, weights) = filter.window(output);
        sums.fill(HALF);
        for (row, &weight) in rows[first * row_len..].chunks_exact(row_len).zip(weights) {
            for (sum, &sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(sample) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| clip(sum)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter whose windows and weights are noise: some of them negative, sums beyond 8 bits.
    fn filter(in_size: usize, out_size: usize, taps: usize) -> Filter {
        let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761).rotate_left(9);
        let first =
            (0..out_size).map(|i| noise(i) as usize % (in_size - taps + 1)).collect::<Vec<_>>();
        let weights = (0..out_size * taps)
            .map(|i| {
                let limit = (1 << PRECISION_BITS) / taps.min(4) as i32;
                noise(i + 77) as i32 % limit
            })
            .collect();
        Filter::new(in_size, taps, first, weights)
    }

    #[test]
    fn equal_on_every_instruction_set() {
        for isa in Isa::all() {
            for (in_size, out_size, taps, others) in
                [(1, 3, 1, 1), (2, 5, 2, 3), (7, 4, 5, 2), (40, 17, 9, 5), (100, 33, 41, 11)]
            {
                let filter = filter(in_size, out_size, taps);
                let samples: Vec<u8> = (0..in_size * others * 3)
                    .map(|i| match i % 5 {
                        0 => 255,
                        1 => 0,
                        _ => (i * 91 % 256) as u8,
                    })
                    .collect();
                let row = format!("{isa:?}, {in_size} -> {out_size} by {taps}, {others}");
                let check = |width: usize, x: Option<&Filter>, y: Option<&Filter>| {
                    let expected = resample_for(Isa::PORTABLE, &samples, width, x, y);
                    assert_eq!(resample_for(isa, &samples, width, x, y), expected, "{row}");
                };
                check(in_size, Some(&filter), None);
                check(others, None, Some(&filter));
                check(others, None, None);
                let other = self::filter(others, 6, others.min(3));
                check(in_size, Some(&filter), Some(&other));
            }
        }
    }
}
