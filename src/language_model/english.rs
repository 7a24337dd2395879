//! The model of English that is part of the crate.

use std::sync::{Arc, OnceLock};

use super::{CasedLm, CompactNgram};
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
        Ok(CasedLm::new(ngram, charset, CasedLm::FLOOR))
    }
}
