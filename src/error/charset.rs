//! Errors of charsets.

use std::path::PathBuf;

/// Why a charset cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CharsetError {
    /// No symbols at all.
    #[error("the charset is empty")]
    Empty,
    /// An entry without characters.
    #[error("entry {index} of the charset is empty")]
    EmptyEntry {
        /// Index of the entry, from 0 (its class is one higher).
        index: usize,
    },
    /// A symbol that is not in the charset.
    #[error("the charset holds no {symbol:?}")]
    UnknownSymbol {
        /// The symbol.
        symbol: String,
    },
    /// An entry that stands in the charset twice.
    #[error("entry {second} of the charset, {symbol:?}, repeats entry {first}")]
    Duplicate {
        /// The symbol.
        symbol: String,
        /// Where it first stands, from 0.
        first: usize,
        /// Where it stands again, from 0.
        second: usize,
    },
    /// More symbols than a charset can have.
    #[error("the charset has more than {most} symbols")]
    TooMany {
        /// The most symbols.
        most: usize,
    },
    /// An entry that is too long for a symbol.
    #[error("entry {index} of the charset has {bytes} bytes, more than {most}")]
    TooLong {
        /// Index of the entry, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest symbol in bytes.
        most: usize,
    },
    /// The dictionary is not UTF-8.
    #[error("the dictionary is not UTF-8: invalid bytes at offset {offset}")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        offset: usize,
    },
    /// The dictionary file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The weights carry no charset and none was given.
    #[error(
        "the weights carry no charset: give one of {} symbols (the network has {classes} classes, \
         one of them the blank)",
        classes.saturating_sub(1)
    )]
    Missing {
        /// Classes of the network, the blank included.
        classes: usize,
    },
    /// The charset's size is not the network's.
    #[error(
        "a charset of {symbols} symbols makes {} classes with the blank, the network has {classes}",
        symbols + 1
    )]
    ClassCount {
        /// Symbols in the charset.
        symbols: usize,
        /// Classes of the network, the blank included.
        classes: usize,
    },
    /// What constrains a decoder was made for another charset.
    #[error(
        "the {constraint} was made for the charset with the fingerprint {constraint_charset:016x}, but the \
         texts are in the charset with the fingerprint {charset:016x}"
    )]
    Constraint {
        /// What it is: a lexicon, hot words, a language model, a class mask.
        constraint: &'static str,
        /// The fingerprint of the constraint's charset.
        constraint_charset: u64,
        /// The fingerprint of the charset in force.
        charset: u64,
    },
    /// A charset was given that contradicts the one stored with the weights.
    #[error(
        "the charset given differs from the one stored with the weights, first at entry {index}: \
         {given:?} instead of {stored:?}"
    )]
    Contradiction {
        /// First differing entry, from 0.
        index: usize,
        /// The symbol given.
        given: String,
        /// The symbol stored with the weights.
        stored: String,
    },
}
