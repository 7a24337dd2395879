//! A language model of texts in any letter case, made of one of lower-case texts.

use std::sync::Arc;

use super::{CompactNgram, LanguageModel, LmState};
use crate::charset::Charset;

/// An n-gram model of lower-case symbols times a model of letter case.
///
/// The probability of a symbol is that of its lower-case form behind the lower-case forms before
/// it, times that of its case behind the cases before it. One n-gram model then serves "hotel",
/// "Hotel" and "HOTEL".
///
/// The case model knows what the word's letters were: none yet, one capital, lower case,
/// capitalised, capitals, or mixed. Where the charset has a space, a word ends there, and the next
/// begins.
#[derive(Debug, Clone)]
pub struct CasedLm {
    ngram: Arc<CompactNgram>,
    /// What every class is.
    symbols: Vec<Symbol>,
    space: Option<usize>,
    /// The lowest log-probability of a symbol.
    floor: f32,
    fingerprint: u64,
}

#[derive(Debug, Clone, Copy)]
struct Symbol {
    token: Option<u16>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lower,
    Upper,
    /// An apostrophe, a digit, a letter without case.
    InWord,
    /// Anything else: the letters behind it are a new word's.
    Separator,
}

/// What the letters of a word were, as its number in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Case {
    NoLetter,
    OneCapital,
    Lower,
    Capitalised,
    Capitals,
    Mixed,
}

impl CasedLm {
    /// The floor that suits words on signs.
    pub(crate) const FLOOR: f32 = -6.0;

    /// A model over a charset. No symbol has a log-probability below `floor` (natural, at most 0),
    /// so that codes and foreign names are not ruled out.
    pub fn new(ngram: Arc<CompactNgram>, charset: &Charset, floor: f32) -> Self {
        let blank = Symbol { token: None, kind: Kind::Separator };
        let symbols = charset.symbols().iter().map(|symbol| {
            let lower = symbol.to_lowercase();
            let upper = symbol.to_uppercase();
            let kind = match symbol {
                _ if lower != *symbol => Kind::Upper,
                _ if upper != *symbol => Kind::Lower,
                _ if symbol.chars().all(|c| c.is_alphanumeric() || c == '\'') => Kind::InWord,
                _ => Kind::Separator,
            };
            Symbol { token: ngram.token(&lower), kind }
        });
        let symbols = std::iter::once(blank).chain(symbols).collect();
        let (space, fingerprint) = (charset.class(" "), charset.fingerprint());
        CasedLm { ngram, symbols, space, floor: floor.min(0.0), fingerprint }
    }
}

impl Case {
    fn of(state: u32) -> Self {
        [Case::NoLetter, Case::OneCapital, Case::Lower, Case::Capitalised, Case::Capitals]
            .into_iter()
            .find(|case| *case as u32 == state)
            .unwrap_or(Case::Mixed)
    }

    /// The natural-log probabilities that the next letter is a small one, and a capital.
    fn next_letter(self) -> (f32, f32) {
        let capital: f32 = match self {
            Case::NoLetter => 0.75,
            Case::OneCapital => 0.5,
            Case::Lower | Case::Capitalised => 0.01,
            Case::Capitals => 0.99,
            Case::Mixed => 0.3,
        };
        ((1.0 - capital).ln(), capital.ln())
    }

    fn behind(self, kind: Kind) -> Self {
        match (kind, self) {
            (Kind::InWord, case) => case,
            (Kind::Separator, _) => Case::NoLetter,
            (Kind::Lower, Case::NoLetter | Case::Lower) => Case::Lower,
            (Kind::Lower, Case::OneCapital | Case::Capitalised) => Case::Capitalised,
            (Kind::Upper, Case::NoLetter) => Case::OneCapital,
            (Kind::Upper, Case::OneCapital | Case::Capitals) => Case::Capitals,
            _ => Case::Mixed,
        }
    }
}

impl LanguageModel for CasedLm {
    fn charset_fingerprint(&self) -> Option<u64> {
        Some(self.fingerprint)
    }

    fn start(&self) -> LmState {
        [self.ngram.start(), Case::NoLetter as u32, 0, 0]
    }

    fn advance(&self, state: LmState, class: usize) -> (f64, LmState) {
        if Some(class) == self.space {
            return (self.finish(state), self.start());
        }
        let blank = Symbol { token: None, kind: Kind::Separator };
        let Symbol { token, kind } = self.symbols.get(class).copied().unwrap_or(blank);
        let (symbol, history) = self.ngram.advance(state[0], token);
        let case = Case::of(state[1]);
        let (lower, upper) = case.next_letter();
        let letter_case = match kind {
            Kind::Lower => lower,
            Kind::Upper => upper,
            Kind::InWord | Kind::Separator => 0.0,
        };
        let log_prob = (symbol + letter_case).clamp(self.floor, 0.0);
        (f64::from(log_prob), [history, case.behind(kind) as u32, 0, 0])
    }

    fn finish(&self, state: LmState) -> f64 {
        f64::from(self.ngram.finish(state[0]).clamp(self.floor, 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language_model::{Ngram, lm_log_probability};

    fn model(floor: f32) -> CasedLm {
        let charset = Charset::english();
        let words = [("hotel", 5), ("hostel", 2), ("24h", 3), ("motel", 1)];
        let ngram = Ngram::from_words(&charset, &words, 4).unwrap();
        CasedLm::new(Arc::new(CompactNgram::new(&ngram).unwrap()), &charset, floor)
    }

    fn score(model: &CasedLm, text: &str) -> f64 {
        lm_log_probability(model, &Charset::english().encode(text).unwrap())
    }

    #[test]
    fn words_are_known_in_every_case() {
        let model = model(f32::NEG_INFINITY);
        let lower = score(&model, "hotel");
        for (text, capitals) in [
            ("hotel", 0.25 * 0.99f64.powi(4)),
            ("Hotel", 0.75 * 0.5 * 0.99f64.powi(3)),
            ("HOTEL", 0.75 * 0.5 * 0.99f64.powi(3)),
            ("hoTel", 0.25 * 0.99 * 0.01 * 0.7f64.powi(2)),
        ] {
            let expected = lower - (0.25 * 0.99f64.powi(4)).ln() + capitals.ln();
            let found = score(&model, text);
            assert!((found - expected).abs() < 1e-4, "{text}: {found} instead of {expected}");
        }
        assert!(score(&model, "HOTEL") > score(&model, "HOTFL"));
        // A digit leaves the case as it is.
        assert!(score(&model, "24H") > score(&model, "24h"));
    }

    #[test]
    fn no_symbol_is_ruled_out() {
        let model = model(-4.0);
        let charset = Charset::english();
        for symbol in charset.symbols() {
            let class = charset.class(symbol).unwrap();
            let (log_prob, _) = model.advance(model.start(), class);
            assert!((-4.0..=0.0).contains(&log_prob), "{symbol}: {log_prob}");
        }
        assert!(score(&model, "#~7") >= 4.0 * -4.0);
    }

    #[test]
    fn a_space_ends_a_word() {
        let charset = Charset::from_characters("helot ").unwrap();
        let words = [("hotel", 5), ("tel", 2)];
        let ngram = Ngram::from_words(&charset, &words, 4).unwrap();
        let model =
            CasedLm::new(Arc::new(CompactNgram::new(&ngram).unwrap()), &charset, f32::NEG_INFINITY);
        let score = |text: &str| lm_log_probability(&model, &charset.encode(text).unwrap());
        assert!((score("hotel tel") - score("hotel") - score("tel")).abs() < 1e-5);
    }
}
