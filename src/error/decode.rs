//! Errors of decoding: scores and language models.

use std::path::PathBuf;

/// Why scores cannot be decoded.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum EmissionsError {
    /// The number of numbers is not `frames * classes`.
    #[error("{found} numbers cannot be {frames} frames of {classes} classes")]
    Size {
        /// Frames.
        frames: usize,
        /// Classes, the blank included.
        classes: usize,
        /// Emissions given.
        found: usize,
    },
    /// More frames than can be decoded.
    #[error("{frames} frames, more than {most}")]
    Frames {
        /// Frames given.
        frames: usize,
        /// The most frames.
        most: usize,
    },
    /// No classes, or only the blank.
    #[error("{classes} classes: at least the blank and one symbol are needed")]
    Classes {
        /// Classes given.
        classes: usize,
    },
    /// A score that its kind does not permit: NaN anywhere, `+inf`, a probability outside 0..=1.
    #[error("the {kind} at frame {frame}, class {class} is {value}")]
    Value {
        /// What the numbers were said to be.
        kind: &'static str,
        /// The frame.
        frame: usize,
        /// The class.
        class: usize,
        /// The score.
        value: f32,
    },
    /// Texts that are all right or all wrong: no temperature fits them.
    #[error("a temperature needs right and wrong texts, not {right} right and {wrong} wrong ones")]
    NothingToFit {
        /// Texts that were right.
        right: usize,
        /// Texts that were wrong.
        wrong: usize,
    },
    /// Probabilities of a frame that do not sum to 1.
    #[error("the probabilities at frame {frame} sum to {sum} instead of 1")]
    Sum {
        /// The frame.
        frame: usize,
        /// The sum.
        sum: f32,
    },
}

/// Why there is no language model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanguageModelError {
    /// The file could not be opened, read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not UTF-8.
    #[error("the language model is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// The text is not an ARPA model.
    #[error("line {line} of the ARPA model: {detail}")]
    Arpa {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        detail: String,
    },
    /// An order beyond what is supported.
    #[error("a language model has the order 1 to {most}, not {order}")]
    Order {
        /// The order.
        order: usize,
        /// The highest order.
        most: usize,
    },
    /// The bytes are not a compact model, or are damaged.
    #[error("not a compact language model, or a damaged one: {detail}")]
    Compact {
        /// What is wrong.
        detail: String,
    },
    /// A language model gave something that is no log-probability.
    #[error("the language model gave the log-probability {log_prob}, which is not at most 0")]
    Score {
        /// What it gave.
        log_prob: f64,
    },
    /// Nothing to estimate a model from.
    #[error("there are no words to estimate a language model from")]
    NoWords,
}

/// Why options do not make a decoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderOptionsError {
    /// There is no option of this name.
    #[error("a decoder has no option {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// An option without a value.
    #[error("the decoder option {option:?} is not of the form name=value")]
    NoValue {
        /// What was given.
        option: String,
    },
    /// A value that the option cannot have.
    #[error("the decoder option {name} is {expected}, not {value:?}")]
    Value {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Two options that exclude each other.
    #[error("the decoder options {option} and {other} exclude each other")]
    Conflict {
        /// One option.
        option: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A word list could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A word list is not UTF-8.
    #[error("{} is not UTF-8 at byte {offset}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that is not.
        offset: usize,
    },
    /// An expected word's bonus is no number.
    #[error("{}: the bonus {bonus:?} of {word:?} is not a number", path.display())]
    Bonus {
        /// The file.
        path: PathBuf,
        /// The word.
        word: String,
        /// What stands for its bonus.
        bonus: String,
    },
    /// The English language model is asked for in a build without it (feature `embedded`).
    #[error("this build embeds no English language model")]
    NoEnglish,
    /// The language model of Latin scripts is asked for in a build without it (feature `latin`).
    #[error("this build embeds no language model of Latin scripts")]
    NoLatin,
}
