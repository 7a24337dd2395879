//! Prefix beam search: the most probable texts, each with the probability of its alignments summed.
//!
//! The search (Graves and Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural
//! Networks", 2014; Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using
//! Bi-Directional Recurrent DNNs", 2014) goes through the frames once. It keeps the best prefixes of
//! texts, each with two sums over its alignments so far: those that end in a blank, and those that
//! end in its last symbol. At every frame a prefix stays as it is (a blank, or its last symbol once
//! more) or gets one symbol longer; a symbol that repeats the last one must follow a blank.
//! Alignments of the same text meet in the same prefix, where their probabilities are added. Then
//! all but the `beam_width` best prefixes are dropped.
//!
//! Language model, lexicon and hot words add to the score of a prefix when it gets longer
//! (`advance.rs`). Of a closed lexicon the search keeps only prefixes that can still become a word:
//! the fewest frames that the rest of a word takes (one for each symbol, and one for the blank
//! between two equal symbols) must be left, and its symbols must be possible. So a search that ends
//! has found words, and one in which no word fits ends before it begins.

mod advance;
mod classes;
mod prefix;

use std::sync::Arc;

use self::classes::{possible_classes, probable_classes};
use self::prefix::{ConstraintState, Entry, NONE, Node, Scratch};
use super::LogProbs;
use super::ctc::IMPOSSIBLE;
use super::emitted::{Emitted, Restricted};
use super::hot_words::HotWords;
use super::lexicon::{FramesToEnd, Lexicon, LexiconState};
use crate::charset::Charset;
use crate::error::{CharsetError, ConfigError, LanguageModelError, Result};
use crate::language_model::LanguageModel;

/// A prefix beam search and what constraints it. Start from the default and change what differs.
///
/// A text is ranked by its score
///
/// ```text
///   ln p(text | log_probs)                               summed over its alignments in the beam
/// + lm_weight * ln p(text | language model)           its end included
/// + length_bonus * symbols
/// + bonus of every hot word in it
/// - penalty of every word outside an open lexicon
/// ```
///
/// With `beam_width` and `top_k` beyond what the log-probabilities hold, `top_mass` and `blank_skip` at 1, the
/// search is exact.
///
/// ```
/// use svtrv2::decode::{BeamSearch, LogProbs, greedy};
///
/// // The most probable path is all blank (0.6 * 0.6), the most probable text "a" (0.64).
/// let log_probs = LogProbs::from_probabilities(2, 2, vec![0.6, 0.4, 0.6, 0.4])?;
/// assert!(greedy(&log_probs).symbols.is_empty());
/// let best = &BeamSearch::default().search(&log_probs)?[0];
/// assert_eq!(best.text, [1]);
/// assert!((best.log_prob.exp() - 0.64).abs() < 1e-6);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BeamSearch {
    /// Prefixes that are kept at every frame, at least 1.
    pub beam_width: usize,
    /// Texts that are returned at most, at least 1.
    pub n_best: usize,
    /// Classes that are looked at in a frame at most, the most probable ones; the blank is not
    /// counted. At least 1.
    pub top_k: usize,
    /// The most probable classes of a frame are looked at until their probabilities, with the
    /// blank's, sum to this (0..=1).
    pub top_mass: f32,
    /// A frame whose blank has more than this probability (0..=1) is taken for a blank; 1 switches
    /// that off.
    pub blank_skip: f32,
    /// Gives texts a probability.
    pub language_model: Option<Arc<dyn LanguageModel>>,
    /// The weight of the language model's log-probability, 0..=1e6; at 0 the model is not asked.
    pub lm_weight: f64,
    /// Added for every symbol of a text, -1e6..=1e6: a language model alone prefers short texts.
    pub length_bonus: f64,
    /// The words that a text may consist of, or should.
    pub lexicon: Option<Arc<Lexicon>>,
    /// Words that are expected.
    pub hot_words: Option<Arc<HotWords>>,
}

impl Default for BeamSearch {
    /// Ten prefixes, one result, at most 40 classes a frame that hold 0.9999 of it, no language
    /// model (whose weight would be 0.15), no lexicon, no hot words.
    fn default() -> Self {
        BeamSearch {
            beam_width: 10,
            n_best: 1,
            top_k: 40,
            top_mass: 0.9999,
            blank_skip: 1.0,
            language_model: None,
            lm_weight: 0.15,
            length_bonus: 0.0,
            lexicon: None,
            hot_words: None,
        }
    }
}

/// A text that a search found.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Hypothesis {
    /// The classes of its symbols, none of them the blank.
    pub text: Vec<usize>,
    /// The natural-log probability of the text: of all alignments (greedy decoding), or of those
    /// that stayed in the beam (beam search). Above 0 by up to 0.01 a frame where the given
    /// probabilities sum to more than 1.
    pub log_prob: f64,
    /// What the texts are ranked by: `log_prob` and what else constrained the search.
    pub score: f64,
}

/// How far one pass of a search looks.
#[derive(Clone, Copy)]
struct Pass<'a> {
    width: usize,
    top_k: usize,
    top_mass: f32,
    blank_skip: f32,
    /// Of a closed lexicon: the frames that prefixes need to become words.
    frames_to_end: Option<&'a FramesToEnd>,
    /// The only symbols that are looked at.
    symbols: Option<&'a [u32]>,
}

impl BeamSearch {
    /// The best texts, best first; of equal ones the one that was found first.
    ///
    /// There is none if no text fits: every word of a closed lexicon may need more frames than
    /// there are, or symbols that are impossible, or restricted log-probabilities may permit
    /// nothing.
    ///
    /// If a closed lexicon has words that fit but none survives in the classes that are looked at,
    /// the search is repeated with all classes.
    ///
    /// # Errors
    /// [`ConfigError`] for a number out of range, [`CharsetError`] if what constrains the search is of
    /// another charset, [`LanguageModelError::Score`] if the language model gives NaN or more than 0.
    pub fn search(&self, log_probs: &LogProbs) -> Result<Vec<Hypothesis>> {
        self.check(log_probs.classes(), None)?;
        Ok(self.search_checked(&Restricted::whole(log_probs))?)
    }

    /// Checks every number, and that everything that constrains the search is of one charset: that of
    /// `fingerprint`, if given, with `classes` classes.
    pub(super) fn check(&self, classes: usize, fingerprint: Option<u64>) -> Result<()> {
        let at_least_one =
            [("beam_width", self.beam_width), ("n_best", self.n_best), ("top_k", self.top_k)];
        for (field, value) in at_least_one {
            if value == 0 {
                return Err(ConfigError::new(field, "0 is below 1").into());
            }
        }
        for (field, value) in [("top_mass", self.top_mass), ("blank_skip", self.blank_skip)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(ConfigError::new(field, format!("{value} is not in 0..=1")).into());
            }
        }
        ConfigError::check_weight("lm_weight", self.lm_weight, 0.0)?;
        ConfigError::check_weight("length_bonus", self.length_bonus, -ConfigError::MAX_WEIGHT)?;
        let lexicon = self.lexicon.as_ref().map(|lexicon| lexicon.keys());
        let hot_words = self.hot_words.as_ref().map(|words| words.keys());
        let keys = [("lexicon", lexicon), ("hot words", hot_words)];
        let keys = keys.into_iter().filter_map(|(name, keys)| Some((name, keys?)));
        let mut expected = fingerprint;
        for (name, keys) in keys {
            if keys.classes() != classes {
                let symbols = keys.classes().saturating_sub(1);
                return Err(CharsetError::ClassCount { symbols, classes }.into());
            }
            expected = Some(check_guide(name, keys.fingerprint(), expected)?);
        }
        let model = self.weighted_model().and_then(LanguageModel::charset_fingerprint);
        if let Some(model) = model {
            check_guide("language model", model, expected)?;
        }
        Ok(())
    }

    /// [`BeamSearch::search`] of a search that was checked.
    pub(super) fn search_checked(
        &self,
        log_probs: &Restricted,
    ) -> Result<Vec<Hypothesis>, LanguageModelError> {
        let lexicon = self.lexicon.as_ref().filter(|lexicon| lexicon.is_closed());
        let frames_to_end = lexicon.map(|lexicon| lexicon.frames_to_end(log_probs));
        let mut pass = Pass {
            width: self.beam_width,
            top_k: self.top_k,
            top_mass: self.top_mass,
            blank_skip: self.blank_skip,
            frames_to_end: frames_to_end.as_deref(),
            symbols: None,
        };
        let start = LexiconState::default();
        if pass.frames_to_end.is_some_and(|needed| needed.after(start, true) > log_probs.frames()) {
            return Ok(Vec::new());
        }
        let mut found = self.search_once(log_probs, &pass)?;
        if pass.frames_to_end.is_none() {
            return Ok(found);
        }
        // Every class that a word needs; and a wider beam, within a bound on the work: symbols that
        // are impossible at single frames only may end every prefix of a narrow one.
        const MAX_WORK: usize = 1 << 22;
        let symbols = lexicon.map(|lexicon| lexicon.symbols());
        pass = Pass { top_k: usize::MAX, top_mass: 1.0, blank_skip: 1.0, symbols, ..pass };
        while found.is_empty() {
            found = self.search_once(log_probs, &pass)?;
            pass.width = pass.width.saturating_mul(8);
            if pass.width.saturating_mul(log_probs.frames() * log_probs.classes()) > MAX_WORK {
                break;
            }
        }
        Ok(found)
    }

    fn search_once(
        &self,
        log_probs: &Restricted,
        pass: &Pass,
    ) -> Result<Vec<Hypothesis>, LanguageModelError> {
        let skip_above = if pass.blank_skip < 1.0 { pass.blank_skip.ln() } else { f32::INFINITY };
        let root = Node {
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            slot: 0,
            class: 0,
            constraint: ConstraintState {
                bonus: 0.0,
                lm: self.weighted_model().map(|model| model.start()).unwrap_or_default(),
                lexicon: LexiconState::default(),
                hot: 0,
            },
        };
        let mut nodes = vec![root];
        let mut beam = vec![Entry { node: 0, blank: 0.0, symbol: IMPOSSIBLE }];
        let mut scratch = Scratch::default();
        for (frame, row) in log_probs.rows().enumerate() {
            let blank = row.at(Charset::BLANK);
            if blank > skip_above {
                for entry in &mut beam {
                    entry.blank = entry.total() + f64::from(blank);
                    entry.symbol = IMPOSSIBLE;
                }
                continue;
            }
            match pass.symbols {
                Some(symbols) => possible_classes(&row, symbols, &mut scratch.classes),
                None => probable_classes(&row, pass.top_k, pass.top_mass, &mut scratch.classes),
            }
            let frames_left = log_probs.frames() - frame - 1;
            self.advance(&row, pass, frames_left, &mut nodes, &mut beam, &mut scratch)?;
        }
        self.hypotheses(&nodes, &beam)
    }

    fn hypotheses(
        &self,
        nodes: &[Node],
        beam: &[Entry],
    ) -> Result<Vec<Hypothesis>, LanguageModelError> {
        let mut ends: Vec<(f64, &Entry)> = Vec::with_capacity(beam.len());
        for entry in beam {
            let constraint = &nodes[entry.node as usize].constraint;
            if let Some(bonus) = self.finish(constraint)? {
                ends.push((entry.total() + constraint.bonus + bonus, entry));
            }
        }
        // A text that the language model excludes is none.
        ends.retain(|end| end.0 > IMPOSSIBLE);
        ends.sort_by(|a, b| b.0.total_cmp(&a.0));
        let text = |mut node: u32| {
            let mut text = Vec::new();
            while nodes[node as usize].parent != NONE {
                text.push(nodes[node as usize].class as usize);
                node = nodes[node as usize].parent;
            }
            text.reverse();
            text
        };
        let best = ends
            .into_iter()
            .take(self.n_best)
            .map(|(score, entry)| {
                let log_prob = entry.total();
                Hypothesis { text: text(entry.node), log_prob, score }
            })
            .collect();
        Ok(best)
    }
}

/// Checks the charset of what constrains a search against the expected one, and returns it.
pub(super) fn check_guide(
    constraint: &'static str,
    constraint_charset: u64,
    expected: Option<u64>,
) -> Result<u64, CharsetError> {
    match expected {
        Some(charset) if charset != constraint_charset => {
            Err(CharsetError::Constraint { constraint, constraint_charset, charset })
        }
        _ => Ok(constraint_charset),
    }
}
