//! A decoder's settings as plain values: what command lines, queries and configuration files state.

mod build;
mod text;

use std::path::PathBuf;

/// How a [`Decoder`](super::Decoder) is set up, as values that can be written down. What is not given
/// has the default of the search.
///
/// Programs fill it from their arguments ([`DecoderOptions::set`]), from text such as
/// `beam_width=20; lexicon=words.txt` (`FromStr`), or with serde (feature `serde`), and
/// [`DecoderOptions::build`] the decoder when the charset is known.
///
/// ```
/// use svtrv2::{Charset, decode::{DecoderOptions, LogProbs}};
///
/// let options: DecoderOptions = "n_best=2; allow=ab".parse()?;
/// let decoder = options.build(&Charset::from_characters("abc")?)?;
/// let log_probs = LogProbs::from_probabilities(1, 4, vec![0.1, 0.3, 0.2, 0.4])?;
/// let texts = decoder.decode(&log_probs)?;
/// assert_eq!((texts.len(), &texts[0].text[..]), (2, &[1][..]));
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct DecoderOptions {
    /// The search; by default greedy, unless another option needs a beam.
    pub search: Option<SearchKind>,
    /// [`BeamSearch::beam_width`](super::BeamSearch::beam_width).
    pub beam_width: Option<usize>,
    /// [`BeamSearch::n_best`](super::BeamSearch::n_best); the beam is at least as wide unless its
    /// width is given.
    pub n_best: Option<usize>,
    /// [`BeamSearch::top_k`](super::BeamSearch::top_k).
    pub top_k: Option<usize>,
    /// [`BeamSearch::top_mass`](super::BeamSearch::top_mass).
    pub top_mass: Option<f32>,
    /// [`BeamSearch::blank_skip`](super::BeamSearch::blank_skip).
    pub blank_skip: Option<f32>,
    /// The file of a character n-gram model: ARPA, or compact
    /// ([`CompactNgram`](crate::language_model::CompactNgram), which is one of lower-case texts).
    pub lm: Option<PathBuf>,
    /// The ARPA model is one of words: it starts again after every space.
    pub lm_words: bool,
    /// [`BeamSearch::lm_weight`](super::BeamSearch::lm_weight).
    pub lm_weight: Option<f64>,
    /// [`BeamSearch::length_bonus`](super::BeamSearch::length_bonus).
    pub length_bonus: Option<f64>,
    /// The permitted words.
    pub lexicon: Option<WordList>,
    /// Other words are permitted too, at this cost in nats.
    pub lexicon_penalty: Option<f64>,
    /// Words that are expected.
    pub hot_words: Option<HotWordList>,
    /// Lexicon and hot words are in any letter case.
    pub ignore_case: bool,
    /// The only symbols that are recognised.
    pub allow: Option<Symbols>,
    /// Symbols that are never recognised. Excludes `allow`.
    pub deny: Option<Symbols>,
    /// [`Decoder::renormalize`](super::Decoder::renormalize).
    pub renormalize: bool,
}

/// A kind of search: `greedy`, `beam`, `english` or `latin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum SearchKind {
    /// [`Search::Greedy`](super::Search::Greedy).
    Greedy,
    /// [`BeamSearch::default`](super::BeamSearch::default) and what the other options change.
    Beam,
    /// `BeamSearch::english` (feature `embedded`) and what the other options change.
    English,
    /// `BeamSearch::latin` (feature `latin`) and what the other options change.
    Latin,
}

/// Words, or a file of them. In serde's formats a text is a file and a list are words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[non_exhaustive]
pub enum WordList {
    /// A UTF-8 file of at most 1 GiB, with one word a line; empty lines are left out.
    File(PathBuf),
    /// The words.
    Words(Vec<String>),
}

/// Expected words with their bonuses, or a file of them. In serde's formats a text is a file and a list
/// are pairs of word and bonus.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[non_exhaustive]
pub enum HotWordList {
    /// A UTF-8 file of at most 1 GiB, with one word a line, optionally followed by a tab and its bonus
    /// in nats; 2 without one.
    File(PathBuf),
    /// The words and their bonuses in nats.
    Words(Vec<(String, f64)>),
}

/// Symbols of a charset. In serde's formats a text are its characters, and a list are symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[non_exhaustive]
pub enum Symbols {
    /// Every character is a symbol.
    Characters(String),
    /// Symbols of any number of code points.
    List(Vec<String>),
}

#[cfg(test)]
mod tests;
