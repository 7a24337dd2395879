//! Sums of outer products, `A^T B`: what the gradient of a weight is.
//!
//! Both matrices lie row after row in memory and the sum runs over the rows, of which there are
//! tens of thousands. A chunk of them is packed at a time: of `A` the tiles' columns, of `B` a panel,
//! which then stays in the first-level cache while all the tiles pass over it.

use std::ops::Range;

use super::super::buffer::Scratch;
use super::super::dispatch::{Bf16Kernel, Kernel, dispatch, dispatch_bf16};
use super::super::parts::for_each_part;
use super::super::simd::{Bf16Product, F32, RowProduct, Simd};
use super::super::tile::{Grid, MAX, Output, Tile};
use super::products::{Kind, Products};

/// Elements of a chunk's columns: 32 KiB of a panel of 32 columns.
const CHUNK_DEPTH: usize = 256;
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
pub(super) fn outer_products<'a, P: Pieces>(
    products: Products,
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
            let kernel = OuterProducts { a, a_stride, columns, b, rows, out };
            match products.0 {
                Kind::F32(isa) => dispatch(isa, kernel),
                Kind::Bf16(isa) => dispatch_bf16(isa, kernel),
            }
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
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        self.multiply::<S, F32, MR, NV>(simd, F32);
    }
}

impl<P: Pieces> Bf16Kernel for OuterProducts<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S, D, const MR: usize, const NV: usize>(self, simd: S, product: D)
    where
        S: Simd,
        D: Bf16Product<S>,
    {
        self.multiply::<S, D, MR, NV>(simd, product);
    }
}

impl<P: Pieces> OuterProducts<'_, P> {
    #[inline(always)]
    fn multiply<S, D, const MR: usize, const NV: usize>(mut self, simd: S, product: D)
    where
        S: Simd,
        D: RowProduct<S>,
    {
        assert!(self.out.accumulates(), "products are added to something");
        assert_eq!(self.out.rows(), self.columns.len(), "an output of another size");
        const { assert!(size_of::<D::Right>() == size_of::<f32>()) };
        let width = NV * S::LANES;
        let tiles = self.columns.len().div_ceil(MR);
        let mut packed_a = Scratch::<D::Left>::new(tiles * CHUNK_DEPTH * MR);
        // The bits of the elements.
        let mut packed_b = Scratch::new(CHUNK_DEPTH * width);
        for start in (0..self.rows).step_by(CHUNK_DEPTH * D::ROWS) {
            let rows = (CHUNK_DEPTH * D::ROWS).min(self.rows - start);
            let depth = rows.div_ceil(D::ROWS);
            // `[tile][element][MR]`, zeros beyond the last column.
            let tile_len = depth * MR;
            for (tile, packed) in
                packed_a[..tiles * tile_len].chunks_exact_mut(tile_len).enumerate()
            {
                let first = self.columns.start + tile * MR;
                let valid = MR.min(self.columns.end - first);
                let of_row = |row: usize| {
                    let mut values = [0.0; MR];
                    if row < rows {
                        let a = &self.a[(start + row) * self.a_stride + first..];
                        if valid == MR {
                            values.copy_from_slice(&a[..MR]);
                        } else {
                            values[..valid].copy_from_slice(&a[..valid]);
                        }
                    }
                    values
                };
                for (k, packed) in packed.as_chunks_mut::<MR>().0.iter_mut().enumerate() {
                    let low = of_row(k * D::ROWS);
                    let high = if D::ROWS > 1 { of_row(k * D::ROWS + 1) } else { low };
                    *packed = std::array::from_fn(|i| product.left(low[i], high[i]));
                }
            }
            for panel in (0..self.out.columns()).step_by(width) {
                let valid = width.min(self.out.columns() - panel);
                let packed_b = &mut packed_b[..depth * width];
                for (k, packed) in packed_b.chunks_exact_mut(width).enumerate() {
                    let row = k * D::ROWS;
                    pack_row::<S, NV>(simd, self.b, start + row, panel, packed, valid);
                    if D::ROWS > 1 {
                        let mut second = [0.0; MAX];
                        let second = &mut second[..width];
                        if row + 1 < rows {
                            pack_row::<S, NV>(simd, self.b, start + row + 1, panel, second, valid);
                        }
                        let (packed, _) = S::split_mut(packed);
                        for (low, high) in packed.iter_mut().zip(S::split(second).0) {
                            let words = product.right(simd, simd.load(low), simd.load(high));
                            simd.store(words, low);
                        }
                    }
                }
                for tile in 0..tiles {
                    let (a, _) = packed_a[tile * tile_len..][..tile_len].as_chunks::<MR>();
                    let mut sums = [[simd.splat(0.0); NV]; MR];
                    // SAFETY: both have `depth` rows, and elements of the same size.
                    unsafe {
                        let b = packed_b.as_ptr().cast::<D::Right>();
                        product.multiply_add_tile(simd, &mut sums, a, b);
                    }
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
