//! The bytes that tensors lie in: in memory, or in a file that is read when they are asked for.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
#[cfg(feature = "onnx")]
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::WeightsError;
use crate::files;

/// A file's bytes, or those of a tensor.
pub(super) enum Buffer {
    /// Read when they are asked for.
    File(OpenFile),
    /// A file's bytes in memory, for as long as its structure is read in place.
    #[cfg(feature = "onnx")]
    Loaded {
        bytes: Vec<u8>,
        file: Arc<Buffer>,
    },
    Owned(Vec<u8>),
    /// Part of the program.
    Static(&'static [u8]),
}

impl From<Cow<'static, [u8]>> for Buffer {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Buffer::Static(bytes),
            Cow::Owned(bytes) => Buffer::Owned(bytes),
        }
    }
}

/// A file, and how it was when it was opened.
pub(super) struct OpenFile {
    file: File,
    path: PathBuf,
    len: usize,
    opened: Version,
}

/// What changes with a file: its length in bytes and the time of the last change, where the system has one.
#[derive(PartialEq)]
struct Version(u64, Option<SystemTime>);

impl From<Metadata> for Version {
    fn from(metadata: Metadata) -> Self {
        Version(metadata.len(), metadata.modified().ok())
    }
}

impl OpenFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = files::open(path)?;
        let opened = Version::from(file.metadata()?);
        let len = usize::try_from(opened.0).map_err(|_| ErrorKind::FileTooLarge)?;
        Ok(OpenFile { file, path: path.to_owned(), len, opened })
    }

    /// Fills `bytes` from a place in the file, and makes sure that it is still as it was opened.
    fn read(&self, at: usize, bytes: &mut [u8]) -> Result<(), WeightsError> {
        let io = |source| WeightsError::Io { path: self.path.clone(), source };
        let read = files::read_at(&self.file, at as u64, bytes);
        // Whatever was read while somebody wrote may be anything: the reason is the change.
        if Version::from(self.file.metadata().map_err(io)?) != self.opened {
            return Err(WeightsError::Changed { path: self.path.clone() });
        }
        read.map_err(io)
    }
}

impl Buffer {
    /// A regular file; read into memory on systems where a file has no reads at a place.
    pub(super) fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io { path: path.to_owned(), source };
        if cfg!(any(unix, windows)) {
            return OpenFile::open(path).map(Buffer::File).map_err(io);
        }
        files::read(path, u64::MAX).map(Buffer::Owned).map_err(io)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Buffer::File(file) => file.len,
            _ => self.as_slice().len(),
        }
    }

    /// The bytes that are in memory, of a file none.
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Buffer::File(_) => &[],
            #[cfg(feature = "onnx")]
            Buffer::Loaded { bytes, .. } => bytes,
            Buffer::Owned(bytes) => bytes,
            Buffer::Static(bytes) => bytes,
        }
    }

    /// Bytes, those of a file in a copy.
    ///
    /// # Errors
    /// [`WeightsError::Io`], [`WeightsError::Changed`], of a range outside the buffer [`WeightsError::Read`].
    pub(super) fn read(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>, WeightsError> {
        let outside = || WeightsError::Read(ErrorKind::UnexpectedEof.into());
        let Buffer::File(file) = self else {
            return self.as_slice().get(range).map(Cow::Borrowed).ok_or_else(outside);
        };
        if range.start > range.end || range.end > file.len {
            return Err(outside());
        }
        let mut bytes = vec![0; range.len()];
        file.read(range.start, &mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    /// The same bytes in memory, for a format that is read in place.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    #[cfg(feature = "onnx")]
    pub(super) fn loaded(self) -> Result<Self, WeightsError> {
        let Buffer::File(file) = &self else {
            return Ok(self);
        };
        let mut bytes = vec![0; file.len];
        file.read(0, &mut bytes)?;
        Ok(Buffer::Loaded { bytes, file: Arc::new(self) })
    }

    /// A reader of all bytes.
    pub(super) fn reader(&self) -> BufferReader<'_> {
        BufferReader { buffer: self, at: 0 }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// Reads a buffer from a position of its own.
pub(super) struct BufferReader<'a> {
    buffer: &'a Buffer,
    at: u64,
}

impl Read for BufferReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = self.buffer.len();
        let start = usize::try_from(self.at).unwrap_or(usize::MAX).min(len);
        let count = bytes.len().min(len - start);
        let bytes = &mut bytes[..count];
        match self.buffer {
            Buffer::File(file) => file.read(start, bytes).map_err(io::Error::other)?,
            memory => bytes.copy_from_slice(&memory.as_slice()[start..start + count]),
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for BufferReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => (self.buffer.len() as u64).checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(folder: &Path) -> (PathBuf, [Buffer; 2]) {
        let path = folder.join("file");
        let bytes: Vec<u8> = (0..=99).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = Buffer::open(&path).unwrap();
        (path, [file, Buffer::Owned(bytes)])
    }

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no files")]
    fn files_and_memory_alike() {
        let folder = tempfile::tempdir().unwrap();
        let (_, buffers) = buffers(folder.path());
        for buffer in &buffers {
            assert_eq!(buffer.len(), 100);
            assert_eq!(*buffer.read(7..10).unwrap(), [7, 8, 9]);
            assert!(buffer.read(100..100).unwrap().is_empty());
            for outside in [99..101, 101..101, usize::MAX - 1..usize::MAX] {
                let error = buffer.read(outside).unwrap_err();
                assert!(matches!(error, WeightsError::Read(_)), "{error}");
            }
            let mut reader = buffer.reader();
            let mut bytes = Vec::new();
            reader.seek(SeekFrom::End(-3)).unwrap();
            reader.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, [97, 98, 99]);
            assert_eq!(reader.seek(SeekFrom::Current(-99)).unwrap(), 1);
            assert!(reader.seek(SeekFrom::Current(-2)).is_err());
            reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
            assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
        }
    }

    #[test]
    #[cfg_attr(target_family = "wasm", ignore = "no files")]
    fn a_changed_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let changes: [fn(&Path); 3] = [
            |path| File::options().write(true).open(path).unwrap().set_len(50).unwrap(),
            |path| std::fs::write(path, [1; 101]).unwrap(),
            |path| {
                std::fs::write(path, [1; 100]).unwrap();
                let later = SystemTime::now() + std::time::Duration::from_secs(5);
                File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
            },
        ];
        for change in changes {
            let (path, [file, _]) = buffers(folder.path());
            change(&path);
            for range in [0..10, 90..100] {
                let error = file.read(range).unwrap_err();
                assert!(matches!(&error, WeightsError::Changed { path: found } if *found == path));
            }
            let mut bytes = Vec::new();
            let error = file.reader().read_to_end(&mut bytes).unwrap_err();
            assert!(error.to_string().contains("changed"), "{error}");
        }
        // A file that is replaced stays readable.
        let (path, [file, _]) = buffers(folder.path());
        files::replace(&path, &[1; 100]).unwrap();
        assert_eq!(*file.read(7..10).unwrap(), [7, 8, 9]);
    }
}
