//! From log-probabilities to texts: connectionist temporal classification (CTC).
//!
//! A network gives each frame a distribution over the classes: the symbols of a charset and the
//! blank. A path picks one class a frame; its text is what is left when repeats are collapsed and
//! blanks removed. Many paths (alignments) have the same text, and its probability is their sum
//! (Graves et al., 2006). Input is a [`LogProbs`]; a [`Decoder`] gives texts with their
//! log-probabilities.
//!
//! | what | where |
//! |---|---|
//! | the text of the most probable path | [`greedy`] |
//! | the most probable texts | [`BeamSearch`] |
//! | which symbols may occur | [`ClassMask`] |
//! | which words may, or should | [`Lexicon`], [`HotWords`] |
//! | which texts are likely | [`LanguageModel`]: [`SymbolLm`] of an [`Ngram`] model |
//! | how probable a text is, and where its symbols lie | [`log_probability`], [`ForwardBackward`], [`best_alignment`] |
//! | how far a probability can be trusted | [`confidence`], [`fit_temperature`] |
//!
//! Each file explains its algorithm and names the source.

mod alignment;
mod arpa;
mod beam;
mod calibration;
mod cased_lm;
mod class_mask;
mod compact_ngram;
mod ctc;
mod decoder;
#[cfg(feature = "embedded")]
mod english;
mod forward_backward;
mod greedy;
mod hot_words;
mod kneser_ney;
mod language_model;
mod lexicon;
mod log_probs;
mod ngram;
mod prune;
mod trie;
mod word_decoder;

pub use alignment::best_alignment;
pub use beam::{BeamSearch, Hypothesis};
pub use calibration::{confidence, fit_temperature};
pub use cased_lm::CasedLm;
pub use class_mask::ClassMask;
pub use compact_ngram::CompactNgram;
#[cfg(feature = "train")]
pub(crate) use ctc::ctc_loss;
pub use ctc::log_probability;
pub use decoder::{Decoder, Search};
pub use forward_backward::ForwardBackward;
pub use greedy::{Decoded, DecodedSymbol, greedy};
pub use hot_words::HotWords;
pub use kneser_ney::Smoothing;
pub use language_model::{LanguageModel, LmState, lm_log_probability};
pub use lexicon::Lexicon;
pub use log_probs::LogProbs;
pub use ngram::{MAX_ORDER, Ngram, SymbolLm};

#[cfg(test)]
mod constraint_tests;
#[cfg(test)]
mod tests;
