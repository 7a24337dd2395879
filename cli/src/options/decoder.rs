//! Arguments that say how log-probabilities become texts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use svtrv2::Charset;
#[cfg(feature = "embedded")]
use svtrv2::decode::Search;
use svtrv2::decode::{BeamSearch, ClassMask, Decoder, HotWords, Lexicon, Ngram, SymbolLm};

use crate::failure::{Failure, Result, read_text, warn};

#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Decoding")]
pub struct DecoderArguments {
    /// Beam search with this many prefixes; without any argument that asks for a search, decoding
    /// is greedy [default: 10]
    #[arg(long, value_name = "WIDTH")]
    pub beam: Option<usize>,
    /// Texts in the result, best first [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub n_best: Option<usize>,
    /// Classes that extend prefixes in a frame, at most
    #[arg(long, value_name = "COUNT")]
    pub top_k: Option<usize>,
    /// Probability that these classes hold together, at least
    #[arg(long, value_name = "PROBABILITY")]
    pub top_mass: Option<f32>,
    /// Frames whose blank is more probable than this extend no prefix
    #[arg(long, value_name = "PROBABILITY")]
    pub blank_skip: Option<f32>,
    /// A character n-gram model in ARPA format (`svtrv2 ngram` estimates one)
    #[arg(long, value_name = "ARPA")]
    pub lm: Option<PathBuf>,
    /// The language model of English words, names and numbers that is part of the crate, with its
    /// own weight and bonus unless they are given
    #[cfg(feature = "embedded")]
    #[arg(long, conflicts_with = "lm")]
    pub english_lm: bool,
    /// The weight of the language model's log-probability
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub lm_weight: Option<f64>,
    /// The model is one of words: it starts again after every space
    #[arg(long, requires = "lm")]
    pub lm_words: bool,
    /// Added to the score of a text for every character
    #[arg(long, value_name = "BONUS", allow_negative_numbers = true)]
    pub length_bonus: Option<f64>,
    /// The permitted words: a file with one word a line
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,
    /// Permit other words too, at this cost in nats
    #[arg(long, value_name = "NATS")]
    pub lexicon_penalty: Option<f64>,
    /// Expected words: a file with one word a line, optionally a tab and a bonus in nats (default
    /// 2)
    #[arg(long, value_name = "FILE")]
    pub hot_words: Option<PathBuf>,
    /// Ignore the letter case of lexicon and hot words
    #[arg(long)]
    pub ignore_case: bool,
    /// The only characters that are recognised
    #[arg(long, value_name = "CHARACTERS", conflicts_with = "deny")]
    pub allow: Option<String>,
    /// Characters that are never recognised
    #[arg(long, value_name = "CHARACTERS")]
    pub deny: Option<String>,
    /// Divide the probabilities of the permitted characters by their sum
    #[arg(long)]
    pub renormalize: bool,
}

impl DecoderArguments {
    /// The decoder for a charset. `own_words` stand in for a lexicon file.
    pub fn decoder(&self, charset: &Charset, own_words: Option<&[String]>) -> Result<Decoder> {
        let words = match (own_words, &self.lexicon) {
            (Some(words), _) => Some(words.to_vec()),
            (None, Some(path)) => Some(lines(path)?),
            (None, None) => None,
        };
        let searches = self.beam.is_some()
            || self.n_best.is_some()
            || self.top_k.is_some()
            || self.top_mass.is_some()
            || self.blank_skip.is_some()
            || self.lm.is_some()
            || self.lm_weight.is_some()
            || self.length_bonus.is_some()
            || words.is_some()
            || self.hot_words.is_some();
        #[cfg(feature = "embedded")]
        let searches = searches || self.english_lm;
        let mut decoder = if searches {
            Decoder::beam(self.search(charset, words.as_deref())?)
        } else {
            Decoder::greedy()
        };
        let characters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        decoder.classes = match (&self.allow, &self.deny) {
            (Some(allowed), _) => Some(ClassMask::allow(charset, characters(allowed))?),
            (None, Some(denied)) => Some(ClassMask::deny(charset, characters(denied))?),
            (None, None) => None,
        };
        decoder.renormalize = self.renormalize;
        Ok(decoder)
    }

    /// The search that the arguments change.
    #[cfg_attr(not(feature = "embedded"), expect(unused_variables, clippy::unnecessary_wraps))]
    fn basis(&self, charset: &Charset) -> Result<BeamSearch> {
        #[cfg(feature = "embedded")]
        if self.english_lm
            && let Search::Beam(search) = Decoder::english(charset)?.search
        {
            return Ok(search);
        }
        Ok(BeamSearch::default())
    }

    fn search(&self, charset: &Charset, words: Option<&[String]>) -> Result<BeamSearch> {
        let mut search = self.basis(charset)?;
        search.beam_width = self.beam.unwrap_or(search.beam_width);
        search.n_best = self.n_best.unwrap_or(search.n_best);
        search.top_k = self.top_k.unwrap_or(search.top_k);
        search.top_mass = self.top_mass.unwrap_or(search.top_mass);
        search.blank_skip = self.blank_skip.unwrap_or(search.blank_skip);
        search.lm_weight = self.lm_weight.unwrap_or(search.lm_weight);
        search.length_bonus = self.length_bonus.unwrap_or(search.length_bonus);
        if let Some(path) = &self.lm {
            let ngram = Arc::new(Ngram::open(path)?);
            search.language_model = Some(Arc::new(SymbolLm::new(ngram, charset, self.lm_words)));
        }
        if let Some(words) = words {
            let lexicon = Lexicon::new(charset, words, self.lexicon_penalty, self.ignore_case)?;
            warn_of_skipped("lexicon", lexicon.skipped());
            search.lexicon = Some(Arc::new(lexicon));
        }
        if let Some(path) = &self.hot_words {
            let mut words = Vec::new();
            for line in lines(path)? {
                let (word, bonus) = line.split_once('\t').unwrap_or((&line, "2"));
                let bonus: f64 = bonus.trim().parse().map_err(|_| {
                    Failure::Input(format!("{}: {line:?} has no bonus", path.display()))
                })?;
                words.push((word.to_owned(), bonus));
            }
            let hot_words = HotWords::new(charset, &words, self.ignore_case)?;
            warn_of_skipped("hot words", hot_words.skipped());
            search.hot_words = Some(Arc::new(hot_words));
        }
        Ok(search)
    }
}

fn lines(path: &Path) -> Result<Vec<String>> {
    Ok(read_text(path)?.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn warn_of_skipped(what: &str, skipped: &[String]) {
    if let Some(first) = skipped.first() {
        let count = skipped.len();
        warn(format!("{what}: {count} words outside the charset, {first:?} the first"));
    }
}
