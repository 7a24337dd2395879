//! Memory for kernels: aligned, uninitialised where it is written in full, reused.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// A number of any format.
///
/// # Safety
/// Every pattern of bits is a value, without padding; the alignment is at most a cache line.
pub(super) unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: as the trait asks.
unsafe impl Plain for f32 {}
// SAFETY: as the trait asks.
unsafe impl Plain for u32 {}
// SAFETY: as the trait asks.
unsafe impl Plain for u16 {}
// SAFETY: as the trait asks.
unsafe impl Plain for u8 {}

/// Zero-initialised numbers that start at a cache line.
#[derive(Clone)]
pub(super) struct AlignedBuffer<E = f32> {
    lines: Vec<Line>,
    len: usize,
    elements: PhantomData<E>,
}

impl<E: Plain> AlignedBuffer<E> {
    pub(super) fn zeroed(len: usize) -> Self {
        let lines = vec![Line([0; LINE]); len.div_ceil(LINE / size_of::<E>())];
        AlignedBuffer { lines, len, elements: PhantomData }
    }

    pub(super) fn as_slice(&self) -> &[E] {
        // SAFETY: the lines hold `len` elements at least (every constructor and `Scratch::new` see to
        // it), all initialised: a Line is bytes without padding, and any bytes are a `Plain` value.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [E] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// The same bytes as numbers of another format.
    pub(super) fn view<F: Plain>(&self) -> &[F] {
        let len = self.len * size_of::<E>() / size_of::<F>();
        // SAFETY: as above: they are no more bytes than the elements', aligned to a cache line.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), len) }
    }

    /// The bytes of the elements.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len * size_of::<E>();
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}

/// A larger buffer (of an extremely long line) is given back to the system: 64 MiB.
const KEPT_LINES: usize = 1 << 20;

thread_local! {
    /// Buffers that no kernel of this thread uses just now. A thread that waits for others may
    /// run another kernel meanwhile: it takes another buffer.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of unspecified values that goes back to its thread's stock when dropped.
pub(super) struct Scratch<E = f32> {
    buffer: AlignedBuffer<E>,
}

impl<E: Plain> Scratch<E> {
    pub(super) fn new(len: usize) -> Self {
        let lines = len.div_ceil(LINE / size_of::<E>());
        let reused = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, or else the largest.
            let fitting =
                (0..free.len()).filter(|&i| free[i].len() >= lines).min_by_key(|&i| free[i].len());
            let any = || (0..free.len()).max_by_key(|&i| free[i].len());
            fitting.or_else(any).map(|i| free.swap_remove(i))
        });
        let buffer = match reused {
            Some(reused) if reused.len() >= lines => {
                AlignedBuffer { lines: reused, len, elements: PhantomData }
            }
            _ => AlignedBuffer::zeroed(len),
        };
        Scratch { buffer }
    }
}

impl<E: Plain> Deref for Scratch<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        self.buffer.as_slice()
    }
}

impl<E: Plain> DerefMut for Scratch<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        self.buffer.as_mut_slice()
    }
}

impl<E> Drop for Scratch<E> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.buffer.lines);
        if lines.len() > KEPT_LINES {
            return;
        }
        // At a thread's end its stock may be gone already: then the buffer is freed.
        let _ = FREE.try_with(|free| free.borrow_mut().push(lines));
    }
}

/// A vector of `len` values that `fill` writes.
///
/// # Safety
/// `fill` writes every element.
pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is `len` at least, and `fill` wrote as many elements.
    unsafe { values.set_len(len) };
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_reused_by_size() {
        let aligned = |scratch: &Scratch| (scratch.as_ptr() as usize).is_multiple_of(64);
        let (small, large) = (Scratch::<f32>::new(10), Scratch::<f32>::new(1000));
        assert!(aligned(&small) && aligned(&large));
        let places = (small.as_ptr(), large.as_ptr());
        drop((small, large));
        // The smallest that is large enough, each only once.
        let (small, large) = (Scratch::<f32>::new(16), Scratch::<f32>::new(17));
        assert_eq!((small.as_ptr(), large.as_ptr()), places);
        assert_eq!((small.len(), large.len()), (16, 17));
        let other = Scratch::<f32>::new(16);
        assert!(other.as_ptr() != places.0 && other.as_ptr() != places.1);
        assert!(Scratch::<f32>::new(0).is_empty());
    }

    #[test]
    fn scratch_is_writable_in_full() {
        for len in [0, 1, 15, 16, 17, 4096] {
            let mut scratch = Scratch::new(len);
            scratch.fill(1.0);
            assert_eq!(scratch.iter().sum::<f32>(), len as f32);
        }
    }

    #[test]
    fn filled_by_every_element() {
        let write = |out: &mut [MaybeUninit<f32>]| {
            out.iter_mut().zip(0u8..).for_each(|(x, i)| _ = x.write(i.into()));
        };
        // SAFETY: every element is written.
        assert_eq!(unsafe { filled(3, write) }, [0.0, 1.0, 2.0]);
    }
}
