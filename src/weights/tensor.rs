//! A tensor that still lies in its file.

use std::fmt;
use std::ops::Range;

use super::SharedBuffer;
#[cfg(feature = "onnx")]
use super::buffer::Buffer;
use super::levels::StoredIntegers;
use super::shape::{element_count, row_major};
use crate::error::{Result, WeightsError};
use crate::ops::quantized::QuantizedTensor;

/// Element types that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    F16,
    Bf16,
    F32,
    F64,
}

impl ElementType {
    /// The element type of a safetensors file's, if weights are stored in it.
    pub(super) fn from_dtype(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::F16 => Some(ElementType::F16),
            safetensors::Dtype::BF16 => Some(ElementType::Bf16),
            safetensors::Dtype::F32 => Some(ElementType::F32),
            safetensors::Dtype::F64 => Some(ElementType::F64),
            _ => None,
        }
    }

    pub(super) fn size(self) -> usize {
        match self {
            ElementType::F16 | ElementType::Bf16 => 2,
            ElementType::F32 => 4,
            ElementType::F64 => 8,
        }
    }
}

/// Characters of the name of an element type that are kept.
const MAX_DTYPE: usize = 64;

/// Where a tensor's elements are.
#[derive(Clone)]
enum Elements {
    /// Little-endian elements in a buffer. Element `[i, j, ..]` lies `i * strides[0] + ..`
    /// elements behind the start of the range.
    Stored { buffer: SharedBuffer, bytes: Range<usize>, kind: ElementType, strides: Vec<usize> },
    /// Values that were computed on loading, in row-major order.
    Computed(Vec<f32>),
    /// Integers with a scale a row: `tensor` has all but the integers.
    Quantized { integers: StoredIntegers, tensor: QuantizedTensor },
    /// Elements of a type that no weights have; kept until it is known whether anybody needs them.
    Foreign { dtype: String },
}

/// A tensor's shape and where its elements are.
#[derive(Clone)]
pub(super) struct StoredTensor {
    shape: Vec<usize>,
    elements: Elements,
    /// Whether int8 inference computes its layer in f32.
    keep_f32: bool,
}

impl StoredTensor {
    /// A tensor in row-major order in the bytes `bytes` of `buffer`.
    ///
    /// `None` if shape, element type and range do not fit each other or the buffer.
    pub(super) fn contiguous(
        buffer: &SharedBuffer,
        bytes: Range<usize>,
        kind: ElementType,
        shape: Vec<usize>,
    ) -> Option<Self> {
        let strides = row_major(&shape)?;
        let size = element_count(&shape)?.checked_mul(kind.size())?;
        (bytes.end.checked_sub(bytes.start)? == size).then_some(())?;
        Self::strided(buffer, bytes, kind, shape, strides)
    }

    /// A tensor with the given strides (in elements) in the bytes `bytes` of `buffer`.
    ///
    /// `None` if an element would lie outside.
    pub(super) fn strided(
        buffer: &SharedBuffer,
        bytes: Range<usize>,
        kind: ElementType,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Option<Self> {
        (bytes.start <= bytes.end && bytes.end <= buffer.len()).then_some(())?;
        let available = bytes.len() / kind.size();
        (shape.len() == strides.len()).then_some(())?;
        let mut bytes = bytes;
        if element_count(&shape)? == 0 {
            bytes.end = bytes.start;
        } else {
            let mut last = 0usize;
            for (&size, &stride) in shape.iter().zip(&strides) {
                last = last.checked_add((size - 1).checked_mul(stride)?)?;
            }
            (last < available).then_some(())?;
            // Overlapping elements (a stride of 0) could blow a small file up to any size.
            (element_count(&shape)? <= available).then_some(())?;
            // Others may share what lies behind.
            bytes.end = bytes.start + (last + 1) * kind.size();
        }
        let elements = Elements::Stored { buffer: buffer.clone(), bytes, kind, strides };
        Some(StoredTensor::new(shape, elements))
    }

    fn new(shape: Vec<usize>, elements: Elements) -> Self {
        StoredTensor { shape, elements, keep_f32: false }
    }

    /// A tensor of computed values in row-major order; their count is the shape's.
    pub(super) fn computed(values: Vec<f32>, shape: Vec<usize>) -> Self {
        debug_assert_eq!(element_count(&shape), Some(values.len()));
        StoredTensor::new(shape, Elements::Computed(values))
    }

    /// A tensor of an element type that weights are not stored in. Of a long name of the type the
    /// start is kept.
    pub(super) fn foreign(dtype: &str, shape: Vec<usize>) -> Self {
        let dtype = dtype.chars().take(MAX_DTYPE).collect();
        StoredTensor::new(shape, Elements::Foreign { dtype })
    }

    /// A tensor of integers with a scale a row, which were checked against its shape: `tensor` has all but the
    /// integers.
    pub(super) fn quantized(integers: StoredIntegers, tensor: QuantizedTensor) -> Self {
        StoredTensor::new(tensor.shape.clone(), Elements::Quantized { integers, tensor })
    }

    /// Makes int8 inference compute its layer in f32.
    pub(super) fn keep_f32(&mut self) {
        self.keep_f32 = true;
    }

    /// Whether int8 inference computes its layer in f32.
    pub(super) fn is_kept_f32(&self) -> bool {
        self.keep_f32
    }

    /// Refers to the file instead of the copy of its bytes that is in memory.
    #[cfg(feature = "onnx")]
    pub(super) fn unload(&mut self) {
        if let Elements::Stored { buffer, .. } = &mut self.elements
            && let Buffer::Loaded { file, .. } = &**buffer
        {
            *buffer = file.clone();
        }
    }

    /// The bytes that its elements take in the file; shared ones count for every tensor.
    pub(super) fn stored_bytes(&self) -> u64 {
        match &self.elements {
            Elements::Stored { kind, .. } => {
                let count = element_count(&self.shape).unwrap_or(usize::MAX);
                (count as u64).saturating_mul(kind.size() as u64)
            }
            Elements::Quantized { integers, .. } => integers.bytes.len() as u64,
            Elements::Computed(_) | Elements::Foreign { .. } => 0,
        }
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// This matrix with its two dimensions exchanged; `None` if it is no matrix in a file.
    #[cfg(feature = "onnx")]
    pub(super) fn transposed(&self) -> Option<Self> {
        let mut tensor = self.clone();
        match &mut tensor.elements {
            Elements::Stored { strides, .. } if strides.len() == 2 => strides.reverse(),
            _ => return None,
        }
        tensor.shape.reverse();
        Some(tensor)
    }

    /// The same elements in the same order in another shape; `None` if the number of elements
    /// differs, or if they are integers or lie in another order in the file.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        (element_count(&shape)? == element_count(&self.shape)?).then_some(())?;
        let mut tensor = self.clone();
        match &mut tensor.elements {
            Elements::Stored { strides, .. } if row_major(&self.shape)? == *strides => {
                *strides = row_major(&shape)?;
            }
            Elements::Stored { .. } | Elements::Quantized { .. } => return None,
            Elements::Computed(_) | Elements::Foreign { .. } => {}
        }
        tensor.shape = shape;
        Some(tensor)
    }

    /// Some rows (of the first dimension) as a tensor of their own, in f32.
    pub(super) fn rows(&self, name: &str, rows: &[usize]) -> Result<Self> {
        let values = self.values(name)?;
        let count = self.shape.first().copied().unwrap_or(0);
        let len = values.len().checked_div(count).unwrap_or(0);
        let mut kept = Vec::with_capacity(rows.len() * len);
        for &row in rows {
            if row >= count {
                let detail = format!("{name} has {count} rows, not a row {row}");
                return Err(WeightsError::NotSvtrv2 { detail }.into());
            }
            kept.extend_from_slice(&values[row * len..(row + 1) * len]);
        }
        let shape = [&[rows.len()], self.shape.get(1..).unwrap_or_default()].concat();
        Ok(Self::computed(kept, shape))
    }

    /// The integers with their scales, if the tensor is stored so.
    pub(super) fn quantized_values(&self, name: &str) -> Result<Option<QuantizedTensor>> {
        match &self.elements {
            Elements::Quantized { integers, tensor } => integers.read(name, tensor).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn is_quantized(&self) -> bool {
        matches!(self.elements, Elements::Quantized { .. })
    }

    /// The values in row-major order, as f32 and finite.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>> {
        let values = match &self.elements {
            Elements::Computed(values) => values.clone(),
            Elements::Quantized { integers, tensor } => integers.read(name, tensor)?.dequantized(),
            Elements::Foreign { dtype } => {
                let (name, dtype) = (name.to_owned(), dtype.clone());
                return Err(WeightsError::Dtype { name, dtype }.into());
            }
            Elements::Stored { buffer, bytes, kind, strides } => {
                let bytes = &buffer.read(bytes.clone())?;
                match kind {
                    ElementType::F16 => self
                        .gather(bytes, strides, |b: [u8; 2]| half::f16::from_le_bytes(b).to_f32()),
                    ElementType::Bf16 => self
                        .gather(bytes, strides, |b: [u8; 2]| half::bf16::from_le_bytes(b).to_f32()),
                    ElementType::F32 => self.gather(bytes, strides, f32::from_le_bytes),
                    ElementType::F64 => {
                        self.gather(bytes, strides, |b: [u8; 8]| f64::from_le_bytes(b) as f32)
                    }
                }
            }
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => {
                let (name, value) = (name.to_owned(), values[index]);
                Err(WeightsError::NonFinite { name, index, value }.into())
            }
        }
    }

    /// Reads the elements in row-major order; the constructors made sure that all lie inside.
    fn gather<const N: usize>(
        &self,
        bytes: &[u8],
        strides: &[usize],
        read: impl Fn([u8; N]) -> f32,
    ) -> Vec<f32> {
        let (elements, _) = bytes.as_chunks::<N>();
        let count: usize = self.shape.iter().product();
        if count == 0 {
            return Vec::new();
        }
        if row_major(&self.shape).as_deref() == Some(strides) {
            return elements[..count].iter().map(|&bytes| read(bytes)).collect();
        }
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        loop {
            values.push(read(elements[at]));
            let mut axis = self.shape.len();
            loop {
                if axis == 0 {
                    return values;
                }
                axis -= 1;
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= strides[axis] * index[axis];
                index[axis] = 0;
            }
        }
    }
}

impl fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "StoredTensor({:?})", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::*;
    use std::sync::Arc;

    fn numbers(count: usize) -> SharedBuffer {
        let bytes: Vec<u8> = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
        Arc::new(Buffer::Owned(bytes))
    }

    #[test]
    fn strides() {
        let buffer = numbers(6);
        let tensor =
            StoredTensor::strided(&buffer, 0..24, ElementType::F32, vec![3, 2], vec![1, 3]);
        assert_eq!(tensor.unwrap().values("t").unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn nothing_outside_the_buffer() {
        let buffer = numbers(6);
        let strided = |bytes, shape: &[usize], strides: &[usize]| {
            let (shape, strides) = (shape.to_vec(), strides.to_vec());
            StoredTensor::strided(&buffer, bytes, ElementType::F32, shape, strides).is_some()
        };
        assert!(strided(0..24, &[2, 3], &[3, 1]));
        assert!(strided(0..24, &[0, 3], &[3, 1]));
        assert!(!strided(0..28, &[2, 3], &[3, 1]), "range beyond the buffer");
        assert!(!strided(0..20, &[2, 3], &[3, 1]), "last element outside");
        assert!(!strided(0..24, &[2, 3], &[usize::MAX, 1]), "stride overflows");
        assert!(!strided(0..24, &[usize::MAX, 3], &[1, 1]), "count overflows");
        assert!(!strided(0..24, &[1000, 1000], &[0, 0]), "more elements than bytes");
        assert!(!strided(0..24, &[2, 3], &[3]), "ranks differ");
        let shape = vec![2, 2];
        let contiguous = StoredTensor::contiguous(&buffer, 0..24, ElementType::F32, shape);
        assert!(contiguous.is_none(), "range and shape differ");
    }
}
