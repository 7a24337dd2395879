//! The filter of one axis: for every output pixel the input pixels it is made of, and their
//! weights (Pillow, `src/libImaging/Resample.c`).

use std::cell::RefCell;
use std::rc::Rc;

use crate::cpu::{Filter, PRECISION_BITS};

/// Reach of the cubic kernel on either side of its centre, in input pixels at scale 1.
const SUPPORT: f64 = 2.0;

/// The cubic convolution kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The input pixels `first..first + count` of one output pixel and their normalised weights.
fn window(output: usize, in_size: usize, scale: f64, weights: &mut Vec<f64>) -> usize {
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    let center = (output as f64 + 0.5) * scale;
    // Truncation towards zero after adding one half, as in C.
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(in_size);
    weights.clear();
    weights.extend((first..end).map(|x| cubic((x as f64 - center + 0.5) * (1.0 / filter_scale))));
    let sum: f64 = weights.iter().sum();
    if sum != 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    first
}

/// Filters that a thread keeps.
const KEPT: usize = 32;
/// Weights of a filter that is still worth keeping: 256 KiB of them.
const KEPT_WEIGHTS: usize = 1 << 16;

/// Sizes of input and output, and the filter between them.
type Entry = ((usize, usize), Rc<Filter>);

thread_local! {
    /// The last filters that this thread used, the latest at the end. Crops of a document, and the
    /// heights of target sizes, repeat themselves.
    static RECENT: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// The weights of all output pixels of one axis, in fixed point.
pub(super) fn filter(in_size: usize, out_size: usize) -> Rc<Filter> {
    let sizes = (in_size, out_size);
    RECENT.with_borrow_mut(|recent| {
        let entry = match recent.iter().position(|(known, _)| *known == sizes) {
            Some(at) => recent.remove(at),
            None => {
                let filter = Rc::new(compute(in_size, out_size));
                if filter.len() * filter.taps() > KEPT_WEIGHTS {
                    return filter;
                }
                if recent.len() >= KEPT {
                    recent.remove(0);
                }
                (sizes, filter)
            }
        };
        let filter = entry.1.clone();
        recent.push(entry);
        filter
    })
}

fn compute(in_size: usize, out_size: usize) -> Filter {
    let scale = in_size as f64 / out_size as f64;
    let support = SUPPORT * scale.max(1.0);
    let taps = (support.ceil() as usize * 2 + 1).min(in_size);
    let mut first = Vec::with_capacity(out_size);
    let mut weights = vec![0; taps * out_size];
    let mut row = Vec::with_capacity(taps);
    for (output, fixed) in weights.chunks_exact_mut(taps).enumerate() {
        let start = window(output, in_size, scale, &mut row);
        for (fixed, weight) in fixed.iter_mut().zip(&row) {
            let scaled = weight * f64::from(1 << PRECISION_BITS);
            *fixed = if *weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 } as i32;
        }
        // Every window is given the same length, so that the loops over it have no branches: it
        // moves left where it would reach beyond the end, its weights move right.
        let shift = (start + taps).saturating_sub(in_size);
        fixed.rotate_right(shift);
        first.push(start - shift);
    }
    Filter::new(in_size, taps, first, weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside() {
        for (in_size, out_size) in
            [(1, 1), (1, 64), (2, 64), (7, 64), (64, 64), (65, 64), (300, 64), (20_000, 128)]
        {
            let filter = filter(in_size, out_size);
            assert_eq!(filter.len(), out_size);
            for output in 0..out_size {
                let (first, weights) = filter.window(output);
                assert!(first + weights.len() <= in_size, "{in_size} -> {out_size} at {output}");
                let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
                let error = (sum - (1 << PRECISION_BITS)).unsigned_abs() as usize;
                assert!(error <= weights.len(), "{in_size} -> {out_size} at {output}: {error}");
            }
        }
    }
}
