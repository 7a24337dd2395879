//! PyTorch's `.pth` since version 1.6: a zip archive of a pickle and one entry a storage.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::buffer::{Buffer, BufferReader};
use super::limits::{TensorList, check_name, check_rank};
use super::pickle::{Id, Pickle, Value};
use super::tensor::{ElementType, StoredTensor};
use super::{SharedBuffer, WeightsFile};
use crate::error::{Result, WeightsError, shortened};

/// Keys under which checkpoints keep the tensors, looked for in this order; without any of them
/// the pickled dictionary itself is the state dict.
const STATE_DICT_KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "params"];
/// The longest pickle that is read: a state dict's is some hundred bytes a tensor.
const MAX_PICKLE: u64 = 64 << 20;

const FORMAT: &str = "PyTorch .pth";

pub(super) fn read(buffer: Buffer) -> Result<WeightsFile> {
    let buffer = Arc::new(buffer);
    let mut archive = Archive::open(&buffer)?;
    let pickle = Pickle::parse(&archive.pickle()?).map_err(malformed)?;
    let items = state_dict(&pickle)?;
    let mut list = TensorList::new(FORMAT, buffer.len());
    for &(key, value) in items {
        let (Some(name), Some(description)) = (pickle.text(key), describe(&pickle, value)) else {
            continue;
        };
        check_name(FORMAT, name)?;
        check_rank(FORMAT, name, description.size.len().max(description.stride.len()))?;
        list.push(name, archive.tensor(name, &description)?)?;
    }
    Ok(WeightsFile::from_tensors(list.into_tensors()))
}

fn malformed(detail: impl std::fmt::Display) -> crate::Error {
    WeightsError::Malformed { format: FORMAT, detail: shortened(&detail.to_string()) }.into()
}

fn state_dict(pickle: &Pickle) -> Result<&[(Id, Id)]> {
    let items = |id| pickle.items(id);
    let root = items(pickle.root()).ok_or_else(|| WeightsError::NotSvtrv2 {
        detail: "the pickle is no dictionary; save model.state_dict()".into(),
    })?;
    let entry = |wanted: &str| {
        let (_, value) = root.iter().find(|(key, _)| pickle.text(*key) == Some(wanted))?;
        items(*value)
    };
    Ok(STATE_DICT_KEYS.iter().find_map(|key| entry(key)).unwrap_or(root))
}

/// A tensor as the pickle describes it.
struct Description<'a> {
    /// Name of the storage's class, such as `torch.FloatStorage`.
    storage_class: &'a str,
    /// Name of the storage's entry in the archive.
    storage_key: &'a str,
    /// Index of the first element in the storage.
    offset: usize,
    /// Numbers of any count: they are copied when it was checked.
    size: &'a [Id],
    stride: &'a [Id],
    pickle: &'a Pickle,
}

impl Description<'_> {
    /// Shape and strides; `None` if one of the numbers is below 0 or no number.
    fn shape_and_strides(&self) -> Option<(Vec<usize>, Vec<usize>)> {
        let number = |&item: &Id| usize::try_from(self.pickle.int(item)?).ok();
        let sizes = |items: &[Id]| items.iter().map(number).collect::<Option<Vec<usize>>>();
        Some((sizes(self.size)?, sizes(self.stride)?))
    }
}

/// Understands `_rebuild_tensor_v2(storage, offset, size, stride, ..)`, alone or inside a
/// parameter; anything else is not a tensor.
fn describe(pickle: &Pickle, value: Id) -> Option<Description<'_>> {
    let (mut callable, mut arguments) = pickle.call(value)?;
    if callable == "torch._utils._rebuild_parameter" {
        (callable, arguments) = pickle.call(*arguments.first()?)?;
    }
    if callable != "torch._utils._rebuild_tensor_v2" {
        return None;
    }
    let &[storage, offset, size, stride, ..] = arguments else {
        return None;
    };
    let Value::Persistent(storage) = pickle.get(storage) else {
        return None;
    };
    let &[_, class, key, ..] = pickle.tuple(*storage)? else {
        return None;
    };
    let Value::Global(storage_class) = pickle.get(class) else {
        return None;
    };
    Some(Description {
        storage_class,
        storage_key: pickle.text(key)?,
        offset: usize::try_from(pickle.int(offset)?).ok()?,
        size: pickle.tuple(size)?,
        stride: pickle.tuple(stride)?,
        pickle,
    })
}

/// The zip archive, and where its storages are.
struct Archive<'a> {
    buffer: &'a SharedBuffer,
    zip: ZipArchive<BufReader<BufferReader<'a>>>,
    /// The folder that everything in the archive lies in, with a slash.
    root: String,
    /// Storages by key: several tensors may share one.
    storages: HashMap<String, (SharedBuffer, Range<usize>)>,
}

impl<'a> Archive<'a> {
    fn open(buffer: &'a SharedBuffer) -> Result<Self> {
        let mut zip = ZipArchive::new(BufReader::new(buffer.reader())).map_err(malformed)?;
        let mut root = None;
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(malformed)?;
            let name = entry.name().map_err(malformed)?;
            if let Some(folder) = name.strip_suffix("data.pkl") {
                root = Some(folder.to_owned());
                break;
            }
        }
        let root = root.ok_or_else(|| WeightsError::NotSvtrv2 {
            detail: "a zip archive without data.pkl is no PyTorch file".into(),
        })?;
        Ok(Archive { buffer, zip, root, storages: HashMap::new() })
    }

    fn pickle(&mut self) -> Result<Vec<u8>> {
        let name = format!("{}byteorder", self.root);
        match self.entry(&name, 16) {
            Ok(order) if order != b"little" => {
                return Err(malformed("its byte order is not little-endian"));
            }
            _ => {}
        }
        self.entry(&format!("{}data.pkl", self.root), MAX_PICKLE)
    }

    fn entry(&mut self, name: &str, longest: u64) -> Result<Vec<u8>> {
        let entry = self.zip.by_name(name).map_err(|error| missing(name, error))?;
        if entry.size() > longest {
            return Err(malformed(format!("{name} has {} bytes", entry.size())));
        }
        let mut bytes = Vec::new();
        // The checksum is verified at the end.
        entry.take(longest + 1).read_to_end(&mut bytes).map_err(malformed)?;
        Ok(bytes)
    }

    /// The bytes of a storage: in place if they are stored as they are, which they always are in
    /// files that PyTorch wrote.
    fn storage(&mut self, key: &str) -> Result<(SharedBuffer, Range<usize>)> {
        if let Some(found) = self.storages.get(key) {
            return Ok(found.clone());
        }
        let name = format!("{}data/{key}", self.root);
        let entry = self.zip.by_name(&name).map_err(|error| missing(&name, error))?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(malformed(format!("{name} is compressed")));
        }
        let range = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            Some(start..start.checked_add(usize::try_from(entry.size()).ok()?)?)
        });
        drop(entry);
        let range = range
            .filter(|range| range.end <= self.buffer.len())
            .ok_or_else(|| malformed(format!("{name} is out of place")))?;
        let storage = (self.buffer.clone(), range);
        self.storages.insert(key.to_owned(), storage.clone());
        Ok(storage)
    }

    fn tensor(&mut self, name: &str, description: &Description) -> Result<StoredTensor> {
        let Description { storage_class, storage_key, offset, .. } = description;
        let (shape, strides) = description
            .shape_and_strides()
            .ok_or_else(|| malformed(format!("tensor {name} has no shape")))?;
        let kind = match *storage_class {
            "torch.FloatStorage" => ElementType::F32,
            "torch.DoubleStorage" => ElementType::F64,
            "torch.HalfStorage" => ElementType::F16,
            "torch.BFloat16Storage" => ElementType::Bf16,
            other => return Ok(StoredTensor::foreign(other, shape)),
        };
        let (buffer, bytes) = self.storage(storage_key)?;
        let start = offset.checked_mul(kind.size()).and_then(|at| at.checked_add(bytes.start));
        start
            .filter(|&start| start <= bytes.end)
            .and_then(|start| {
                StoredTensor::strided(&buffer, start..bytes.end, kind, shape, strides)
            })
            .ok_or_else(|| malformed(format!("tensor {name} exceeds its storage")))
    }
}

fn missing(name: &str, error: ZipError) -> crate::Error {
    malformed(format!("{name}: {error}"))
}
