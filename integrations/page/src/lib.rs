//! From a page to its text: finds the lines of scans and photographs and recognises them.
//!
//! [`Detector`] runs a network that finds text (PP-OCRv6's) and gives boxes. [`Reader`] puts
//! [`svtrv2::Recognizer`] behind it and gives a [`PageText`]: lines in reading order, with words, boxes and
//! confidences. `Document` (feature `documents`) writes it as text, JSON, hOCR, ALTO, TSV or a searchable PDF.
//!
//! ```no_run
//! use svtrv2_page::svtrv2::{Page, Recognizer};
//! use svtrv2_page::{Detector, Reader};
//!
//! let detector = Detector::open("weights/ppocrv6_det_small.onnx")?;
//! let recognizer = Recognizer::open("weights/ppocrv6_small.safetensors")?;
//! let text = Reader::new(detector, recognizer).read(&Page::open("page.jpg")?)?;
//! for line in &text.lines {
//!     println!("{:.2} {}", line.score, line.text);
//! }
//! # Ok::<(), svtrv2_page::Error>(())
//! ```
//!
//! # Errors
//!
//! [`Error`] has a variant for each cause. No function panics on bad input, prints, or exits.

#![deny(missing_docs, unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::dbg_macro,
        clippy::exit,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod detect;
mod error;
mod order;
#[cfg(feature = "documents")]
mod output;
mod reader;
mod text;

/// The recogniser's crate: pages, regions, weights.
pub use svtrv2;

pub use detect::{Detector, DetectorOptions, Scale, TextBox};
pub use error::{Error, Result};
pub use order::in_reading_order;
#[cfg(feature = "documents")]
pub use output::{Document, DocumentPage, Format, draw};
pub use reader::{Reader, ReaderOptions};
pub use text::{Line, PageText, Word};
