//! The number formats of matrix products.

use super::super::buffer::Plain;
use super::Simd;

/// How the elements of the two matrices are multiplied, with an instruction set.
///
/// A value of the type is the proof that the CPU can, as with [`Simd`].
///
/// # Safety
/// [`multiply_add_rows`](Product::multiply_add_rows) reads what its contract says, and no more.
pub(in crate::cpu) unsafe trait Product<S: Simd>: Copy {
    /// An element of the left matrix.
    type Left: Plain;
    /// An element of the packed right matrix: as many numbers as one of the left matrix.
    type Right: Plain;
    /// Whether sums are integers: i32, whose bits lie in vectors of f32.
    const INTEGER: bool;
    /// Whether a panel is multiplied in passes: a part that the first-level cache holds with all rows, and the
    /// next one is prefetched meanwhile. Otherwise tile after tile reads the whole panel from the second-level
    /// cache.
    const PASSES: bool = true;

    /// Adds `MR` rows of `len` elements times a panel `[len][NV * LANES]` to the sums: the inner
    /// loop of every matrix product.
    ///
    /// # Safety
    /// `len` elements behind each of `rows` and `len * NV * LANES` behind `panel` are readable.
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        simd: S,
        sums: &mut [[S::V; NV]; MR],
        rows: &[*const Self::Left; MR],
        panel: *const Self::Right,
        len: usize,
    );

    /// Adds chosen elements of `MR` rows, those at `at` less `first`, times a panel that has a row for each
    /// of them.
    ///
    /// # Safety
    /// None of `at` is below `first`; the elements behind each of `rows` and `at.len() * NV * LANES`
    /// behind `panel` are readable.
    #[inline(always)]
    unsafe fn multiply_add_chosen<const MR: usize, const NV: usize>(
        self,
        simd: S,
        sums: &mut [[S::V; NV]; MR],
        rows: &[*const Self::Left; MR],
        (at, first): (&[u32], usize),
        panel: *const Self::Right,
    ) {
        for (i, &at) in at.iter().enumerate() {
            // SAFETY: the caller says so.
            unsafe {
                let rows = rows.map(|row| row.add(at as usize - first));
                let panel = panel.add(i * NV * S::LANES);
                self.multiply_add_rows(simd, sums, &rows, panel, 1);
            }
        }
    }
}

/// A product of matrices that both lie row after row in memory, `A^T B`: elements are made of rows
/// that follow each other.
#[cfg(feature = "train")]
pub(in crate::cpu) trait RowProduct<S: Simd>: Product<S> {
    /// Rows that an element is made of: 1 or 2.
    const ROWS: usize;

    /// An element of `A`: `low` of the first row, `high` of the second, if there is one.
    fn left(self, low: f32, high: f32) -> Self::Left;

    /// Elements of `B`, as bits.
    fn right(self, simd: S, low: S::V, high: S::V) -> S::V;

    /// Adds a packed tile `[k][MR]` times a panel `[k][NV * LANES]` to the sums.
    ///
    /// # Safety
    /// The panel has `left.len() * NV * LANES` elements.
    unsafe fn multiply_add_tile<const MR: usize, const NV: usize>(
        self,
        simd: S,
        sums: &mut [[S::V; NV]; MR],
        left: &[[Self::Left; MR]],
        panel: *const Self::Right,
    );
}

/// f32 times f32.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct F32;

// SAFETY: the contracts are the same.
unsafe impl<S: Simd> Product<S> for F32 {
    type Left = f32;
    type Right = f32;
    const INTEGER: bool = false;
    const PASSES: bool = S::PASSES;

    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        simd: S,
        sums: &mut [[S::V; NV]; MR],
        rows: &[*const f32; MR],
        panel: *const f32,
        len: usize,
    ) {
        // SAFETY: the contract is the same.
        unsafe { simd.multiply_add_rows(sums, rows, panel, len) }
    }
}

#[cfg(feature = "train")]
impl<S: Simd> RowProduct<S> for F32 {
    const ROWS: usize = 1;

    #[inline(always)]
    fn left(self, low: f32, _: f32) -> f32 {
        low
    }

    #[inline(always)]
    fn right(self, _: S, low: S::V, _: S::V) -> S::V {
        low
    }

    #[inline(always)]
    unsafe fn multiply_add_tile<const MR: usize, const NV: usize>(
        self,
        simd: S,
        sums: &mut [[S::V; NV]; MR],
        left: &[[f32; MR]],
        panel: *const f32,
    ) {
        for (k, left) in left.iter().enumerate() {
            let mut columns = [simd.splat(0.0); NV];
            for (v, column) in columns.iter_mut().enumerate() {
                // SAFETY: k is below the tile's length: a vector of the panel.
                *column = unsafe { simd.load_from(panel.add((k * NV + v) * S::LANES)) };
            }
            for (sums, &x) in sums.iter_mut().zip(left) {
                let x = simd.splat(x);
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = simd.mul_add(x, column, *sum);
                }
            }
        }
    }
}
