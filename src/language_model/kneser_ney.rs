//! Estimation of n-gram models: interpolated Kneser-Ney smoothing (Kneser and Ney, 1995; Chen and
//! Goodman, 1999, section 2.7) with one discount an order.

use std::collections::HashMap;

use super::ngram::{BEGIN, END, Entry, Gram, MAX_ORDER, Ngram, UNKNOWN};
use crate::charset::Charset;
use crate::error::{LanguageModelError, Result};

/// N-grams with counts, sorted.
type Counts = Vec<(Gram, u64)>;

/// The discount of an order whose counts do not tell one.
const DEFAULT_DISCOUNT: f64 = 0.5;

/// How the shorter n-grams of a model are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Smoothing {
    /// By the different tokens that they were seen behind (Kneser and Ney, 1995): the best model
    /// that holds every n-gram.
    #[default]
    KneserNey,
    /// By how often they were seen (absolute discounting; Ney, Essen and Kneser, 1994): better for
    /// a model that is pruned, whose shorter n-grams stand for longer ones.
    Absolute,
}

/// ARPA's way to say that nothing predicts the start of a text.
const NEVER: f32 = -99.0;

impl Ngram {
    /// Estimates a model of the symbols in words with counts.
    ///
    /// Words are cut into symbols of the charset ([`Charset::encode`]); those that hold anything
    /// else are left out, and so are words with count 0.
    ///
    /// # Errors
    /// [`LanguageModelError::Order`] for an order of 0 or above [`MAX_ORDER`],
    /// [`LanguageModelError::NoWords`] if no word is left.
    pub fn from_words<S: AsRef<str>>(
        charset: &Charset,
        words: &[(S, u64)],
        order: usize,
    ) -> Result<Self> {
        let symbols = charset.symbols();
        let encoded = words.iter().filter_map(|(word, count)| {
            let classes = charset.encode(word.as_ref()).ok()?;
            Some((classes.into_iter().map(|class| symbols[class - 1].as_str()), *count))
        });
        Self::estimate(encoded, order)
    }

    /// Estimates a model from sequences of tokens with counts: words of symbols, or lines of words.
    ///
    /// The vocabulary is what occurs, with `<s>`, `</s>` and `<unk>`; an unknown token has the
    /// share of the uniform distribution that the single tokens are interpolated with.
    ///
    /// # Errors
    /// As [`Ngram::from_words`].
    pub fn estimate<'a, T>(
        sequences: impl IntoIterator<Item = (T, u64)>,
        order: usize,
    ) -> Result<Self>
    where
        T: IntoIterator<Item = &'a str>,
    {
        Self::estimate_with(Smoothing::KneserNey, sequences, order)
    }

    /// The same with a choice of smoothing.
    ///
    /// # Errors
    /// As [`Ngram::from_words`].
    pub fn estimate_with<'a, T>(
        smoothing: Smoothing,
        sequences: impl IntoIterator<Item = (T, u64)>,
        order: usize,
    ) -> Result<Self>
    where
        T: IntoIterator<Item = &'a str>,
    {
        if !(1..=MAX_ORDER).contains(&order) {
            return Err(LanguageModelError::Order { order, most: MAX_ORDER }.into());
        }
        let mut vocabulary: Vec<String> = [BEGIN, END, UNKNOWN].map(String::from).to_vec();
        let mut tokens: HashMap<&str, u32> = HashMap::new();
        let mut raw: Vec<Counts> = vec![Counts::new(); order];
        for (sequence, count) in sequences {
            if count == 0 {
                continue;
            }
            let mut line = vec![0];
            for token in sequence {
                let next = vocabulary.len() as u32;
                let token = *tokens.entry(token).or_insert_with(|| {
                    vocabulary.push(token.to_owned());
                    next
                });
                line.push(token);
            }
            line.push(1);
            for last in 1..line.len() {
                for length in 1..=order.min(last + 1) {
                    let mut gram = [0; MAX_ORDER];
                    gram[..length].copy_from_slice(&line[last + 1 - length..=last]);
                    raw[length - 1].push((gram, count));
                }
            }
        }
        if raw[0].is_empty() {
            return Err(LanguageModelError::NoWords.into());
        }
        raw.iter_mut().for_each(merge);
        let counts: Vec<Counts> = (1..=order)
            .map(|length| match smoothing {
                Smoothing::KneserNey if length < order => seen_behind(&raw, length),
                _ => raw[length - 1].clone(),
            })
            .collect();
        Ok(Ngram::from_entries(vocabulary.clone(), &smoothed(&counts, vocabulary.len())))
    }
}

/// Sorts n-grams and adds up the counts of equal ones.
fn merge(counts: &mut Counts) {
    counts.sort_unstable_by_key(|entry| entry.0);
    counts.dedup_by(|next, kept| {
        let equal = next.0 == kept.0;
        kept.1 = kept.1.saturating_add(if equal { next.1 } else { 0 });
        equal
    });
}

/// How many different tokens every n-gram of a length was seen behind; of those at the start,
/// behind which nothing is, how often they were seen.
fn seen_behind(raw: &[Counts], length: usize) -> Counts {
    let longer = raw[length].iter().map(|(gram, _)| {
        let mut ending = [0; MAX_ORDER];
        ending[..length].copy_from_slice(&gram[1..=length]);
        (ending, 1)
    });
    let at_beginning = raw[length - 1].iter().filter(|(gram, _)| length > 1 && gram[0] == 0);
    let mut counts: Counts = longer.chain(at_beginning.copied()).collect();
    merge(&mut counts);
    counts
}

/// Interpolates every order with the one below it, and the first with the uniform distribution.
fn smoothed(counts: &[Counts], vocabulary: usize) -> Vec<Vec<Entry>> {
    let mut orders: Vec<Vec<Entry>> = Vec::new();
    // Probabilities of the order below, in f64.
    let mut below: HashMap<Gram, f64> = HashMap::new();
    for (length, counts) in (1..).zip(counts) {
        let discount = discount(counts);
        let mut entries = Vec::with_capacity(counts.len());
        let mut probabilities = HashMap::with_capacity(counts.len());
        let mut backoffs = HashMap::new();
        let history = |gram: &Gram| {
            let mut history = *gram;
            history[length - 1] = 0;
            history
        };
        for group in counts.chunk_by(|a, b| history(&a.0) == history(&b.0)) {
            let total: f64 = group.iter().map(|entry| entry.1 as f64).sum();
            let rest = discount * group.len() as f64 / total;
            backoffs.insert(history(&group[0].0), rest);
            for (gram, count) in group {
                let mut shorter = [0; MAX_ORDER];
                shorter[..length - 1].copy_from_slice(&gram[1..length]);
                let lower = match length {
                    // Nothing predicts the start.
                    1 => 1.0 / (vocabulary - 1) as f64,
                    _ => below.get(&shorter).copied().unwrap_or(0.0),
                };
                let probability = (*count as f64 - discount) / total + rest * lower;
                probabilities.insert(*gram, probability);
                entries.push(Entry {
                    gram: *gram,
                    log10_prob: probability.log10() as f32,
                    backoff: 0.0,
                });
            }
            if length == 1 {
                let unknown = rest / (vocabulary - 1) as f64;
                for (token, log10_prob) in [(0, NEVER), (2, unknown.log10() as f32)] {
                    let mut gram = [0; MAX_ORDER];
                    gram[0] = token;
                    entries.push(Entry { gram, log10_prob, backoff: 0.0 });
                }
            }
        }
        entries.sort_unstable_by_key(|entry| entry.gram);
        if let Some(shorter) = orders.last_mut() {
            for entry in shorter {
                if let Some(rest) = backoffs.get(&entry.gram) {
                    entry.backoff = rest.log10() as f32;
                }
            }
        }
        orders.push(entries);
        below = probabilities;
    }
    orders
}

/// What is taken off every count of an order (Ney, Essen and Kneser, 1994).
fn discount(counts: &Counts) -> f64 {
    let of = |wanted: u64| counts.iter().filter(|entry| entry.1 == wanted).count() as f64;
    let (once, twice) = (of(1), of(2));
    let discount = once / (once + 2.0 * twice);
    // Every count must leave something, and every order something for the one below.
    if discount > 0.0 && discount < 1.0 { discount } else { DEFAULT_DISCOUNT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let charset = Charset::from_characters("abcd").unwrap();
        let words = [("abca", 3), ("bca", 1), ("ab", 2), ("", 1), ("dad", 7), ("ax", 5), ("c", 0)];
        for order in 1..=MAX_ORDER {
            let model = Ngram::from_words(&charset, &words, order).unwrap();
            assert_eq!(model.order(), order);
            let score = |tokens: &[&str]| model.score(tokens).exp();
            for history in [&[][..], &["a"], &["a", "b"], &["b", "c"], &["x"], &["d", "d", "d"]] {
                // What may follow: every token, or the end. The scores hold the end as well, so
                // that it is taken from the texts that go on.
                let mut sum = score(history) / prefix(&model, history);
                for token in ["a", "b", "c", "d", "x"] {
                    let longer: Vec<&str> = history.iter().copied().chain([token]).collect();
                    sum += prefix(&model, &longer) / prefix(&model, history);
                }
                assert!((sum - 1.0).abs() < 1e-5, "order {order}, {history:?}: {sum}");
            }
        }
    }

    /// The probability that a text begins so.
    fn prefix(model: &Ngram, tokens: &[&str]) -> f64 {
        let ends: Vec<&str> = tokens.to_vec();
        let mut product = 1.0;
        for length in 1..=ends.len() {
            product *= model.step(&ends[..length]);
        }
        product
    }

    #[test]
    fn known_values() {
        // Two words, "ab" twice and "b": by hand.
        let charset = Charset::from_characters("ab").unwrap();
        let model = Ngram::from_words(&charset, &[("ab", 2), ("b", 1)], 2).unwrap();
        // Bigrams: <s>a 2, <s>b 1, ab 2, b</s> 3; one seen once, two twice: D = 1 / 5.
        // Seen behind: a 1 (<s>), b 2 (<s>, a), </s> 1 (b): one... two seen once, one twice: 2 / 4.
        let (d2, d1) = (0.2, 0.5);
        let uniform = 1.0 / 4.0; // a, b, </s>, <unk>
        let unigram = |count: f64| (count - d1) / 4.0 + d1 * 3.0 / 4.0 * uniform;
        let begin_a = (2.0 - d2) / 3.0 + d2 * 2.0 / 3.0 * unigram(1.0);
        let a_b = (2.0 - d2) / 2.0 + d2 / 2.0 * unigram(2.0);
        let b_end = (3.0 - d2) / 3.0 + d2 / 3.0 * unigram(1.0);
        let found = model.score(["a", "b"]).exp();
        assert!((found - begin_a * a_b * b_end).abs() < 1e-6, "{found}");
        // "ba": backs off at b to the unigram of a; then a backs off to the end.
        let begin_b = (1.0 - d2) / 3.0 + d2 * 2.0 / 3.0 * unigram(2.0);
        let b_a = d2 / 3.0 * unigram(1.0);
        let a_end = d2 / 2.0 * unigram(1.0);
        let found = model.score(["b", "a"]).exp();
        assert!((found - begin_b * b_a * a_end).abs() < 1e-6, "{found}");
    }

    #[test]
    fn faults() {
        let charset = Charset::from_characters("a").unwrap();
        for order in [0, MAX_ORDER + 1] {
            assert!(Ngram::from_words(&charset, &[("a", 1)], order).is_err());
        }
        for words in [&[][..], &[("x", 1)], &[("a", 0)]] {
            assert!(Ngram::from_words(&charset, words, 3).is_err(), "{words:?}");
        }
    }
}
