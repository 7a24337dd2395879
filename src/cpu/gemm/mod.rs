//! Matrix products: rows that lie anywhere times a matrix packed into panels.
//!
//! The right matrix `[k, n]` is packed once into panels of a few vectors' width, `[panel][k][width]`
//! with zeros beyond column `n`. The left matrix's rows need not be contiguous: they come in chunks
//! (a block of columns of a linear layer's input, or one tap of a convolution), each found through
//! a pointer a row. Panel after panel is read from memory once, pass by pass of what the first-level
//! cache holds, while the next pass is fetched: weights are far more than the caches. A tile of rows
//! stays in registers for a pass; then it is kept in the output for the next one.
//!
//! An output element is always summed in the same order, whatever rows and panels share a task.
//!
//! The same code multiplies f32 and narrower numbers ([`Product`]): two bf16 or two to four integers
//! make a 32-bit word of the left matrix, and all of a word's products are added to one sum.

#[cfg(feature = "train")]
mod bf16;
mod epilogue;
mod heights;
mod int8;
mod int8_rows;
mod outlier_rows;
mod packed;
mod rows;

use std::ops::Range;

use super::buffer::Plain;
use super::dispatch::Kernel;
use super::math::relu;
use super::simd::{F32, Product, Simd};
use super::threads::team::leads;
use super::tile::{Tile, load_columns};
use heights::tile_height;

#[cfg(feature = "train")]
pub(super) use bf16::{Bf16Matrix, bf16_rows};
pub(crate) use epilogue::{Activation, Epilogue};
pub(crate) use int8::Int8Matrix;
pub(super) use int8_rows::Int8Rows;
pub(crate) use packed::PackedMatrix;
pub(super) use packed::{Integers, Panels, RowScale, RowScales};
pub(super) use rows::{DenseRows, Rows};

/// Rows of a panel that a pass covers at most, where there are several: 32 KiB of a panel of 32.
pub(super) const PASS_DEPTH: usize = 256;
/// Rows of the left matrix that a task covers at most. Bringing a panel's part into the
/// first-level cache takes the longer a share of the time the fewer rows make use of it.
const BLOCK_ROWS: usize = 256;
/// The same where threads share an operation: each has rows of its own then, operation after operation.
const SHARED_BLOCK_ROWS: usize = 128;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Rows of the tasks of a product with so many rows, of which the last may have fewer. What an element is
/// summed up from does not depend on it.
pub(super) fn block_rows(rows: usize) -> usize {
    let most = if leads() { SHARED_BLOCK_ROWS } else { BLOCK_ROWS };
    rows.div_ceil(rows.div_ceil(most).max(1))
}

/// A packed right matrix in some number format.
pub(super) trait Matrix: Sync {
    /// An element of the left matrices that it multiplies: one number or several.
    type Left: Plain;

    /// Elements of a left matrix's row.
    fn k(&self) -> usize;

    /// Columns.
    fn n(&self) -> usize;

    /// Columns of a panel.
    fn panel_width(&self) -> usize;

    /// The left element of zeros, in rows with such integers.
    fn zero(&self, scale: RowScale) -> Self::Left;

    /// Rows of the matrix one behind the other whose products with a left row are scaled together, in
    /// elements of a left row: fewer than `k` for integers alone.
    fn scale_group(&self) -> usize {
        self.k()
    }

    /// Writes every element of `out`, the product of some rows and some panels. Scales are those of
    /// the rows from `origin` on, group by group; only integers have them.
    fn multiply<R: Rows<Element = Self::Left>>(
        &self,
        rows: &R,
        origin: Origin,
        scales: RowScales,
        epilogue: Epilogue,
        out: Tile,
    );
}

/// What the first element of an output is computed from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub first_row: usize,
    pub first_panel: usize,
}

impl Origin {
    pub(super) const FIRST: Self = Origin { first_row: 0, first_panel: 0 };
}

/// The product of some rows and some panels.
pub(super) struct Gemm<'a, R, E = f32> {
    pub rows: &'a R,
    /// The row that the output's first row is computed from.
    pub first_row: usize,
    pub matrix: Panels<'a, E>,
    /// The panel that the output's first column is computed from.
    pub first_panel: usize,
    pub epilogue: Epilogue<'a>,
    /// Where the product goes; as many rows and columns as it has are computed. If it accumulates,
    /// the product is added to it, without a bias.
    pub out: Tile<'a>,
}

impl<R: Rows<Element = f32>> Kernel for Gemm<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        self.multiply::<S, F32, MR, NV>(simd, F32);
    }
}

impl<R: Rows, E: Plain> Gemm<'_, R, E> {
    /// Writes every element of the output.
    ///
    /// # Panics
    /// If the matrices do not fit each other, the output or the instruction set.
    #[inline(always)]
    pub(super) fn multiply<S, P, const MR: usize, const NV: usize>(mut self, simd: S, product: P)
    where
        S: Simd,
        P: Product<S, Left = R::Element, Right = E>,
    {
        const { assert!(matches!(MR, 4 | 6 | 8), "tiles of other heights") };
        let panels = self.checked_panels(NV * S::LANES);
        assert_eq!(self.matrix.integers().is_some(), P::INTEGER, "sums of another kind");
        let chunks = self.rows.chunks();
        let groups = self.matrix.integers().map_or(1, |integers| integers.groups);
        let (k, width) = (self.matrix.k(), self.matrix.width());
        let most_depth = if P::PASSES { PASS_DEPTH } else { usize::MAX };
        for panel in panels {
            let mut start = panel * k * width;
            let mut first_chunk = 0;
            // Without a chunk there is one pass, which stores the bias.
            while first_chunk < chunks.max(1) {
                let mut end_chunk = first_chunk;
                let mut depth = 0;
                while end_chunk < chunks
                    && (end_chunk == first_chunk
                        || groups == 1 && depth + self.rows.chunk_len(end_chunk) <= most_depth)
                {
                    depth += self.rows.chunk_len(end_chunk);
                    end_chunk += 1;
                }
                let end = start + depth * width;
                let pass = Pass {
                    panel,
                    chunks: first_chunk..end_chunk,
                    elements: start..end,
                    first: first_chunk == 0 && !self.out.accumulates(),
                    last: end_chunk == chunks,
                };
                // SAFETY: the checks above; the chunks of all passes together are the panel's k rows,
                // and the first pass stores what the others load.
                unsafe { self.pass::<S, P, MR, NV>(simd, product, &pass) };
                start = end;
                first_chunk = end_chunk.max(1);
            }
        }
    }

    /// The panels to be multiplied, after a look at what the pointers below rely on.
    fn checked_panels(&self, width: usize) -> Range<usize> {
        let Gemm { rows, first_row, matrix, first_panel, .. } = self;
        let (out_rows, out_columns) = (self.out.rows(), self.out.columns());
        assert_eq!(matrix.width(), width, "packed for another instruction set");
        let k = (0..rows.chunks()).fold(0usize, |k, chunk| k.saturating_add(rows.chunk_len(chunk)));
        assert_eq!(k, matrix.k(), "rows of another length than the matrix has");
        let enough = rows.count().checked_sub(*first_row).is_some_and(|rest| rest >= out_rows);
        assert!(enough, "fewer rows than the output has");
        let panels = *first_panel..*first_panel + out_columns.div_ceil(width);
        assert!(panels.end <= matrix.count(), "fewer panels than the output has");
        // Whole panels, but for the last one of the matrix.
        let columns = matrix.n().min(panels.end * width).saturating_sub(panels.start * width);
        assert_eq!(columns, out_columns, "an output of another width than the panels have");
        if let Epilogue::Scale(factors) = self.epilogue {
            assert!(factors.len() >= out_rows, "fewer factors than rows");
        }
        if let Some(integers) = matrix.integers() {
            assert!(!self.out.accumulates(), "integers added to something else");
            let groups = integers.groups;
            assert!(groups == 1 || groups == rows.chunks(), "groups that are no chunks");
            if let RowScales::Each(scales) = integers.rows {
                assert!(scales.len() / groups >= out_rows, "fewer scales than rows");
            }
        }
        panels
    }

    /// # Safety
    /// `checked_panels` has looked at the operands, and the pass is part of one of its panels. The
    /// output holds the sums of the passes before this one.
    #[inline(always)]
    unsafe fn pass<S, P, const MR: usize, const NV: usize>(
        &mut self,
        simd: S,
        product: P,
        pass: &Pass,
    ) where
        S: Simd,
        P: Product<S, Left = R::Element, Right = E>,
    {
        let line = LINE_BYTES / size_of::<E>();
        let rows = self.out.rows();
        let tiles = rows.div_ceil(MR).max(1);
        let lines = if P::PASSES { pass.elements.len().div_ceil(line * tiles) } else { 0 };
        let mut next = pass.elements.end;
        let mut row = 0;
        while row < rows {
            let mut height = tile_height::<MR>(rows - row);
            // SAFETY: the rows from `row` on are the output's, at least `height` of them.
            unsafe {
                match height {
                    1 => self.tile::<S, P, 1, NV>(simd, product, pass, row),
                    2 => self.tile::<S, P, 2, NV>(simd, product, pass, row),
                    3 => self.tile::<S, P, 3, NV>(simd, product, pass, row),
                    6 if MR >= 6 => self.tile::<S, P, 6, NV>(simd, product, pass, row),
                    8 if MR >= 8 => self.tile::<S, P, 8, NV>(simd, product, pass, row),
                    _ => {
                        height = 4;
                        self.tile::<S, P, 4, NV>(simd, product, pass, row);
                    }
                }
            }
            if pass.last
                && let Epilogue::Activate(activation) = self.epilogue
                && activation != Activation::Relu
            {
                // SAFETY: the tile has stored these rows of the panel.
                unsafe { self.activate::<S, NV>(simd, activation, pass.panel, row..row + height) };
            }
            // What the next pass reads, a little with every tile; nothing is read beyond the end.
            for _ in 0..lines {
                simd.prefetch(self.matrix.data().as_ptr().wrapping_add(next).cast());
                next += line;
            }
            row += height;
        }
    }

    /// Applies a function of many instructions to rows of the output that are complete. It is no part of a tile, whose
    /// code there is for each number of rows.
    ///
    /// # Safety
    /// The panel and the rows are the output's, and initialised.
    #[inline(always)]
    unsafe fn activate<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        activation: Activation,
        panel: usize,
        rows: Range<usize>,
    ) {
        let width = NV * S::LANES;
        let column = (panel - self.first_panel) * width;
        let valid = width.min(self.out.columns() - column);
        for row in rows {
            // SAFETY: rows and columns are the output's; the caller has stored them.
            unsafe {
                let mut sums = self.out.load::<S, NV>(simd, row, column, valid);
                for sum in &mut sums {
                    *sum = activation.of(simd, *sum);
                }
                self.out.store(simd, row, column, valid, &sums);
            }
        }
    }

    /// A tile of `MR` rows and one panel, for the chunks of a pass.
    ///
    /// # Safety
    /// As for [`pass`](Self::pass), and the output has the rows `row..row + MR`.
    #[inline(always)]
    unsafe fn tile<S, P, const MR: usize, const NV: usize>(
        &mut self,
        simd: S,
        product: P,
        pass: &Pass,
        row: usize,
    ) where
        S: Simd,
        P: Product<S, Left = R::Element, Right = E>,
    {
        let width = NV * S::LANES;
        let column = (pass.panel - self.first_panel) * width;
        let valid = width.min(self.out.columns() - column);
        // Integers of groups are scaled and added to the f32 sums of the groups before.
        let groups = self.matrix.integers().map_or(1, |integers| integers.groups);
        // `NV` vectors of the panel's part of a slice that has a value for each column of the panels.
        let of_panel = |values: &[f32]| -> [S::V; NV] {
            let values = &values[pass.panel * width..][..width];
            // SAFETY: the slice has as many elements as `NV` vectors.
            unsafe { load_columns(simd, values.as_ptr(), width) }
        };
        let mut sums = [[simd.splat(0.0); NV]; MR];
        if !pass.first && groups == 1 {
            for (line, sums) in sums.iter_mut().enumerate() {
                // SAFETY: rows and columns are the output's; the pass before this one has stored
                // them, or the output accumulates.
                *sums = unsafe { self.out.load(simd, row + line, column, valid) };
            }
        } else if let (false, Some(bias)) = (P::INTEGER, self.matrix.bias()) {
            sums = [of_panel(bias); MR];
        }
        // SAFETY: the pass's elements lie in the panels.
        let mut b = unsafe { self.matrix.data().as_ptr().add(pass.elements.start) };
        let mut k = pass.elements.start / width - pass.panel * self.matrix.k();
        for chunk in pass.chunks.clone() {
            let len = self.rows.chunk_len(chunk);
            // SAFETY: the left matrix has the rows and the chunk, and says that `len` elements are
            // there; the panel has `len` rows from `b` on, as all the chunks' lengths are its k. OutlierRows
            // are of rows of the chunk, and have the panel's width.
            unsafe {
                let a = self.rows.pointers::<MR>(self.first_row + row, chunk);
                product.multiply_add_rows(simd, &mut sums, &a, b, len);
                if P::INTEGER
                    && let Some(outlier_rows) = self.matrix.outlier_rows()
                {
                    let (at, rows) = outlier_rows.of(pass.panel, k..k + len);
                    product.multiply_add_chosen(simd, &mut sums, &a, (at, k), rows.as_ptr());
                }
                b = b.add(len * width);
            }
            k += len;
        }
        if P::INTEGER
            && (pass.last || groups > 1)
            && let Some(integers) = self.matrix.integers()
        {
            let group = if groups == 1 { 0 } else { pass.chunks.start };
            let scale = of_panel(integers.scale);
            let column_sums = of_panel(integers.sums_of(group));
            let bias = self.matrix.bias().map_or([simd.splat(0.0); NV], of_panel);
            for (line, sums) in sums.iter_mut().enumerate() {
                let of_row = match integers.rows {
                    RowScales::All(scale) => scale,
                    RowScales::Each(scales) => scales[(row + line) * groups + group],
                };
                let before = if group == 0 {
                    bias
                } else {
                    // SAFETY: rows and columns are the output's; the pass of the group before this one
                    // has stored them.
                    unsafe { self.out.load(simd, row + line, column, valid) }
                };
                for v in 0..NV {
                    let sum = simd.integer_sub_mul(sums[v], of_row.zero, column_sums[v]);
                    let scale = simd.mul(scale[v], simd.splat(of_row.scale));
                    sums[v] = simd.mul_add(simd.float(sum), scale, before[v]);
                }
            }
        }
        if pass.last {
            match self.epilogue {
                Epilogue::Activate(Activation::Relu) => {
                    for sum in sums.as_flattened_mut() {
                        *sum = relu(simd, *sum);
                    }
                }
                // The others follow in `activate`.
                Epilogue::Store | Epilogue::Activate(_) => {}
                Epilogue::Scale(factors) => {
                    for (sums, &factor) in sums.iter_mut().zip(&factors[row..]) {
                        for sum in sums {
                            *sum = simd.mul(*sum, simd.splat(factor));
                        }
                    }
                }
                Epilogue::Add(other) => {
                    for (line, sums) in sums.iter_mut().enumerate() {
                        let other = &other[self.out.index(row + line, column)..][..valid];
                        // SAFETY: the slice has `valid` elements.
                        let other: [_; NV] = unsafe { load_columns(simd, other.as_ptr(), valid) };
                        for (sum, other) in sums.iter_mut().zip(other) {
                            *sum = simd.add(*sum, other);
                        }
                    }
                }
            }
        }
        for (line, sums) in sums.iter().enumerate() {
            // SAFETY: rows and columns are the output's.
            unsafe { self.out.store(simd, row + line, column, valid, sums) };
        }
    }
}

/// Part of a panel ([`Product::PASSES`]).
struct Pass {
    panel: usize,
    /// The left matrix's.
    chunks: Range<usize>,
    /// Where the part lies in the packed matrix.
    elements: Range<usize>,
    first: bool,
    last: bool,
}
