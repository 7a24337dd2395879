//! Decoders with the language models in the crates of weights.

use std::sync::Arc;

use super::{BeamSearch, Decoder};
use crate::charset::Charset;
use crate::error::Result;
use crate::language_model::CasedLm;

impl BeamSearch {
    /// A beam search with the model of English words, names and numbers that is part of the crate,
    /// weighted for signs.
    ///
    /// ```
    /// use svtrv2::Charset;
    /// use svtrv2::decode::{BeamSearch, Decoder};
    ///
    /// let english = BeamSearch::english(&Charset::english())?;
    /// let decoder = Decoder::beam(BeamSearch { n_best: 3, ..english });
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// None today: the model is part of the program.
    #[cfg(feature = "embedded")]
    pub fn english(charset: &Charset) -> Result<Self> {
        Ok(BeamSearch::with_word_model(Arc::new(CasedLm::english(charset)?)))
    }

    /// A beam search with the model of words, names and numbers of 38 languages in Latin script that is part of
    /// the crate, weighted for words and lines.
    ///
    /// # Errors
    /// None today: the model is part of the program.
    #[cfg(feature = "latin")]
    pub fn latin(charset: &Charset) -> Result<Self> {
        Ok(BeamSearch::with_word_model(Arc::new(CasedLm::latin(charset)?)))
    }
}

impl Decoder {
    /// [`BeamSearch::english`] as a decoder.
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
    #[cfg(feature = "embedded")]
    pub fn english(charset: &Charset) -> Result<Self> {
        Ok(Decoder::beam(BeamSearch::english(charset)?))
    }

    /// [`BeamSearch::latin`] as a decoder.
    ///
    /// ```
    /// use svtrv2::{Crop, Recognizer, decode::Decoder};
    ///
    /// let recognizer = Recognizer::latin()?;
    /// let recognizer = recognizer.with_decoder(Decoder::latin(recognizer.charset())?)?;
    /// let line = recognizer.recognize(Crop::open("examples/lines/menu.png")?)?;
    /// assert_eq!(line.text, "Crème brûlée 4,50 €");
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// None today: the model is part of the program.
    #[cfg(feature = "latin")]
    pub fn latin(charset: &Charset) -> Result<Self> {
        Ok(Decoder::beam(BeamSearch::latin(charset)?))
    }
}
