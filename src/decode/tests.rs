//! The searches against every path there is.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::charset::Charset;

/// Emissions of noise, some of them sure, some with classes that are impossible.
pub(super) fn noise(
    frames: RangeInclusive<usize>,
    classes: RangeInclusive<usize>,
) -> impl Strategy<Value = LogProbs> {
    (frames, classes)
        .prop_flat_map(|(frames, classes)| {
            let logits = prop::collection::vec(-4.0f32..4.0, frames * classes);
            (Just(frames), Just(classes), logits)
        })
        .prop_map(|(frames, classes, logits)| {
            LogProbs::from_logits(frames, classes, logits).unwrap()
        })
}

/// Every path: one class a frame.
pub(super) fn paths(frames: usize, classes: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..classes.pow(frames as u32)).map(move |path| {
        (0..frames as u32).map(|frame| path / classes.pow(frame) % classes).collect()
    })
}

/// The text of a path.
pub(super) fn collapse(path: &[usize]) -> Vec<usize> {
    let mut text = Vec::new();
    let mut previous = Charset::BLANK;
    for &class in path {
        if class != previous && class != Charset::BLANK {
            text.push(class);
        }
        previous = class;
    }
    text
}

/// All texts with their log-probabilities, from every path.
fn texts(log_probs: &LogProbs) -> HashMap<Vec<usize>, f64> {
    let mut texts: HashMap<Vec<usize>, f64> = HashMap::new();
    for path in paths(log_probs.frames(), log_probs.classes()) {
        let log_prob: f64 =
            log_probs.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
        *texts.entry(collapse(&path)).or_default() += log_prob.exp();
    }
    texts.into_iter().map(|(text, probability)| (text, probability.ln())).collect()
}

fn exact() -> BeamSearch {
    BeamSearch {
        beam_width: usize::MAX,
        n_best: usize::MAX,
        top_k: usize::MAX,
        top_mass: 1.0,
        ..BeamSearch::default()
    }
}

/// What brute force says: texts with their score, best first.
fn ranked(log_probs: &LogProbs, bonus: impl Fn(&[usize]) -> Option<f64>) -> Vec<(f64, Vec<usize>)> {
    let mut all: Vec<(f64, Vec<usize>)> = texts(log_probs)
        .into_iter()
        .filter_map(|(text, log_prob)| Some((log_prob + bonus(&text)?, text)))
        .filter(|(score, _)| *score > f64::NEG_INFINITY)
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}

fn check(search: &BeamSearch, log_probs: &LogProbs, bonus: impl Fn(&[usize]) -> Option<f64>) {
    let expected = ranked(log_probs, bonus);
    let found = search.search(log_probs).unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, (score, _)) in found.iter().zip(&expected) {
        assert!((found.score - score).abs() < 1e-9, "{found:?}, {score}");
        let (_, text_score) = expected
            .iter()
            .map(|(score, text)| (text, score))
            .find(|(text, _)| **text == found.text)
            .unwrap();
        assert!((found.score - text_score).abs() < 1e-9, "{found:?}, {text_score}");
        let log_prob = log_probability(log_probs, &found.text);
        assert!((found.log_prob - log_prob).abs() < 1e-9);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_wide_beam_is_exact(log_probs in noise(0..=6, 2..=5)) {
        check(&exact(), &log_probs, |_| Some(0.0));
    }

    #[test]
    fn guided_search_is_exact(
        log_probs in noise(1..=5, 4..=4),
        weight in 0.0f64..2.0,
        length_bonus in -1.0f64..1.0,
        words in prop::collection::vec(("[abc]{1,4}", 1u64..5), 1..5),
        hot in prop::collection::vec(("[abc]{1,3}", 0.1f64..2.0), 0..3),
        penalty in 0.0f64..4.0,
        closed: bool,
    ) {
        let charset = Charset::from_characters("abc").unwrap();
        let ngram = Arc::new(Ngram::from_words(&charset, &words, 3).unwrap());
        let model = SymbolLm::new(ngram, &charset, false);
        let words: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
        let lexicon = if closed {
            Lexicon::closed(&charset, &words)
        } else {
            Lexicon::open(&charset, &words, penalty).unwrap()
        };
        let hot_words = HotWords::new(&charset, &hot, false).unwrap();
        let mut best_hot: HashMap<&str, f64> = HashMap::new();
        for (word, bonus) in &hot {
            let entry = best_hot.entry(word).or_default();
            *entry = entry.max(*bonus);
        }
        let bonus = |text: &[usize]| {
            let spelled: String = text.iter().filter_map(|&class| charset.symbol(class)).collect();
            let known = words.contains(&spelled.as_str());
            let unknown = if closed { None } else if spelled.is_empty() { Some(0.0) } else { Some(-penalty) };
            let hot: f64 = best_hot
                .iter()
                .map(|(word, bonus)| {
                    let at = |i: &usize| spelled[*i..].starts_with(word);
                    (0..spelled.len()).filter(at).count() as f64 * bonus
                })
                .sum();
            let lm = weight * lm_log_probability(&model, text);
            Some(lm + length_bonus * text.len() as f64 + hot + if known { 0.0 } else { unknown? })
        };
        let search = BeamSearch {
            language_model: Some(Arc::new(model.clone())),
            lm_weight: weight,
            length_bonus,
            lexicon: Some(Arc::new(lexicon)),
            hot_words: Some(Arc::new(hot_words)),
            ..exact()
        };
        check(&search, &log_probs, bonus);
        // A beam of one still ends in a word.
        if closed && !ranked(&log_probs, bonus).is_empty() {
            let narrow = BeamSearch { beam_width: 1, top_k: 1, n_best: 1, ..search };
            let found = &narrow.search(&log_probs).unwrap()[0];
            let spelled: String =
                found.text.iter().filter_map(|&class| charset.symbol(class)).collect();
            prop_assert!(words.contains(&spelled.as_str()));
        }
    }

    #[test]
    fn a_narrow_beam_finds_less_but_never_more(
        log_probs in noise(1..=6, 2..=5),
        beam_width in 1usize..4,
        top_k in 1usize..5,
        top_mass in 0.5f32..1.0,
        blank_skip in 0.5f32..1.0,
    ) {
        let search = BeamSearch { beam_width, top_k, top_mass, blank_skip, ..exact() };
        let found = search.search(&log_probs).unwrap();
        prop_assert!(!found.is_empty() && found.len() <= beam_width);
        for hypothesis in &found {
            let exact = log_probability(&log_probs, &hypothesis.text);
            prop_assert!(hypothesis.log_prob <= exact + 1e-9);
        }
        prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        let texts: std::collections::HashSet<_> = found.iter().map(|h| h.text.clone()).collect();
        prop_assert_eq!(texts.len(), found.len());
        // The same log-probabilities, the same texts.
        prop_assert_eq!(search.search(&log_probs).unwrap(), found);
    }
}

#[test]
fn impossible_scores() {
    let charset = Charset::from_characters("ab").unwrap();
    let log_probs = LogProbs::from_probabilities(1, 3, vec![0.0, 0.0, 1.0]).unwrap();
    let mask = ClassMask::allow(&charset, ["a"]).unwrap();
    let mut only_a = Decoder::beam(BeamSearch::default());
    only_a.classes = Some(mask);
    assert!(only_a.decode(&log_probs).unwrap().is_empty());
    let lexicon = Some(Arc::new(Lexicon::closed(&charset, &["aa", "bb"])));
    let closed = BeamSearch { lexicon, ..BeamSearch::default() };
    assert!(closed.search(&log_probs).unwrap().is_empty());
    let none = LogProbs::from_logits(0, 3, vec![]).unwrap();
    let empty = BeamSearch::default().search(&none).unwrap();
    assert_eq!(empty, [Hypothesis { text: vec![], log_prob: 0.0, score: 0.0 }]);
}

#[test]
fn a_long_line() {
    // Thousands of frames: nothing underflows, memory stays small.
    let (frames, classes) = (5_000, 30);
    let logits = (0..frames * classes).map(|i| (i * i % 101) as f32 / 9.0).collect();
    let log_probs = LogProbs::from_logits(frames, classes, logits).unwrap();
    let found = BeamSearch::default().search(&log_probs).unwrap();
    let log_prob = log_probability(&log_probs, &found[0].text);
    assert!(found[0].log_prob.is_finite() && found[0].log_prob <= log_prob);
    assert!(found[0].log_prob >= greedy_log_prob(&log_probs) - 1e-6);
}

/// The log-probability of the most probable path.
fn greedy_log_prob(log_probs: &LogProbs) -> f64 {
    log_probs.iter().map(|row| f64::from(row.iter().copied().fold(f32::MIN, f32::max))).sum()
}
