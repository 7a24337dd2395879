//! SVTRv2 scene-text recognition in pure Rust.
//!
//! Hand a crop of an image that holds a word or a line to a [`Recognizer`]; get the text, how sure
//! the model is, and where each character lies:
//!
//! ```no_run
//! let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
//! let recognition = recognizer.recognize(&image::open("crop.png")?)?;
//! println!("{} ({:.2})", recognition.text, recognition.score);
//! for c in &recognition.chars {
//!     println!("{} {:.2} x {:.0}..{:.0}", c.symbol, c.score, c.bounds.x0, c.bounds.x1);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The network is that of "SVTRv2: CTC Beats Encoder-Decoder Models in Scene Text Recognition"
//! (ICCV 2025, arXiv 2411.15858), in its variants T, S and B; the answers are those of the
//! reference implementation.
//!
//! # The way of a crop
//!
//! | step | module | from | to |
//! |---|---|---|---|
//! | image | [`Crop`] | a file, an [`image::DynamicImage`], raw pixels | 8-bit RGB |
//! | resize | [`resize`] | RGB of any size | RGB of one of a few target sizes |
//! | network | [`model`], [`inference`] | `[batch, 3, height, width]` | logits `[batch, time, class]` |
//! | decoding | [`decode`] | log-probabilities `[time, class]` | texts, probabilities, time spans |
//! | text | [`Charset`], [`Recognition`] | classes | symbols, scores, boxes in pixels |
//!
//! [`Recognizer`] does all of it in one call, for one crop or many, and offers each step by itself
//! ([`Recognizer::resize`], [`Recognizer::emissions`], [`Recognizer::decode`]). [`weights`] reads
//! parameters from files of several formats.
//!
//! # Features
//!
//! - `onnx`: reads the ONNX export of SVTRv2 as a weights file.
//! - `data`: labelled data sets (module `data`) and the metrics of recognition (`evaluation`).
//! - `lmdb`: data sets as LMDB folders.
//! - `train`: training (module `train`), with gradients by hand-written kernels on a CPU.
//! - `candle` (default): runs the network with candle too, on other devices and in other
//!   precisions.
//! - `cuda`, `metal`, `accelerate`, `mkl`: passed on to candle.

#![deny(missing_docs, unsafe_code)]
// Bad input gives a typed error: nothing outside the tests panics, prints or exits.
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

mod charset;
mod cpu;
mod crop;
#[cfg(feature = "data")]
pub mod data;
pub mod decode;
mod emissions;
mod error;
#[cfg(feature = "data")]
pub mod evaluation;
mod geometry;
pub mod inference;
mod locate;
pub mod model;
mod ops;
mod rans;
mod recognition;
mod recognizer;
pub mod resize;
#[cfg(feature = "train")]
pub mod train;
pub mod weights;

pub use charset::Charset;
pub use crop::{Crop, DecodeOptions, Page, PageCrop, PixelFormat, Placement, Region, Rotation};
pub use emissions::{Attention, Emissions};
pub use error::{
    CharsetError, ComputeError, ConfigError, EmissionsError, Error, ImageError, LanguageModelError,
    RegionError, Result, ShapeMismatch, WeightsError,
};
pub use geometry::{Point, Quad, Rect};
pub use inference::{Device, Precision};
pub use recognition::{Alternative, Character, Recognition};

pub use recognizer::{Options, Orientation, Recognizer};
pub use resize::ResizedCrop;

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
