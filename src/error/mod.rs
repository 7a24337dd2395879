//! What can go wrong, sorted by whose fault it is.
//!
//! [`Error`] has one variant a culprit: the image, the weights, the charset, the configuration,
//! the scores handed to a decoder, or the device that computes. Each carries the offending values. A message does
//! not repeat the error's source; [`ErrorReport`] gives both in one line.

mod charset;
mod compute;
mod config;
mod decode;
mod image;
mod report;
mod weights;

pub use charset::CharsetError;
pub use compute::ComputeError;
pub use config::ConfigError;
pub use decode::{DecoderOptionsError, EmissionsError, LanguageModelError};
pub use image::{ImageError, RegionError};
pub use report::ErrorReport;
pub use weights::{ShapeMismatch, WeightsError};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate, one variant a culprit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image could not be read or has no pixels.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A region of a page cannot be cropped.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The weights file is damaged, of another kind, or does not fit the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The charset is not usable or does not fit the weights.
    #[error(transparent)]
    Charset(#[from] CharsetError),
    /// The network's configuration or an option is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The scores handed to a decoder are not a `[time, class]` distribution.
    #[error(transparent)]
    Emissions(#[from] EmissionsError),
    /// A language model could not be read or estimated.
    #[error(transparent)]
    LanguageModel(#[from] LanguageModelError),
    /// The options of a decoder are unknown, contradict each other, or name files that cannot be read.
    #[error(transparent)]
    DecoderOptions(#[from] DecoderOptionsError),
    /// The network cannot compute with what it was given, or the device failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

#[cfg(feature = "candle")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        ComputeError::Device { source: Box::new(error) }.into()
    }
}

impl Error {
    /// The message with its causes, for a program that prints one line: `cannot read crop.png: No such file or
    /// directory (os error 2)`. [`Display`](std::fmt::Display) gives the message without its
    /// [`source`](std::error::Error::source).
    pub fn report(&self) -> ErrorReport<'_> {
        ErrorReport::new(self)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// The start of a text that comes from a file: a message never is as long as the file.
pub(crate) fn shortened(text: &str) -> String {
    const MAX: usize = 200;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
