//! SVTRv2 scene-text recognition in pure Rust.
//!
//! A [`Recognizer`] takes the crop of an image that shows a word or a line of text. It returns a
//! [`Recognition`]: the text, its confidence, and every character with its probability and its place
//! in the crop.
//!
//! ```no_run
//! let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
//! let recognition = recognizer.recognize(svtrv2::Crop::open("crop.png")?)?;
//! println!("{} ({:.2})", recognition.text, recognition.confidence);
//! for c in &recognition.chars {
//!     println!("{} {:.2} {:?}", c.symbol, c.confidence, c.bounds);
//! }
//! # Ok::<(), svtrv2::Error>(())
//! ```
//!
//! The network is that of "SVTRv2: CTC Beats Encoder-Decoder Models in Scene Text Recognition"
//! (ICCV 2025, [arXiv 2411.15858](https://arxiv.org/abs/2411.15858)) in its variants T, S and B, or
//! of any other size. Resized pixels, probabilities and texts are those of the reference
//! implementation.
//!
//! # Overview
//!
//! One crop passes through these modules, from top to bottom:
//!
//! | stage | module | input | output |
//! |---|---|---|---|
//! | image | [`Crop`], [`Page`] | a file, an image, raw pixels; a region of a page | 8-bit RGB |
//! | resizing | [`resize`] | RGB of any size | RGB of one of a few target sizes |
//! | network | [`model`], [`inference`] | `[batch, 3, height, width]` | logits `[batch, time, class]` |
//! | decoding | [`decode`] | log-probabilities `[time, class]` | texts, probabilities, time spans |
//! | result | [`Charset`], [`Recognition`] | classes | symbols, probabilities, boxes in pixels |
//!
//! [`Recognizer::recognize`] runs all of them, [`Recognizer::recognize_batch`] for many crops at
//! once; [`Recognizer::resize`], [`Recognizer::emissions`] and [`Recognizer::decode`] run one.
//! [`weights`] reads parameters from safetensors, PyTorch and ONNX files.
//!
//! A recogniser is `Send + Sync` and takes no lock. The result for a crop does not depend on the
//! batch that it is in, nor on the number of threads, nor on whether the CPU has AVX2, AVX-512 or NEON: the
//! network's output is the same to the bit.
//!
//! # Examples
//!
//! Many crops; one that fails does not affect the others:
//!
//! ```no_run
//! # let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
//! let paths = ["a.png", "b.jpg"];
//! let crops = paths.iter().map(svtrv2::Crop::open).collect::<Result<Vec<_>, _>>()?;
//! for (path, result) in paths.iter().zip(recognizer.recognize_batch(&crops)) {
//!     match result {
//!         Ok(recognition) => println!("{path}: {}", recognition.text),
//!         Err(error) => eprintln!("{path}: {}", error.report()),
//!     }
//! }
//! # Ok::<(), svtrv2::Error>(())
//! ```
//!
//! Digits only, and the three best texts of a beam search:
//!
//! ```no_run
//! use svtrv2::decode::{BeamSearch, ClassMask, Decoder};
//!
//! # let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
//! let mut decoder = Decoder::beam(BeamSearch { n_best: 3, ..BeamSearch::default() });
//! let digits = ('0'..='9').map(String::from);
//! decoder.classes = Some(ClassMask::allow(recognizer.charset(), digits)?);
//! let recognizer = recognizer.with_decoder(decoder)?;
//! # Ok::<(), svtrv2::Error>(())
//! ```
//!
//! Weights that carry no charset, such as those of OpenOCR, need one:
//!
//! ```no_run
//! use svtrv2::{Charset, Options, Recognizer, weights::Weights};
//!
//! let options = Options { charset: Some(Charset::english()), ..Options::default() };
//! let recognizer = Recognizer::new(&Weights::open("best.pth")?, options)?;
//! # Ok::<(), svtrv2::Error>(())
//! ```
//!
//! The repository's folder `examples` has programs to copy: one crop, digits with a lexicon, an HTTP
//! service, a GPU, fine-tuning.
//!
//! # Features
//!
//! Without any feature the crate recognises text on a CPU.
//!
//! | feature | adds |
//! |---|---|
//! | `image` (default) | takes the images of the crate `image`; files and raw pixels do not need it |
//! | `candle` | inference with candle: 16-bit numbers, other devices; parameters from and to a candle program |
//! | `cuda`, `metal` | candle's NVIDIA and Apple GPU devices |
//! | `accelerate`, `mkl` | candle's CPU matrix products by Apple's Accelerate and Intel's MKL |
//! | `embedded` (default) | the English model and language model, in the crate `svtrv2-english`: `Recognizer::embedded`, [`decode::Decoder`]`::english` |
//! | `latin` (default) | a model for lines in all Latin scripts, in the crate `svtrv2-latin`: `Recognizer::latin` |
//! | `onnx` | the ONNX export of SVTRv2 as a weights file; no ONNX runtime is involved |
//! | `serde` | serde's traits for what recognition takes and returns |
//! | `data` | labelled data sets (module `data`) and metrics (module `evaluation`) |
//! | `train` | `candle`, `data` and training (module `train`) |
//!
//! # Errors
//!
//! [`Error`] has one variant for each cause: the image, the region, the weights, the charset, an
//! option, the emissions, a language model, or the device. No function panics on bad input.

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
pub mod files;
mod geometry;
pub mod inference;
pub mod language_model;
mod locate;
pub mod model;
mod ops;
pub mod quantize;
mod rans;
mod recognition;
mod recognizer;
pub mod resize;
mod system;
#[cfg(feature = "train")]
pub mod train;
pub mod weights;
mod words;

/// The crate whose images [`Crop`] and [`Page`] take.
#[cfg(feature = "image")]
pub use image;

/// The crate that runs the network on other devices and computes the losses of training.
#[cfg(feature = "candle")]
pub use candle_core;
/// The crate whose `VarBuilder` holds a candle program's parameters.
#[cfg(feature = "candle")]
pub use candle_nn;

pub use charset::Charset;
pub use crop::{
    Conversion, Crop, DecodeOptions, Page, PageCrop, PixelFormat, Placement, Region, Rotation,
};
pub use emissions::{Attention, Emissions};
pub use error::{
    CharsetError, ComputeError, ConfigError, DecoderOptionsError, EmissionsError, Error,
    ErrorReport, ImageError, LanguageModelError, RegionError, Result, ShapeMismatch, WeightsError,
};
pub use geometry::{Point, Quad, Rect};
pub use inference::{Device, Precision};
pub use recognition::{Alternative, Character, Recognition};

pub use recognizer::{Lines, Options, Orientation, RecognitionStream, Recognizer};
pub use resize::ResizedCrop;
pub use words::Word;

/// Compiles the examples of the README and of the pages in `docs/`.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[cfg(feature = "candle")]
    #[doc = include_str!("../docs/candle.md")]
    struct Candle;
    #[doc = include_str!("../docs/decoding.md")]
    struct Decoding;
    #[doc = include_str!("../docs/images.md")]
    struct Images;
    #[doc = include_str!("../docs/lines.md")]
    struct Lines;
    #[doc = include_str!("../docs/usage.md")]
    struct Usage;
}

/// What the tests in `tests/` make their files with.
#[cfg(test)]
#[path = "../tests/support"]
mod support {
    pub mod crafted;
    #[cfg(feature = "onnx")]
    pub mod graphs;
    pub mod pictures;
}
