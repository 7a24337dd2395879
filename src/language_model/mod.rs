//! How likely texts are: models that a search weighs the network's log-probabilities with.
//!
//! A [`LanguageModel`] gives a text a probability, symbol by symbol. What follows makes one of a list
//! of words or of a file.
//!
//! | what | where |
//! |---|---|
//! | n-grams with backoff; over the symbols of a charset | [`Ngram`], [`SymbolLm`] |
//! | estimated from words (Kneser-Ney) | [`Ngram::from_words`], [`Smoothing`] |
//! | from and to ARPA files | [`Ngram::open`], [`Ngram::save`] |
//! | with fewer n-grams | [`Ngram::pruned`] |
//! | in about a byte and a half an n-gram | [`CompactNgram`] |
//! | in any letter case | [`CasedLm`] |
//!
//! A [`BeamSearch`](crate::decode::BeamSearch) takes any of them.

mod arpa;
mod cased_lm;
mod compact_ngram;
#[cfg(any(feature = "embedded", feature = "latin"))]
mod embedded;
mod kneser_ney;
mod model;
mod ngram;
mod prune;

pub use cased_lm::CasedLm;
pub use compact_ngram::CompactNgram;
pub use kneser_ney::Smoothing;
pub use model::{LanguageModel, LmState, lm_log_probability};
pub use ngram::{MAX_ORDER, Ngram, SymbolLm};
