//! The bytes that tensors lie in.

use std::fmt;
use std::ops::Range;

use crate::cpu::FileMap;

/// A file's bytes, or those of a tensor.
pub(super) enum Buffer {
    /// Mapped from the file.
    Mapped(FileMap),
    Owned(Vec<u8>),
    /// Part of the program.
    Static(&'static [u8]),
}

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Buffer::Mapped(map) => map.as_ref(),
            Buffer::Owned(bytes) => bytes,
            Buffer::Static(bytes) => bytes,
        }
    }

    /// Tells the system that these bytes will not be read again soon: mapped ones then no longer
    /// count as this process's memory. They can still be read.
    pub(super) fn release(&self, bytes: Range<usize>) {
        if let Buffer::Mapped(map) = self {
            map.release(bytes);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.as_slice().len())
    }
}
