//! Errors of the network and of the device that computes it.

use std::sync::Arc;

use super::{Error, ShapeMismatch};

/// Why the network cannot compute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// Images whose shape or number of values does not fit.
    #[error("images are [batch, 3, height, width] without a 0, not {shape:?} with {values} values")]
    Images {
        /// The shape.
        shape: Vec<usize>,
        /// Values that were given.
        values: usize,
    },
    /// An operand of an operation whose shape does not fit.
    #[error("an operand of {operation} is {found:?}, not {expected:?}")]
    Operand {
        /// The operation.
        operation: &'static str,
        /// The operand's rows and channels.
        found: [usize; 2],
        /// Rows and channels that fit.
        expected: [usize; 2],
    },
    /// An image so narrow that its features make no frame.
    #[error("{columns} columns of features make no frame, which takes {needed}")]
    TooNarrow {
        /// Columns of the features.
        columns: usize,
        /// Columns of a frame.
        needed: usize,
    },
    /// A parameter that the source of a network's parameters lacks.
    #[error("there is no parameter {name}")]
    MissingParameter {
        /// Its name.
        name: String,
    },
    /// A parameter of another shape than the network asks for.
    #[error("a parameter does not fit the network")]
    ParameterShape(#[source] ShapeMismatch),
    /// Something that this execution of the network cannot compute.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A part of a batch gave no result, because another one failed.
    #[error("the pass through the network failed")]
    Pass {
        /// What the other part failed with.
        source: Arc<Error>,
    },
    /// A crop, or a window of a line, has no result.
    #[error("a result is missing: {detail}")]
    Incomplete {
        /// What of how many.
        detail: String,
    },
    /// The device failed, or the library that drives it.
    #[error("the device failed")]
    Device {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ComputeError {
    pub(crate) fn operand(
        operation: &'static str,
        found: [usize; 2],
        expected: [usize; 2],
    ) -> Error {
        ComputeError::Operand { operation, found, expected }.into()
    }
}
