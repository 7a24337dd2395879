//! The models in the crates of weights, `svtrv2-english` and `svtrv2-latin`.

use std::sync::{Arc, OnceLock};

use super::{CasedLm, CompactNgram};
use crate::charset::Charset;
use crate::error::Result;

impl CasedLm {
    /// The model of English words, names and numbers in the crate `svtrv2-english`.
    ///
    /// # Errors
    /// None today: the model is part of the program.
    #[cfg(feature = "embedded")]
    pub fn english(charset: &Charset) -> Result<Self> {
        static MODEL: OnceLock<Arc<CompactNgram>> = OnceLock::new();
        Self::embedded(&MODEL, svtrv2_english::NGRAM, charset)
    }

    /// The model of words, names and numbers of 38 languages in Latin script in the crate `svtrv2-latin`.
    ///
    /// # Errors
    /// None today: the model is part of the program.
    #[cfg(feature = "latin")]
    pub fn latin(charset: &Charset) -> Result<Self> {
        static MODEL: OnceLock<Arc<CompactNgram>> = OnceLock::new();
        Self::embedded(&MODEL, svtrv2_latin::NGRAM, charset)
    }

    /// A model of the program, which is decoded once.
    fn embedded(
        decoded: &OnceLock<Arc<CompactNgram>>,
        bytes: &[u8],
        charset: &Charset,
    ) -> Result<Self> {
        let ngram = match decoded.get() {
            Some(ngram) => ngram.clone(),
            None => {
                let ngram = Arc::new(CompactNgram::from_bytes(bytes)?);
                decoded.get_or_init(|| ngram).clone()
            }
        };
        Ok(CasedLm::new(ngram, charset, CasedLm::FLOOR))
    }
}
