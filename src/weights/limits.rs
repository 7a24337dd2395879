//! What a weights file may ask for: checks that the readers of all formats share.
//!
//! They keep memory and time proportional to the size of the file: names are short, shapes have few
//! dimensions, no name comes twice, and tensors that share bytes do not multiply them.

use std::collections::BTreeMap;

use super::tensor::StoredTensor;
use crate::error::{Result, WeightsError};

/// Dimensions of a tensor; the network's parameters have at most 4.
pub(crate) const MAX_RANK: usize = 8;
/// Bytes of a tensor's name; those of published checkpoints have about 60.
pub(super) const MAX_NAME: usize = 512;
/// Tensors of a file: a training checkpoint has four for every parameter, and the largest network
/// that a configuration can describe has some 40 000 parameters.
const MAX_TENSORS: usize = 1 << 18;
/// How often the bytes of a file may count in its tensors: some checkpoints hold a parameter under
/// two names.
const MAX_SHARING: u64 = 2;

/// The tensors of a file under its own names, checked as they are added.
pub(super) struct TensorList {
    format: &'static str,
    /// The size of the file.
    file_bytes: u64,
    /// The bytes of all tensors so far.
    tensor_bytes: u64,
    tensors: BTreeMap<String, StoredTensor>,
}

impl TensorList {
    /// An empty list for a file of `file_bytes` in a format.
    pub(super) fn new(format: &'static str, file_bytes: usize) -> Self {
        let (file_bytes, tensors) = (file_bytes as u64, BTreeMap::new());
        TensorList { format, file_bytes, tensor_bytes: 0, tensors }
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// [`WeightsError::Duplicate`] if the name came before; [`WeightsError::Malformed`] if the name
    /// is too long, the tensor has too many dimensions, there are too many tensors, or they count
    /// the file's bytes more than twice.
    pub(super) fn push(&mut self, name: &str, tensor: StoredTensor) -> Result<()> {
        check_name(self.format, name)?;
        check_rank(self.format, name, tensor.shape().len())?;
        if self.tensors.len() >= MAX_TENSORS {
            return Err(malformed(self.format, format!("more than {MAX_TENSORS} tensors")));
        }
        self.tensor_bytes = self.tensor_bytes.saturating_add(tensor.stored_bytes());
        if self.tensor_bytes > MAX_SHARING * self.file_bytes {
            let detail = "its tensors share the same bytes too often";
            return Err(malformed(self.format, detail.to_owned()));
        }
        if self.tensors.contains_key(name) {
            return Err(WeightsError::Duplicate { name: name.to_owned() }.into());
        }
        self.tensors.insert(name.to_owned(), tensor);
        Ok(())
    }

    pub(super) fn into_tensors(self) -> BTreeMap<String, StoredTensor> {
        self.tensors
    }
}

/// Checks the length of a tensor's name.
pub(super) fn check_name(format: &'static str, name: &str) -> Result<()> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(malformed(format, format!("a tensor's name has {} bytes", name.len())))
}

/// Checks the number of a tensor's dimensions, whose name is short.
pub(super) fn check_rank(format: &'static str, name: &str, rank: usize) -> Result<()> {
    if rank <= MAX_RANK {
        return Ok(());
    }
    Err(malformed(format, format!("tensor {name} has {rank} dimensions, more than {MAX_RANK}")))
}

fn malformed(format: &'static str, detail: String) -> crate::Error {
    WeightsError::Malformed { format, detail }.into()
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::super::tensor::ElementType;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_is_refused() {
        let buffer = Arc::new(Buffer::Owned(vec![0; 64]));
        let tensor = |shape: &[usize]| {
            let size = shape.iter().product::<usize>() * 4;
            let tensor =
                StoredTensor::contiguous(&buffer, 0..size, ElementType::F32, shape.to_vec());
            tensor.unwrap()
        };
        let mut list = TensorList::new("test", 64);
        list.push("a", tensor(&[2, 4])).unwrap();
        list.push(&"n".repeat(MAX_NAME), tensor(&[1; MAX_RANK])).unwrap();
        let mut fault = |name: &str, shape: &[usize], part: &str| {
            let message = list.push(name, tensor(shape)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        fault("a", &[1], "twice");
        fault(&"n".repeat(MAX_NAME + 1), &[1], "name has 513 bytes");
        fault("b", &[1; MAX_RANK + 1], "9 dimensions");
        list.push("c", tensor(&[16])).unwrap();
        let message = list.push("d", tensor(&[16])).unwrap_err().to_string();
        assert!(message.contains("too often"), "{message}");
    }
}
