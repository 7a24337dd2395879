//! Options by name, as text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{DecoderOptions, HotWordList, SearchKind, Symbols, WordList};
use crate::error::DecoderOptionsError;

impl DecoderOptions {
    /// The names of all options.
    pub const NAMES: [&'static str; 17] = [
        "search",
        "beam_width",
        "n_best",
        "top_k",
        "top_mass",
        "blank_skip",
        "lm",
        "lm_words",
        "lm_weight",
        "length_bonus",
        "lexicon",
        "lexicon_penalty",
        "hot_words",
        "ignore_case",
        "allow",
        "deny",
        "renormalize",
    ];

    /// Sets an option to what a text says: a number, a file, characters, `true` or `false`.
    ///
    /// Names are those of the fields; `-` stands for `_` as well, `beam` for `beam_width`, and
    /// `decoder` for `search`. Ranges are checked by [`DecoderOptions::build`].
    ///
    /// # Errors
    /// [`DecoderOptionsError::Unknown`], [`DecoderOptionsError::Value`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), DecoderOptionsError> {
        let wanted = match name.replace('-', "_").as_str() {
            "beam" => "beam_width".to_owned(),
            "decoder" => "search".to_owned(),
            other => other.to_owned(),
        };
        let Some(&name) = Self::NAMES.iter().find(|known| **known == wanted) else {
            return Err(DecoderOptionsError::Unknown { name: name.to_owned() });
        };
        match name {
            "search" => self.search = Some(parsed(name, value, "greedy, beam, english or latin")?),
            "beam_width" => self.beam_width = Some(whole(name, value)?),
            "n_best" => self.n_best = Some(whole(name, value)?),
            "top_k" => self.top_k = Some(whole(name, value)?),
            "top_mass" => self.top_mass = Some(number(name, value)?),
            "blank_skip" => self.blank_skip = Some(number(name, value)?),
            "lm" => self.lm = Some(PathBuf::from(value)),
            "lm_words" => self.lm_words = switch(name, value)?,
            "lm_weight" => self.lm_weight = Some(number(name, value)?),
            "length_bonus" => self.length_bonus = Some(number(name, value)?),
            "lexicon" => self.lexicon = Some(WordList::File(value.into())),
            "lexicon_penalty" => self.lexicon_penalty = Some(number(name, value)?),
            "hot_words" => self.hot_words = Some(HotWordList::File(value.into())),
            "ignore_case" => self.ignore_case = switch(name, value)?,
            "allow" => self.allow = Some(Symbols::Characters(value.to_owned())),
            "deny" => self.deny = Some(Symbols::Characters(value.to_owned())),
            _ => self.renormalize = switch(name, value)?,
        }
        Ok(())
    }
}

fn parsed<T: FromStr>(
    name: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<T, DecoderOptionsError> {
    let wrong = || DecoderOptionsError::Value { name, value: value.to_owned(), expected };
    value.trim().parse().map_err(|_| wrong())
}

fn whole(name: &'static str, value: &str) -> Result<usize, DecoderOptionsError> {
    parsed(name, value, "a whole number")
}

fn number<T: FromStr>(name: &'static str, value: &str) -> Result<T, DecoderOptionsError> {
    parsed(name, value, "a number")
}

fn switch(name: &'static str, value: &str) -> Result<bool, DecoderOptionsError> {
    parsed(name, value, "true or false")
}

impl FromStr for DecoderOptions {
    type Err = DecoderOptionsError;

    /// Options as `name=value`, separated by `;`. White space around a name, a number and a switch does
    /// not count; characters and files go on to the next `;`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut options = DecoderOptions::default();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(DecoderOptionsError::NoValue { option: part.trim().to_owned() });
            };
            options.set(name.trim(), value)?;
        }
        Ok(options)
    }
}

impl FromStr for SearchKind {
    type Err = DecoderOptionsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "greedy" => Ok(SearchKind::Greedy),
            "beam" => Ok(SearchKind::Beam),
            "english" => Ok(SearchKind::English),
            "latin" => Ok(SearchKind::Latin),
            other => Err(DecoderOptionsError::Value {
                name: "search",
                value: other.to_owned(),
                expected: "greedy, beam, english or latin",
            }),
        }
    }
}

impl fmt::Display for SearchKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            SearchKind::Greedy => "greedy",
            SearchKind::Beam => "beam",
            SearchKind::English => "english",
            SearchKind::Latin => "latin",
        })
    }
}
