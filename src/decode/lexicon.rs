//! Words that texts consist of.

use std::sync::{Arc, Mutex};

use super::emitted::{Emitted, Restricted};
use super::trie::{Keys, Trie};
use crate::charset::Charset;
use crate::error::{ConfigError, Result};

/// A list of words that a [`BeamSearch`](super::BeamSearch) keeps to.
///
/// A closed lexicon permits nothing else; an open one charges a penalty for every other word. Where
/// the charset has a space, a text may be several words with spaces between them.
///
/// ```
/// use svtrv2::{Charset, decode::{BeamSearch, Lexicon, LogProbs}};
///
/// let charset = Charset::from_characters("aco")?;
/// let log_probs = LogProbs::from_probabilities(2, 4, vec![0., 0., 1., 0., 0., 0.1, 0.3, 0.6])?;
/// let lexicon = Lexicon::closed(&charset, &["ca", "caco"]);
/// let search = BeamSearch { lexicon: Some(lexicon.into()), ..BeamSearch::default() };
/// assert_eq!(search.search(&log_probs)?[0].text, [2, 1]); // "ca", not "co"
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lexicon {
    keys: Keys,
    trie: Trie,
    /// The class of the space.
    space: Option<usize>,
    /// What an unknown word costs; `None` for a closed lexicon.
    penalty: Option<f64>,
    skipped: Vec<String>,
    /// The classes that words of a closed lexicon hold, and the space; none for an open one.
    symbols: Vec<u32>,
    /// With all classes permitted; none for an open lexicon.
    frames_to_end: Arc<FramesToEnd>,
    /// The same for the classes that were permitted last, by keys.
    restricted: Arc<Mutex<Option<ForPermitted>>>,
}

/// How many classes of every key are permitted, and what prefixes need then.
type ForPermitted = (Vec<u32>, Arc<FramesToEnd>);

/// The frames that prefixes of a closed lexicon need to become words.
#[derive(Debug, Default)]
pub(super) struct FramesToEnd(Vec<[u16; 2]>);

impl FramesToEnd {
    /// The fewest frames that a text needs to end in a word, whose last frame was a blank or not.
    pub(super) fn after(&self, state: LexiconState, blank: bool) -> usize {
        let (node, after) = match state {
            LexiconState::Start => (Trie::ROOT, 0),
            LexiconState::Inside(node) => (node, usize::from(!blank)),
            LexiconState::Unknown => return usize::MAX,
        };
        match self.0.get(node as usize).map(|needed| needed[after]) {
            Some(needed) if needed < u16::MAX => usize::from(needed),
            _ => usize::MAX,
        }
    }
}

/// Where a text stands in a lexicon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LexiconState {
    /// Between words.
    #[default]
    Start,
    /// In a word that may be known, at a node of the tree.
    Inside(u32),
    /// In an unknown word.
    Unknown,
}

impl Lexicon {
    /// Permits the given words only, letter for letter.
    ///
    /// Words are cut into symbols of the charset, the longest first; those that hold anything else
    /// can never be recognised and are left out ([`Lexicon::skipped`]).
    pub fn closed<S: AsRef<str>>(charset: &Charset, words: &[S]) -> Self {
        Self::with_checked(charset, words, None, false)
    }

    /// Prefers the given words: any other costs `penalty`, a natural logarithm of 0..=1e6, that
    /// is subtracted from the score of the text.
    ///
    /// # Errors
    /// [`ConfigError`](crate::ConfigError) if the penalty is not in 0..=1e6.
    pub fn open<S: AsRef<str>>(charset: &Charset, words: &[S], penalty: f64) -> Result<Self> {
        Self::new(charset, words, Some(penalty), false)
    }

    /// Permits the given words only, or, with a penalty, prefers them ([`Lexicon::open`]); in any
    /// letter case if `ignore_case` is set: a text then keeps the case that the log-probabilities speak for.
    ///
    /// # Errors
    /// As [`Lexicon::open`].
    pub fn new<S: AsRef<str>>(
        charset: &Charset,
        words: &[S],
        penalty: Option<f64>,
        ignore_case: bool,
    ) -> Result<Self> {
        if let Some(penalty) = penalty {
            ConfigError::check_weight("lexicon penalty", penalty, 0.0)?;
        }
        Ok(Self::with_checked(charset, words, penalty, ignore_case))
    }

    fn with_checked<S: AsRef<str>>(
        charset: &Charset,
        words: &[S],
        penalty: Option<f64>,
        ignore_case: bool,
    ) -> Self {
        let keys = Keys::new(charset, ignore_case);
        let (known, skipped) = keys.of_words(words);
        let trie = Trie::new(known.into_iter().map(|(word, _)| word).collect());
        let frames_to_end = Arc::new(FramesToEnd(match penalty {
            Some(_) => Vec::new(),
            None => trie.frames_to_end(&keys.permitted(|_| true)),
        }));
        let (space, restricted) = (charset.class(" "), Arc::default());
        let mut symbols = Vec::new();
        if penalty.is_none() {
            let occurs = trie.keys(keys.count());
            let class = |class: &usize| occurs[keys.of(*class) as usize] || Some(*class) == space;
            symbols.extend((1..keys.classes()).filter(class).map(|class| class as u32));
        }
        Lexicon { keys, trie, space, penalty, skipped, symbols, frames_to_end, restricted }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The classes, in order, that a text of this closed lexicon can hold.
    pub(super) fn symbols(&self) -> &[u32] {
        &self.symbols
    }

    /// The frames that prefixes of this closed lexicon need to become words, by the classes that
    /// are possible at any frame. One pass over the tree if classes are impossible and others were
    /// the last time.
    pub(super) fn frames_to_end(&self, log_probs: &Restricted) -> Arc<FramesToEnd> {
        let mut possible = vec![false; log_probs.classes()];
        for row in log_probs.rows() {
            let mut all = true;
            for class in row.permitted() {
                possible[class] |= row.at(class) > f32::NEG_INFINITY;
                all &= possible[class];
            }
            match (all, row.is_whole()) {
                (true, true) => return self.frames_to_end.clone(),
                (true, false) => break,
                (false, _) => {}
            }
        }
        self.frames_to_end_with(|class| possible.get(class) == Some(&true))
    }

    /// The same for a set of permitted classes; kept for the next time.
    pub(super) fn frames_to_end_with(&self, permitted: impl Fn(usize) -> bool) -> Arc<FramesToEnd> {
        let permitted = self.keys.permitted(permitted);
        // A thread never waits for another: it computes for itself.
        let mut cache = self.restricted.try_lock().ok();
        if let Some(Some((known, found))) = cache.as_deref()
            && *known == permitted
        {
            return found.clone();
        }
        let found = Arc::new(FramesToEnd(self.trie.frames_to_end(&permitted)));
        if let Some(cache) = &mut cache {
            **cache = Some((permitted, found.clone()));
        }
        found
    }

    /// The words that hold a symbol outside the charset.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Whether nothing but its words is permitted.
    pub fn is_closed(&self) -> bool {
        self.penalty.is_none()
    }

    /// What one more symbol adds to a score, and where the text stands then; `None` if it may not
    /// go on so.
    pub(super) fn advance(&self, state: LexiconState, class: usize) -> Option<(f64, LexiconState)> {
        let node = match state {
            LexiconState::Start => Trie::ROOT,
            LexiconState::Inside(node) => node,
            LexiconState::Unknown => {
                let ends = Some(class) == self.space;
                let next = if ends { LexiconState::Start } else { LexiconState::Unknown };
                return Some((0.0, next));
            }
        };
        if let Some(child) = self.trie.child(node, self.keys.of(class)) {
            return Some((0.0, LexiconState::Inside(child)));
        }
        let ends = Some(class) == self.space;
        if ends && self.trie.is_word(node) {
            return Some((0.0, LexiconState::Start));
        }
        let next = if ends { LexiconState::Start } else { LexiconState::Unknown };
        Some((-self.penalty?, next))
    }

    /// What the end of the text adds to a score; `None` if it may not end here.
    pub(super) fn finish(&self, state: LexiconState) -> Option<f64> {
        match state {
            LexiconState::Unknown => Some(0.0),
            LexiconState::Inside(node) if self.trie.is_word(node) => Some(0.0),
            LexiconState::Inside(_) => Some(-self.penalty?),
            LexiconState::Start if self.trie.is_word(Trie::ROOT) => Some(0.0),
            LexiconState::Start => self.penalty.map(|_| 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bonus of a text; `None` if it is not permitted.
    fn bonus(lexicon: &Lexicon, charset: &Charset, text: &str) -> Option<f64> {
        let (mut state, mut sum) = (LexiconState::default(), 0.0);
        for class in charset.encode(text).unwrap() {
            let (bonus, next) = lexicon.advance(state, class)?;
            sum += bonus;
            state = next;
        }
        Some(sum + lexicon.finish(state)?)
    }

    #[test]
    fn texts() {
        let charset = Charset::from_characters("abcABC ").unwrap();
        let words = ["ab", "abc", "Ca", "xyz"];
        let closed = Lexicon::closed(&charset, &words);
        let open = Lexicon::open(&charset, &words, 2.0).unwrap();
        let folded = Lexicon::new(&charset, &words, None, true).unwrap();
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(Lexicon::open(&charset, &words, wrong).is_err(), "{wrong}");
        }
        assert_eq!(closed.skipped(), ["xyz"]);
        let cases: [(&str, Option<f64>, f64, bool); 12] = [
            ("ab", Some(0.0), 0.0, true),
            ("abc", Some(0.0), 0.0, true),
            ("a", None, -2.0, false),
            ("abcc", None, -2.0, false),
            ("cab", None, -2.0, false),
            ("", None, 0.0, false),
            ("ab Ca", Some(0.0), 0.0, true),
            ("ab a", None, -2.0, false),
            ("a ab", None, -2.0, false),
            ("ca ccc ab", None, -4.0, false),
            ("ABC cA", None, -4.0, true),
            ("ab ", None, 0.0, false),
        ];
        for (text, in_closed, in_open, in_folded) in cases {
            assert_eq!(bonus(&closed, &charset, text), in_closed, "{text:?}");
            assert_eq!(bonus(&open, &charset, text), Some(in_open), "{text:?}");
            assert_eq!(bonus(&folded, &charset, text).is_some(), in_folded, "{text:?}");
        }
        assert_eq!(bonus(&Lexicon::closed(&charset, &[""]), &charset, ""), Some(0.0));
    }

    #[test]
    fn words_with_spaces() {
        let charset = Charset::from_characters("ab ").unwrap();
        let lexicon = Lexicon::closed(&charset, &["a b", "a"]);
        for (text, permitted) in [("a b", true), ("a a", false), ("a b a", true), ("b", false)] {
            assert_eq!(bonus(&lexicon, &charset, text).is_some(), permitted, "{text:?}");
        }
    }
}
