//! What synthetic words say.

use std::ops::RangeInclusive;
use std::path::Path;

use rand::{Rng, RngExt};

use crate::train::TrainError;

/// Where texts are drawn from.
#[derive(Debug, Clone)]
pub struct Texts {
    words: Vec<String>,
    /// Symbols of random strings.
    symbols: Vec<char>,
    lengths: RangeInclusive<usize>,
    /// The share of random strings.
    random: f64,
    recase: bool,
}

/// How a word is written.
const AS_IS: f64 = 0.4;
const LOWER: f64 = 0.6;
const UPPER: f64 = 0.85;

impl Texts {
    /// Random strings of the characters of `symbols`, `lengths` long.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are no characters or no lengths.
    pub fn random(symbols: &str, lengths: RangeInclusive<usize>) -> Result<Self, TrainError> {
        let symbols: Vec<char> = symbols.chars().collect();
        if symbols.is_empty() || lengths.is_empty() || *lengths.start() == 0 {
            let detail = format!("random strings of {} characters, {lengths:?}", symbols.len());
            return Err(TrainError::Options(detail));
        }
        Ok(Texts { words: Vec::new(), symbols, lengths, random: 1.0, recase: false })
    }

    /// Words as they are given.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are none.
    pub fn words(words: impl IntoIterator<Item = String>) -> Result<Self, TrainError> {
        let words: Vec<String> = words.into_iter().filter(|word| !word.trim().is_empty()).collect();
        if words.is_empty() {
            return Err(TrainError::Options("there are no words".to_owned()));
        }
        Ok(Texts { words, symbols: Vec::new(), lengths: 0..=0, random: 0.0, recase: false })
    }

    /// Words of a file, one a line.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it cannot be read; [`TrainError::Options`] if it has none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        Self::words(text.lines().map(|line| line.trim().to_owned()))
    }

    /// Writes words in lower case, in capitals or with one capital at random, besides as they are.
    pub fn with_random_case(mut self) -> Self {
        self.recase = true;
        self
    }

    /// Mixes random strings in, a share of `share`.
    pub fn with_random(mut self, other: &Texts, share: f64) -> Self {
        self.symbols.clone_from(&other.symbols);
        self.lengths = other.lengths.clone();
        self.random = if self.symbols.is_empty() { 0.0 } else { share.clamp(0.0, 1.0) };
        self
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> String {
        if self.words.is_empty() || rng.random_bool(self.random) {
            let length = rng.random_range(self.lengths.clone());
            let symbol = |_| self.symbols[rng.random_range(0..self.symbols.len())];
            return (0..length).map(symbol).collect();
        }
        let word = &self.words[rng.random_range(0..self.words.len())];
        if !self.recase {
            return word.clone();
        }
        match rng.random::<f64>() {
            share if share < AS_IS => word.clone(),
            share if share < LOWER => word.to_lowercase(),
            share if share < UPPER => word.to_uppercase(),
            _ => {
                let mut symbols = word.chars();
                let first = symbols.next().into_iter().flat_map(char::to_uppercase);
                first.chain(symbols.flat_map(char::to_lowercase)).collect()
            }
        }
    }
}
