//! What can go wrong with a page, sorted by whose fault it is.

use std::io;
use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be decoded, the recogniser's weights do not fit, or recognition failed.
    #[error(transparent)]
    Recognizer(#[from] svtrv2::Error),
    /// The detector's file could not be opened or read.
    #[error("cannot read the detector {}", path.display())]
    DetectorIo {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The detector's file is no network that this crate can run.
    #[error("the detector is not usable: {detail}")]
    DetectorModel {
        /// What is wrong with it.
        detail: String,
    },
    /// The detector failed on an image.
    #[error("the detector failed: {detail}")]
    DetectorRun {
        /// What the engine said.
        detail: String,
    },
    /// An option is out of range.
    #[error("{option}: {detail}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The value and what is permitted.
        detail: String,
    },
    /// A PDF file was given as a page.
    #[error(
        "this is a PDF file: render its pages first, for example by `pdftoppm -r 300 -png FILE PREFIX`"
    )]
    PdfInput,
    /// A page is too large for the format that it is written to.
    #[error("a page of {width}x{height} pixels is too large for {format}")]
    PageSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The format's name.
        format: &'static str,
    },
    /// Output could not be written.
    #[error("cannot write")]
    Output(#[from] io::Error),
}
