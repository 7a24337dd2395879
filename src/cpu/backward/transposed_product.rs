//! Sums of outer products, `A^T B`: what the gradient of a weight is.
//!
//! Both matrices lie row after row in memory and the sum runs over the rows, of which there are
//! tens of thousands. A chunk of them is packed at a time: of `A` the tiles' columns, of `B` a panel,
//! which then stays in the first-level cache while all the tiles pass over it.

use std::ops::Range;

use super::super::buffer::Scratch;
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::parts::{Grid, Output, Tile, for_each_part};
use super::super::simd::Simd;

/// Rows of a chunk: 32 KiB of a panel of 32 columns.
const CHUNK_ROWS: usize = 256;
/// Columns of `A` that a task covers at most: whole tiles of 4, of 6 and of 8.
const BLOCK_COLUMNS: usize = 120;
/// Tasks to aim for, whatever the number of threads.
const TASKS: usize = 8;
/// Rows that are worth a task of their own.
const TASK_ROWS: usize = 1024;

/// The right matrix: each row a sequence of pieces.
pub(super) trait Pieces: Sync {
    /// The elements of a row from a column on, as many as are contiguous: one at least.
    fn piece(&self, row: usize, column: usize) -> &[f32];
}

/// Rows of a slice.
pub(super) struct DensePieces<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

impl Pieces for DensePieces<'_> {
    #[inline(always)]
    fn piece(&self, row: usize, column: usize) -> &[f32] {
        &self.values[row * self.stride + column..(row + 1) * self.stride]
    }
}

/// `A^T B` of shape `[a_columns, b_columns]` for rows that come in segments of one length.
///
/// `segment` gives the part of `A` from a segment's first row and the columns' first on, the
/// distance from row to row, and the rows of `B`.
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
    let grid = Grid {
        segments: splits,
        segment_rows: a_columns,
        block_rows: block,
        columns: b_columns,
        block_columns: b_columns,
    };
    for_each_part(grid.tiles(Output::accumulate(&mut sums)), &|_, (place, mut out)| {
        let split = place.segment;
        for number in split * segments / splits..(split + 1) * segments / splits {
            let (a, a_stride, b) = segment(number);
            let columns = place.rows.clone();
            let (rows, b) = (segment_rows, &b);
            let out = out.select(0, 1, columns.len());
            dispatch(isa, OuterProducts { a, a_stride, columns, b, rows, out });
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
    a: &'a [f32],
    a_stride: usize,
    /// Columns of `A`, from which the output's rows are computed.
    columns: Range<usize>,
    b: &'a P,
    rows: usize,
    /// What the products are added to.
    out: Tile<'a>,
}

impl<P: Pieces> Kernel for OuterProducts<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(mut self, simd: S) {
        assert!(self.out.accumulates(), "products are added to something");
        assert_eq!(self.out.rows(), self.columns.len(), "an output of another size");
        let width = NV * S::LANES;
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
            for panel in (0..self.out.columns()).step_by(width) {
                let valid = width.min(self.out.columns() - panel);
                let packed_b = &mut packed_b[..count * width];
                for (row, packed) in packed_b.chunks_exact_mut(width).enumerate() {
                    pack_row::<S, NV>(
                        simd,
                        self.b,
                        start + row,
                        panel,
                        &mut packed[..width],
                        valid,
                    );
                }
                let (b, _) = S::split(packed_b);
                let (b, _) = b.as_chunks::<NV>();
                for tile in 0..tiles {
                    let (a, _) = packed_a[tile * tile_len..][..tile_len].as_chunks::<MR>();
                    let sums: [[_; NV]; MR] = multiply(simd, a, b);
                    let first = tile * MR;
                    let height = MR.min(self.columns.len() - first);
                    // Over the whole array, so that the sums stay in registers.
                    for (row, sums) in (first..).zip(&sums).take(height) {
                        // SAFETY: the row and `valid` columns from `panel` on are the output's, which
                        // is initialised, as it accumulates.
                        unsafe {
                            let mut columns: [_; NV] = self.out.load(simd, row, panel, valid);
                            for (column, &sum) in columns.iter_mut().zip(sums) {
                                *column = simd.add(*column, sum);
                            }
                            self.out.store(simd, row, panel, valid, &columns);
                        }
                    }
                }
            }
        }
    }
}

/// Copies `valid` elements of a row from a column on to `NV` vectors, with zeros behind them.
#[inline(always)]
fn pack_row<S: Simd, const NV: usize>(
    simd: S,
    b: &impl Pieces,
    row: usize,
    column: usize,
    packed: &mut [f32],
    valid: usize,
) {
    let mut piece = b.piece(row, column);
    if let Some(whole) = S::split(piece).0.first_chunk::<NV>() {
        for (packed, whole) in S::split_mut(packed).0.iter_mut().zip(whole) {
            simd.store(simd.load(whole), packed);
        }
        return;
    }
    let (mut packed, zeros) = packed.split_at_mut(valid);
    let mut column = column;
    while piece.len() < packed.len() {
        let (start, rest) = packed.split_at_mut(piece.len());
        start.copy_from_slice(piece);
        packed = rest;
        column += piece.len();
        piece = b.piece(row, column);
    }
    packed.copy_from_slice(&piece[..packed.len()]);
    zeros.fill(0.0);
}

/// The sums over the rows of a tile's columns times a panel's.
#[inline(always)]
fn multiply<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    a: &[[f32; MR]],
    b: &[[S::Lanes; NV]],
) -> [[S::V; NV]; MR] {
    let mut sums = [[simd.splat(0.0); NV]; MR];
    for (a, b) in a.iter().zip(b) {
        let mut columns = [simd.splat(0.0); NV];
        for (column, b) in columns.iter_mut().zip(b) {
            *column = simd.load(b);
        }
        for (sums, &a) in sums.iter_mut().zip(a) {
            let x = simd.splat(a);
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = simd.mul_add(x, column, *sum);
            }
        }
    }
    sums
}
