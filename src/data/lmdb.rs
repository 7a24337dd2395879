//! LMDB folders as the published training and evaluation sets are: `num-samples`, and from 1 on
//! `image-%09d` and `label-%09d`.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env};

use super::{DataError, Sample};
use crate::cpu::{create_lmdb, open_lmdb};

/// What is open: LMDB allows one mapping of a file in a process, so data sets share it.
static OPEN: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());

/// A mapped file.
struct Mapped {
    /// The canonical path of the folder.
    folder: PathBuf,
    file: Metadata,
    env: Env,
    uses: usize,
}

/// A use of a mapped file, by its folder; after the last one it is closed.
struct Use(PathBuf);

impl Use {
    fn open(path: &Path) -> Result<(Env, Self), DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let bad = |detail: String| DataError::Lmdb { path: path.to_owned(), detail };
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = path.canonicalize().map_err(io)?;
        let file = folder.join("data.mdb").metadata().map_err(io)?;
        if let Some(mapped) = open.iter_mut().find(|mapped| mapped.folder == folder) {
            let before = &mapped.file;
            if before.len() != file.len() || before.modified().ok() != file.modified().ok() {
                return Err(bad("data.mdb was changed while it was open".into()));
            }
            mapped.uses += 1;
            return Ok((mapped.env.clone(), Use(folder)));
        }
        let env = open_lmdb(path).map_err(|error| bad(error.to_string()))?;
        open.push(Mapped { folder: folder.clone(), file, env: env.clone(), uses: 1 });
        Ok((env, Use(folder)))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = open.iter().position(|mapped| mapped.folder == self.0) {
            open[index].uses -= 1;
            if open[index].uses == 0 {
                // Under the lock: nobody opens it while it is being closed.
                open.swap_remove(index);
            }
        }
    }
}

pub(super) struct Lmdb {
    path: PathBuf,
    // In this order: the use ends after its handle.
    env: Env,
    _use: Use,
    database: Database<'static, Bytes, Bytes>,
    len: usize,
}

impl std::fmt::Debug for Lmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lmdb").field("path", &self.path).field("len", &self.len).finish()
    }
}

impl Lmdb {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let bad = |detail: String| DataError::Lmdb { path: path.to_owned(), detail };
        let lmdb = |error: heed::Error| bad(error.to_string());
        let (env, _use) = Use::open(path)?;
        let file = path.join("data.mdb");
        let io = |source| DataError::Io { path: file.clone(), source };
        let length = std::fs::metadata(&file).map_err(io)?.len();
        // Pages beyond a truncated file's end would be a fault of the memory map, not an error.
        let page = u64::from(env.unnamed_database_stat().page_size);
        let needed = (env.info().last_page_number as u64 + 1).saturating_mul(page);
        if length < needed {
            return Err(bad(format!("data.mdb is truncated: {length} of {needed} bytes")));
        }
        let transaction = env.read_txn().map_err(lmdb)?;
        let opened = env.open_databases_and_commit(transaction, |opener, transaction| {
            let database = opener.open_database::<Bytes, Bytes>(transaction, None)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
        });
        let database = opened.map_err(lmdb)?.commit().flatten();
        let database = database.ok_or_else(|| bad("there is no main database".into()))?;
        let mut data = Lmdb { path: path.to_owned(), env, _use, database, len: 0 };
        let count = data.text("num-samples")?;
        data.len = count.trim().parse().map_err(|_| bad(format!("num-samples is {count:?}")))?;
        // Gaps are for the samples to tell; a number that cannot be true is the set's own fault.
        let entries = data.env.unnamed_database_stat().entries;
        if data.len > entries {
            return Err(bad(format!("num-samples is {count}, but there are {entries} entries")));
        }
        Ok(data)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let label = self.label(index)?;
        let name = format!("image-{:09}", index + 1);
        let image = self.value(&name)?;
        Ok(Sample { name, image, label })
    }

    pub(super) fn label(&self, index: usize) -> Result<String, DataError> {
        if index >= self.len {
            return Err(DataError::Index { index, len: self.len });
        }
        self.text(&format!("label-{:09}", index + 1))
    }

    fn text(&self, key: &str) -> Result<String, DataError> {
        let not_utf8 = |_| DataError::NotUtf8 { path: self.path.clone(), what: key.to_owned() };
        String::from_utf8(self.value(key)?).map_err(not_utf8)
    }

    fn value(&self, key: &str) -> Result<Vec<u8>, DataError> {
        let path = || self.path.clone();
        let lmdb = |error: heed::Error| DataError::Lmdb { path: path(), detail: error.to_string() };
        let transaction = self.env.read_txn().map_err(lmdb)?;
        let value = self.database.get(&transaction, key.as_bytes()).map_err(lmdb)?;
        let missing = || DataError::MissingKey { path: path(), key: key.to_owned() };
        value.map(<[u8]>::to_vec).ok_or_else(missing)
    }
}

/// Writes samples as a new LMDB folder, `data.mdb` with the keys `num-samples`, `image-%09d` and
/// `label-%09d`; their names are not kept. Returns how many there were.
///
/// # Errors
/// [`DataError`] if the folder cannot be made, holds an LMDB already, or the disk is full.
pub fn write_lmdb(
    folder: impl AsRef<Path>,
    samples: impl IntoIterator<Item = Sample>,
) -> Result<usize, DataError> {
    let mut count = 0;
    let entries = samples.into_iter().flat_map(|sample| {
        count += 1;
        let key = |kind: &str| format!("{kind}-{count:09}");
        [(key("image"), sample.image), (key("label"), sample.label.into_bytes())]
    });
    let mut writer = Writer::new(folder.as_ref())?;
    writer.write(entries)?;
    writer.write([("num-samples".to_owned(), count.to_string().into_bytes())])?;
    Ok(count)
}

struct Writer {
    path: PathBuf,
    env: Env,
    database: Database<'static, Bytes, Bytes>,
}

impl Writer {
    fn new(path: &Path) -> Result<Self, DataError> {
        let bad = |detail: String| DataError::Lmdb { path: path.to_owned(), detail };
        let lmdb = |error: heed::Error| bad(error.to_string());
        std::fs::create_dir_all(path)
            .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        if path.join("data.mdb").exists() {
            return Err(bad("there is a data.mdb already".into()));
        }
        let env = create_lmdb(path).map_err(lmdb)?;
        let transaction = env.write_txn().map_err(lmdb)?;
        let created = env.create_databases_and_commit(transaction, |opener, transaction| {
            let database = opener.create_database::<Bytes, Bytes>(transaction, None)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
        });
        let database = created.map_err(lmdb)?.commit();
        let database = database.ok_or_else(|| bad("there is no main database".into()))?;
        Ok(Writer { path: path.to_owned(), env, database })
    }

    fn write(
        &mut self,
        entries: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<(), DataError> {
        /// Entries of one transaction: they are held in memory until it ends.
        const TOGETHER: usize = 2000;
        let path = &self.path;
        let lmdb =
            |error: heed::Error| DataError::Lmdb { path: path.clone(), detail: error.to_string() };
        let mut transaction = self.env.write_txn().map_err(lmdb)?;
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.database.put(&mut transaction, key.as_bytes(), &value).map_err(lmdb)?;
            if (index + 1) % TOGETHER == 0 {
                transaction.commit().map_err(lmdb)?;
                transaction = self.env.write_txn().map_err(lmdb)?;
            }
        }
        transaction.commit().map_err(lmdb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    fn written(entries: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let entries = entries.iter().map(|(key, value)| (key.to_string(), value.to_vec()));
        Writer::new(folder.path()).unwrap().write(entries).unwrap();
        folder
    }

    #[test]
    fn round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let samples: Vec<Sample> = (0..2500)
            .map(|i| Sample {
                name: format!("image-{:09}", i + 1),
                image: vec![i as u8; i % 9000],
                label: format!("label {i}"),
            })
            .collect();
        let path = folder.path().join("set");
        assert_eq!(write_lmdb(&path, samples.clone()).unwrap(), 2500);
        let set = Dataset::open(&path).unwrap();
        let again = Dataset::open(path.join(".")).unwrap();
        assert_eq!((set.name(), set.len(), again.len()), ("set", 2500, 2500));
        std::thread::scope(|scope| {
            for first in 0..4 {
                let (set, samples) = (&set, &samples);
                scope.spawn(move || {
                    for index in (first..2500).step_by(4) {
                        assert_eq!(set.sample(index).unwrap(), samples[index]);
                    }
                });
            }
        });
        assert_eq!(again.label(7).unwrap(), "label 7");
        assert!(matches!(set.sample(2500), Err(DataError::Index { .. })));
        assert!(matches!(write_lmdb(&path, samples), Err(DataError::Lmdb { .. })));
        assert!(!path.join("lock.mdb").exists());
        drop(set);
        assert_eq!(again.label(8).unwrap(), "label 8");
    }

    #[test]
    fn opened_and_closed_by_many_threads() {
        let folder = written(&[("num-samples", b"0")]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(Dataset::open(folder.path()).unwrap().len(), 0);
                    }
                });
            }
        });
        // Closed: another file can take its place.
        std::fs::remove_file(folder.path().join("data.mdb")).unwrap();
        Writer::new(folder.path())
            .unwrap()
            .write([("num-samples".to_owned(), b"1".to_vec())])
            .unwrap();
        let set = Dataset::open(folder.path()).unwrap();
        assert_eq!(set.len(), 1);
        std::fs::remove_file(folder.path().join("data.mdb")).unwrap();
        std::fs::write(folder.path().join("data.mdb"), "another").unwrap();
        assert!(matches!(Dataset::open(folder.path()), Err(DataError::Lmdb { .. })));
    }

    #[test]
    fn missing_keys() {
        let folder = written(&[
            ("num-samples", b"4"),
            ("image-000000001", b"image"),
            ("label-000000001", b"a"),
            ("label-000000002", b"b"),
            ("image-000000003", b"image"),
            ("image-000000004", b"image"),
            ("label-000000004", b"\xff"),
        ]);
        let set = Dataset::open(folder.path()).unwrap();
        assert_eq!(set.len(), 4);
        assert_eq!(set.sample(0).unwrap().label, "a");
        for (index, key) in [(1, "image-000000002"), (2, "label-000000003")] {
            let error = set.sample(index).unwrap_err();
            assert!(matches!(&error, DataError::MissingKey { key: k, .. } if k == key), "{error}");
        }
        assert!(matches!(set.sample(3), Err(DataError::NotUtf8 { .. })));
    }

    #[test]
    fn damaged_folders() {
        let open = |folder: &tempfile::TempDir| Dataset::open(folder.path()).unwrap_err();
        let error = open(&written(&[("label-000000001", b"a")]));
        assert!(matches!(&error, DataError::MissingKey { key, .. } if key == "num-samples"));
        for count in [&b"many"[..], b"-1", b"", b"18446744073709551615"] {
            let error = open(&written(&[("num-samples", count)]));
            assert!(matches!(error, DataError::Lmdb { .. }), "{error}");
        }
        for bytes in [0, 10, 4096, 8192, 20_000] {
            let folder = written(&[("num-samples", b"1"), ("image-000000001", &[1; 100_000])]);
            let file = folder.path().join("data.mdb");
            let whole = std::fs::read(&file).unwrap();
            std::fs::write(&file, &whole[..bytes]).unwrap();
            let error = open(&folder);
            assert!(matches!(error, DataError::Lmdb { .. }), "{bytes}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("data.mdb"), [7; 20_000]).unwrap();
        assert!(matches!(open(&folder), DataError::Lmdb { .. }));
    }
}
