//! The passes with NEON, in 32-bit products.

use std::arch::aarch64::*;

use super::{Filter, HALF, PRECISION_BITS};

/// Pixels of a window that are multiplied at a time.
const PIXELS: usize = 8;

/// The horizontal pass over rows of RGB pixels.
pub(super) fn resample_rows(rows: &[u8], filter: &Filter) -> Vec<u8> {
    let taps = filter.taps.next_multiple_of(PIXELS);
    // Weights of 0 behind those of a window, so that it consists of whole vectors.
    let mut weights = vec![0i32; filter.len() * taps];
    for (output, padded) in weights.chunks_exact_mut(taps).enumerate() {
        padded[..filter.taps].copy_from_slice(filter.window(output).1);
    }
    let row_len = filter.in_size * 3;
    // A row, and what the windows of its last pixels reach beyond it.
    let mut row = vec![0u8; row_len + (taps - filter.taps) * 3];
    let mut out = Vec::with_capacity(rows.len() / filter.in_size * filter.len());
    for samples in rows.chunks_exact(row_len) {
        row[..row_len].copy_from_slice(samples);
        for (first, weights) in filter.first.iter().zip(weights.chunks_exact(taps)) {
            let window = &row[first * 3..(first + taps) * 3];
            out.extend(pixel(window, weights));
        }
    }
    out
}

/// The weighted sum of as many pixels as there are weights, a multiple of [`PIXELS`].
#[inline]
fn pixel(window: &[u8], weights: &[i32]) -> [u8; 3] {
    let (pixels, _) = window.as_chunks::<{ 3 * PIXELS }>();
    let (weights, _) = weights.as_chunks::<PIXELS>();
    // SAFETY: the whole program is compiled for NEON where this file is; the loads read the arrays
    // behind the pointers, and no more.
    let sums = unsafe {
        let mut sums = [vdupq_n_s32(0); 3];
        for (pixels, weights) in pixels.iter().zip(weights) {
            let channels = vld3_u8(pixels.as_ptr());
            let low = vld1q_s32(weights.as_ptr());
            let high = vld1q_s32(weights.as_ptr().add(4));
            for (sum, samples) in sums.iter_mut().zip([channels.0, channels.1, channels.2]) {
                let samples = vreinterpretq_s16_u16(vmovl_u8(samples));
                *sum = vmlaq_s32(*sum, vmovl_s16(vget_low_s16(samples)), low);
                *sum = vmlaq_s32(*sum, vmovl_high_s16(samples), high);
            }
        }
        sums.map(|sum| vaddvq_s32(sum))
    };
    sums.map(|sum| super::clip(HALF + sum))
}

/// Samples that the vertical pass computes at a time.
const SAMPLES: usize = 16;

/// The vertical pass over rows of `row_len` samples.
pub(super) fn resample_columns(rows: &[u8], row_len: usize, filter: &Filter) -> Vec<u8> {
    let mut out = Vec::with_capacity(filter.len() * row_len);
    for output in 0..filter.len() {
        let (first, weights) = filter.window(output);
        let window = &rows[first * row_len..(first + weights.len()) * row_len];
        let mut at = 0;
        while at + SAMPLES <= row_len {
            let rows = window.chunks_exact(row_len).map(|row| &row[at..at + SAMPLES]);
            out.extend(samples(rows, weights));
            at += SAMPLES;
        }
        out.extend((at..row_len).map(|at| {
            let column = window[at..].iter().step_by(row_len).zip(weights);
            super::clip(column.fold(HALF, |sum, (&x, &weight)| sum + i32::from(x) * weight))
        }));
    }
    out
}

/// The weighted sums of [`SAMPLES`] samples of every row.
#[inline]
fn samples<'a>(rows: impl Iterator<Item = &'a [u8]>, weights: &[i32]) -> [u8; SAMPLES] {
    let mut out = [0; SAMPLES];
    // SAFETY: the whole program is compiled for NEON where this file is; each load follows a look at
    // the length of its slice, and the store writes the array.
    unsafe {
        let mut sums = [vdupq_n_s32(HALF); 4];
        for (row, &weight) in rows.zip(weights) {
            let Some(row) = row.first_chunk::<SAMPLES>() else { continue };
            let row = vld1q_u8(row.as_ptr());
            let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(row)));
            let high = vreinterpretq_s16_u16(vmovl_high_u8(row));
            sums[0] = vmlaq_n_s32(sums[0], vmovl_s16(vget_low_s16(low)), weight);
            sums[1] = vmlaq_n_s32(sums[1], vmovl_high_s16(low), weight);
            sums[2] = vmlaq_n_s32(sums[2], vmovl_s16(vget_low_s16(high)), weight);
            sums[3] = vmlaq_n_s32(sums[3], vmovl_high_s16(high), weight);
        }
        let sums = sums.map(|sum| vshrq_n_s32::<{ PRECISION_BITS as i32 }>(sum));
        // Both narrowing steps saturate: that is the clipping.
        let low = vqmovn_high_s32(vqmovn_s32(sums[0]), sums[1]);
        let high = vqmovn_high_s32(vqmovn_s32(sums[2]), sums[3]);
        vst1q_u8(out.as_mut_ptr(), vqmovun_high_s16(vqmovun_s16(low), high));
    }
    out
}
