//! The model of English in the crate `svtrv2-english`.

use std::sync::{Arc, OnceLock};

use super::{CasedLm, CompactNgram};
use crate::charset::Charset;
use crate::error::Result;

impl CasedLm {
    /// The model of English words, names and numbers in the crate `svtrv2-english`.
    ///
    /// # Errors
    /// None today: the model is part of the program.
    pub fn english(charset: &Charset) -> Result<Self> {
        static MODEL: OnceLock<Arc<CompactNgram>> = OnceLock::new();
        let ngram = match MODEL.get() {
            Some(ngram) => ngram.clone(),
            None => {
                let ngram = Arc::new(CompactNgram::from_bytes(svtrv2_english::NGRAM)?);
                MODEL.get_or_init(|| ngram).clone()
            }
        };
        Ok(CasedLm::new(ngram, charset, CasedLm::FLOOR))
    }
}
