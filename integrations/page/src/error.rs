//! What can go wrong with a page, sorted by whose fault it is.

use std::io;
use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be decoded, weights do not fit, or one of the networks failed.
    #[error(transparent)]
    Recognizer(#[from] svtrv2::Error),
    /// The detector's file could not be read, or is no network that finds text.
    #[error("cannot use the detector {}", path.display())]
    Detector {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: svtrv2::Error,
    },
    /// No threads could be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        source: rayon::ThreadPoolBuildError,
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
