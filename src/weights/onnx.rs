//! The ONNX export of SVTRv2: its initialisers, under the published names.
//!
//! Only the weights are read. Most initialisers keep their names through the export. Two kinds do
//! not: the weights of linear layers are transposed and stored under generated names, and so are
//! the convolutions that a batch norm was folded into. Both are told by the node that uses them:
//! a node is named after the module it came from (`/encoder/stages.0/blocks.0/mlp/fc1/MatMul`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::buffer::Buffer;
use super::tensor::{ElementType, StoredTensor};
use super::{SharedBuffer, WeightsFile};
use crate::error::{Result, WeightsError};

/// The parts of an ONNX `ModelProto` that are of use here.
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "bytes", tag = "9")]
    raw_data: Bytes,
    /// 1 if the elements lie in another file.
    #[prost(int32, tag = "14")]
    data_location: i32,
}

pub(super) fn read(buffer: &Buffer) -> Result<WeightsFile> {
    let bytes = Bytes::copy_from_slice(buffer.as_slice());
    let model = ModelProto::decode(bytes).map_err(malformed)?;
    let graph = model.graph.ok_or_else(|| malformed("there is no graph"))?;
    if model.opset_import.is_empty() {
        return Err(malformed("it breaks off behind the graph"));
    }
    let mut initializers = HashMap::with_capacity(graph.initializer.len());
    for tensor in graph.initializer {
        let name = tensor.name.clone();
        initializers.insert(name, stored(tensor)?);
    }

    let mut tensors = Vec::new();
    // Initialisers that stand under a node's name instead of their own.
    let mut renamed = HashSet::new();
    for node in &graph.node {
        let Some(module) = module_path(&node.name) else {
            continue;
        };
        match (node.op_type.as_str(), node.input.as_slice()) {
            ("MatMul", [_, weight]) => {
                let Some(tensor) = initializers.get(weight) else {
                    continue;
                };
                let tensor = tensor.transposed().ok_or_else(|| {
                    malformed(format!("the weight of {} is no matrix", node.name))
                })?;
                tensors.push((format!("{module}.weight"), tensor));
                renamed.insert(weight.clone());
            }
            ("Conv", [_, parameters @ ..]) => {
                for (parameter, kind) in parameters.iter().zip(["weight", "bias"]) {
                    let name = format!("{module}.{kind}");
                    if let Some(tensor) = initializers.get(parameter) {
                        tensors.push((name, tensor.clone()));
                        renamed.insert(parameter.clone());
                    }
                }
            }
            _ => {}
        }
    }
    tensors.extend(
        initializers.into_iter().filter(|(name, _)| !renamed.contains(name) && !is_generated(name)),
    );
    Ok(WeightsFile::from_tensors(tensors))
}

fn malformed(detail: impl std::fmt::Display) -> crate::Error {
    WeightsError::Malformed { format: "ONNX", detail: detail.to_string() }.into()
}

/// Whether a name is the exporter's own, of a constant that belongs to no module: `1781`,
/// `onnx::MatMul_3`, `/decoder/Constant_output_0`.
fn is_generated(name: &str) -> bool {
    name.starts_with('/') || name.contains("::") || !name.contains('.')
}

/// Element types of ONNX.
const FLOAT: i32 = 1;
const FLOAT16: i32 = 10;
const DOUBLE: i32 = 11;
const BFLOAT16: i32 = 16;

fn stored(tensor: TensorProto) -> Result<StoredTensor> {
    let dims = tensor.dims.iter().map(|&size| usize::try_from(size).ok());
    let shape: Vec<usize> = dims
        .collect::<Option<_>>()
        .ok_or_else(|| malformed(format!("{} has the shape {:?}", tensor.name, tensor.dims)))?;
    if tensor.data_location != 0 {
        return Err(malformed(format!("{} lies in another file", tensor.name)));
    }
    let kind = match tensor.data_type {
        FLOAT => ElementType::F32,
        FLOAT16 => ElementType::F16,
        DOUBLE => ElementType::F64,
        BFLOAT16 => ElementType::Bf16,
        other => return Ok(StoredTensor::foreign(format!("ONNX type {other}"), shape)),
    };
    let bytes = if tensor.raw_data.is_empty() && kind == ElementType::F32 {
        tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    } else {
        tensor.raw_data
    };
    let len = bytes.len();
    let buffer: SharedBuffer = Arc::new(Buffer::Shared(bytes));
    StoredTensor::contiguous(&buffer, 0..len, kind, shape).ok_or_else(|| {
        malformed(format!("{} has {len} bytes for the shape {:?}", tensor.name, tensor.dims))
    })
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
