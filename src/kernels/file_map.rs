//! A read-only file mapped into memory.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A file's bytes without a copy.
pub(crate) struct FileMap(Mmap);

impl FileMap {
    /// Maps a file. An empty file maps to no bytes.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is private and read-only, and this process never writes through it.
        // As with every memory-mapped file, another process that shortens the file while it is
        // being read makes the access fail; `Weights::open` documents that.
        unsafe { Mmap::map(file) }.map(FileMap)
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
