//! The decoder of words: a beam search with a character model, weighted for text on signs.

use std::sync::Arc;

use super::{BeamSearch, CasedLm, CompactNgram, Decoder};
use crate::charset::Charset;

// Tuned on the training splits of SVT and (a half of) IIIT5K; docs/model_card.md has the figures.
const LM_WEIGHT: f64 = 0.25;
const LENGTH_BONUS: f64 = 0.5;
pub(super) const FLOOR: f32 = -6.0;

impl Decoder {
    /// A beam search with a character model of words, weighted for signs as
    /// `Decoder::english` (feature `embedded`) is.
    pub fn with_ngram(ngram: Arc<CompactNgram>, charset: &Charset) -> Self {
        Decoder::with_word_model(CasedLm::new(ngram, charset, FLOOR))
    }

    pub(super) fn with_word_model(model: CasedLm) -> Self {
        Decoder::beam(BeamSearch {
            language_model: Some(Arc::new(model)),
            lm_weight: LM_WEIGHT,
            length_bonus: LENGTH_BONUS,
            ..BeamSearch::default()
        })
    }
}
