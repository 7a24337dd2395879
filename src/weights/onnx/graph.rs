//! The nodes of a graph and the values between them.

use std::collections::HashMap;
use std::ops::Range;

use super::super::SharedBuffer;
use super::super::limits::{TensorList, check_name};
use super::super::protobuf::{Fields, Value};
use super::super::tensor::StoredTensor;
use super::{FORMAT, constants, malformed, text};
use crate::error::Result;

// Numbers of fields of a graph.
pub(super) const GRAPH_NODE: u64 = 1;
pub(super) const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const GRAPH_OUTPUT: u64 = 12;
// Of a node.
pub(super) const NODE_INPUT: u64 = 1;
const NODE_OUTPUT: u64 = 2;
pub(super) const NODE_NAME: u64 = 3;
pub(super) const NODE_OP_TYPE: u64 = 4;
const NODE_ATTRIBUTE: u64 = 5;
// Of an attribute.
const ATTRIBUTE_FLOAT: u64 = 2;
const ATTRIBUTE_INT: u64 = 3;
const ATTRIBUTE_TEXT: u64 = 4;
const ATTRIBUTE_TENSOR: u64 = 5;
const ATTRIBUTE_INTS: u64 = 8;
/// The name of a graph's input or output, or of an attribute.
const VALUE_NAME: u64 = 1;

/// Nodes of a graph; those of the published exports have at most some 3000.
pub(super) const MAX_NODES: usize = 1 << 16;
/// Inputs, outputs and attributes of a node that are kept: no operation of a network that is read
/// has more.
const MAX_PARTS: usize = 12;

/// A value of a graph: an input, a constant, or what a node computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ValueId(u32);

/// Where a value comes from.
enum Source {
    /// The graph's input.
    Input,
    /// An initialiser or the result of a `Constant`.
    Constant(StoredTensor),
    /// A constant that is a single integer.
    Integer(i64),
    /// An output of a node: which node, which output.
    Node(usize, usize),
}

/// A node of the graph.
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    /// The type of the operation.
    pub(super) kind: &'a str,
    /// `None` where an optional input is left out.
    inputs: Vec<Option<ValueId>>,
    /// Name and message of each attribute.
    attributes: Vec<(&'a str, Range<usize>)>,
}

/// A graph whose values are each computed once, by nodes in an order in which they could run: there
/// are no loops.
pub(super) struct Graph<'a> {
    file: &'a [u8],
    values: Vec<Source>,
    /// For each value the one that it is a copy or another layout of.
    same: Vec<ValueId>,
    nodes: Vec<Node<'a>>,
    output: ValueId,
}

/// Operations that change at most the layout or the number format of their first input.
const LAYOUT: [&str; 8] =
    ["Identity", "Cast", "Dropout", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"];

impl<'a> Graph<'a> {
    /// Reads a graph.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`](crate::WeightsError::Malformed) if a value is computed twice, or
    /// used before it is computed, or there is no single output; and the limits of all formats.
    pub(super) fn read(buffer: &'a SharedBuffer, graph: Range<usize>) -> Result<Self> {
        let file = buffer.as_slice();
        let mut list = TensorList::new(FORMAT, file.len());
        let (mut names, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        let mut messages = Vec::new();
        for field in Fields::new(file, graph) {
            match field.map_err(malformed)? {
                (GRAPH_INITIALIZER, Value::Bytes(message)) => {
                    let (name, tensor) = constants::tensor(buffer, message.clone())?;
                    list.push(name, tensor)?;
                    names.push((name, constants::integer(file, message)));
                }
                (GRAPH_INPUT, Value::Bytes(message)) => inputs.push(value_name(file, message)?),
                (GRAPH_OUTPUT, Value::Bytes(message)) => outputs.push(value_name(file, message)?),
                (GRAPH_NODE, Value::Bytes(message)) => {
                    if messages.len() >= MAX_NODES {
                        return Err(malformed(format!("more than {MAX_NODES} nodes")));
                    }
                    messages.push(message);
                }
                _ => {}
            }
        }
        let mut reader =
            Reader { file, names: HashMap::new(), values: Vec::new(), same: Vec::new() };
        let mut initializers = list.into_tensors();
        for (name, integer) in names {
            if let Some(tensor) = initializers.remove(name) {
                reader.define(name, integer.map_or(Source::Constant(tensor), Source::Integer))?;
            }
        }
        for name in inputs {
            // Old files list initialisers among the inputs.
            if !reader.names.contains_key(name) {
                reader.define(name, Source::Input)?;
            }
        }
        let mut nodes = Vec::with_capacity(messages.len());
        for message in messages {
            let node = reader.node(buffer, message, nodes.len())?;
            nodes.push(node);
        }
        let [output] = outputs[..] else {
            return Err(malformed(format!("the graph has {} outputs instead of 1", outputs.len())));
        };
        check_name(FORMAT, output)?;
        let output = *reader
            .names
            .get(output)
            .ok_or_else(|| malformed(format!("no node computes the output {output}")))?;
        let Reader { values, same, .. } = reader;
        Ok(Graph { file, values, same, nodes, output })
    }

    /// The value that the graph computes.
    pub(super) fn output(&self) -> ValueId {
        self.output
    }

    /// The value that this one is a copy or another layout of.
    pub(super) fn same(&self, value: ValueId) -> ValueId {
        self.same[value.0 as usize]
    }

    pub(super) fn is_input(&self, value: ValueId) -> bool {
        matches!(self.values[value.0 as usize], Source::Input)
    }

    /// The constant that a value is.
    pub(super) fn constant(&self, value: ValueId) -> Option<&StoredTensor> {
        match &self.values[value.0 as usize] {
            Source::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Whether the graph's input has no part in a value.
    pub(super) fn is_constant(&self, value: ValueId) -> bool {
        matches!(self.values[value.0 as usize], Source::Constant(_) | Source::Integer(_))
    }

    /// The single number that a value is.
    pub(super) fn number(&self, value: ValueId) -> Option<f32> {
        let tensor = self.constant(self.same(value))?;
        let single = tensor.shape().iter().all(|&size| size == 1);
        single.then(|| tensor.values("").ok()?.first().copied())?
    }

    /// The single integer that a value is.
    pub(super) fn integer(&self, value: ValueId) -> Option<i64> {
        match self.values[self.same(value).0 as usize] {
            Source::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// The node that computes a value, and which of its outputs the value is.
    pub(super) fn node(&self, value: ValueId) -> Option<(&Node<'a>, usize)> {
        match self.values[value.0 as usize] {
            Source::Node(node, output) => Some((&self.nodes[node], output)),
            _ => None,
        }
    }

    /// An input of a node, behind what changes only its layout.
    pub(super) fn input(&self, node: &Node, index: usize) -> Option<ValueId> {
        Some(self.same(self.raw_input(node, index)?))
    }

    /// An input of a node.
    pub(super) fn raw_input(&self, node: &Node, index: usize) -> Option<ValueId> {
        node.inputs.get(index).copied().flatten()
    }

    /// How many inputs a node has.
    pub(super) fn inputs(&self, node: &Node) -> usize {
        node.inputs.len()
    }

    fn attribute(&self, node: &Node, name: &str) -> Option<Fields<'a>> {
        let (_, message) = node.attributes.iter().find(|(known, _)| *known == name)?;
        Some(Fields::new(self.file, message.clone()))
    }

    /// An attribute that is a number, `None` if the node has no such one.
    pub(super) fn float(&self, node: &Node, name: &str) -> Option<f32> {
        self.attribute(node, name)?.flatten().find_map(|field| match field {
            (ATTRIBUTE_FLOAT, Value::Fixed(range)) => {
                let bytes = self.file.get(range)?.try_into().ok()?;
                Some(f32::from_le_bytes(bytes))
            }
            _ => None,
        })
    }

    /// An attribute that is an integer.
    pub(super) fn int(&self, node: &Node, name: &str) -> Option<i64> {
        self.attribute(node, name)?.flatten().find_map(|field| match field {
            (ATTRIBUTE_INT, Value::Varint(value)) => Some(value as i64),
            _ => None,
        })
    }

    /// An attribute that is a text.
    pub(super) fn text(&self, node: &Node, name: &str) -> Option<&'a str> {
        self.attribute(node, name)?.flatten().find_map(|field| match field {
            (ATTRIBUTE_TEXT, Value::Bytes(range)) => text(self.file, range).ok(),
            _ => None,
        })
    }

    /// An attribute that is a list of integers, of which the first are kept.
    pub(super) fn ints(&self, node: &Node, name: &str) -> Option<Vec<i64>> {
        let mut values = Vec::new();
        for field in self.attribute(node, name)? {
            match field.ok()? {
                (ATTRIBUTE_INTS, Value::Varint(value)) => values.push(value as i64),
                (ATTRIBUTE_INTS, Value::Bytes(packed)) => {
                    let mut packed = Fields::new(self.file, packed);
                    while !packed.is_empty() && values.len() < MAX_PARTS {
                        values.push(packed.varint().ok()? as i64);
                    }
                }
                _ => {}
            }
            if values.len() >= MAX_PARTS {
                break;
            }
        }
        Some(values)
    }
}

/// What is known of a graph while it is read.
struct Reader<'a> {
    file: &'a [u8],
    names: HashMap<&'a str, ValueId>,
    values: Vec<Source>,
    same: Vec<ValueId>,
}

impl<'a> Reader<'a> {
    fn define(&mut self, name: &'a str, source: Source) -> Result<ValueId> {
        check_name(FORMAT, name)?;
        let id = ValueId(u32::try_from(self.values.len()).map_err(malformed)?);
        if self.names.insert(name, id).is_some() {
            return Err(malformed(format!("the value {name} is computed twice")));
        }
        self.values.push(source);
        self.same.push(id);
        Ok(id)
    }

    fn node(
        &mut self,
        buffer: &SharedBuffer,
        message: Range<usize>,
        index: usize,
    ) -> Result<Node<'a>> {
        let file = self.file;
        let (mut name, mut kind) = ("", "");
        let (mut inputs, mut outputs, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
        for field in Fields::new(file, message) {
            match field.map_err(malformed)? {
                (NODE_INPUT, Value::Bytes(range)) if inputs.len() < MAX_PARTS => {
                    inputs.push(text(file, range)?);
                }
                (NODE_OUTPUT, Value::Bytes(range)) if outputs.len() < MAX_PARTS => {
                    outputs.push(text(file, range)?);
                }
                (NODE_NAME, Value::Bytes(range)) => name = text(file, range)?,
                (NODE_OP_TYPE, Value::Bytes(range)) => kind = text(file, range)?,
                (NODE_ATTRIBUTE, Value::Bytes(range)) if attributes.len() < MAX_PARTS => {
                    attributes.push((value_name(file, range.clone())?, range));
                }
                _ => {}
            }
        }
        check_name(FORMAT, name)?;
        check_name(FORMAT, kind)?;
        let inputs = inputs.into_iter().map(|input| self.known(input, name));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        // What has the layout of its input changed is the same value; an empty name is no output.
        let same = LAYOUT.contains(&kind).then(|| inputs.first().copied().flatten()).flatten();
        for (output, text) in outputs.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            let constant = match kind {
                "Constant" => constant(buffer, &attributes)?,
                _ => None,
            };
            let id = self.define(text, constant.unwrap_or(Source::Node(index, output)))?;
            if let (Some(input), 0) = (same, output) {
                self.same[id.0 as usize] = self.same[input.0 as usize];
            }
        }
        Ok(Node { name, kind, inputs, attributes })
    }

    /// The value of a name; `None` for the empty one, which stands for an input that is left out.
    fn known(&self, value: &str, node: &str) -> Result<Option<ValueId>> {
        if value.is_empty() {
            return Ok(None);
        }
        let known = self.names.get(value).copied().map(Some);
        known.ok_or_else(|| {
            check_name(FORMAT, value).err().unwrap_or_else(|| {
                malformed(format!("node {node} uses {value}, which no node before it computes"))
            })
        })
    }
}

/// The value of a `Constant`, if it is a tensor.
fn constant(buffer: &SharedBuffer, attributes: &[(&str, Range<usize>)]) -> Result<Option<Source>> {
    for (_, message) in attributes.iter().filter(|(name, _)| *name == "value") {
        for field in Fields::new(buffer.as_slice(), message.clone()) {
            if let (ATTRIBUTE_TENSOR, Value::Bytes(tensor)) = field.map_err(malformed)? {
                let integer = constants::integer(buffer.as_slice(), tensor.clone());
                let (_, tensor) = constants::tensor(buffer, tensor)?;
                return Ok(Some(integer.map_or(Source::Constant(tensor), Source::Integer)));
            }
        }
    }
    Ok(None)
}

/// The name of an input, an output or an attribute.
fn value_name(file: &[u8], message: Range<usize>) -> Result<&str> {
    for field in Fields::new(file, message) {
        if let (VALUE_NAME, Value::Bytes(range)) = field.map_err(malformed)? {
            return text(file, range);
        }
    }
    Ok("")
}
