//! Arguments that say how log-probabilities become texts.

use std::path::PathBuf;

use clap::Args;
use svtrv2::Charset;
use svtrv2::decode::{Decoder, DecoderOptions, HotWordList, Search, SearchKind, Symbols, WordList};

use crate::failure::{Result, warn};

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
    /// A character n-gram model in ARPA format (`svtrv2 ngram` estimates one), or a compact one
    #[arg(long, value_name = "FILE", group = "language_model")]
    pub lm: Option<PathBuf>,
    /// The language model of English words, names and numbers that is part of the crate, with its
    /// own weight and bonus unless they are given
    #[cfg(feature = "embedded")]
    #[arg(long, group = "language_model")]
    pub english_lm: bool,
    /// The language model of words, names and numbers of 38 languages in Latin script that is part of the crate,
    /// with its own weight and bonus unless they are given
    #[cfg(feature = "latin")]
    #[arg(long, group = "language_model")]
    pub latin_lm: bool,
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
    /// Divide the probabilities of the permitted characters by their sum; else confidences fall by what
    /// the other characters have
    #[arg(long)]
    pub renormalize: bool,
}

impl DecoderArguments {
    /// The decoder for a charset. `own_words` stand in for a lexicon file.
    pub fn decoder(&self, charset: &Charset, own_words: Option<&[String]>) -> Result<Decoder> {
        let mut options = self.options();
        if let Some(words) = own_words {
            options.lexicon = Some(WordList::Words(words.to_vec()));
        }
        let decoder = options.build(charset)?;
        if let Search::Beam(search) = &decoder.search {
            let lexicon = search.lexicon.as_ref().map(|lexicon| lexicon.skipped());
            let hot_words = search.hot_words.as_ref().map(|words| words.skipped());
            warn_of_skipped("lexicon", lexicon.unwrap_or_default());
            warn_of_skipped("hot words", hot_words.unwrap_or_default());
        }
        Ok(decoder)
    }

    fn options(&self) -> DecoderOptions {
        let arguments = self.clone();
        #[cfg(feature = "embedded")]
        let english = arguments.english_lm;
        #[cfg(not(feature = "embedded"))]
        let english = false;
        #[cfg(feature = "latin")]
        let latin = arguments.latin_lm;
        #[cfg(not(feature = "latin"))]
        let latin = false;
        let mut options = DecoderOptions::default();
        options.search = match (english, latin) {
            (true, _) => Some(SearchKind::English),
            (_, true) => Some(SearchKind::Latin),
            _ => None,
        };
        options.beam_width = arguments.beam;
        options.n_best = arguments.n_best;
        options.top_k = arguments.top_k;
        options.top_mass = arguments.top_mass;
        options.blank_skip = arguments.blank_skip;
        options.lm = arguments.lm;
        options.lm_words = arguments.lm_words;
        options.lm_weight = arguments.lm_weight;
        options.length_bonus = arguments.length_bonus;
        options.lexicon = arguments.lexicon.map(WordList::File);
        options.lexicon_penalty = arguments.lexicon_penalty;
        options.hot_words = arguments.hot_words.map(HotWordList::File);
        options.ignore_case = arguments.ignore_case;
        options.allow = arguments.allow.map(Symbols::Characters);
        options.deny = arguments.deny.map(Symbols::Characters);
        options.renormalize = arguments.renormalize;
        options
    }
}

fn warn_of_skipped(what: &str, skipped: &[String]) {
    if let Some(first) = skipped.first() {
        let count = skipped.len();
        warn(format!("{what}: {count} words outside the charset, {first:?} the first"));
    }
}
