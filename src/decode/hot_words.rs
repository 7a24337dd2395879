//! Words that are expected: an automaton (Aho and Corasick, 1975) that finds all of them at once.

use super::trie::{Keys, Trie};
use crate::charset::Charset;
use crate::error::{ConfigError, Result};

/// Words that raise the score of every text they occur in, wherever and as often as they do.
///
/// A search credits the part of a word that is there and takes it back where the word breaks off,
/// so that expected words survive in a narrow beam; the score of a finished text holds whole words
/// only.
#[derive(Debug, Clone)]
pub struct HotWords {
    keys: Keys,
    trie: Trie,
    /// Of every node: the node of its longest proper ending that begins a word.
    fallback: Vec<u32>,
    /// Of every node: the bonus of all words that end there.
    complete: Vec<f64>,
    /// Of every node: the credit of the word that it begins.
    partial: Vec<f64>,
    largest_gain: f64,
    skipped: Vec<String>,
}

impl HotWords {
    /// Words with their bonus, a natural logarithm above 0: 2.3 makes a text ten times as probable.
    ///
    /// A word that is listed more than once has its largest bonus. Words that hold symbols outside
    /// the charset are left out ([`HotWords::skipped`]), and so is the empty one.
    ///
    /// # Errors
    /// [`ConfigError`] if a bonus is not above 0, or above 1e6.
    pub fn new<S: AsRef<str>>(
        charset: &Charset,
        words: &[(S, f64)],
        ignore_case: bool,
    ) -> Result<Self> {
        for (word, bonus) in words {
            if !(*bonus > 0.0 && *bonus <= ConfigError::MAX_WEIGHT) {
                let detail = format!(
                    "the bonus {bonus} of {:?} is not above 0 and at most 1e6",
                    word.as_ref()
                );
                return Err(ConfigError::new("hot_words", detail).into());
            }
        }
        let keys = Keys::new(charset, ignore_case);
        let texts: Vec<&str> = words.iter().map(|(word, _)| word.as_ref()).collect();
        let (mut known, skipped) = keys.of_words(&texts);
        known.retain(|(word, _)| !word.is_empty());
        let trie = Trie::new(known.iter().map(|(word, _)| word.clone()).collect());
        let mut complete = vec![0.0f64; trie.len()];
        let mut partial = vec![0.0f64; trie.len()];
        for (word, place) in &known {
            let bonus = words[*place].1;
            let mut node = Trie::ROOT;
            for (depth, &key) in word.iter().enumerate() {
                node = trie.child(node, key).unwrap_or(Trie::ROOT);
                let (depth, length, at) = (depth + 1, word.len(), node as usize);
                if depth == length {
                    complete[at] = complete[at].max(bonus);
                } else {
                    partial[at] = partial[at].max(bonus * depth as f64 / length as f64);
                }
            }
        }
        let mut fallback = vec![Trie::ROOT; trie.len()];
        for node in 0..trie.len() as u32 {
            for &(key, child) in trie.edges(node) {
                let mut ending = node;
                while ending != Trie::ROOT {
                    ending = fallback[ending as usize];
                    if let Some(found) = trie.child(ending, key) {
                        fallback[child as usize] = found;
                        break;
                    }
                }
                // Breadth first: the shorter ending is finished.
                complete[child as usize] += complete[fallback[child as usize] as usize];
            }
        }
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let largest_gain = most(&complete) + most(&partial);
        Ok(HotWords { keys, trie, fallback, complete, partial, largest_gain, skipped })
    }

    /// The words that hold a symbol outside the charset.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The most that one symbol can add to a score.
    pub(super) fn largest_gain(&self) -> f64 {
        self.largest_gain
    }

    /// What one more symbol adds to a score, and the state behind it; states begin at 0.
    pub(super) fn advance(&self, state: u32, class: usize) -> (f64, u32) {
        let key = self.keys.of(class);
        let mut node = state;
        let next = loop {
            if let Some(child) = self.trie.child(node, key) {
                break child;
            }
            if node == Trie::ROOT {
                break Trie::ROOT;
            }
            node = self.fallback[node as usize];
        };
        let at = next as usize;
        (self.complete[at] + self.partial[at] - self.partial[state as usize], next)
    }

    /// What the end of the text adds to a score: it takes back the credit of an unfinished word.
    pub(super) fn finish(&self, state: u32) -> f64 {
        -self.partial[state as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bonus(words: &HotWords, text: &[usize]) -> f64 {
        let (mut state, mut sum) = (0, 0.0);
        for &class in text {
            let (bonus, next) = words.advance(state, class);
            assert!(bonus <= words.largest_gain() + 1e-12);
            sum += bonus;
            state = next;
        }
        sum + words.finish(state)
    }

    proptest! {
        #[test]
        fn every_occurrence_counts(
            words in prop::collection::btree_map("[ab]{1,4}", 0.1f64..3.0, 0..6),
            text in "[abc]{0,12}",
        ) {
            let charset = Charset::from_characters("abc").unwrap();
            let list: Vec<(String, f64)> = words.clone().into_iter().collect();
            let hot = HotWords::new(&charset, &list, false).unwrap();
            let expected: f64 = words
                .iter()
                .map(|(word, bonus)| {
                    (0..text.len()).filter(|&i| text[i..].starts_with(word)).count() as f64 * bonus
                })
                .sum();
            let found = bonus(&hot, &charset.encode(&text).unwrap());
            prop_assert!((found - expected).abs() < 1e-9, "{text}: {found}, {expected}");
        }
    }

    #[test]
    fn faults_and_case() {
        let charset = Charset::from_characters("aAb").unwrap();
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(HotWords::new(&charset, &[("a", wrong)], false).is_err(), "{wrong}");
        }
        let words = HotWords::new(&charset, &[("Ab", 1.0), ("", 1.0), ("x", 2.0)], true).unwrap();
        assert_eq!(words.skipped(), ["x"]);
        assert!((bonus(&words, &[1, 3]) - 1.0).abs() < 1e-12);
    }
}
