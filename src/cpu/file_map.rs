//! A read-only file mapped into memory.
//!
//! The mapping is shared with the file. If somebody writes to the file while it is mapped, its bytes
//! change under the reader; if somebody shortens it, accesses beyond the new end kill the process
//! (SIGBUS; on Windows such a change is refused). No check can prevent either: users of this crate
//! are told so where they open a file, and can read the file into memory instead. A file that is
//! replaced by renaming another one over it is safe: the mapping keeps the old one.

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::Mmap;

/// A file's bytes without a copy.
pub(crate) struct FileMap(Mmap);

impl FileMap {
    /// Maps a file, which must not change or be shortened for as long as the mapping lives: see
    /// above. An empty file maps to no bytes.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: this process only ever reads through the mapping. That nobody changes the file
        // meanwhile cannot be seen from here: it is the stated duty of whoever opens weights by path
        // (`Weights::open`), as for every file that is mapped into memory.
        unsafe { Mmap::map(file) }.map(FileMap)
    }

    /// Lets the system take back the pages that hold these bytes; they are read from the file
    /// again if need be. Does nothing where the system has no such call.
    pub(crate) fn release(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if bytes.start < bytes.end && bytes.end <= self.0.len() {
            let (start, len) = (bytes.start, bytes.end - bytes.start);
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the advice loses what was written to private pages. These are shared with the
            // file and were never written to: the next access finds the file's bytes again, here
            // and in the rest of the first and last page. A failure changes nothing.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no files")]
    fn released_bytes_are_read_again() {
        let path = std::env::temp_dir().join(format!("svtrv2-map-{}", std::process::id()));
        let bytes: Vec<u8> = (0..30_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let map = FileMap::new(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(map.as_ref() == bytes);
        for range in [0..30_000, 5..6, 4096..9000, 29_999..30_000, 0..30_001, 7..7] {
            map.release(range);
            assert!(map.as_ref() == bytes);
        }
    }

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no files")]
    fn an_empty_file_has_no_bytes() {
        let path = std::env::temp_dir().join(format!("svtrv2-empty-{}", std::process::id()));
        std::fs::write(&path, []).unwrap();
        let map = FileMap::new(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        map.release(0..1);
        assert!(map.as_ref().is_empty());
    }
}
