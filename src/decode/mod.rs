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
//! | all settings as plain values | [`DecoderOptions`] |
//! | which symbols may occur | [`ClassMask`] |
//! | which words may, or should | [`Lexicon`], [`HotWords`] |
//! | which texts are likely | a [`LanguageModel`] of [`crate::language_model`] |
//! | how probable a text is, and where its symbols lie | [`log_probability`], [`ForwardBackward`], [`best_alignment`] |
//! | how far a probability can be trusted | [`confidence`], [`fit_temperature`] |
//!
//! Each file explains its algorithm and names the source.

mod alignment;
mod beam;
mod calibration;
mod class_mask;
mod ctc;
mod decoder;
#[cfg(any(feature = "embedded", feature = "latin"))]
mod embedded;
mod emitted;
mod forward_backward;
mod greedy;
mod hot_words;
mod lexicon;
mod log_probs;
mod options;
mod trie;
mod word_decoder;

pub(crate) use alignment::align;
pub use alignment::best_alignment;
pub use beam::{BeamSearch, Hypothesis};
pub use calibration::{confidence, fit_temperature};
pub use class_mask::ClassMask;
#[cfg(feature = "train")]
pub(crate) use ctc::ctc_loss;
pub use ctc::log_probability;
pub(crate) use ctc::text_log_probability;
pub use decoder::{Decoder, Search};
pub(crate) use emitted::Calibrated;
pub use forward_backward::ForwardBackward;
pub use greedy::{Decoded, DecodedSymbol, greedy};
pub use hot_words::HotWords;
pub use lexicon::Lexicon;
pub use log_probs::LogProbs;
pub use options::{DecoderOptions, HotWordList, SearchKind, Symbols, WordList};

// Language models have a module of their own; a search is set up with these.
#[doc(no_inline)]
pub use crate::language_model::{
    CasedLm, CompactNgram, LanguageModel, LmState, MAX_ORDER, Ngram, Smoothing, SymbolLm,
    lm_log_probability,
};

#[cfg(test)]
mod constraint_tests;
#[cfg(test)]
mod tests;
