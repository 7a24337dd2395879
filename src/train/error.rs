//! Why training cannot continue.

use std::path::PathBuf;

use crate::data::DataError;

/// Why training cannot start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of range, or settings contradict each other.
    #[error("{detail}")]
    Options {
        /// The setting and what is wrong with it.
        detail: String,
    },
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No font has the characters of the texts.
    #[error("no font has all the characters of {text:?}, nor of other texts that were tried")]
    Glyphs {
        /// The text.
        text: String,
    },
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
    /// The recipe weighs distillation, and there is no teacher.
    #[error("distillation_weight = {weight}, but there is no teacher to distil from")]
    NoTeacher {
        /// The recipe's weight of the divergence from the teacher.
        weight: f64,
    },
    /// The teacher is not the one that the checkpoint was trained with.
    #[error(
        "another teacher than the checkpoint's: weights with the fingerprint {found:016x} instead of {expected:016x}"
    )]
    OtherTeacher {
        /// The fingerprint of the checkpoint's teacher
        /// ([`Weights::fingerprint`](crate::weights::Weights::fingerprint)).
        expected: u64,
        /// That of the other one.
        found: u64,
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
