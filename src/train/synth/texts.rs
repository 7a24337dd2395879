//! What synthetic words say.

use std::ops::RangeInclusive;
use std::path::Path;

use rand::{Rng, RngExt};

use super::pattern::Pattern;
use crate::error::shortened;
use crate::files;
use crate::train::TrainError;

/// Where texts are drawn from.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Kinds of texts, each with its weight.
    kinds: Vec<(Kind, f64)>,
}

#[derive(Debug, Clone)]
enum Kind {
    Random {
        symbols: Vec<char>,
        lengths: RangeInclusive<usize>,
    },
    Words {
        words: Vec<String>,
        /// The sum of the weights up to each word; empty if all are equally probable.
        sums: Vec<f64>,
        recase: bool,
        /// The share of words with punctuation.
        punctuated: f64,
    },
    Patterns(Vec<Pattern>),
}

/// Characters of the longest random string.
const MAX: usize = 1000;

/// How a word is written.
const AS_IS: f64 = 0.4;
const LOWER: f64 = 0.6;
const UPPER: f64 = 0.85;

/// Punctuation before and behind a word.
const AROUND: [(&str, &str); 24] = [
    ("", "."),
    ("", "."),
    ("", ","),
    ("", ","),
    ("", "!"),
    ("", "!"),
    ("", "?"),
    ("", ":"),
    ("", ";"),
    ("", "'s"),
    ("", "'S"),
    ("", "'"),
    ("", "-"),
    ("", "*"),
    ("", ")"),
    ("(", ""),
    ("(", ")"),
    ("\"", "\""),
    ("'", "'"),
    ("\"", ""),
    ("-", ""),
    ("#", ""),
    ("@", ""),
    ("&", ""),
];

impl Kind {
    fn draw(&self, rng: &mut impl Rng) -> String {
        match self {
            Kind::Random { symbols, lengths } => {
                let length = rng.random_range(lengths.clone());
                let symbol = |_| symbols[rng.random_range(0..symbols.len())];
                (0..length).map(symbol).collect()
            }
            Kind::Patterns(patterns) => {
                let mut text = String::new();
                patterns[rng.random_range(0..patterns.len())].draw(rng, &mut text);
                text
            }
            Kind::Words { words, sums, recase, punctuated } => {
                let index = match sums.last() {
                    None => rng.random_range(0..words.len()),
                    Some(total) => {
                        let place = rng.random::<f64>() * total;
                        sums.partition_point(|&sum| sum <= place).min(words.len() - 1)
                    }
                };
                let word = if *recase { recased(&words[index], rng) } else { words[index].clone() };
                if *punctuated > 0.0 && rng.random_bool(*punctuated) {
                    let (before, behind) = AROUND[rng.random_range(0..AROUND.len())];
                    return format!("{before}{word}{behind}");
                }
                word
            }
        }
    }
}

/// As it is, in lower case, in capitals, or with one capital.
fn recased(word: &str, rng: &mut impl Rng) -> String {
    match rng.random::<f64>() {
        share if share < AS_IS => word.to_owned(),
        share if share < LOWER => word.to_lowercase(),
        share if share < UPPER => word.to_uppercase(),
        _ => {
            let mut symbols = word.chars();
            let first = symbols.next().into_iter().flat_map(char::to_uppercase);
            first.chain(symbols.flat_map(char::to_lowercase)).collect()
        }
    }
}

impl Texts {
    fn of(kind: Kind) -> Self {
        Texts { kinds: vec![(kind, 1.0)] }
    }

    /// Random strings of the characters of `symbols`, `lengths` long.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are no characters or no lengths.
    pub fn random(symbols: &str, lengths: RangeInclusive<usize>) -> Result<Self, TrainError> {
        let symbols: Vec<char> = symbols.chars().collect();
        let possible = *lengths.start() > 0 && *lengths.end() <= MAX;
        if symbols.is_empty() || lengths.is_empty() || !possible {
            let detail = format!(
                "random strings of {} characters, lengths {lengths:?} of 1..={MAX}",
                symbols.len()
            );
            return Err(TrainError::Options { detail });
        }
        Ok(Self::of(Kind::Random { symbols, lengths }))
    }

    /// Words as they are given, all equally probable.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are none.
    pub fn words(words: impl IntoIterator<Item = String>) -> Result<Self, TrainError> {
        Self::weighted(words.into_iter().map(|word| (word, 1.0)))
    }

    /// Words, each with its weight.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are none, or a weight is not finite or below 0.
    pub fn weighted(words: impl IntoIterator<Item = (String, f64)>) -> Result<Self, TrainError> {
        let (words, weights): (Vec<String>, Vec<f64>) =
            words.into_iter().filter(|(word, _)| !word.trim().is_empty()).unzip();
        if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) {
            return Err(TrainError::Options {
                detail: "a word's weight is out of range".to_owned(),
            });
        }
        let mut sum = 0.0;
        let mut sums: Vec<f64> = Vec::with_capacity(weights.len());
        for weight in &weights {
            sum += weight;
            sums.push(sum);
        }
        if words.is_empty() || sum <= 0.0 {
            return Err(TrainError::Options { detail: "there are no words".to_owned() });
        }
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            sums.clear();
        }
        Ok(Self::of(Kind::Words { words, sums, recase: false, punctuated: 0.0 }))
    }

    /// Words of a file, one a line.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it cannot be read; [`TrainError::Options`] if it has none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        Self::words(lines(path.as_ref())?)
    }

    /// Words of a file, each line a word, a tab and the word's Zipf frequency, the decimal logarithm
    /// of how often it comes in a milliard of words. They are drawn by their frequencies to the power
    /// of `power`: 0 makes all equally probable, 1 makes them as frequent as they are.
    ///
    /// # Errors
    /// As [`Texts::open`]; also if a line has no number.
    pub fn open_frequencies(path: impl AsRef<Path>, power: f64) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let mut words = Vec::new();
        for line in lines(path)? {
            let number = line.split_once('\t').map(|(word, zipf)| (word, zipf.parse::<f64>()));
            let Some((word, Ok(zipf))) = number else {
                let detail = format!("{}: {:?} has no frequency", path.display(), shortened(&line));
                return Err(TrainError::Options { detail });
            };
            words.push((word.to_owned(), 10f64.powf(zipf * power)));
        }
        Self::weighted(words)
    }

    /// Texts that follow one of some patterns, in the notation of regular expressions: characters,
    /// classes `[A-Z_]`, digits `\d`, groups with alternatives `(am|pm)`, repetitions `?`, `{3}` and
    /// `{2,4}`; a backslash takes any other character as it is.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are none or one is at fault.
    pub fn patterns<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<Self, TrainError> {
        let patterns: Vec<Pattern> = patterns
            .into_iter()
            .map(|pattern| Pattern::parse(pattern.as_ref()))
            .collect::<Result<_, _>>()?;
        if patterns.is_empty() {
            return Err(TrainError::Options { detail: "there are no patterns".to_owned() });
        }
        Ok(Self::of(Kind::Patterns(patterns)))
    }

    /// Several kinds of texts, each with its weight.
    ///
    /// # Errors
    /// [`TrainError::Options`] if a weight is not finite or below 0, or all are 0.
    pub fn mixed(texts: impl IntoIterator<Item = (Texts, f64)>) -> Result<Self, TrainError> {
        let mut kinds = Vec::new();
        for (texts, weight) in texts {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(TrainError::Options {
                    detail: format!("a weight of texts of {weight}"),
                });
            }
            let own: f64 = texts.kinds.iter().map(|(_, weight)| weight).sum();
            let scaled = texts.kinds.into_iter().map(|(kind, part)| (kind, weight * part / own));
            kinds.extend(scaled.filter(|(_, weight)| *weight > 0.0));
        }
        if kinds.is_empty() {
            return Err(TrainError::Options { detail: "there are no texts".to_owned() });
        }
        Ok(Texts { kinds })
    }

    /// Writes words in lower case, in capitals or with one capital at random, besides as they are.
    #[must_use]
    pub fn with_random_case(mut self) -> Self {
        for (kind, _) in &mut self.kinds {
            if let Kind::Words { recase, .. } = kind {
                *recase = true;
            }
        }
        self
    }

    /// Puts punctuation around a share of the words.
    #[must_use]
    pub fn with_punctuation(mut self, share: f64) -> Self {
        for (kind, _) in &mut self.kinds {
            if let Kind::Words { punctuated, .. } = kind {
                *punctuated = share.clamp(0.0, 1.0);
            }
        }
        self
    }

    /// Keeps the words that `keep` wants, but for those of which it would leave none.
    #[must_use]
    pub fn retain(mut self, mut keep: impl FnMut(&str) -> bool) -> Self {
        for (kind, _) in &mut self.kinds {
            let Kind::Words { words, sums, .. } = kind else {
                continue;
            };
            let kept: Vec<bool> = words.iter().map(|word| keep(word)).collect();
            if !kept.contains(&true) {
                continue;
            }
            if !sums.is_empty() {
                let mut before = 0.0;
                let mut sum = 0.0;
                let mut left = Vec::new();
                for (&up_to, &kept) in sums.iter().zip(&kept) {
                    if kept {
                        sum += up_to - before;
                        left.push(sum);
                    }
                    before = up_to;
                }
                *sums = left;
            }
            let mut kept = kept.into_iter();
            words.retain(|_| kept.next().unwrap_or(false));
        }
        self
    }

    /// Mixes random strings in, a share of `share`.
    #[must_use]
    pub fn with_random(mut self, other: &Texts, share: f64) -> Self {
        let share = share.clamp(0.0, 1.0);
        let sum = |texts: &Texts| texts.kinds.iter().map(|(_, weight)| weight).sum::<f64>();
        let (own, others) = (sum(&self), sum(other));
        for (_, weight) in &mut self.kinds {
            *weight *= (1.0 - share) / own;
        }
        let scaled = other.kinds.iter().map(|(kind, part)| (kind.clone(), part * share / others));
        self.kinds.extend(scaled);
        self.kinds.retain(|(_, weight)| *weight > 0.0);
        self
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> String {
        let total: f64 = self.kinds.iter().map(|(_, weight)| weight).sum();
        let mut place = if self.kinds.len() > 1 { rng.random::<f64>() * total } else { 0.0 };
        for (kind, weight) in &self.kinds {
            place -= weight;
            if place < 0.0 {
                return kind.draw(rng);
            }
        }
        self.kinds.last().map_or_else(String::new, |(kind, _)| kind.draw(rng))
    }
}

fn lines(path: &Path) -> Result<Vec<String>, TrainError> {
    let text = files::read(path, files::MAX_TEXT)
        .and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        })
        .map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}
