//! The decoder of words: a beam search with a character model, weighted for text on signs.

use std::sync::Arc;

use super::{BeamSearch, Decoder};
use crate::charset::Charset;
use crate::language_model::{CasedLm, CompactNgram, LanguageModel};

// Tuned on the training splits of SVT and (a half of) IIIT5K; models/english/README.md has the figures.
const LM_WEIGHT: f64 = 0.25;
const LENGTH_BONUS: f64 = 0.5;

impl BeamSearch {
    /// A beam search with a character model of words, weighted for signs.
    pub(super) fn with_word_model(model: Arc<dyn LanguageModel>) -> Self {
        BeamSearch {
            language_model: Some(model),
            lm_weight: LM_WEIGHT,
            length_bonus: LENGTH_BONUS,
            ..BeamSearch::default()
        }
    }
}

impl Decoder {
    /// A beam search with a character model of words, weighted for signs as
    /// `Decoder::english` (feature `embedded`) is.
    pub fn with_ngram(ngram: Arc<CompactNgram>, charset: &Charset) -> Self {
        let model = CasedLm::new(ngram, charset, CasedLm::FLOOR);
        Decoder::beam(BeamSearch::with_word_model(Arc::new(model)))
    }
}
