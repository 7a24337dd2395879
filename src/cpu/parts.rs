//! Memory that is divided among tasks.
//!
//! A [`Parts`] knows how memory is divided; [`for_each_part`] gives every task the part of its
//! number. As no two parts overlap and each is given once, tasks write without further promises:
//! to a slice ([`Chunks`]), or to a rectangle of a matrix ([`Tiles`](super::tile::Tiles)).

use std::marker::PhantomData;

use super::threads::operation::parallel;

/// Something that is divided into parts.
///
/// # Safety
/// Parts of different indices do not overlap and may be used by different threads.
pub(super) unsafe trait Parts: Sync {
    /// What a task gets.
    type Part;

    /// The number of parts.
    fn count(&self) -> usize;

    /// # Safety
    /// `index` is below [`count`](Parts::count) and is asked for once.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// Runs `task` with the index and the part, for every part, on the threads of the current pool.
pub(super) fn for_each_part<P: Parts>(parts: P, task: &(impl Fn(usize, P::Part) + Sync)) {
    parallel(parts.count(), &|index| {
        // SAFETY: `parallel` gives every index below the count once.
        task(index, unsafe { parts.part(index) });
    });
}

// SAFETY: those of each side do not overlap, and the sides are divided memory of their own.
unsafe impl<A: Parts, B: Parts> Parts for (A, B) {
    type Part = (A::Part, B::Part);

    fn count(&self) -> usize {
        assert_eq!(self.0.count(), self.1.count(), "as many parts of both");
        self.0.count()
    }

    unsafe fn part(&self, index: usize) -> Self::Part {
        // SAFETY: the caller's contract, and both have as many parts.
        unsafe { (self.0.part(index), self.1.part(index)) }
    }
}

/// A slice in chunks of one size; the last may be shorter.
pub(super) struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    size: usize,
    count: usize,
    memory: PhantomData<&'a mut [T]>,
}

impl<'a, T> Chunks<'a, T> {
    /// Chunks of `size` elements.
    pub(super) fn new(values: &'a mut [T], size: usize) -> Self {
        let count = values.len().div_ceil(size.max(1));
        Self::of(values, size, count)
    }

    /// `count` chunks of the same size, which may be none.
    pub(super) fn equal(values: &'a mut [T], count: usize) -> Self {
        let size = values.len().checked_div(count).unwrap_or(0);
        assert_eq!(values.len(), size * count, "chunks of the same size");
        Self::of(values, size, count)
    }

    fn of(values: &'a mut [T], size: usize, count: usize) -> Self {
        Chunks { start: values.as_mut_ptr(), len: values.len(), size, count, memory: PhantomData }
    }
}

// SAFETY: threads only get parts from it, as if the exclusive slices were sent to them.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

// SAFETY: chunk i is i * size..(i + 1) * size, up to the end of the slice.
unsafe impl<'a, T: Send> Parts for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> usize {
        self.count
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = index.saturating_mul(self.size).min(self.len);
        let len = self.size.min(self.len - start);
        // SAFETY: start + len is inside the slice, which is borrowed for as long as the part lives,
        // and nobody else has the part of this index.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_a_slice_once() {
        for (len, size) in [(0, 3), (1, 3), (7, 3), (9, 3), (5, 1), (0, 0)] {
            let mut values = vec![0; len];
            for_each_part(Chunks::new(&mut values, size), &|index, chunk| {
                chunk.iter_mut().for_each(|x| *x += index + 1);
            });
            let expected: Vec<usize> = (0..len).map(|i| i / size + 1).collect();
            assert_eq!(values, expected, "{len} by {size}");
        }
    }

    #[test]
    fn equal_chunks_may_be_empty() {
        let mut values = vec![0; 3];
        let counted = std::sync::atomic::AtomicUsize::new(0);
        for_each_part(
            (Chunks::new(&mut values, 1), Chunks::<u8>::equal(&mut [], 3)),
            &|_, part| {
                assert!(part.1.is_empty());
                counted.fetch_add(part.0.len(), std::sync::atomic::Ordering::Relaxed);
            },
        );
        assert_eq!(counted.into_inner(), 3);
    }
}
