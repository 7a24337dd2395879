//! The ONNX export of SVTRv2: its initialisers, under the published names.
//!
//! Only the weights are read. Most initialisers keep their names through the export. Two kinds do
//! not: the weights of linear layers are transposed and stored under generated names, and so are
//! the convolutions that a batch norm was folded into. Both are told by the node that uses them:
//! a node is named after the module it came from (`/encoder/stages.0/blocks.0/mlp/fc1/MatMul`).

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::buffer::Buffer;
use super::limits::{MAX_RANK, TensorList, check_name, check_rank};
use super::protobuf::{Fields, Value};
use super::tensor::{ElementType, StoredTensor};
use super::{SharedBuffer, WeightsFile};
use crate::error::{Result, WeightsError};

const FORMAT: &str = "ONNX";

// Numbers of fields in messages of the ONNX format.
const MODEL_GRAPH: u64 = 7;
const MODEL_OPSET_IMPORT: u64 = 8;
const GRAPH_NODE: u64 = 1;
const GRAPH_INITIALIZER: u64 = 5;
const NODE_INPUT: u64 = 1;
const NODE_NAME: u64 = 3;
const NODE_OP_TYPE: u64 = 4;
const TENSOR_DIMS: u64 = 1;
const TENSOR_DATA_TYPE: u64 = 2;
const TENSOR_FLOAT_DATA: u64 = 4;
const TENSOR_NAME: u64 = 8;
const TENSOR_RAW_DATA: u64 = 9;
/// Not 0 if the elements lie in another file.
const TENSOR_DATA_LOCATION: u64 = 14;

/// Inputs of a node that are looked at: those of a convolution.
const MAX_INPUTS: usize = 3;

pub(super) fn read(buffer: Buffer) -> Result<WeightsFile> {
    let buffer: SharedBuffer = Arc::new(buffer);
    let file = buffer.as_slice();
    let (mut graphs, mut complete) = (Vec::new(), false);
    for field in Fields::new(file, 0..file.len()) {
        match field.map_err(malformed)? {
            // An exporter writes one.
            (MODEL_GRAPH, Value::Bytes(graph)) if graphs.is_empty() => graphs.push(graph),
            (MODEL_GRAPH, _) => return Err(malformed("there are several graphs")),
            (MODEL_OPSET_IMPORT, _) => complete = true,
            _ => {}
        }
    }
    let graph = graphs.pop().ok_or_else(|| malformed("there is no graph"))?;
    if !complete {
        return Err(malformed("it breaks off behind the graph"));
    }
    let mut list = TensorList::new(FORMAT, file.len());
    for field in Fields::new(file, graph.clone()) {
        if let (GRAPH_INITIALIZER, Value::Bytes(tensor)) = field.map_err(malformed)? {
            let (name, tensor) = initializer(&buffer, tensor)?;
            list.push(name, tensor)?;
        }
    }
    let initializers = list.into_tensors();

    let mut tensors = TensorList::new(FORMAT, file.len());
    // Initialisers that stand under a node's name instead of their own.
    let mut renamed: HashSet<&str> = HashSet::new();
    for field in Fields::new(file, graph) {
        let (GRAPH_NODE, Value::Bytes(node)) = field.map_err(malformed)? else {
            continue;
        };
        let Node { name, kind, inputs } = Node::read(file, node)?;
        let parameters = match (kind, inputs.as_slice()) {
            ("MatMul", [_, weight]) => std::slice::from_ref(weight),
            ("Conv", [_, parameters @ ..]) => parameters,
            _ => continue,
        };
        check_name(FORMAT, name)?;
        let Some(module) = module_path(name) else {
            continue;
        };
        for (parameter, role) in parameters.iter().zip(["weight", "bias"]) {
            let Some((own, tensor)) = initializers.get_key_value(*parameter) else {
                continue;
            };
            let tensor = match kind {
                "MatMul" => tensor
                    .transposed()
                    .ok_or_else(|| malformed(format!("the weight of {name} is no matrix")))?,
                _ => tensor.clone(),
            };
            tensors.push(&format!("{module}.{role}"), tensor)?;
            renamed.insert(own);
        }
    }
    for (name, tensor) in &initializers {
        if !renamed.contains(name.as_str()) && !is_generated(name) {
            tensors.push(name, tensor.clone())?;
        }
    }
    Ok(WeightsFile::from_tensors(tensors.into_tensors()))
}

fn malformed(detail: impl std::fmt::Display) -> crate::Error {
    WeightsError::Malformed { format: FORMAT, detail: detail.to_string() }.into()
}

/// Whether a name is the exporter's own, of a constant that belongs to no module: `1781`,
/// `onnx::MatMul_3`, `/decoder/Constant_output_0`.
fn is_generated(name: &str) -> bool {
    name.starts_with('/') || name.contains("::") || !name.contains('.')
}

fn text(file: &[u8], range: Range<usize>) -> Result<&str> {
    let bytes = file.get(range).unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| malformed("a name is not UTF-8"))
}

/// A node of the graph, in place.
struct Node<'a> {
    name: &'a str,
    /// The type of the operation.
    kind: &'a str,
    /// The first inputs, one more than are looked at.
    inputs: Vec<&'a str>,
}

impl<'a> Node<'a> {
    fn read(file: &'a [u8], node: Range<usize>) -> Result<Self> {
        let (mut name, mut kind, mut inputs) = ("", "", Vec::new());
        for field in Fields::new(file, node) {
            match field.map_err(malformed)? {
                (NODE_INPUT, Value::Bytes(input)) if inputs.len() <= MAX_INPUTS => {
                    inputs.push(text(file, input)?);
                }
                (NODE_NAME, Value::Bytes(range)) => name = text(file, range)?,
                (NODE_OP_TYPE, Value::Bytes(range)) => kind = text(file, range)?,
                _ => {}
            }
        }
        Ok(Node { name, kind, inputs })
    }
}

/// Element types of ONNX.
const FLOAT: u64 = 1;
const FLOAT16: u64 = 10;
const DOUBLE: u64 = 11;
const BFLOAT16: u64 = 16;

/// An initialiser and its name.
fn initializer(buffer: &SharedBuffer, message: Range<usize>) -> Result<(&str, StoredTensor)> {
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

/// The module that a node came from: `/a/b/b.0/c/Conv` is `a.b.0.c` (an element of a list repeats
/// the list's name).
fn module_path(node: &str) -> Option<String> {
    let (scopes, _operation) = node.strip_prefix('/')?.rsplit_once('/')?;
    let scopes: Vec<&str> = scopes.split('/').collect();
    let mut path = Vec::with_capacity(scopes.len());
    for (i, scope) in scopes.iter().enumerate() {
        let next = scopes.get(i + 1);
        let repeated = next
            .is_some_and(|next| next.strip_prefix(scope).is_some_and(|rest| rest.starts_with('.')));
        if !repeated {
            path.push(*scope);
        }
    }
    Some(path.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_paths() {
        let cases = [
            (
                "/encoder/pope/patch_embed/patch_embed.0/conv/Conv",
                Some("encoder.pope.patch_embed.0.conv"),
            ),
            (
                "/encoder/stages.0/blocks.0/mixer/mixer.1/Conv",
                Some("encoder.stages.0.blocks.0.mixer.1"),
            ),
            ("/decoder/fc/MatMul", Some("decoder.fc")),
            ("/decoder/MatMul", Some("decoder")),
            ("Constant_1602", None),
            ("", None),
        ];
        for (node, expected) in cases {
            assert_eq!(module_path(node).as_deref(), expected, "{node}");
        }
    }
}
