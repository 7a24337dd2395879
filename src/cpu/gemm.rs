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

use std::ops::Range;

use super::buffer::{AlignedBuffer, SharedOut};
use super::dispatch::{Isa, Kernel};
use super::math::gelu;
use super::simd::Simd;

/// Rows of a panel that a pass covers at the most: 32 KiB of a panel of 32.
pub(super) const PASS_DEPTH: usize = 256;
/// Rows of the left matrix that a task covers at the most. Bringing a panel's part into the
/// first-level cache takes the longer a share of the time the fewer rows make use of it.
pub(super) const BLOCK_ROWS: usize = 256;

/// A matrix `[k, n]` and a bias, packed for an instruction set.
#[derive(Clone)]
pub(crate) struct PackedMatrix {
    isa: Isa,
    k: usize,
    n: usize,
    /// `[panel][k][width]`
    panels: AlignedBuffer,
    /// `[panel * width]`
    bias: AlignedBuffer,
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "PackedMatrix({} x {}, {:?})", self.k, self.n, self.isa)
    }
}

impl PackedMatrix {
    /// Packs the matrix whose element in row `k` and column `n` is `element(k, n)`.
    pub(super) fn new(
        isa: Isa,
        k: usize,
        n: usize,
        element: impl Fn(usize, usize) -> f32,
        bias: Option<&[f32]>,
    ) -> Self {
        let width = isa.panel_width();
        let mut panels = AlignedBuffer::zeroed(n.div_ceil(width) * width * k);
        for (panel, rows) in panels.as_mut_slice().chunks_exact_mut((width * k).max(1)).enumerate()
        {
            let columns = panel * width..n.min((panel + 1) * width);
            for (row, values) in rows.chunks_exact_mut(width).enumerate() {
                for (value, column) in values.iter_mut().zip(columns.clone()) {
                    *value = element(row, column);
                }
            }
        }
        let mut padded = AlignedBuffer::zeroed(n.div_ceil(width) * width);
        if let Some(bias) = bias {
            padded.as_mut_slice()[..n].copy_from_slice(&bias[..n]);
        }
        PackedMatrix { isa, k, n, panels, bias: padded }
    }

    /// Packs the matrix whose rows lie one behind the other.
    #[cfg(feature = "train")]
    pub(super) fn from_rows(isa: Isa, k: usize, n: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), k * n, "the matrix has another size");
        let width = isa.panel_width();
        let mut panels = AlignedBuffer::zeroed(n.div_ceil(width) * width * k);
        for (panel, rows) in panels.as_mut_slice().chunks_exact_mut((width * k).max(1)).enumerate()
        {
            let columns = panel * width..n.min((panel + 1) * width);
            for (row, packed) in rows.chunks_exact_mut(width).enumerate() {
                packed[..columns.len()].copy_from_slice(&values[row * n..][columns.clone()]);
            }
        }
        let bias = AlignedBuffer::zeroed(n.div_ceil(width) * width);
        PackedMatrix { isa, k, n, panels, bias }
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// Rows.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    pub(super) fn view(&self) -> Panels<'_> {
        Panels {
            k: self.k,
            n: self.n,
            width: self.isa.panel_width(),
            data: self.panels.as_slice(),
            bias: Some(self.bias.as_slice()),
        }
    }
}

/// A packed matrix, wherever its panels lie.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub k: usize,
    pub n: usize,
    pub width: usize,
    /// `[panel][k][width]`
    pub data: &'a [f32],
    /// `[panel * width]`
    pub bias: Option<&'a [f32]>,
}

impl Panels<'_> {
    pub(super) fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }
}

/// The left matrix.
pub(super) trait Rows: Sync {
    /// Chunks that a row consists of.
    fn chunks(&self) -> usize;

    /// Elements of a chunk, the same for every row. Chunks lie one behind the other in `k`.
    fn chunk_len(&self, chunk: usize) -> usize;

    /// Where the rows `row..row + MR` have their chunk: each readable for its length.
    fn pointers<const MR: usize>(&self, row: usize, chunk: usize) -> [*const f32; MR];
}

/// Rows of a matrix with a fixed distance from one to the next.
#[derive(Clone, Copy)]
pub(super) struct DenseRows {
    start: *const f32,
    stride: usize,
    k: usize,
    chunk: usize,
}

// SAFETY: it is only read through, while the slice it was made from is borrowed by the caller.
unsafe impl Sync for DenseRows {}
// SAFETY: as above.
unsafe impl Send for DenseRows {}

impl DenseRows {
    /// `count` rows of `k` elements, `stride` apart, from the start of `values` on.
    pub(super) fn new(values: &[f32], count: usize, stride: usize, k: usize) -> Self {
        assert!(count == 0 || (count - 1) * stride + k <= values.len(), "rows beyond the matrix");
        let passes = k.div_ceil(PASS_DEPTH).max(1);
        DenseRows { start: values.as_ptr(), stride, k, chunk: k.div_ceil(passes).max(1) }
    }
}

impl Rows for DenseRows {
    #[inline(always)]
    fn chunks(&self) -> usize {
        self.k.div_ceil(self.chunk)
    }

    #[inline(always)]
    fn chunk_len(&self, chunk: usize) -> usize {
        self.chunk.min(self.k - chunk * self.chunk)
    }

    #[inline(always)]
    fn pointers<const MR: usize>(&self, row: usize, chunk: usize) -> [*const f32; MR] {
        std::array::from_fn(|i| {
            self.start.wrapping_add((row + i) * self.stride + chunk * self.chunk)
        })
    }
}

/// What is done to a sum before it is stored.
#[derive(Clone, Copy)]
pub(crate) enum Epilogue<'a> {
    /// Nothing.
    Store,
    /// GELU.
    Gelu,
    /// Adds the element of a matrix of the output's shape.
    Add(&'a [f32]),
    /// Multiplies by the row's factor.
    Scale(&'a [f32]),
}

/// Some rows times some panels.
pub(super) struct Gemm<'a, R> {
    pub rows: &'a R,
    pub matrix: Panels<'a>,
    pub epilogue: Epilogue<'a>,
    /// Where the element of row 0 and column 0 goes.
    pub out: SharedOut,
    /// From one row of the output to the next.
    pub out_stride: usize,
    /// Index in the epilogue's matrix of the element of row 0 and column 0.
    pub epilogue_start: usize,
    pub row_range: Range<usize>,
    pub panel_range: Range<usize>,
    /// Whether the product is added to what the output holds, instead of the bias.
    pub accumulate: bool,
}

impl<R: Rows> Kernel for Gemm<'_, R> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        // SAFETY: the caller made sure of the CPU.
        unsafe { self.multiply::<S, MR, NV>() }
    }
}

impl<R: Rows> Gemm<'_, R> {
    /// # Safety
    /// The CPU has the instruction set; the matrix is packed in panels of `NV` vectors; `out` is
    /// good for writing the rows and columns asked for, which nobody else accesses meanwhile.
    #[inline(always)]
    pub(super) unsafe fn multiply<S: Simd, const MR: usize, const NV: usize>(&self) {
        assert_eq!(self.matrix.width, NV * S::LANES, "packed for another instruction set");
        let chunks = self.rows.chunks();
        for panel in self.panel_range.clone() {
            let mut start = panel * self.matrix.k * self.matrix.width;
            let mut first_chunk = 0;
            while first_chunk < chunks {
                let mut end_chunk = first_chunk + 1;
                let mut depth = self.rows.chunk_len(first_chunk);
                while end_chunk < chunks && depth + self.rows.chunk_len(end_chunk) <= PASS_DEPTH {
                    depth += self.rows.chunk_len(end_chunk);
                    end_chunk += 1;
                }
                let end = start + depth * self.matrix.width;
                let pass = Pass {
                    panel,
                    chunks: first_chunk..end_chunk,
                    elements: start..end,
                    first: first_chunk == 0 && !self.accumulate,
                    last: end_chunk == chunks,
                };
                // SAFETY: the caller's contract.
                unsafe { self.pass::<S, MR, NV>(&pass) };
                start = end;
                first_chunk = end_chunk;
            }
        }
    }

    #[inline(always)]
    unsafe fn pass<S: Simd, const MR: usize, const NV: usize>(&self, pass: &Pass) {
        let tiles = self.row_range.len().div_ceil(MR).max(1);
        let lines = pass.elements.len().div_ceil(16 * tiles);
        let mut next = pass.elements.end;
        let mut row = self.row_range.start;
        while row < self.row_range.end {
            let height = tile_height::<MR>(self.row_range.end - row);
            // SAFETY: the panel lies in the matrix, the rows in the range.
            unsafe {
                match height {
                    1 => self.tile::<S, 1, NV>(pass, row),
                    2 => self.tile::<S, 2, NV>(pass, row),
                    3 => self.tile::<S, 3, NV>(pass, row),
                    4 => self.tile::<S, 4, NV>(pass, row),
                    5 => self.tile::<S, 5, NV>(pass, row),
                    6 => self.tile::<S, 6, NV>(pass, row),
                    7 => self.tile::<S, 7, NV>(pass, row),
                    _ => self.tile::<S, 8, NV>(pass, row),
                }
                // What the next pass reads, a little with every tile.
                for _ in 0..lines {
                    S::prefetch(self.matrix.data.as_ptr().wrapping_add(next));
                    next += 16;
                }
            }
            row += height;
        }
    }

    /// A tile of `MR` rows and one panel, for the chunks of a pass.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(&self, pass: &Pass, row: usize) {
        let width = NV * S::LANES;
        let column = pass.panel * width;
        let valid = width.min(self.matrix.n - column);
        // SAFETY: pointers stay inside the panel (`start` and the depths of the chunks), inside the
        // rows' chunks, and inside the output's rows and valid columns.
        unsafe {
            let out = |line: usize| self.out.0.add((row + line) * self.out_stride + column);
            let mut sums = [[S::splat(0.0); NV]; MR];
            if !pass.first {
                for (line, sums) in sums.iter_mut().enumerate() {
                    *sums = load_columns::<S, NV>(out(line), valid);
                }
            } else if let Some(bias) = self.matrix.bias {
                let bias = load_columns::<S, NV>(bias[column..].as_ptr(), width);
                sums = [bias; MR];
            }
            let mut b = self.matrix.data.as_ptr().add(pass.elements.start);
            for chunk in pass.chunks.clone() {
                let a = self.rows.pointers::<MR>(row, chunk);
                let len = self.rows.chunk_len(chunk);
                S::multiply_add_rows(&mut sums, &a, b, len);
                b = b.add(len * width);
            }
            if pass.last {
                match self.epilogue {
                    Epilogue::Store => {}
                    Epilogue::Gelu => {
                        for sum in sums.as_flattened_mut() {
                            *sum = gelu::<S>(*sum);
                        }
                    }
                    Epilogue::Scale(factors) => {
                        for (sums, &factor) in sums.iter_mut().zip(&factors[row..]) {
                            for sum in sums {
                                *sum = S::mul(*sum, S::splat(factor));
                            }
                        }
                    }
                    Epilogue::Add(other) => {
                        for (line, sums) in sums.iter_mut().enumerate() {
                            let at = (row + line) * self.out_stride + column;
                            let other = &other[self.epilogue_start + at..][..valid];
                            let other = load_columns::<S, NV>(other.as_ptr(), valid);
                            for (sum, other) in sums.iter_mut().zip(other) {
                                *sum = S::add(*sum, other);
                            }
                        }
                    }
                }
            }
            for (line, sums) in sums.iter().enumerate() {
                store_columns::<S, NV>(sums, out(line), valid);
            }
        }
    }
}

/// Part of a panel.
struct Pass {
    panel: usize,
    /// The left matrix's.
    chunks: Range<usize>,
    /// Where the part lies in the packed matrix.
    elements: Range<usize>,
    first: bool,
    last: bool,
}

/// Rows of the next tile: the last two share what remains, so that none is much smaller than the
/// others (few rows leave the multipliers waiting for sums).
#[inline(always)]
fn tile_height<const MR: usize>(remaining: usize) -> usize {
    if remaining <= MR {
        remaining
    } else if remaining < 2 * MR {
        remaining.div_ceil(2)
    } else {
        MR
    }
}

/// The widest panel of any instruction set.
const WIDEST: usize = 32;

#[inline(always)]
unsafe fn load_columns<S: Simd, const NV: usize>(from: *const f32, valid: usize) -> [S::V; NV] {
    // SAFETY: `valid` elements are readable; a narrower row goes by way of a buffer.
    unsafe {
        let mut buffer = [0.0; WIDEST];
        let mut at = from;
        if valid < NV * S::LANES {
            std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), valid);
            at = buffer.as_ptr();
        }
        let mut columns = [S::splat(0.0); NV];
        for (v, column) in columns.iter_mut().enumerate() {
            *column = S::load(at.add(v * S::LANES));
        }
        columns
    }
}

#[inline(always)]
unsafe fn store_columns<S: Simd, const NV: usize>(
    columns: &[S::V; NV],
    to: *mut f32,
    valid: usize,
) {
    // SAFETY: `valid` elements are writable; a narrower row goes by way of a buffer.
    unsafe {
        if valid == NV * S::LANES {
            for (v, &column) in columns.iter().enumerate() {
                S::store(column, to.add(v * S::LANES));
            }
        } else {
            let mut buffer = [0.0; WIDEST];
            for (v, &column) in columns.iter().enumerate() {
                S::store(column, buffer.as_mut_ptr().add(v * S::LANES));
            }
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, valid);
        }
    }
}
