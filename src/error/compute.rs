//! Errors of the network and of the device that computes it.

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
    #[error("there is no parameter {0}")]
    MissingParameter(String),
    /// A parameter of another shape than the network asks for.
    #[error("a parameter does not fit the network: {0}")]
    ParameterShape(ShapeMismatch),
    /// Something that this execution of the network cannot compute.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A part of a batch gave no result, because another one failed.
    #[error("the pass through the network failed: {0}")]
    Pass(String),
    /// The device failed, or the library that drives it.
    #[error("computation failed: {0}")]
    Device(Box<dyn std::error::Error + Send + Sync>),
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
