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
        // SAFETY: Line is an array of f32 without padding, and `len` of them are there.
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

/// A vector of `len` values that `fill` writes in full.
///
/// # Safety
/// `fill` must write every element.
pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut values: Vec<MaybeUninit<f32>> = Vec::with_capacity(len);
    fill(values.as_mut_ptr().cast());
    let mut values = std::mem::ManuallyDrop::new(values);
    // SAFETY: the capacity is `len` at least, `fill` wrote all of it, and a MaybeUninit<f32> is
    // laid out as an f32.
    unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast(), len, values.capacity()) }
}

/// A place to write to that several threads share; each writes elements of its own.
#[derive(Clone, Copy)]
pub(super) struct SharedOut(pub(super) *mut f32);

impl SharedOut {
    /// The place `index` elements further on.
    pub(super) fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

// SAFETY: a pointer by itself is harmless; the kernels that write through it each have elements of
// their own.
unsafe impl Send for SharedOut {}
// SAFETY: as above.
unsafe impl Sync for SharedOut {}
