//! Language models: ARPA text and compact files, and what they say of texts.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use svtrv2::Charset;
use svtrv2::decode::{CasedLm, CompactNgram, LanguageModel, Ngram, SymbolLm, lm_log_probability};
use svtrv2_fuzz::{MB, within};

fuzz_target!(|bytes: &[u8]| {
    // A compact file holds up to 64 n-grams of 12 bytes in a byte.
    within(4 * MB + 2000 * bytes.len(), || {
        let charset = Charset::from_characters("abc ").expect("four characters");
        let check = |model: &dyn LanguageModel| {
            for text in [&[][..], &[1, 2, 3], &[3, 3, 4, 1, 1], &[9]] {
                let log_prob = lm_log_probability(model, text);
                assert!(log_prob <= 0.0, "{log_prob}");
            }
        };
        if bytes.starts_with(b"svtrlm") {
            if let Ok(model) = CompactNgram::from_bytes(bytes) {
                check(&CasedLm::new(Arc::new(model), &charset, -9.0));
            }
            return;
        }
        let Ok(model) = Ngram::from_arpa(&String::from_utf8_lossy(bytes)) else {
            return;
        };
        let mut arpa = Vec::new();
        model.write_arpa(&mut arpa).expect("memory");
        if let Ok(compact) = CompactNgram::new(&model) {
            check(&CasedLm::new(Arc::new(compact), &charset, -9.0));
        }
        let model = Arc::new(model);
        for words in [false, true] {
            check(&SymbolLm::new(model.clone(), &charset, words));
        }
    });
});
