//! The left matrix of a product: rows that lie anywhere.

use std::marker::PhantomData;

use super::super::buffer::Plain;
use super::PASS_DEPTH;

/// The left matrix. Its rows come in chunks, each of which is contiguous.
///
/// # Safety
/// For rows below [`count`](Rows::count) and chunks below [`chunks`](Rows::chunks),
/// [`pointers`](Rows::pointers) gives pointers behind which [`chunk_len`](Rows::chunk_len) elements
/// are readable for as long as the value is borrowed. All functions always answer the same.
pub(in crate::cpu) unsafe trait Rows: Sync {
    /// An element: an f32, or a word of several narrower numbers.
    type Element: Plain;

    /// The number of rows.
    fn count(&self) -> usize;

    /// Chunks that a row consists of.
    fn chunks(&self) -> usize;

    /// Elements of a chunk, the same for every row. Chunks lie one behind the other in `k`.
    fn chunk_len(&self, chunk: usize) -> usize;

    /// Where the rows `row..row + MR` have their chunk.
    ///
    /// # Safety
    /// `row + MR` is at most [`count`](Rows::count), `chunk` below [`chunks`](Rows::chunks).
    unsafe fn pointers<const MR: usize>(
        &self,
        row: usize,
        chunk: usize,
    ) -> [*const Self::Element; MR];
}

/// Rows of a matrix with a fixed distance from one to the next.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct DenseRows<'a, E = f32> {
    start: *const E,
    count: usize,
    stride: usize,
    k: usize,
    /// Elements of a chunk; the last may have fewer.
    chunk: usize,
    values: PhantomData<&'a [E]>,
}

// SAFETY: it stands for a shared slice, which threads may share.
unsafe impl<E: Plain> Sync for DenseRows<'_, E> {}

impl<'a, E: Plain> DenseRows<'a, E> {
    /// `count` rows of `k` elements, `stride` apart, from the start of `values` on.
    ///
    /// # Panics
    /// If the slice is too short for them.
    pub(in crate::cpu) fn new(values: &'a [E], count: usize, stride: usize, k: usize) -> Self {
        let end = |count: usize| (count - 1).checked_mul(stride)?.checked_add(k);
        let inside = count == 0 || end(count).is_some_and(|end| end <= values.len());
        assert!(inside, "rows beyond the matrix");
        let passes = k.div_ceil(PASS_DEPTH).max(1);
        let chunk = k.div_ceil(passes).max(1);
        DenseRows { start: values.as_ptr(), count, stride, k, chunk, values: PhantomData }
    }
}

impl<E: Plain> DenseRows<'_, E> {
    /// The same rows in chunks of so many elements, the last of which may have fewer.
    pub(in crate::cpu) fn in_chunks(self, chunk: usize) -> Self {
        Self { chunk: chunk.max(1), ..self }
    }
}

// SAFETY: `new` has seen that row `count - 1`, and so every row, ends inside the slice; a chunk ends
// with its row at the latest.
unsafe impl<E: Plain> Rows for DenseRows<'_, E> {
    type Element = E;

    #[inline(always)]
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn chunks(&self) -> usize {
        self.k.div_ceil(self.chunk)
    }

    #[inline(always)]
    fn chunk_len(&self, chunk: usize) -> usize {
        self.chunk.min(self.k - chunk * self.chunk)
    }

    #[inline(always)]
    unsafe fn pointers<const MR: usize>(&self, row: usize, chunk: usize) -> [*const E; MR] {
        debug_assert!(row + MR <= self.count && chunk < self.chunks());
        // SAFETY: the caller asks for rows and a chunk that exist: they start inside the slice.
        let pointer = |i| unsafe { self.start.add((row + i) * self.stride + chunk * self.chunk) };
        std::array::from_fn(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_up_a_row() {
        for k in [0, 1, 255, 256, 257, 512, 771] {
            let values = vec![0.0; 2 * k];
            let rows = DenseRows::new(&values, 2, k, k);
            let lens: Vec<usize> = (0..rows.chunks()).map(|chunk| rows.chunk_len(chunk)).collect();
            assert_eq!(lens.iter().sum::<usize>(), k, "{k}: {lens:?}");
            assert!(lens.iter().all(|len| (1..=PASS_DEPTH).contains(len)), "{k}: {lens:?}");
        }
    }

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "panics end the program")]
    fn no_rows_beyond_the_matrix() {
        let values = [0.0; 10];
        DenseRows::new(&values, 3, 4, 2);
        DenseRows::new(&values, 0, usize::MAX, 2);
        for (count, stride, k) in [(3, 4, 3), (2, usize::MAX, 1), (usize::MAX, 2, 1), (1, 0, 11)] {
            let refused = std::panic::catch_unwind(|| DenseRows::new(&values, count, stride, k));
            assert!(refused.is_err(), "{count} rows of {k}, {stride} apart");
        }
    }
}
