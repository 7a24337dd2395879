//! A read-only file mapped into memory.

use std::fs::File;
use std::io;
use std::ops::Range;

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

    /// Lets the system take back the pages that hold these bytes; they are read from the file
    /// again if need be. Does nothing where the system has no such call.
    pub(crate) fn release(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if bytes.start < bytes.end && bytes.end <= self.0.len() {
            let (start, len) = (bytes.start, bytes.end - bytes.start);
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the pages of a private mapping that was never written to are the file's:
            // dropping them changes nothing that can be read. A failure changes nothing either.
            let _ = unsafe { self.0.unchecked_advise_range(advice, start, len) };
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
