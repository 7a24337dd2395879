//! The decoder for English signs, with the language model that is part of the crate.

use std::sync::{Arc, OnceLock};

use super::word_decoder::FLOOR;
use super::{CasedLm, CompactNgram, Decoder};
use crate::charset::Charset;
use crate::error::Result;

/// Made by `svtrv2 english-lm` of svtrv2-cli.
const NGRAM: &[u8] = include_bytes!("../../models/english.ngram");

impl CasedLm {
    /// The model of English words, names and numbers that is part of the crate.
    ///
    /// # Errors
    /// None today: the model is part of the program.
    pub fn english(charset: &Charset) -> Result<Self> {
        static MODEL: OnceLock<Arc<CompactNgram>> = OnceLock::new();
        let ngram = match MODEL.get() {
            Some(ngram) => ngram.clone(),
            None => {
                let ngram = Arc::new(CompactNgram::from_bytes(NGRAM)?);
                MODEL.get_or_init(|| ngram).clone()
            }
        };
        Ok(CasedLm::new(ngram, charset, FLOOR))
    }
}

impl Decoder {
    /// A beam search with the model of English words, names and numbers that is part of the crate.
    ///
    /// ```
    /// use svtrv2::Charset;
    /// use svtrv2::decode::{Decoder, LogProbs};
    ///
    /// let charset = Charset::from_characters("thea")?;
    /// let decoder = Decoder::english(&charset)?;
    /// // The network takes the last letter for an "a", by a little.
    /// let scores = LogProbs::from_probabilities(3, 5, vec![
    ///     0.0, 1.0, 0.0, 0.0, 0.0,
    ///     0.0, 0.0, 1.0, 0.0, 0.0,
    ///     0.0, 0.0, 0.0, 0.45, 0.55,
    /// ])?;
    /// assert_eq!(decoder.decode(&scores)?[0].text, charset.encode("the")?);
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// None today: the model is part of the program.
    pub fn english(charset: &Charset) -> Result<Self> {
        Ok(Decoder::with_word_model(CasedLm::english(charset)?))
    }
}
