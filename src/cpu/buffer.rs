//! Memory for kernels: aligned, uninitialised where it is written in full, reused.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// f32 values in a cache line.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Zero-initialised f32 values that start at a cache line.
#[derive(Clone)]
pub(super) struct AlignedBuffer {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuffer {
    pub(super) fn zeroed(len: usize) -> Self {
        AlignedBuffer { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        // SAFETY: the lines hold `len` elements at least (every constructor and `Scratch::new` see to
        // it), all initialised: a Line is 16 f32 without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// A larger buffer (of an extremely long line) is given back to the system: 64 MiB.
const KEPT_LINES: usize = 1 << 20;

thread_local! {
    /// Buffers that no kernel of this thread uses just now. A thread that waits for others may
    /// run another kernel meanwhile: it takes another buffer.
    static FREE: RefCell<Vec<AlignedBuffer>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of unspecified values that goes back to its thread's stock when dropped.
pub(super) struct Scratch {
    buffer: AlignedBuffer,
}

impl Scratch {
    pub(super) fn new(len: usize) -> Self {
        let reused = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, or else the largest.
            let fitting = (0..free.len())
                .filter(|&i| free[i].lines.len() * LINE >= len)
                .min_by_key(|&i| free[i].lines.len());
            let any = || (0..free.len()).max_by_key(|&i| free[i].lines.len());
            fitting.or_else(any).map(|i| free.swap_remove(i))
        });
        let mut buffer = reused.unwrap_or_else(|| AlignedBuffer::zeroed(0));
        if buffer.lines.len() * LINE < len {
            buffer = AlignedBuffer::zeroed(len);
        }
        buffer.len = len;
        Scratch { buffer }
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.buffer.as_slice()
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.buffer.as_mut_slice()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, AlignedBuffer::zeroed(0));
        if buffer.lines.len() > KEPT_LINES {
            return;
        }
        // At a thread's end its stock may be gone already: then the buffer is freed.
        let _ = FREE.try_with(|free| free.borrow_mut().push(buffer));
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
        let (small, large) = (Scratch::new(10), Scratch::new(1000));
        assert!(aligned(&small) && aligned(&large));
        let places = (small.as_ptr(), large.as_ptr());
        drop((small, large));
        // The smallest that is large enough, each only once.
        let (small, large) = (Scratch::new(16), Scratch::new(17));
        assert_eq!((small.as_ptr(), large.as_ptr()), places);
        assert_eq!((small.len(), large.len()), (16, 17));
        let other = Scratch::new(16);
        assert!(other.as_ptr() != places.0 && other.as_ptr() != places.1);
        assert!(Scratch::new(0).is_empty());
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
