//! ONNX exports: their initialisers, under the published names.
//!
//! Only the weights are read; nothing of the graph is run. What an initialiser means shows in one of two
//! ways:
//!
//! - Exporters of PyTorch name nodes and most initialisers after the modules they came from: SVTRv2's
//!   own export and OpenOCR's ([`named`]).
//! - Those of Paddle name everything by numbers: PP-OCRv6's recognisers and detectors. There the graph's
//!   structure tells ([`structure`]).
//!
//! The charset is read from the metadata entry `character`, where there is one.

mod constants;
mod graph;
mod named;
mod patterns;
mod structure;

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Buffer;
use super::protobuf::{Fields, Value};
use super::{Purpose, SharedBuffer, WeightsFile};
use crate::charset::Charset;
use crate::error::{Result, WeightsError};

const FORMAT: &str = "ONNX";

// Numbers of fields in messages of the ONNX format.
const MODEL_GRAPH: u64 = 7;
const MODEL_OPSET_IMPORT: u64 = 8;
const MODEL_METADATA: u64 = 14;
const ENTRY_KEY: u64 = 1;
const ENTRY_VALUE: u64 = 2;
/// The metadata key of the dictionary: a symbol a line, without the space.
const DICTIONARY: &str = "character";

pub(super) fn read(buffer: Buffer, purpose: Purpose) -> Result<WeightsFile> {
    let buffer: SharedBuffer = Arc::new(buffer);
    let file = buffer.as_slice();
    let Model { graph, dictionary } = model(file)?;
    let mut weights = match purpose {
        Purpose::Detection => return structure::read_detector(&buffer, graph),
        Purpose::Recognition if named::is_named(file, graph.clone())? => {
            named::read(&buffer, graph)?
        }
        Purpose::Recognition => structure::read(&buffer, graph)?,
    };
    if let Some(dictionary) = dictionary {
        let classes = weights.tensors.get(CLASSIFIER).and_then(|tensor| tensor.shape().first());
        weights.charset = Some(charset(dictionary, classes.copied())?);
    }
    Ok(weights)
}

/// Where the parts of a file are.
struct Model<'a> {
    graph: Range<usize>,
    dictionary: Option<&'a str>,
}

fn model(file: &[u8]) -> Result<Model<'_>> {
    let (mut graphs, mut complete, mut dictionary) = (Vec::new(), false, None);
    for field in Fields::new(file, 0..file.len()) {
        match field.map_err(malformed)? {
            // An exporter writes one.
            (MODEL_GRAPH, Value::Bytes(graph)) if graphs.is_empty() => graphs.push(graph),
            (MODEL_GRAPH, _) => return Err(malformed("there are several graphs")),
            (MODEL_OPSET_IMPORT, _) => complete = true,
            (MODEL_METADATA, Value::Bytes(entry)) => {
                let (key, value) = metadata(file, entry)?;
                if key == DICTIONARY && dictionary.replace(value).is_some() {
                    return Err(malformed("there are several dictionaries"));
                }
            }
            _ => {}
        }
    }
    let graph = graphs.pop().ok_or_else(|| malformed("there is no graph"))?;
    if !complete {
        return Err(malformed("it breaks off behind the graph"));
    }
    Ok(Model { graph, dictionary })
}

/// The classifier's bias, which has an element a class.
const CLASSIFIER: &str = "decoder.fc.bias";

/// The charset of a dictionary: with the space as its last symbol, unless the classes say that it
/// has none.
fn charset(dictionary: &str, classes: Option<usize>) -> Result<Charset> {
    let lines = Charset::from_dictionary(dictionary, false)?;
    if classes == Some(lines.classes()) {
        return Ok(lines);
    }
    let charset = Charset::from_dictionary(dictionary, true)?;
    if let Some(classes) = classes {
        charset.check_classes(classes)?;
    }
    Ok(charset)
}

/// Key and value of an entry of the metadata.
fn metadata(file: &[u8], entry: Range<usize>) -> Result<(&str, &str)> {
    let (mut key, mut value) = ("", "");
    for field in Fields::new(file, entry) {
        match field.map_err(malformed)? {
            (ENTRY_KEY, Value::Bytes(range)) => key = text(file, range)?,
            (ENTRY_VALUE, Value::Bytes(range)) => value = text(file, range)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn malformed(detail: impl std::fmt::Display) -> crate::Error {
    WeightsError::Malformed { format: FORMAT, detail: detail.to_string() }.into()
}

fn text(file: &[u8], range: Range<usize>) -> Result<&str> {
    let bytes = file.get(range).unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| malformed("a text is not UTF-8"))
}

#[cfg(test)]
mod tests;
