//! The decoder that options describe.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::super::{BeamSearch, ClassMask, Decoder, HotWords, Lexicon};
use super::{DecoderOptions, HotWordList, SearchKind, Symbols, WordList};
use crate::charset::Charset;
use crate::error::{DecoderOptionsError, LanguageModelError, Result, shortened};
use crate::files;
use crate::language_model::{CasedLm, CompactNgram, LanguageModel, Ngram, SymbolLm};

/// What an expected word without a bonus adds, in nats.
const HOT_WORD_BONUS: f64 = 2.0;

impl DecoderOptions {
    /// The decoder for a charset.
    ///
    /// Words that hold symbols outside the charset are left out:
    /// [`Lexicon::skipped`](super::super::Lexicon::skipped) and
    /// [`HotWords::skipped`](super::super::HotWords::skipped) list them.
    ///
    /// # Errors
    /// [`DecoderOptionsError`] for options that exclude each other, a word list that cannot be read, or
    /// `english` and `latin` in a build without the feature `embedded` and `latin`;
    /// [`CharsetError::UnknownSymbol`](crate::CharsetError::UnknownSymbol) for a symbol outside the
    /// charset; [`LanguageModelError`](crate::LanguageModelError) for a model that cannot be read;
    /// [`ConfigError`](crate::ConfigError) for a number out of range.
    pub fn build(&self, charset: &Charset) -> Result<Decoder> {
        self.build_on(charset, |search| match search {
            SearchKind::Latin => latin(charset),
            _ => english(charset),
        })
    }

    /// [`DecoderOptions::build`] with a model of one's own in the place of those in the program.
    ///
    /// # Errors
    /// As [`DecoderOptions::build`].
    pub fn build_with(&self, charset: &Charset, model: &Arc<CompactNgram>) -> Result<Decoder> {
        self.build_on(charset, |_| {
            let model = CasedLm::new(model.clone(), charset, CasedLm::FLOOR);
            Ok(BeamSearch::with_word_model(Arc::new(model)))
        })
    }

    fn build_on(
        &self,
        charset: &Charset,
        embedded: impl FnOnce(SearchKind) -> Result<BeamSearch>,
    ) -> Result<Decoder> {
        let of_a_search = self.option_of_a_search();
        let mut decoder = match (self.search, of_a_search) {
            (Some(SearchKind::Greedy), Some(option)) => {
                let other = "search=greedy";
                return Err(DecoderOptionsError::Conflict { option, other }.into());
            }
            (Some(SearchKind::Greedy), None) | (None, None) => Decoder::greedy(),
            (Some(search @ (SearchKind::English | SearchKind::Latin)), _) => {
                Decoder::beam(self.changed(embedded(search)?, charset)?)
            }
            (Some(SearchKind::Beam), _) | (None, Some(_)) => {
                Decoder::beam(self.changed(BeamSearch::default(), charset)?)
            }
        };
        decoder.classes = match (&self.allow, &self.deny) {
            (Some(_), Some(_)) => {
                let (option, other) = ("allow", "deny");
                return Err(DecoderOptionsError::Conflict { option, other }.into());
            }
            (Some(allowed), None) => Some(ClassMask::allow(charset, allowed.list())?),
            (None, Some(denied)) => Some(ClassMask::deny(charset, denied.list())?),
            (None, None) => None,
        };
        decoder.renormalize = self.renormalize;
        decoder.check_charset(charset)?;
        Ok(decoder)
    }

    /// The first option that is given and means nothing without a search.
    fn option_of_a_search(&self) -> Option<&'static str> {
        let given = [
            ("beam_width", self.beam_width.is_some()),
            // One text is what greedy decoding gives too.
            ("n_best", self.n_best.is_some_and(|count| count != 1)),
            ("top_k", self.top_k.is_some()),
            ("top_mass", self.top_mass.is_some()),
            ("blank_skip", self.blank_skip.is_some()),
            ("lm", self.lm.is_some()),
            ("lm_weight", self.lm_weight.is_some()),
            ("length_bonus", self.length_bonus.is_some()),
            ("lexicon", self.lexicon.is_some()),
            ("hot_words", self.hot_words.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// A search with what the options change of it.
    fn changed(&self, mut search: BeamSearch, charset: &Charset) -> Result<BeamSearch> {
        search.n_best = self.n_best.unwrap_or(search.n_best);
        search.beam_width = self.beam_width.unwrap_or(search.beam_width.max(search.n_best));
        search.top_k = self.top_k.unwrap_or(search.top_k);
        search.top_mass = self.top_mass.unwrap_or(search.top_mass);
        search.blank_skip = self.blank_skip.unwrap_or(search.blank_skip);
        search.lm_weight = self.lm_weight.unwrap_or(search.lm_weight);
        search.length_bonus = self.length_bonus.unwrap_or(search.length_bonus);
        if let Some(path) = &self.lm {
            search.language_model = Some(model(path, charset, self.lm_words)?);
        }
        if let Some(list) = &self.lexicon {
            let read;
            let words = match list {
                WordList::Words(words) => words,
                WordList::File(path) => {
                    read = lines(path)?;
                    &read
                }
            };
            let lexicon = Lexicon::new(charset, words, self.lexicon_penalty, self.ignore_case)?;
            search.lexicon = Some(Arc::new(lexicon));
        }
        if let Some(list) = &self.hot_words {
            let read;
            let words = match list {
                HotWordList::Words(words) => words,
                HotWordList::File(path) => {
                    read = with_bonuses(path)?;
                    &read
                }
            };
            search.hot_words = Some(Arc::new(HotWords::new(charset, words, self.ignore_case)?));
        }
        Ok(search)
    }
}

#[cfg(feature = "embedded")]
fn english(charset: &Charset) -> Result<BeamSearch> {
    BeamSearch::english(charset)
}

#[cfg(not(feature = "embedded"))]
fn english(_: &Charset) -> Result<BeamSearch> {
    Err(DecoderOptionsError::NoEnglish.into())
}

#[cfg(feature = "latin")]
fn latin(charset: &Charset) -> Result<BeamSearch> {
    BeamSearch::latin(charset)
}

#[cfg(not(feature = "latin"))]
fn latin(_: &Charset) -> Result<BeamSearch> {
    Err(DecoderOptionsError::NoLatin.into())
}

impl Symbols {
    fn list(&self) -> Vec<String> {
        match self {
            Symbols::Characters(text) => text.chars().map(String::from).collect(),
            Symbols::List(symbols) => symbols.clone(),
        }
    }
}

/// The model of a file, which its first bytes tell apart.
fn model(path: &Path, charset: &Charset, word_by_word: bool) -> Result<Arc<dyn LanguageModel>> {
    let start = || {
        let mut start = Vec::new();
        files::open(path)?.take(CompactNgram::MAGIC.len() as u64).read_to_end(&mut start)?;
        Ok(start)
    };
    let start = start().map_err(|source: std::io::Error| LanguageModelError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(if start == CompactNgram::MAGIC {
        Arc::new(CasedLm::new(Arc::new(CompactNgram::open(path)?), charset, CasedLm::FLOOR))
    } else {
        Arc::new(SymbolLm::new(Arc::new(Ngram::open(path)?), charset, word_by_word))
    })
}

/// The lines of a file that are not empty.
fn lines(path: &Path) -> Result<Vec<String>, DecoderOptionsError> {
    let bytes = files::read(path, files::MAX_TEXT)
        .map_err(|source| DecoderOptionsError::Io { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| DecoderOptionsError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn with_bonuses(path: &Path) -> Result<Vec<(String, f64)>, DecoderOptionsError> {
    let pair = |line: String| match line.split_once('\t') {
        None => Ok((line, HOT_WORD_BONUS)),
        Some((word, bonus)) => match bonus.trim().parse() {
            Ok(bonus) => Ok((word.to_owned(), bonus)),
            Err(_) => {
                let (path, bonus) = (path.to_owned(), shortened(bonus));
                Err(DecoderOptionsError::Bonus { path, word: shortened(word), bonus })
            }
        },
    };
    lines(path)?.into_iter().map(pair).collect()
}
