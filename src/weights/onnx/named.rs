//! Exports whose nodes are named after modules: those of PyTorch, of SVTRv2 and OpenOCR's models.
//!
//! Most initialisers keep their names through the export. Two kinds do
//! not: the weights of linear layers are transposed and stored under generated names, and so are
//! the convolutions that a batch norm was folded into. Both are told by the node that uses them:
//! a node is named after the module it came from (`/encoder/stages.0/blocks.0/mlp/fc1/MatMul`).

use std::collections::HashSet;
use std::ops::Range;

use super::super::limits::{MAX_NAME, TensorList, check_name};
use super::super::names::canonical_name;
use super::super::protobuf::{Fields, Value};
use super::super::{SharedBuffer, WeightsFile};
use super::constants::tensor;
use super::graph::{GRAPH_INITIALIZER, GRAPH_NODE, MAX_NODES, NODE_INPUT, NODE_NAME, NODE_OP_TYPE};
use super::{FORMAT, malformed, text};
use crate::error::Result;

/// Inputs of a node that are looked at: those of a convolution.
const MAX_INPUTS: usize = 3;

/// What parameters of a known network are named.
const ENCODER: &str = "encoder.";

/// Whether the graph tells its parameters by names: if an initialiser or a node belongs to an
/// encoder, or there is no convolution whose place in the graph could tell anything.
///
/// # Errors
/// [`WeightsError::Malformed`](crate::WeightsError::Malformed) if it has too many nodes.
pub(super) fn is_named(file: &[u8], graph: Range<usize>) -> Result<bool> {
    let of_encoder =
        |name: &str| canonical_name(name).is_some_and(|name| name.starts_with(ENCODER));
    let (mut nodes, mut convolutions) = (0usize, false);
    for field in Fields::new(file, graph) {
        match field.map_err(malformed)? {
            (GRAPH_INITIALIZER, Value::Bytes(message))
                if of_encoder(super::constants::name(file, message.clone())?) =>
            {
                return Ok(true);
            }
            (GRAPH_NODE, Value::Bytes(node)) => {
                nodes += 1;
                if nodes > MAX_NODES {
                    return Err(malformed(format!("the graph has more than {MAX_NODES} nodes")));
                }
                let Node { name, kind, .. } = Node::read(file, node)?;
                convolutions |= kind == "Conv";
                if name.len() <= MAX_NAME && module_path(name).is_some_and(|path| of_encoder(&path))
                {
                    return Ok(true);
                }
            }
            _ => {}
        }
    }
    Ok(!convolutions)
}

/// The tensors under the names that they have in the modules.
pub(super) fn read(buffer: &SharedBuffer, graph: Range<usize>) -> Result<WeightsFile> {
    let file = buffer.as_slice();
    let mut list = TensorList::new(FORMAT, file.len());
    for field in Fields::new(file, graph.clone()) {
        if let (GRAPH_INITIALIZER, Value::Bytes(message)) = field.map_err(malformed)? {
            let (name, tensor) = tensor(buffer, message)?;
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

/// Whether a name is the exporter's own, of a constant that belongs to no module: `1781`,
/// `onnx::MatMul_3`, `/decoder/Constant_output_0`.
fn is_generated(name: &str) -> bool {
    name.starts_with('/') || name.contains("::") || !name.contains('.')
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
