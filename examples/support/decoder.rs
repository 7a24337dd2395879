//! Arguments that say how scores become texts.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use svtrv2::Charset;
use svtrv2::decode::{BeamSearch, ClassMask, Decoder, HotWords, Lexicon, Ngram, SymbolLm};

#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Decoding")]
pub struct DecoderArguments {
    /// Beam search with so many beginnings of texts; 10 if another argument asks for a search.
    /// Without any of them decoding is greedy.
    #[arg(long, value_name = "WIDTH")]
    pub beam: Option<usize>,
    /// Texts that are shown.
    #[arg(long, value_name = "COUNT")]
    pub n_best: Option<usize>,
    /// Classes that are looked at in a step, at the most.
    #[arg(long, value_name = "COUNT")]
    pub top_k: Option<usize>,
    /// The probability that these classes hold together.
    #[arg(long, value_name = "PROBABILITY")]
    pub top_mass: Option<f32>,
    /// Steps whose blank is more probable than this are blank.
    #[arg(long, value_name = "PROBABILITY")]
    pub blank_skip: Option<f32>,
    /// A character n-gram model in ARPA format (the example `ngram` makes one of a word list).
    #[arg(long, value_name = "ARPA")]
    pub lm: Option<PathBuf>,
    /// The weight of the model's log-probability.
    #[arg(long, value_name = "WEIGHT", requires = "lm", allow_negative_numbers = true)]
    pub lm_weight: Option<f64>,
    /// The model knows words, not lines: it starts again behind every space.
    #[arg(long, requires = "lm")]
    pub lm_words: bool,
    /// Added to a text's score for every character.
    #[arg(long, value_name = "BONUS", allow_negative_numbers = true)]
    pub length_bonus: Option<f64>,
    /// Words that may be read, a file with one a line.
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,
    /// Other words may be read too, at this price in nats.
    #[arg(long, value_name = "NATS")]
    pub lexicon_penalty: Option<f64>,
    /// Words that are expected: a file with one a line, with a tab and a bonus in nats behind it
    /// or without (then 2).
    #[arg(long, value_name = "FILE")]
    pub hot_words: Option<PathBuf>,
    /// The letter case of the lexicon and of hot words is of no account.
    #[arg(long)]
    pub ignore_case: bool,
    /// The only characters that may be read.
    #[arg(long, value_name = "CHARACTERS", conflicts_with = "deny")]
    pub allow: Option<String>,
    /// Characters that may not be read.
    #[arg(long, value_name = "CHARACTERS")]
    pub deny: Option<String>,
    /// The permitted characters share the probability of the others.
    #[arg(long)]
    pub renormalize: bool,
}

impl DecoderArguments {
    /// The decoder for a charset. `own_words` stand in for a lexicon file.
    pub fn decoder(
        &self,
        charset: &Charset,
        own_words: Option<&[String]>,
    ) -> Result<Decoder, Box<dyn Error>> {
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
            || self.length_bonus.is_some()
            || words.is_some()
            || self.hot_words.is_some();
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

    fn search(
        &self,
        charset: &Charset,
        words: Option<&[String]>,
    ) -> Result<BeamSearch, Box<dyn Error>> {
        let mut search = BeamSearch::default();
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
                words.push((word.to_owned(), bonus.trim().parse::<f64>()?));
            }
            let hot_words = HotWords::new(charset, &words, self.ignore_case)?;
            warn_of_skipped("hot words", hot_words.skipped());
            search.hot_words = Some(Arc::new(hot_words));
        }
        Ok(search)
    }
}

fn lines(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn warn_of_skipped(what: &str, skipped: &[String]) {
    if let Some(first) = skipped.first() {
        eprintln!("{what}: {} words outside the charset, {first:?} the first", skipped.len());
    }
}
