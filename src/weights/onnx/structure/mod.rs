//! Exports that name everything by numbers: PP-OCRv6's recognisers, told by their structure.
//!
//! The graph is walked from its output to its input, because every operation names its inputs: classifier,
//! neck, pool, blocks, stem. What does not match ends the walk with an error that names the node. The
//! number of steps is at most that of the nodes: every step leads to a node before the last one.

mod blocks;
mod detector;
mod necks;

use std::ops::Range;

use super::super::limits::TensorList;
use super::super::tensor::StoredTensor;
use super::super::{SharedBuffer, WeightsFile};
use super::FORMAT;
use super::graph::{Graph, ValueId};
use super::patterns::{Conv, LayerNorm, Linear};
use crate::error::{Result, WeightsError};

/// Reads the parameters of a graph of a known structure.
///
/// # Errors
/// [`WeightsError::NotSvtrv2`] with what is known and what does not fit;
/// [`WeightsError::Malformed`] if the graph is damaged.
pub(super) fn read(buffer: &SharedBuffer, graph: Range<usize>) -> Result<WeightsFile> {
    let graph = Graph::read(buffer, graph)?;
    let mut walk = Walk { graph: &graph, halving: [2, 1], parameters: Vec::new() };
    let features = walk.head()?;
    walk.encoder(features)?;
    walk.into_file(buffer)
}

/// Reads the parameters of a network that finds text.
///
/// # Errors
/// As [`read`].
pub(super) fn read_detector(buffer: &SharedBuffer, graph: Range<usize>) -> Result<WeightsFile> {
    let graph = Graph::read(buffer, graph)?;
    let mut walk = Walk { graph: &graph, halving: [2, 2], parameters: Vec::new() };
    let detector = walk.detector()?;
    Ok(WeightsFile { detector: Some(detector), ..walk.into_file(buffer)? })
}

/// A walk through a graph, from its end to its start.
struct Walk<'g, 'a> {
    graph: &'g Graph<'a>,
    /// Strides, down and across, of blocks that change the channels.
    halving: [i64; 2],
    /// What was found so far, under canonical names.
    parameters: Vec<(String, StoredTensor)>,
}

impl Walk<'_, '_> {
    fn into_file(self, buffer: &SharedBuffer) -> Result<WeightsFile> {
        let mut tensors = TensorList::new(FORMAT, buffer.as_slice().len());
        for (name, tensor) in self.parameters {
            tensors.push(&name, tensor)?;
        }
        Ok(WeightsFile::from_tensors(tensors.into_tensors()))
    }

    fn put(&mut self, name: &str, part: &str, tensor: StoredTensor) {
        self.parameters.push((format!("{name}.{part}"), tensor));
    }

    /// Adds a convolution as the module `conv`, its batch norm as `norm`.
    fn put_conv(&mut self, conv: &str, norm: &str, layer: Conv) {
        self.put(conv, "weight", layer.weight);
        if let Some(bias) = layer.bias {
            self.put(conv, "bias", bias);
        }
        if let Some(batch_norm) = layer.norm {
            self.put(norm, "weight", batch_norm.scale);
            self.put(norm, "bias", batch_norm.bias);
            self.put(norm, "running_mean", batch_norm.mean);
            self.put(norm, "running_var", batch_norm.variance);
        }
    }

    fn put_linear(&mut self, name: &str, layer: Linear) {
        self.put(name, "weight", layer.weight);
        if let Some(bias) = layer.bias {
            self.put(name, "bias", bias);
        }
    }

    fn put_layer_norm(&mut self, name: &str, layer: LayerNorm) {
        self.put(name, "weight", layer.scale);
        self.put(name, "bias", layer.bias);
    }

    /// What was looked for at a value, if it is not there.
    fn find<T>(&self, found: Option<T>, at: ValueId, what: &str) -> Result<T> {
        found.ok_or_else(|| self.misfit(at, what))
    }

    fn misfit(&self, at: ValueId, what: &str) -> crate::Error {
        let node = match self.graph.node(self.graph.same(at)) {
            Some((node, _)) => format!("node {:?} ({})", node.name, node.kind),
            None if self.graph.is_input(self.graph.same(at)) => "the graph's input".to_owned(),
            None => "a constant".to_owned(),
        };
        let detail = format!(
            "the graph is none of those that are known (SVTRv2's export and OpenOCR's server and mobile, by \
             the names of their modules; PP-OCRv6's recognisers tiny, small and medium, and its detectors, by \
             their structure): \
             {node} is not {what}"
        );
        WeightsError::NotSvtrv2 { detail }.into()
    }
}
