//! LMDB folders as the published training and evaluation sets are: `num-samples`, and from 1 on
//! `image-%09d` and `label-%09d`.

mod format;
mod reader;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use super::{DataError, Sample};
use crate::error::shortened;
use crate::files;
use reader::{Fault, Reader};
use writer::Writer;

const FILE: &str = "data.mdb";
/// The most samples: their keys have nine digits.
const MAX_SAMPLES: usize = 999_999_999;

#[derive(Debug)]
pub(super) struct Lmdb {
    path: PathBuf,
    reader: Reader,
    len: usize,
}

impl Lmdb {
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let bad = |detail: String| DataError::Lmdb { path: path.to_owned(), detail };
        let reader = Reader::open(&path.join(FILE)).map_err(|fault| fault_in(path, fault))?;
        let mut data = Lmdb { path: path.to_owned(), reader, len: 0 };
        let count = data.text("num-samples")?;
        let wrong = |_| bad(format!("num-samples is {:?}", shortened(&count)));
        data.len = count.trim().parse().map_err(wrong)?;
        // Gaps are for the samples to tell; a number that cannot be true is the set's own fault.
        let entries = data.reader.entries();
        if data.len as u64 > entries {
            return Err(bad(format!(
                "num-samples is {}, but there are {entries} entries",
                data.len
            )));
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
        let value = self.reader.get(key.as_bytes()).map_err(|fault| fault_in(&self.path, fault))?;
        let missing = || DataError::MissingKey { path: self.path.clone(), key: key.to_owned() };
        value.ok_or_else(missing)
    }
}

fn fault_in(folder: &Path, fault: Fault) -> DataError {
    match fault {
        Fault::Io(source) => DataError::Io { path: folder.join(FILE), source },
        Fault::Damaged(detail) => {
            DataError::Lmdb { path: folder.to_owned(), detail: format!("{FILE}: {detail}") }
        }
    }
}

/// Writes samples as a new LMDB folder, `data.mdb` with the keys `num-samples`, `image-%09d` and
/// `label-%09d`; their names are not kept. Returns how many there were.
///
/// Images go to the disk one by one; the labels are held in memory until the end. The file appears
/// when it is complete.
///
/// # Errors
/// [`DataError`] if the folder cannot be made, holds an LMDB already, or the disk is full.
pub fn write_lmdb(
    folder: impl AsRef<Path>,
    samples: impl IntoIterator<Item = Sample>,
) -> Result<usize, DataError> {
    let folder = folder.as_ref();
    let path = folder.join(FILE);
    let failed = |source| DataError::Io { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    if path.exists() {
        let detail = format!("there is a {FILE} already");
        return Err(DataError::Lmdb { path: folder.to_owned(), detail });
    }
    let mut labels = Vec::new();
    let written = files::replace_with(&path, |file| {
        // In the order of the keys: image-, label-, num-samples.
        let mut writer = Writer::new(file)?;
        for sample in samples {
            labels.push(sample.label);
            if labels.len() > MAX_SAMPLES {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too many samples"));
            }
            writer.push(format!("image-{:09}", labels.len()).as_bytes(), &sample.image)?;
        }
        for (number, label) in (1..).zip(&labels) {
            writer.push(format!("label-{number:09}").as_bytes(), label.as_bytes())?;
        }
        writer.push(b"num-samples", labels.len().to_string().as_bytes())?;
        writer.finish()
    });
    written.map_err(failed)?;
    Ok(labels.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    /// A folder with these entries.
    fn written(entries: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut entries = entries.to_vec();
        entries.sort_unstable();
        let written = files::replace_with(&folder.path().join(FILE), |file| {
            let mut writer = Writer::new(file)?;
            for (key, value) in entries {
                writer.push(key.as_bytes(), value)?;
            }
            writer.finish()
        });
        written.unwrap();
        folder
    }

    fn samples(count: usize) -> Vec<Sample> {
        (0..count)
            .map(|i| Sample {
                name: format!("image-{:09}", i + 1),
                image: vec![i as u8; i * 7 % 9000],
                label: format!("label {i}"),
            })
            .collect()
    }

    #[test]
    fn round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(2500);
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
        assert!(matches!(set.sample(2500), Err(DataError::Index { .. })));
        assert!(matches!(write_lmdb(&path, samples), Err(DataError::Lmdb { .. })));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
        // A file that is replaced stays what it was for those who have it open.
        std::fs::remove_file(path.join(FILE)).unwrap();
        assert_eq!(write_lmdb(&path, []).unwrap(), 0);
        assert_eq!(again.label(8).unwrap(), "label 8");
        assert_eq!(Dataset::open(&path).unwrap().len(), 0);
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
            let file = folder.path().join(FILE);
            let whole = std::fs::read(&file).unwrap();
            std::fs::write(&file, &whole[..bytes]).unwrap();
            let error = open(&folder).to_string();
            assert!(error.contains("truncated"), "{bytes}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), [7; 20_000]).unwrap();
        assert!(open(&folder).to_string().contains("not an LMDB file"));
    }

    /// Every bit of the meta pages and headers, and others here and there.
    #[test]
    fn flipped_bits() {
        let folder = tempfile::tempdir().unwrap();
        write_lmdb(folder.path(), samples(400)).unwrap();
        let file = folder.path().join(FILE);
        let whole = std::fs::read(&file).unwrap();
        let mut faults = 0;
        for page in (0..whole.len()).step_by(4096) {
            let step = if page < 8192 { 3 } else { 97 };
            for bit in (0..8 * 200).step_by(step) {
                let mut bytes = whole.clone();
                bytes[page + bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&file, &bytes).unwrap();
                let Ok(set) = Dataset::open(folder.path()) else {
                    faults += 1;
                    continue;
                };
                assert!(set.len() <= 801);
                for index in (0..set.len()).step_by(37) {
                    let _ = set.sample(index);
                }
            }
        }
        assert!(faults > 50, "{faults}");
    }

    #[test]
    fn crafted_pages() {
        let folder = tempfile::tempdir().unwrap();
        write_lmdb(folder.path(), samples(400)).unwrap();
        let file = folder.path().join(FILE);
        let whole = std::fs::read(&file).unwrap();
        let root = format::u64_at(&whole, 4096 + format::META_TREES + format::TREE + 40).unwrap();
        let (meta, root) = (4096 + format::META_TREES, 4096 * root as usize);
        let cases: [(&str, usize, &[u8], &str); 10] = [
            ("page size 0", format::META_TREES, &[0; 4], "page size"),
            ("page size 4097", format::META_TREES, &[1, 16, 0, 0], "page size"),
            ("no magic", 16, &[0], "not an LMDB file"),
            ("version 2", 20, &[2], "version"),
            ("several values a key", meta + format::TREE + 4, &[4], "another rule"),
            ("depth 65535", meta + format::TREE + 6, &[255, 255], "depth"),
            ("depth 0", meta + format::TREE + 6, &[0, 0], "depth"),
            ("root beyond the end", meta + format::TREE + 40, &[255; 7], "outside"),
            ("root is a meta page", meta + format::TREE + 40, &[1, 0], "outside"),
            ("header of the root", root + 12, &[255, 255], "header"),
        ];
        for (name, at, new, part) in cases {
            let mut bytes = whole.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            std::fs::write(&file, &bytes).unwrap();
            let error = Dataset::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
        }
        // A branch that leads to itself: the depth ends it.
        let mut bytes = whole.clone();
        let lower = usize::from(format::u16_at(&whole, root + 12).unwrap());
        for child in 0..(lower - format::HEADER) / 2 {
            let node = root + usize::from(format::u16_at(&whole, root + 16 + 2 * child).unwrap());
            bytes[node..node + 4].copy_from_slice(&((root / 4096) as u32).to_le_bytes());
        }
        std::fs::write(&file, &bytes).unwrap();
        let error = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not what the tree says"), "{error}");
    }
}
