//! From log-probabilities of every frame to text: [`LogProbs`] in, texts with log-probabilities and spans out.
//!
//! | what | where |
//! |---|---|
//! | the most probable path | [`greedy`] |
//! | the most probable texts | [`BeamSearch`] |
//! | which symbols may occur | [`ClassMask`] |
//! | which words may, or should | [`Lexicon`], [`HotWords`] |
//! | which texts are likely | [`LanguageModel`]: [`SymbolLm`] of an [`Ngram`] model |
//! | how probable a text is, and where its symbols lie | [`log_probability`], [`ForwardBackward`], [`best_alignment`] |
//! | how far a probability can be trusted | [`confidence`], [`fit_temperature`] |
//!
//! Searches with everything that guides them are one value, a [`Decoder`].

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
mod guide_tests;
#[cfg(test)]
mod tests;
