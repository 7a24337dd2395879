//! Weights of which few are too large for the sums of 16 bits that an instruction set makes.
//!
//! A large weight is a sum of smaller ones. The first stands in the panel, the others in rows of their own,
//! each of which is multiplied with the same element of the left matrix as the row of the panel: integer
//! sums stay exact.

use std::ops::Range;

use super::super::buffer::{AlignedBuffer, Plain};

/// The rows that a packed matrix has beside those of its panels.
#[derive(Clone)]
pub(super) struct PackedOutlierRows {
    /// Rows of a panel.
    k: usize,
    /// Columns of a panel.
    width: usize,
    /// For every row of a panel, the first one of `at` that does not stand before it, and the end of the
    /// panel's: `[panel, k + 1]`.
    starts: Vec<u32>,
    /// The rows of the panels, in order, that these are added to; a row may have several.
    at: Vec<u32>,
    /// `[at, width]`
    data: AlignedBuffer<u16>,
}

impl PackedOutlierRows {
    /// Leaves in the panels `[panel][k][width]` of four bytes weights so small that nowhere the positive ones
    /// of a pair and of the pair below it, in the next row, sum up to more than `most`, nor the negative ones
    /// to less than `-most`. In the rows that it makes of the rest this holds for every single pair.
    pub(super) fn split_off(panels: &mut [u8], k: usize, width: usize, most: i32) -> Self {
        let row_len = width * size_of::<u32>();
        let (mut starts, mut at, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let nothing = vec![0; row_len];
        let mut above = nothing.clone();
        for panel in panels.chunks_exact_mut((k * row_len).max(1)) {
            above.fill(0);
            for (k, row) in panel.chunks_exact_mut(row_len).enumerate() {
                starts.push(at.len() as u32);
                let mut rest = limit(row, &above, most);
                while rest.iter().any(|&byte| byte != 0) {
                    let next = limit(&mut rest, &nothing, most);
                    at.push(k as u32);
                    data.append(&mut rest);
                    rest = next;
                }
                above.copy_from_slice(row);
            }
            starts.push(at.len() as u32);
        }
        let mut aligned = AlignedBuffer::zeroed(data.len() / 2);
        aligned.bytes_mut().copy_from_slice(&data);
        PackedOutlierRows { k, width, starts, at, data: aligned }
    }

    pub(super) fn rows<E: Plain>(&self) -> OutlierRows<'_, E> {
        let PackedOutlierRows { k, width, .. } = *self;
        OutlierRows { k, width, starts: &self.starts, at: &self.at, data: self.data.view() }
    }
}

/// Makes pairs of weights so small that the positive ones of each and of the pair above it sum up to at most
/// `most`, and the negative ones to at least `-most`; returns what was taken away.
fn limit(weights: &mut [u8], above: &[u8], most: i32) -> Vec<u8> {
    let mut rest = vec![0; weights.len()];
    let pairs = weights.chunks_exact_mut(2).zip(rest.chunks_exact_mut(2));
    for ((pair, rest), above) in pairs.zip(above.chunks_exact(2)) {
        let (mut least, mut largest) = (-most, most);
        let mut take = |weight: i32| {
            let kept = weight.clamp(least, largest);
            least -= kept.min(0);
            largest -= kept.max(0);
            kept
        };
        for &byte in above {
            take(i32::from(byte as i8));
        }
        for (byte, rest) in pair.iter_mut().zip(rest) {
            let weight = i32::from(*byte as i8);
            let kept = take(weight);
            (*byte, *rest) = (kept as i8 as u8, (weight - kept) as i8 as u8);
        }
    }
    rest
}

/// [`PackedOutlierRows`] for a product.
///
/// Invariant: what `starts` says of `at`.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct OutlierRows<'a, E> {
    k: usize,
    width: usize,
    starts: &'a [u32],
    at: &'a [u32],
    data: &'a [E],
}

impl<'a, E> OutlierRows<'a, E> {
    /// Whether they are those of panels `[k][width]`.
    pub(super) fn fit(&self, k: usize, width: usize) -> bool {
        (self.k, self.width) == (k, width)
    }

    /// Those of some rows of a panel: these rows, all of which are in the range, and `[rows, width]`.
    #[inline(always)]
    pub(super) fn of(&self, panel: usize, rows: Range<usize>) -> (&'a [u32], &'a [E]) {
        let starts = &self.starts[panel * (self.k + 1)..][..self.k + 1];
        let range = starts[rows.start] as usize..starts[rows.end] as usize;
        (&self.at[range.clone()], &self.data[range.start * self.width..range.end * self.width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_up_to_the_weights() {
        let (k, width, most) = (5, 2, 128);
        let row_len = width * 4;
        let mut weights: Vec<i8> = vec![0; 3 * k * row_len];
        // The first two rows of a pair have 128 together, then 129; signs do not add up.
        weights[2..4].copy_from_slice(&[40, 25]);
        weights[row_len + 2..][..2].copy_from_slice(&[-127, 63]);
        weights[2 * row_len..][..4].copy_from_slice(&[-127, 0, 3, 66]);
        weights[3 * row_len..][..4].copy_from_slice(&[-1, 127, 0, 62]);
        // No room below, for what then takes two rows.
        weights[(k + 3) * row_len..][..2].copy_from_slice(&[-127, -1]);
        weights[(k + 4) * row_len..][..8].fill(-127);
        weights[2 * k * row_len..][..8].fill(-127);
        let mut panels: Vec<u8> = weights.iter().map(|&weight| weight as u8).collect();
        let packed = PackedOutlierRows::split_off(&mut panels, k, width, most);
        assert_eq!(packed.at, [2, 4, 4, 0]);

        let small = |above: &[u8], below: &[u8]| {
            above.chunks(2).zip(below.chunks(2)).all(|(above, below)| {
                let weights = || above.iter().chain(below).map(|&byte| i32::from(byte as i8));
                weights().map(|weight| weight.max(0)).sum::<i32>() <= most
                    && weights().map(|weight| weight.min(0)).sum::<i32>() >= -most
            })
        };
        for panel in panels.chunks_exact(k * row_len) {
            let rows: Vec<_> = panel.chunks_exact(row_len).collect();
            assert!(rows.windows(2).all(|rows| small(rows[0], rows[1])));
        }
        let outlier_rows = packed.rows::<u32>();
        let mut sums: Vec<i32> = panels.iter().map(|&byte| i32::from(byte as i8)).collect();
        for (panel, range) in [(0, 0..1), (0, 1..k), (1, 0..4), (1, 4..k), (2, 0..k)] {
            let (at, rows) = outlier_rows.of(panel, range.clone());
            assert_eq!(rows.len(), at.len() * width);
            for (&at, row) in at.iter().zip(rows.chunks_exact(width)) {
                assert!(range.contains(&(at as usize)));
                let bytes: Vec<u8> = row.iter().flat_map(|word| word.to_ne_bytes()).collect();
                assert!(small(&bytes, &[0; 8]));
                let start = (panel * k + at as usize) * row_len;
                for (sum, &byte) in sums[start..].iter_mut().zip(&bytes) {
                    *sum += i32::from(byte as i8);
                }
            }
        }
        assert!(sums.iter().zip(&weights).all(|(&sum, &weight)| sum == i32::from(weight)));
    }
}
