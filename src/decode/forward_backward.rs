//! All alignments of a given text: the forward-backward algorithm of CTC (Graves et al., 2006,
//! section 4.1), and the best of them.
//!
//! A text of `n` symbols is a chain of `2n + 1` states, a blank before, between and behind the
//! symbols; an alignment walks the chain, staying or going on at every time step, and may jump over
//! the blank between two different symbols.

use std::ops::Range;

use super::LogProbs;
use crate::charset::Charset;

const IMPOSSIBLE: f64 = f64::NEG_INFINITY;

/// `ln(e^a + e^b)`
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == IMPOSSIBLE { high } else { high + (low - high).exp().ln_1p() }
}

/// The natural-log probability of a text, summed over all of its alignments (forward algorithm).
///
/// The empty text has the probability that every step is blank. A text that no alignment fits
/// (too long, or of classes that there are not) has `-inf`.
///
/// ```
/// use svtrv2::decode::{LogProbs, log_probability};
///
/// // Two steps: "a" is read as a-, -a or aa.
/// let scores = LogProbs::from_probabilities(2, 2, vec![0.4, 0.6, 0.3, 0.7])?;
/// let p = log_probability(&scores, &[1]).exp();
/// assert!((p - (0.6 * 0.3 + 0.4 * 0.7 + 0.6 * 0.7)).abs() < 1e-6);
/// assert!((log_probability(&scores, &[]).exp() - 0.4 * 0.3).abs() < 1e-6);
/// # Ok::<(), svtrv2::Error>(())
/// ```
pub fn log_probability(scores: &LogProbs, text: &[usize]) -> f64 {
    let Some(chain) = Chain::new(scores, text) else {
        return IMPOSSIBLE;
    };
    let mut states = vec![IMPOSSIBLE; chain.len()];
    for (step, row) in scores.iter().enumerate() {
        chain.forward(step, row, &mut states);
    }
    chain.ending(scores.steps(), &states)
}

/// The chain of states of a text.
struct Chain<'a> {
    text: &'a [usize],
}

impl<'a> Chain<'a> {
    /// `None` if the text holds a class that is the blank or not there.
    fn new(scores: &LogProbs, text: &'a [usize]) -> Option<Self> {
        let possible = |&class: &usize| class != Charset::BLANK && class < scores.classes();
        text.iter().all(possible).then_some(Chain { text })
    }

    fn len(&self) -> usize {
        2 * self.text.len() + 1
    }

    fn class(&self, state: usize) -> usize {
        if state % 2 == 1 { self.text[state / 2] } else { Charset::BLANK }
    }

    /// Whether a symbol's state may follow that of the symbol before directly.
    fn jumps_to(&self, state: usize) -> bool {
        state % 2 == 1 && state > 1 && self.text[state / 2] != self.text[state / 2 - 1]
    }

    /// From the log-probabilities of being in each state behind the step before to those behind
    /// `step`, in place.
    fn forward(&self, step: usize, row: &[f32], states: &mut [f64]) {
        if step == 0 {
            // What an alignment may begin with.
            for (state, value) in states.iter_mut().enumerate() {
                *value = if state < 2 { f64::from(row[self.class(state)]) } else { IMPOSSIBLE };
            }
            return;
        }
        for state in (0..states.len()).rev() {
            let mut sum = states[state];
            if state > 0 {
                sum = log_add(sum, states[state - 1]);
            }
            if self.jumps_to(state) {
                sum = log_add(sum, states[state - 2]);
            }
            states[state] = sum + f64::from(row[self.class(state)]);
        }
    }

    /// The probability of the whole from that of the states behind the last step.
    fn ending(&self, steps: usize, states: &[f64]) -> f64 {
        match (steps, states) {
            (0, _) if self.text.is_empty() => 0.0,
            (0, _) => IMPOSSIBLE,
            (_, [.., symbol, blank]) => log_add(*symbol, *blank),
            (_, [.., blank]) => *blank,
            (_, []) => IMPOSSIBLE,
        }
    }
}

/// A text's probability, and how it lies over the time steps.
#[derive(Debug, Clone)]
pub struct ForwardBackward<'a> {
    scores: &'a LogProbs,
    text: &'a [usize],
    log_prob: f64,
    /// `[step][state]`: of the steps up to this one.
    forward: Vec<f64>,
    /// `[step][state]`: of this step and those behind it.
    backward: Vec<f64>,
}

impl<'a> ForwardBackward<'a> {
    /// Sums over all alignments of `text`. `None` if there is none.
    ///
    /// Time and memory are proportional to steps times symbols.
    pub fn new(scores: &'a LogProbs, text: &'a [usize]) -> Option<Self> {
        let chain = Chain::new(scores, text)?;
        let (steps, states) = (scores.steps(), chain.len());
        let mut forward = Vec::with_capacity(steps * states);
        let mut current = vec![IMPOSSIBLE; states];
        for (step, row) in scores.iter().enumerate() {
            chain.forward(step, row, &mut current);
            forward.extend_from_slice(&current);
        }
        let log_prob = chain.ending(steps, &current);
        if log_prob == IMPOSSIBLE {
            return None;
        }
        // An alignment ends in one of the last two states.
        let mut backward = vec![IMPOSSIBLE; steps * states];
        for (step, row) in scores.iter().enumerate().rev() {
            let (head, behind) = backward.split_at_mut((step + 1) * states);
            let current = &mut head[step * states..];
            for state in 0..states {
                let rest = if step + 1 == steps {
                    if state + 2 >= states { 0.0 } else { IMPOSSIBLE }
                } else {
                    let mut sum = behind[state];
                    if state + 1 < states {
                        sum = log_add(sum, behind[state + 1]);
                    }
                    if state + 2 < states && chain.jumps_to(state + 2) {
                        sum = log_add(sum, behind[state + 2]);
                    }
                    sum
                };
                current[state] = rest + f64::from(row[chain.class(state)]);
            }
        }
        Some(ForwardBackward { scores, text, log_prob, forward, backward })
    }

    /// The natural-log probability of the text, as [`log_probability`].
    pub fn log_probability(&self) -> f64 {
        self.log_prob
    }

    /// States of the text's chain.
    pub(crate) fn states(&self) -> usize {
        2 * self.text.len() + 1
    }

    /// The class that a state stands for.
    pub(crate) fn class(&self, state: usize) -> usize {
        Chain { text: self.text }.class(state)
    }

    /// The probability (0..=1) that step `step` belongs to the symbol `symbol` of the text, given
    /// the text: the share of the alignments' probability. 0 beyond the last of either.
    ///
    /// Summed over the symbols of one class it is the gradient of the text's log-probability by
    /// the log-probability of the class at the step.
    pub fn occupancy(&self, step: usize, symbol: usize) -> f64 {
        if step >= self.scores.steps() || symbol >= self.text.len() {
            return 0.0;
        }
        self.in_state(step, 2 * symbol + 1)
    }

    /// The probability that an alignment of the text is in a state at a step.
    pub(crate) fn in_state(&self, step: usize, state: usize) -> f64 {
        // Both sums hold the step's own probability.
        let own = f64::from(self.row(step)[self.class(state)]);
        if own == IMPOSSIBLE {
            return 0.0;
        }
        let at = step * self.states() + state;
        (self.forward[at] + self.backward[at] - own - self.log_prob).exp()
    }

    /// The middle of a symbol on the time axis, in steps from the left edge of the first step: the
    /// mean over all alignments of the text, each weighed by its probability. `None` beyond the
    /// last symbol.
    pub fn center(&self, symbol: usize) -> Option<f64> {
        let (mut sum, mut weighted) = (0.0, 0.0);
        for step in 0..self.scores.steps() {
            let weight = self.occupancy(step, symbol);
            sum += weight;
            weighted += weight * (step as f64 + 0.5);
        }
        (sum > 0.0).then(|| weighted / sum)
    }

    /// The posterior of a symbol (0..=1): the probability of the text, divided by that of all
    /// texts which differ from it in this symbol at the most (replaced by any other, or left out).
    /// `None` beyond the last symbol.
    ///
    /// What is so improbable that it hardly counts is left out, so that long lines take time in
    /// proportion to their length: classes that nowhere near the symbol exceed 0.001, and texts
    /// with the other symbol somewhere else (beyond the symbols next to this one).
    pub fn posterior(&self, symbol: usize) -> Option<f64> {
        const RARE: f64 = 1e-3;
        let states = (2 * symbol).saturating_sub(1)..(2 * symbol + 4).min(self.states());
        let near = |&step: &usize| {
            states.clone().map(|state| self.in_state(step, state)).sum::<f64>() > RARE
        };
        let steps = self.scores.steps();
        let start = (0..steps).find(near).unwrap_or(0);
        let end = (0..steps).rev().find(near).map_or(steps, |last| last + 1);
        self.posterior_among(symbol, start..end, RARE)
    }

    /// [`ForwardBackward::posterior`] against classes that exceed `rare` at one of the steps, and
    /// end there.
    fn posterior_among(&self, symbol: usize, steps: Range<usize>, rare: f64) -> Option<f64> {
        let &own = self.text.get(symbol)?;
        let mut others = Vec::new();
        let threshold = rare.ln() as f32;
        for row in self.scores.iter().take(steps.end).skip(steps.start) {
            for (class, &value) in row.iter().enumerate().skip(1) {
                if value > threshold && class != own && !others.contains(&class) {
                    others.push(class);
                }
            }
        }
        let all = others
            .into_iter()
            .map(|class| self.replaced(symbol, class, steps.clone()))
            .fold(log_add(self.log_prob, self.without(symbol, steps.clone())), log_add);
        Some((self.log_prob - all).exp().min(1.0))
    }

    fn row(&self, step: usize) -> &'a [f32] {
        self.scores.step(step).unwrap_or_default()
    }

    /// From the end of the symbol before `symbol`, or the start, at `step`, over to what lies
    /// behind a symbol of class `class` that ends there: the steps behind `step`.
    fn behind(&self, step: usize, symbol: usize, class: Option<usize>) -> f64 {
        let (states, last) = (self.states(), 2 * symbol + 1);
        if step == self.scores.steps() {
            return if symbol + 1 == self.text.len() { 0.0 } else { IMPOSSIBLE };
        }
        let at = &self.backward[step * states..][..states];
        let through_blank = at.get(last + 1).copied().unwrap_or(IMPOSSIBLE);
        match self.text.get(symbol + 1) {
            Some(&next) if Some(next) != class => log_add(through_blank, at[last + 2]),
            _ => through_blank,
        }
    }

    /// The log-probability of the text with another class in place of a symbol, at some of the
    /// steps.
    fn replaced(&self, symbol: usize, class: usize, steps: Range<usize>) -> f64 {
        let states = self.states();
        let mut inside = IMPOSSIBLE;
        let mut sum = IMPOSSIBLE;
        for step in steps {
            if step == 0 {
                inside = if symbol == 0 { 0.0 } else { IMPOSSIBLE };
            } else {
                let before = &self.forward[(step - 1) * states..][..states];
                inside = log_add(inside, before[2 * symbol]);
                if symbol > 0 && self.text[symbol - 1] != class {
                    inside = log_add(inside, before[2 * symbol - 1]);
                }
            }
            inside += f64::from(self.row(step)[class]);
            sum = log_add(sum, inside + self.behind(step + 1, symbol, Some(class)));
        }
        sum
    }

    /// The log-probability of the text without a symbol, whose place is at some of the steps.
    fn without(&self, symbol: usize, steps: Range<usize>) -> f64 {
        let states = self.states();
        let Some(before) = symbol.checked_sub(1) else {
            return self.behind(0, symbol, None);
        };
        let class = Some(self.text[before]);
        steps
            .map(|step| {
                let ended = self.forward[step * states + 2 * before + 1];
                ended + self.behind(step + 1, symbol, class)
            })
            .fold(IMPOSSIBLE, log_add)
    }
}

/// The most probable alignment of a text (Viterbi): the time steps of each symbol, in order, none
/// of them empty. `None` if the text has no alignment.
///
/// For a text that was decoded greedily these are the steps at which its symbols were seen.
pub fn best_alignment(scores: &LogProbs, text: &[usize]) -> Option<Vec<Range<usize>>> {
    let chain = Chain::new(scores, text)?;
    let states = chain.len();
    let mut best = vec![IMPOSSIBLE; states];
    // How many states each step went on by.
    let mut moves = vec![0u8; scores.steps() * states];
    for (step, row) in scores.iter().enumerate() {
        if step == 0 {
            chain.forward(0, row, &mut best);
            continue;
        }
        for state in (0..states).rev() {
            let mut from = (best[state], 0);
            if state > 0 && best[state - 1] > from.0 {
                from = (best[state - 1], 1);
            }
            if chain.jumps_to(state) && best[state - 2] > from.0 {
                from = (best[state - 2], 2);
            }
            best[state] = from.0 + f64::from(row[chain.class(state)]);
            moves[step * states + state] = from.1;
        }
    }
    let mut state = match best[..] {
        [.., symbol, blank] if symbol > blank => states - 2,
        _ => states - 1,
    };
    if scores.steps() == 0 {
        return text.is_empty().then(Vec::new);
    }
    if best[state] == IMPOSSIBLE {
        return None;
    }
    let mut spans = vec![0..0; text.len()];
    for step in (0..scores.steps()).rev() {
        if state % 2 == 1 {
            let span = &mut spans[state / 2];
            if span.end == 0 {
                span.end = step + 1;
            }
            span.start = step;
        }
        state -= usize::from(moves[step * states + state]);
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::greedy;
    use super::super::tests::{collapse, log_probs, paths};
    use super::*;

    /// Every text with its probability, from every path.
    fn texts(scores: &LogProbs) -> HashMap<Vec<usize>, f64> {
        let mut texts = HashMap::new();
        for path in paths(scores.steps(), scores.classes()) {
            let log_prob: f64 =
                scores.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
            *texts.entry(collapse(&path)).or_default() += log_prob.exp();
        }
        texts
    }

    proptest! {
        #[test]
        fn equal_to_the_sum_over_all_paths(scores in log_probs(1..=6, 2..=4)) {
            let texts = texts(&scores);
            for (text, &probability) in &texts {
                let found = log_probability(&scores, text).exp();
                prop_assert!((found - probability).abs() < 1e-9, "{text:?}: {found}, {probability}");
                let sums = ForwardBackward::new(&scores, text).unwrap();
                prop_assert!((sums.log_probability().exp() - probability).abs() < 1e-9);
                for symbol in 0..text.len() {
                    // All texts with the symbol replaced or left out.
                    let mut all = 0.0;
                    for class in 0..scores.classes() {
                        let mut other = text.clone();
                        if class == 0 { other.remove(symbol); } else { other[symbol] = class; }
                        all += texts.get(&other).copied().unwrap_or(0.0);
                    }
                    let expected = probability / all;
                    let exact = sums.posterior_among(symbol, 0..scores.steps(), 0.0).unwrap();
                    prop_assert!((exact - expected).abs() < 1e-9, "{text:?} {symbol}");
                    // What is left out only makes it larger.
                    let found = sums.posterior(symbol).unwrap();
                    prop_assert!(found >= expected - 1e-9 && found <= 1.0);
                }
            }
            let too_long = vec![1; scores.steps() + 1];
            prop_assert_eq!(log_probability(&scores, &too_long), f64::NEG_INFINITY);
            prop_assert!(ForwardBackward::new(&scores, &too_long).is_none());
            prop_assert!(best_alignment(&scores, &too_long).is_none());
        }

        #[test]
        fn occupancy_is_the_gradient(scores in log_probs(2..=6, 3..=5), seed in 0usize..1000) {
            let path: Vec<usize> =
                (0..scores.steps()).map(|t| (seed / 3usize.pow(t as u32)) % 3).collect();
            let text = collapse(&path);
            let sums = ForwardBackward::new(&scores, &text).unwrap();
            for step in 0..scores.steps() {
                for class in 1..scores.classes() {
                    let gradient: f64 = (0..text.len())
                        .filter(|&symbol| text[symbol] == class)
                        .map(|symbol| sums.occupancy(step, symbol))
                        .sum();
                    const H: f32 = 1e-2;
                    let moved = |by: f32| {
                        let mut values = scores.as_slice().to_vec();
                        values[step * scores.classes() + class] += by;
                        let moved = LogProbs::unchecked(scores.steps(), scores.classes(), values);
                        let by = moved.as_slice()[step * scores.classes() + class]
                            - scores.as_slice()[step * scores.classes() + class];
                        (log_probability(&moved, &text), f64::from(by))
                    };
                    let ((up, plus), (down, minus)) = (moved(H), moved(-H));
                    let difference = (up - down) / (plus - minus);
                    prop_assert!((gradient - difference).abs() < 1e-4, "{gradient}, {difference}");
                }
            }
        }

        #[test]
        fn best_alignment_is_the_best_path(scores in log_probs(1..=6, 2..=4)) {
            let mut best: HashMap<Vec<usize>, f64> = HashMap::new();
            for path in paths(scores.steps(), scores.classes()) {
                let log_prob: f64 =
                    scores.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
                let entry = best.entry(collapse(&path)).or_insert(f64::NEG_INFINITY);
                *entry = entry.max(log_prob);
            }
            for (text, log_prob) in best {
                let spans = best_alignment(&scores, &text).unwrap();
                let mut path = vec![0; scores.steps()];
                for (span, class) in spans.iter().zip(&text) {
                    prop_assert!(!span.is_empty());
                    path[span.clone()].fill(*class);
                }
                prop_assert_eq!(collapse(&path), text);
                let found: f64 =
                    scores.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
                prop_assert!((found - log_prob).abs() < 1e-6, "{} {}", found, log_prob);
            }
        }

        #[test]
        fn greedy_texts_keep_their_steps(scores in log_probs(1..=9, 2..=5)) {
            let decoded = greedy(&scores);
            let text: Vec<usize> = decoded.symbols.iter().map(|s| s.class).collect();
            let steps: Vec<_> = decoded.symbols.iter().map(|s| s.steps.clone()).collect();
            prop_assert_eq!(best_alignment(&scores, &text).unwrap(), steps);
        }
    }

    #[test]
    fn edges() {
        let none = LogProbs::from_logits(0, 3, vec![]).unwrap();
        assert_eq!(log_probability(&none, &[]), 0.0);
        assert_eq!(log_probability(&none, &[1]), f64::NEG_INFINITY);
        assert_eq!(best_alignment(&none, &[]), Some(vec![]));
        assert_eq!(best_alignment(&none, &[1]), None);
        let one = LogProbs::from_probabilities(1, 2, vec![0.25, 0.75]).unwrap();
        for impossible in [&[0][..], &[2], &[1, 1], &[usize::MAX]] {
            assert_eq!(log_probability(&one, impossible), f64::NEG_INFINITY, "{impossible:?}");
            assert!(ForwardBackward::new(&one, impossible).is_none());
            assert!(best_alignment(&one, impossible).is_none());
        }
        let sums = ForwardBackward::new(&one, &[1]).unwrap();
        assert_eq!(sums.center(0), Some(0.5));
        assert_eq!((sums.center(1), sums.posterior(1), sums.occupancy(0, 1)), (None, None, 0.0));
        assert_eq!(sums.occupancy(9, 0), 0.0);
        assert!((sums.posterior(0).unwrap() - 0.75).abs() < 1e-6);
    }
}
