//! Why training cannot continue.

use std::path::PathBuf;

use crate::data::DataError;

/// Why training cannot start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of range, or settings contradict each other.
    #[error("{0}")]
    Options(String),
    /// A file could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No font has the characters of the texts.
    #[error("no font has all the characters of {0:?}, nor of other texts that were tried")]
    Glyphs(String),
    /// A data set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// None of the samples can be trained on.
    #[error("none of {tried} samples in a row can be trained on; the last: {reason}")]
    NoSamples {
        /// How many were tried.
        tried: u64,
        /// What is wrong with the last one.
        reason: String,
    },
    /// The loss or a gradient is not finite.
    #[error("step {step}: the {what} is {value}; the batch: {}", samples.join(", "))]
    NotFinite {
        /// The step, counted from 0.
        step: u64,
        /// What is not finite.
        what: &'static str,
        /// NaN or infinity.
        value: f64,
        /// The names of the samples.
        samples: Vec<String>,
    },
    /// A checkpoint is damaged or of another training.
    #[error("{}: {detail}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The network failed.
    #[error(transparent)]
    Network(#[from] crate::Error),
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        TrainError::Network(error.into())
    }
}
