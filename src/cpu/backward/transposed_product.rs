//! Sums of outer products, `A^T B`: what the gradient of a weight is.
//!
//! Both matrices lie row after row in memory and the sum runs over the rows, of which there are
//! tens of thousands. A chunk of them is packed at a time: of `A` the tiles' columns, of `B` a panel,
//! which then stays in the first-level cache while all the tiles pass over it.

use std::ops::Range;

use super::super::buffer::{Scratch, SharedOut};
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::parallel::parallel;
use super::super::simd::Simd;

/// Rows of a chunk: 32 KiB of a panel of 32 columns.
const CHUNK_ROWS: usize = 256;
/// Columns of `A` that a task covers at the most: whole tiles of 4, of 6 and of 8.
const BLOCK_COLUMNS: usize = 120;
/// Tasks to aim for, whatever the number of threads.
const TASKS: usize = 8;
/// Rows that are worth a task of their own.
const TASK_ROWS: usize = 1024;

/// The right matrix: each row a sequence of pieces.
pub(super) trait Pieces: Sync {
    /// Where the element of a row and a column lies, and how many behind it are of the same row.
    fn piece(&self, row: usize, column: usize) -> (*const f32, usize);
}

/// Rows of a slice.
pub(super) struct DensePieces<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

impl Pieces for DensePieces<'_> {
    #[inline(always)]
    fn piece(&self, row: usize, column: usize) -> (*const f32, usize) {
        (self.values[row * self.stride + column..].as_ptr(), self.stride - column)
    }
}

/// `A^T B` of shape `[a_columns, b_columns]` for rows that come in segments of one length.
///
/// `segment` gives the part of `A` from a segment's first row and the columns' first on, the
/// distance from row to row, and the rows of `B`.
pub(super) fn outer_products<'a, P: Pieces>(
    a_columns: usize,
    b_columns: usize,
    segments: usize,
    segment_rows: usize,
    segment: impl Fn(usize) -> (&'a [f32], usize, P) + Sync,
) -> Vec<f32> {
    outer_products_for(Isa::best(), a_columns, b_columns, segments, segment_rows, segment)
}

pub(super) fn outer_products_for<'a, P: Pieces>(
    isa: Isa,
    a_columns: usize,
    b_columns: usize,
    segments: usize,
    segment_rows: usize,
    segment: impl Fn(usize) -> (&'a [f32], usize, P) + Sync,
) -> Vec<f32> {
    let blocks = a_columns.div_ceil(BLOCK_COLUMNS).max(1);
    let block = a_columns.div_ceil(blocks);
    let splits =
        (TASKS / blocks).min(segments * segment_rows / TASK_ROWS).clamp(1, segments.max(1));
    let size = a_columns * b_columns;
    // A sum for each split, added in their order: the same for any number of threads.
    let mut sums = vec![0.0; splits * size];
    let out = SharedOut(sums.as_mut_ptr());
    parallel(splits * blocks, &|task| {
        let (split, index) = (task / blocks, task % blocks);
        let columns = index * block..a_columns.min((index + 1) * block);
        let share = split * segments / splits..(split + 1) * segments / splits;
        for number in share {
            let (a, a_stride, b) = segment(number);
            if segment_rows > 0 {
                let needed = (segment_rows - 1) * a_stride + a_columns;
                assert!(a.len() >= needed, "rows beyond the left matrix");
            }
            dispatch(
                isa,
                OuterProducts {
                    isa,
                    a,
                    a_stride,
                    columns: columns.clone(),
                    b: &b,
                    b_columns,
                    rows: segment_rows,
                    out: SharedOut(out.at(split * size)),
                },
            );
        }
    });
    let (first, others) = sums.split_at_mut(size);
    for other in others.chunks_exact(size.max(1)) {
        for (sum, value) in first.iter_mut().zip(other) {
            *sum += value;
        }
    }
    sums.truncate(size);
    sums
}

struct OuterProducts<'a, P> {
    isa: Isa,
    a: &'a [f32],
    a_stride: usize,
    columns: Range<usize>,
    b: &'a P,
    b_columns: usize,
    rows: usize,
    /// `[a_columns, b_columns]`; this task's rows are `columns`.
    out: SharedOut,
}

impl<P: Pieces> Kernel for OuterProducts<'_, P> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        let width = self.isa.panel_width();
        assert_eq!(width, NV * S::LANES, "a panel of another instruction set");
        let tiles = self.columns.len().div_ceil(MR);
        let mut packed_a = Scratch::new(tiles * CHUNK_ROWS * MR);
        let mut packed_b = Scratch::new(CHUNK_ROWS * width);
        for start in (0..self.rows).step_by(CHUNK_ROWS) {
            let count = CHUNK_ROWS.min(self.rows - start);
            // `[tile][row][MR]`, zeros beyond the last column.
            let tile_len = count * MR;
            for (tile, packed) in
                packed_a[..tiles * tile_len].chunks_exact_mut(tile_len).enumerate()
            {
                let first = self.columns.start + tile * MR;
                let valid = MR.min(self.columns.end - first);
                for (row, packed) in packed.chunks_exact_mut(MR).enumerate() {
                    let a = &self.a[(start + row) * self.a_stride + first..];
                    if valid == MR {
                        packed.copy_from_slice(&a[..MR]);
                    } else {
                        packed[..valid].copy_from_slice(&a[..valid]);
                        packed[valid..].fill(0.0);
                    }
                }
            }
            for panel in (0..self.b_columns).step_by(width) {
                let valid = width.min(self.b_columns - panel);
                for (row, packed) in packed_b[..count * width].chunks_exact_mut(width).enumerate() {
                    let (from, available) = self.b.piece(start + row, panel);
                    // SAFETY: the right matrix says how many elements are readable from where.
                    unsafe {
                        if available >= width {
                            for at in (0..width).step_by(S::LANES) {
                                S::store(S::load(from.add(at)), packed.as_mut_ptr().add(at));
                            }
                        } else {
                            pack_row(self.b, start + row, panel, &mut packed[..valid]);
                            packed[valid..].fill(0.0);
                        }
                    }
                }
                for tile in 0..tiles {
                    let first = self.columns.start + tile * MR;
                    let height = MR.min(self.columns.end - first);
                    // SAFETY: the packed tile and panel have `count` rows; the output's rows from
                    // `first` on and columns from `panel` on are this task's own.
                    unsafe {
                        let out = self.out.at(first * self.b_columns + panel);
                        let a = packed_a[tile * tile_len..].as_ptr();
                        let sums = multiply::<S, MR, NV>(a, packed_b.as_ptr(), count);
                        add_to::<S, MR, NV>(&sums, out, self.b_columns, height, valid);
                    }
                }
            }
        }
    }
}

/// # Safety
/// The pieces are readable.
#[inline(always)]
unsafe fn pack_row(b: &impl Pieces, row: usize, column: usize, packed: &mut [f32]) {
    let mut at = 0;
    while at < packed.len() {
        let (from, available) = b.piece(row, column + at);
        let take = available.min(packed.len() - at);
        // SAFETY: `take` elements are there, and the slice has room for them.
        unsafe { std::ptr::copy_nonoverlapping(from, packed[at..].as_mut_ptr(), take) };
        at += take;
    }
}

/// The sums over `count` rows of a tile's columns times a panel's.
///
/// # Safety
/// `a` is good for `count * MR` elements, `b` for `count * NV` vectors; the CPU has the
/// instruction set.
#[inline(always)]
unsafe fn multiply<S: Simd, const MR: usize, const NV: usize>(
    a: *const f32,
    b: *const f32,
    count: usize,
) -> [[S::V; NV]; MR] {
    // SAFETY: as the caller promised.
    unsafe {
        let mut sums = [[S::splat(0.0); NV]; MR];
        for row in 0..count {
            let mut columns = [S::splat(0.0); NV];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = S::load(b.add((row * NV + v) * S::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = S::splat(*a.add(row * MR + i));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = S::mul_add(x, column, *sum);
                }
            }
        }
        sums
    }
}

/// # Safety
/// `out` has `height` rows, `stride` apart, of `valid` elements; the CPU has the instruction set.
#[inline(always)]
unsafe fn add_to<S: Simd, const MR: usize, const NV: usize>(
    sums: &[[S::V; NV]; MR],
    out: *mut f32,
    stride: usize,
    height: usize,
    valid: usize,
) {
    // SAFETY: as the caller promised; a narrower row goes by way of a buffer.
    unsafe {
        for (row, sums) in sums.iter().enumerate().take(height) {
            let out = out.add(row * stride);
            if valid == NV * S::LANES {
                for (v, &sum) in sums.iter().enumerate() {
                    let at = out.add(v * S::LANES);
                    S::store(S::add(S::load(at), sum), at);
                }
            } else {
                // The widest panel of any instruction set.
                let mut buffer = [0.0f32; 32];
                for (v, &sum) in sums.iter().enumerate() {
                    S::store(sum, buffer.as_mut_ptr().add(v * S::LANES));
                }
                for (i, value) in buffer[..valid].iter().enumerate() {
                    *out.add(i) += value;
                }
            }
        }
    }
}
