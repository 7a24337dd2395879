//! Matrices that are divided into rectangles.
//!
//! A [`Grid`] says where the rectangles lie, [`Tiles`] gives each task its own, and a [`Tile`] reads and
//! writes rows of vectors in it.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::buffer::filled;
use super::parts::{Parts, for_each_part};
use super::simd::Simd;

/// The widest panel of any instruction set: a row of a tile is accessed in pieces of up to as many
/// elements.
pub(super) const MAX: usize = 32;

/// Memory for a matrix that is computed.
pub(super) struct Output<'a> {
    start: *mut f32,
    len: usize,
    accumulates: bool,
    memory: PhantomData<&'a mut [f32]>,
}

impl<'a> Output<'a> {
    /// Memory that is only written to.
    pub(super) fn uninit(values: &'a mut [MaybeUninit<f32>]) -> Self {
        let (start, len) = (values.as_mut_ptr().cast(), values.len());
        Output { start, len, accumulates: false, memory: PhantomData }
    }

    /// Values that are replaced.
    pub(super) fn replace(values: &'a mut [f32]) -> Self {
        let (start, len) = (values.as_mut_ptr(), values.len());
        Output { start, len, accumulates: false, memory: PhantomData }
    }

    /// Values that are added to.
    #[cfg(feature = "train")]
    pub(super) fn accumulate(values: &'a mut [f32]) -> Self {
        Output { accumulates: true, ..Self::replace(values) }
    }

    /// All of it as rows of `columns` elements.
    pub(super) fn tile(self, rows: usize, columns: usize) -> Tile<'a> {
        assert_eq!(rows.checked_mul(columns), Some(self.len), "an output of another size");
        Tile {
            start: self.start,
            offset: 0,
            rows,
            columns,
            stride: columns,
            accumulates: self.accumulates,
            memory: PhantomData,
        }
    }
}

/// How a matrix is divided: its rows into segments of one length (images, sequences), these into
/// blocks, and each of them by columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub segments: usize,
    pub segment_rows: usize,
    /// Rows of a tile; the last ones of a segment may have fewer.
    pub block_rows: usize,
    /// Columns of the matrix.
    pub columns: usize,
    /// Columns of a tile; the last ones of a row may have fewer.
    pub block_columns: usize,
}

/// Where a tile lies.
pub(super) struct Place {
    pub segment: usize,
    /// Rows of the segment.
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Grid {
    /// Blocks of a segment's rows, and of columns.
    fn blocks(&self) -> (usize, usize) {
        let blocks = |size: usize, block: usize| size.div_ceil(block.max(1));
        (blocks(self.segment_rows, self.block_rows), blocks(self.columns, self.block_columns))
    }

    fn place(&self, index: usize) -> Place {
        let (row_blocks, column_blocks) = self.blocks();
        let (block, column_block) = (index / column_blocks, index % column_blocks);
        let (segment, row_block) = (block / row_blocks, block % row_blocks);
        let range = |number: usize, block: usize, size: usize| {
            let start = number * block.max(1);
            start..start.saturating_add(block.max(1)).min(size)
        };
        Place {
            segment,
            rows: range(row_block, self.block_rows, self.segment_rows),
            columns: range(column_block, self.block_columns, self.columns),
        }
    }

    /// Divides an output.
    pub(super) fn tiles(self, out: Output<'_>) -> Tiles<'_> {
        let rows = self.segments.checked_mul(self.segment_rows);
        let len = rows.and_then(|rows| rows.checked_mul(self.columns));
        assert_eq!(len, Some(out.len), "an output of another size");
        Tiles { grid: self, out }
    }

    /// A matrix whose tiles `task` computes, in parallel.
    ///
    /// # Safety
    /// `task` writes every element of every tile.
    pub(super) unsafe fn filled(&self, task: &(impl Fn(Place, Tile) + Sync)) -> Vec<f32> {
        let write = |out: &mut [MaybeUninit<f32>]| {
            for_each_part(self.tiles(Output::uninit(out)), &|_, (place, tile)| task(place, tile));
        };
        // SAFETY: the tiles cover the matrix, and the task writes them in full.
        unsafe { filled(self.segments * self.segment_rows * self.columns, write) }
    }
}

/// A matrix in tiles. Those of a block of rows follow each other.
pub(super) struct Tiles<'a> {
    grid: Grid,
    out: Output<'a>,
}

// SAFETY: threads only get tiles from it, as if the exclusive memory were sent to them.
unsafe impl Sync for Tiles<'_> {}

// SAFETY: tiles of different indices differ in segment, rows or columns.
unsafe impl<'a> Parts for Tiles<'a> {
    type Part = (Place, Tile<'a>);

    fn count(&self) -> usize {
        let (row_blocks, column_blocks) = self.grid.blocks();
        self.grid.segments * row_blocks * column_blocks
    }

    unsafe fn part(&self, index: usize) -> Self::Part {
        let place = self.grid.place(index);
        let row = place.segment * self.grid.segment_rows + place.rows.start;
        let offset = row * self.grid.columns + place.columns.start;
        let tile = Tile {
            // SAFETY: the index is below the count, so the tile has an element, and this is its
            // first one's place in the output (`Grid::tiles` compared the sizes).
            start: unsafe { self.out.start.add(offset) },
            offset,
            rows: place.rows.len(),
            columns: place.columns.len(),
            stride: self.grid.columns,
            accumulates: self.out.accumulates,
            memory: PhantomData,
        };
        (place, tile)
    }
}

/// A rectangle of a matrix, which its owner alone accesses.
///
/// Invariant: for every row and column of it, the element `row * stride + column` behind `start` is
/// writable for the lifetime, and initialised if the tile accumulates.
pub(super) struct Tile<'a> {
    start: *mut f32,
    offset: usize,
    rows: usize,
    columns: usize,
    stride: usize,
    accumulates: bool,
    memory: PhantomData<&'a mut [f32]>,
}

impl Tile<'_> {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Index in the whole output of the element of a row and a column.
    #[inline(always)]
    pub(super) fn index(&self, row: usize, column: usize) -> usize {
        self.offset + row * self.stride + column
    }

    /// Whether sums are added to what the tile holds.
    pub(super) fn accumulates(&self) -> bool {
        self.accumulates
    }

    /// `count` of its rows: `first`, `first + step` and so on.
    #[inline(always)]
    pub(super) fn select(&mut self, first: usize, step: usize, count: usize) -> Tile<'_> {
        let last = |count: usize| (count - 1).checked_mul(step)?.checked_add(first);
        let inside = count == 0 || last(count).is_some_and(|last| last < self.rows);
        assert!(step > 0 && inside, "rows beyond the tile");
        Tile {
            // For no rows the address may be any.
            start: self.start.wrapping_add(first * self.stride),
            offset: self.offset + first * self.stride,
            rows: count,
            columns: self.columns,
            stride: step * self.stride,
            accumulates: self.accumulates,
            memory: PhantomData,
        }
    }

    /// Replaces the elements of a row, as many as there are values.
    #[cfg(feature = "train")]
    #[inline(always)]
    pub(super) fn write_row(&mut self, row: usize, values: impl Iterator<Item = f32>) {
        assert!(row < self.rows, "a row beyond the tile");
        for (column, value) in (0..self.columns).zip(values) {
            // SAFETY: row and column are the tile's.
            unsafe { self.start.add(row * self.stride + column).write(value) };
        }
    }

    /// The first `valid` of `NV` vectors of a row from a column on; zeros behind them.
    ///
    /// # Safety
    /// `row` and the columns `column..column + valid` are the tile's, `valid` is at most
    /// `NV * LANES`, and the elements are initialised.
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd, const NV: usize>(
        &self,
        simd: S,
        row: usize,
        column: usize,
        valid: usize,
    ) -> [S::V; NV] {
        debug_assert!(row < self.rows && column + valid <= self.columns);
        // SAFETY: as the caller promises, these elements are the tile's, and initialised.
        unsafe { load_columns(simd, self.start.add(row * self.stride + column), valid) }
    }

    /// Stores the first `valid` elements of `NV` vectors to a row from a column on.
    ///
    /// # Safety
    /// `row` and the columns `column..column + valid` are the tile's, `valid` is at most
    /// `NV * LANES`.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        valid: usize,
        columns: &[S::V; NV],
    ) {
        const { assert!(NV * S::LANES <= MAX) };
        debug_assert!(row < self.rows && column + valid <= self.columns);
        // SAFETY: as the caller promises, these elements are the tile's. A narrower row goes by way
        // of a buffer, which has room for the vectors.
        unsafe {
            let to = self.start.add(row * self.stride + column);
            if valid == NV * S::LANES {
                for (v, &column) in columns.iter().enumerate() {
                    simd.store_to(column, to.add(v * S::LANES));
                }
            } else {
                let mut buffer = [0.0f32; MAX];
                for (v, &column) in columns.iter().enumerate() {
                    simd.store_to(column, buffer.as_mut_ptr().add(v * S::LANES));
                }
                std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, valid);
            }
        }
    }
}

/// `valid` elements as `NV` vectors, with zeros behind them.
///
/// # Safety
/// `valid` elements behind `from` are readable; `valid` is at most `NV * LANES`.
#[inline(always)]
pub(super) unsafe fn load_columns<S: Simd, const NV: usize>(
    simd: S,
    from: *const f32,
    valid: usize,
) -> [S::V; NV] {
    const { assert!(NV * S::LANES <= MAX) };
    let mut buffer = [0.0f32; MAX];
    let mut from = from;
    if valid < NV * S::LANES {
        // SAFETY: as the caller promises; the buffer has room for fewer elements than vectors have.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), valid) };
        from = buffer.as_ptr();
    }
    let mut columns = [simd.splat(0.0); NV];
    for (v, column) in columns.iter_mut().enumerate() {
        // SAFETY: as many elements as the vectors have are there, or in the buffer.
        *column = unsafe { simd.load_from(from.add(v * S::LANES)) };
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_matrix_once() {
        for (segments, segment_rows, block_rows, columns, block_columns) in
            [(1, 1, 1, 1, 1), (2, 5, 2, 7, 3), (3, 4, 4, 6, 2), (1, 7, 9, 5, 8), (2, 3, 0, 4, 0)]
        {
            let grid = Grid { segments, segment_rows, block_rows, columns, block_columns };
            let mut counts = vec![0.0; segments * segment_rows * columns];
            for_each_part(grid.tiles(Output::replace(&mut counts)), &|_, (place, mut tile)| {
                assert_eq!((tile.rows(), tile.columns()), (place.rows.len(), place.columns.len()));
                for row in 0..tile.rows() {
                    for column in 0..tile.columns() {
                        let global = place.segment * segment_rows + place.rows.start + row;
                        let index = global * columns + place.columns.start + column;
                        assert_eq!(tile.index(row, column), index);
                        // SAFETY: the element is the tile's, and initialised.
                        unsafe {
                            let at = tile.start.add(row * tile.stride + column);
                            *at += 1.0;
                        }
                    }
                }
                assert_eq!(tile.select(0, 1, 0).rows(), 0);
            });
            assert!(counts.iter().all(|&count| count == 1.0), "{grid:?}: {counts:?}");
        }
    }

    #[test]
    #[should_panic(expected = "rows beyond the tile")]
    fn rows_beyond_a_tile() {
        Output::replace(&mut [0.0; 12]).tile(4, 3).select(1, 2, 3);
    }

    #[test]
    #[should_panic(expected = "an output of another size")]
    fn grids_of_another_size() {
        let grid =
            Grid { segments: 2, segment_rows: 2, block_rows: 1, columns: 3, block_columns: 3 };
        grid.tiles(Output::replace(&mut [0.0; 11]));
    }
}
