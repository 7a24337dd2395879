//! Tensors inside an ONNX file.

use std::ops::Range;
use std::sync::Arc;

use super::super::SharedBuffer;
use super::super::buffer::Buffer;
use super::super::limits::{MAX_RANK, check_name, check_rank};
use super::super::protobuf::{Fields, Value};
use super::super::tensor::{ElementType, StoredTensor};
use super::{FORMAT, malformed, text};
use crate::error::Result;

// Numbers of fields of a tensor.
const TENSOR_DIMS: u64 = 1;
const TENSOR_DATA_TYPE: u64 = 2;
const TENSOR_FLOAT_DATA: u64 = 4;
const TENSOR_INT32_DATA: u64 = 5;
const TENSOR_INT64_DATA: u64 = 7;
const TENSOR_NAME: u64 = 8;
const TENSOR_RAW_DATA: u64 = 9;
/// Not 0 if the elements lie in another file.
const TENSOR_DATA_LOCATION: u64 = 14;

/// Element types of ONNX.
const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;
const DOUBLE: u64 = 11;
const BFLOAT16: u64 = 16;

/// A tensor and its name.
pub(super) fn tensor(buffer: &SharedBuffer, message: Range<usize>) -> Result<(&str, StoredTensor)> {
    let file = buffer.as_slice();
    let (mut name, mut shape, mut data_type) = ("", Vec::new(), 0);
    let (mut raw, mut floats, mut elsewhere) = (0..0, Vec::new(), false);
    let mut dimension = |size: u64| {
        // One too many is enough to tell.
        if shape.len() <= MAX_RANK {
            shape.push(size);
        }
    };
    for field in Fields::new(file, message) {
        match field.map_err(malformed)? {
            (TENSOR_DIMS, Value::Varint(size)) => dimension(size),
            (TENSOR_DIMS, Value::Bytes(packed)) => {
                let mut packed = Fields::new(file, packed);
                while !packed.is_empty() {
                    dimension(packed.varint().map_err(malformed)?);
                }
            }
            (TENSOR_DATA_TYPE, Value::Varint(value)) => data_type = value,
            // Packed, or one by one.
            (TENSOR_FLOAT_DATA, Value::Bytes(range) | Value::Fixed(range)) => floats.push(range),
            (TENSOR_NAME, Value::Bytes(range)) => name = text(file, range)?,
            (TENSOR_RAW_DATA, Value::Bytes(range)) => raw = range,
            (TENSOR_DATA_LOCATION, Value::Varint(value)) => elsewhere = value != 0,
            _ => {}
        }
    }
    check_name(FORMAT, name)?;
    check_rank(FORMAT, name, shape.len())?;
    // Negative sizes are numbers above any size here.
    let sizes: Option<Vec<usize>> =
        shape.iter().map(|&size| usize::try_from(size as i64).ok()).collect();
    let sizes = sizes.ok_or_else(|| malformed(format!("{name} has the shape {shape:?}")))?;
    if elsewhere {
        return Err(malformed(format!("{name} lies in another file")));
    }
    let kind = match data_type {
        FLOAT => ElementType::F32,
        FLOAT16 => ElementType::F16,
        DOUBLE => ElementType::F64,
        BFLOAT16 => ElementType::Bf16,
        other => return Ok((name, StoredTensor::foreign(&format!("ONNX type {other}"), sizes))),
    };
    let (buffer, bytes) = match floats.as_slice() {
        _ if !raw.is_empty() || kind != ElementType::F32 => (buffer.clone(), raw),
        // Both are little-endian: packed numbers are as good as raw ones.
        [one] => (buffer.clone(), one.clone()),
        several => {
            let parts = several.iter().filter_map(|range| file.get(range.clone()));
            let bytes = parts.collect::<Vec<_>>().concat();
            let all = 0..bytes.len();
            (Arc::new(Buffer::Owned(bytes)), all)
        }
    };
    let len = bytes.len();
    let tensor = StoredTensor::contiguous(&buffer, bytes, kind, sizes)
        .ok_or_else(|| malformed(format!("{name} has {len} bytes for the shape {shape:?}")))?;
    Ok((name, tensor))
}

/// The name of a tensor.
pub(super) fn name(file: &[u8], message: Range<usize>) -> Result<&str> {
    let mut name = "";
    for field in Fields::new(file, message) {
        if let (TENSOR_NAME, Value::Bytes(range)) = field.map_err(malformed)? {
            name = text(file, range)?;
        }
    }
    Ok(name)
}

/// The integer of a tensor that holds one integer.
pub(super) fn integer(file: &[u8], message: Range<usize>) -> Option<i64> {
    let (mut elements, mut kind, mut found) = (1u64, 0, None);
    for field in Fields::new(file, message) {
        match field.ok()? {
            (TENSOR_DIMS, Value::Varint(size)) => elements = elements.saturating_mul(size),
            (TENSOR_DIMS, Value::Bytes(packed)) => {
                let mut packed = Fields::new(file, packed);
                while !packed.is_empty() {
                    elements = elements.saturating_mul(packed.varint().ok()?);
                }
            }
            (TENSOR_DATA_TYPE, Value::Varint(value)) => kind = value,
            (TENSOR_RAW_DATA, Value::Bytes(range)) => {
                found = match *file.get(range)? {
                    [a, b, c, d] => Some(i64::from(i32::from_le_bytes([a, b, c, d]))),
                    ref bytes => Some(i64::from_le_bytes(bytes.try_into().ok()?)),
                };
            }
            (TENSOR_INT32_DATA | TENSOR_INT64_DATA, Value::Varint(value)) => {
                found = Some(value as i64);
            }
            (TENSOR_INT32_DATA | TENSOR_INT64_DATA, Value::Bytes(packed)) => {
                found = Some(Fields::new(file, packed).varint().ok()? as i64);
            }
            _ => {}
        }
    }
    ([INT32, INT64].contains(&kind) && elements == 1).then_some(found)?
}
