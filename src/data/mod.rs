//! Labelled crops: folders with a list of labels, and LMDB folders.
//!
//! A [`Dataset`] hands out encoded images with their labels, one at a time and by index, from any
//! thread. Samples that are damaged are errors of their own; the others can still be read.

mod folder;
mod lmdb;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use lmdb::write_lmdb;

/// Why a data set, or one of its samples, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder holds none of `labels.tsv`, `gt.txt` and `data.mdb`.
    #[error("{} holds no labels.tsv, gt.txt or data.mdb", .0.display())]
    NoData(PathBuf),
    /// A line of a list of labels is not a path and a label.
    #[error("{}: line {line} is not a path, a tab and a label", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Text that is not UTF-8.
    #[error("{}: {what} is not UTF-8", path.display())]
    NotUtf8 {
        /// The file or folder.
        path: PathBuf,
        /// What in it.
        what: String,
    },
    /// An LMDB is damaged.
    #[error("{}: {detail}", path.display())]
    Lmdb {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// An LMDB lacks a key.
    #[error("{}: there is no {key}", path.display())]
    MissingKey {
        /// The folder.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// There is no sample of that number.
    #[error("sample {index} of {len}")]
    Index {
        /// The number asked for, counted from 0.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

/// An encoded image and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The image's path in the list of labels, or its key.
    pub name: String,
    /// The image file's bytes.
    pub image: Vec<u8>,
    /// What it says.
    pub label: String,
}

/// A set of labelled crops. Clones share what is open.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Folder(Arc<folder::Folder>),
    Lmdb(Arc<lmdb::Lmdb>),
}

impl Dataset {
    /// Opens a data set: an LMDB folder (`data.mdb` with the keys `num-samples`, `image-%09d` and
    /// `label-%09d`, as OpenOCR and PARSeq read them), a folder with `labels.tsv` or `gt.txt`, or
    /// such a list itself.
    ///
    /// Every line of a list is an image's path, relative to the list's folder, a tab, and the
    /// label. In lists without tabs a comma and a label in quotes (as ICDAR's are), or a space,
    /// stand between them.
    ///
    /// An LMDB is read page by page, not mapped into memory: one that is damaged, or changed while
    /// it is open, gives errors or wrong samples, no crash.
    ///
    /// # Errors
    /// [`DataError`] if there is no such data, or none that can be opened. What is wrong with one
    /// sample only is found by [`Dataset::sample`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let source = if path.is_file() {
            Source::Folder(Arc::new(folder::Folder::open(path)?))
        } else if path.join("data.mdb").is_file() {
            Source::Lmdb(Arc::new(lmdb::Lmdb::open(path)?))
        } else {
            let lists = ["labels.tsv", "gt.txt"].map(|list| path.join(list));
            match lists.iter().find(|list| list.is_file()) {
                Some(list) => Source::Folder(Arc::new(folder::Folder::open(list)?)),
                None => match path.symlink_metadata() {
                    Ok(_) => return Err(DataError::NoData(path.to_owned())),
                    Err(source) => return Err(DataError::Io { path: path.to_owned(), source }),
                },
            }
        };
        let named = if path.is_file() { path.parent().unwrap_or(path) } else { path };
        let named = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        let name = named.file_name().unwrap_or(named.as_os_str()).to_string_lossy().into_owned();
        Ok(Dataset { name, source })
    }

    /// Opens the data set at a path, or else all that lie below it, in the order of their paths.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`DataError::NoData`] if there is none.
    pub fn find(path: impl AsRef<Path>) -> Result<Vec<Self>, DataError> {
        let path = path.as_ref();
        match Self::open(path) {
            Err(DataError::NoData(_)) => {}
            opened => return Ok(vec![opened?]),
        }
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?;
            // A link is not followed: it may lead back.
            if entry.file_type().map_err(io)?.is_dir() {
                folders.push(entry.path());
            }
        }
        folders.sort();
        let mut found = Vec::new();
        for folder in folders {
            match Self::find(&folder) {
                Ok(sets) => found.extend(sets),
                Err(DataError::NoData(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if found.is_empty() { Err(DataError::NoData(path.to_owned())) } else { Ok(found) }
    }

    /// The name of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of samples, damaged ones included.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Folder(folder) => folder.len(),
            Source::Lmdb(lmdb) => lmdb.len(),
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a sample, counted from 0.
    ///
    /// # Errors
    /// [`DataError`] if it is damaged: a line without a label, a missing key or file, a label that
    /// is not UTF-8. Whether the image can be decoded is not looked at.
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        match &self.source {
            Source::Folder(folder) => folder.sample(index),
            Source::Lmdb(lmdb) => lmdb.sample(index),
        }
    }

    /// Reads the label of a sample alone.
    ///
    /// # Errors
    /// As [`Dataset::sample`].
    pub fn label(&self, index: usize) -> Result<String, DataError> {
        match &self.source {
            Source::Folder(folder) => folder.entry(index).map(|(_, label)| label),
            Source::Lmdb(lmdb) => lmdb.label(index),
        }
    }
}
