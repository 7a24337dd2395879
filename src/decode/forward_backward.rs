//! How probable a text is and how it lies over the frames: posteriors of its symbols from the
//! forward and backward sums of CTC.

use std::ops::Range;

use super::LogProbs;
use super::ctc::{Chain, IMPOSSIBLE, Lattice, log_add};
use super::emitted::{Calibrated, Emitted};

/// The forward and backward sums of a text: its probability, and where its symbols lie.
///
/// The algorithm is that of Graves et al. ("Connectionist Temporal Classification", 2006,
/// section 4.1).
#[derive(Debug, Clone)]
pub struct ForwardBackward<'a> {
    emitted: Calibrated<'a>,
    text: &'a [usize],
    lattice: Lattice<'a>,
}

impl<'a> ForwardBackward<'a> {
    /// Sums over all alignments of `text`. `None` if there is none.
    ///
    /// Time and memory are proportional to frames times symbols.
    pub fn new(log_probs: &'a LogProbs, text: &'a [usize]) -> Option<Self> {
        Self::calibrated(Calibrated::plain(log_probs), text)
    }

    /// [`ForwardBackward::new`] of log-probabilities at a temperature.
    pub(crate) fn calibrated(emitted: Calibrated<'a>, text: &'a [usize]) -> Option<Self> {
        let chain = Chain::new(text, emitted.classes())?;
        let at = |frame: usize, class: usize| f64::from(emitted.at(frame, class));
        let lattice = Lattice::new(chain, emitted.frames(), at)?;
        Some(ForwardBackward { emitted, text, lattice })
    }

    /// The natural-log probability of the text, as [`log_probability`](super::log_probability).
    pub fn log_probability(&self) -> f64 {
        self.lattice.log_prob()
    }

    /// The probability (0..=1) that a frame belongs to a symbol of the text, given the text: the
    /// share of the probability of all alignments. 0 beyond the last frame or symbol.
    ///
    /// Summed over the symbols of one class it is the gradient of the text's log-probability with
    /// respect to the log-probability of the class at the frame.
    pub fn occupancy(&self, frame: usize, symbol: usize) -> f64 {
        if frame >= self.emitted.frames() || symbol >= self.text.len() {
            return 0.0;
        }
        self.lattice.posterior(frame, 2 * symbol + 1)
    }

    /// The middle of a symbol on the time axis, in frames from the left edge of the first frame:
    /// the mean over all alignments of the text, weighted by their probability. `None` beyond the
    /// last symbol.
    pub fn center(&self, symbol: usize) -> Option<f64> {
        let (mut sum, mut weighted) = (0.0, 0.0);
        for frame in 0..self.emitted.frames() {
            let weight = self.occupancy(frame, symbol);
            sum += weight;
            weighted += weight * (frame as f64 + 0.5);
        }
        (sum > 0.0).then(|| weighted / sum)
    }

    /// The posterior of a symbol (0..=1): the probability of the text, divided by that of all
    /// texts which differ from it in this symbol at most (replaced by any other, or left out).
    /// `None` beyond the last symbol.
    ///
    /// To keep the time proportional to the length of a line, two kinds of improbable texts are
    /// left out of the sum: classes that stay below 0.001 at all frames near the symbol, and texts
    /// with the other symbol elsewhere (beyond the neighbours of this one).
    pub fn posterior(&self, symbol: usize) -> Option<f64> {
        const RARE: f64 = 1e-3;
        let states =
            (2 * symbol).saturating_sub(1)..(2 * symbol + 4).min(self.lattice.chain().len());
        let near = |&frame: &usize| {
            states.clone().map(|state| self.lattice.posterior(frame, state)).sum::<f64>() > RARE
        };
        let frames = self.lattice.frames();
        let start = (0..frames).find(near).unwrap_or(0);
        let end = (0..frames).rev().find(near).map_or(frames, |last| last + 1);
        self.posterior_among(symbol, start..end, RARE)
    }

    /// [`ForwardBackward::posterior`] against the classes that exceed `rare` at one of the frames,
    /// with the other symbol at these frames.
    fn posterior_among(&self, symbol: usize, frames: Range<usize>, rare: f64) -> Option<f64> {
        let &own = self.text.get(symbol)?;
        let mut others = Vec::new();
        let threshold = rare.ln() as f32;
        for frame in frames.clone() {
            self.emitted.symbols_above(frame, threshold, |class| {
                if class != own && !others.contains(&class) {
                    others.push(class);
                }
            });
        }
        let log_prob = self.lattice.log_prob();
        let all = others
            .into_iter()
            .map(|class| self.replaced(symbol, class, frames.clone()))
            .fold(log_add(log_prob, self.without(symbol, frames.clone())), log_add);
        Some((log_prob - all).exp().min(1.0))
    }

    /// The log-probability of a class at a frame.
    fn emitted(&self, frame: usize, class: usize) -> f64 {
        f64::from(self.emitted.at(frame, class))
    }

    /// The log-probability of the frames from `frame` on, after a symbol of class `class` in the
    /// place of `symbol` that ends before `frame`.
    fn behind(&self, frame: usize, symbol: usize, class: Option<usize>) -> f64 {
        let last = 2 * symbol + 1;
        if frame == self.lattice.frames() {
            return if symbol + 1 == self.text.len() { 0.0 } else { IMPOSSIBLE };
        }
        let (chain, behind) = (self.lattice.chain(), self.lattice.backward(frame));
        let enter = |state: usize| behind[state] + self.emitted(frame, chain.class(state));
        let through_blank = enter(last + 1);
        match self.text.get(symbol + 1) {
            Some(&next) if Some(next) != class => log_add(through_blank, enter(last + 2)),
            _ => through_blank,
        }
    }

    /// The log-probability of the text with another class in place of a symbol, at some of the
    /// frames.
    fn replaced(&self, symbol: usize, class: usize, frames: Range<usize>) -> f64 {
        let mut inside = IMPOSSIBLE;
        let mut sum = IMPOSSIBLE;
        for frame in frames {
            if frame == 0 {
                inside = if symbol == 0 { 0.0 } else { IMPOSSIBLE };
            } else {
                let before = self.lattice.forward(frame - 1);
                inside = log_add(inside, before[2 * symbol]);
                if symbol > 0 && self.text[symbol - 1] != class {
                    inside = log_add(inside, before[2 * symbol - 1]);
                }
            }
            inside += self.emitted(frame, class);
            sum = log_add(sum, inside + self.behind(frame + 1, symbol, Some(class)));
        }
        sum
    }

    /// The log-probability of the text without a symbol, whose place is at some of the frames.
    fn without(&self, symbol: usize, frames: Range<usize>) -> f64 {
        let Some(before) = symbol.checked_sub(1) else {
            return self.behind(0, symbol, None);
        };
        let class = Some(self.text[before]);
        frames
            .map(|frame| {
                let ended = self.lattice.forward(frame)[2 * before + 1];
                ended + self.behind(frame + 1, symbol, class)
            })
            .fold(IMPOSSIBLE, log_add)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::tests::{collapse, noise, paths};
    use super::super::{best_alignment, log_probability};
    use super::*;

    /// Every text with its probability, from every path.
    fn texts(log_probs: &LogProbs) -> HashMap<Vec<usize>, f64> {
        let mut texts = HashMap::new();
        for path in paths(log_probs.frames(), log_probs.classes()) {
            let log_prob: f64 =
                log_probs.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
            *texts.entry(collapse(&path)).or_default() += log_prob.exp();
        }
        texts
    }

    proptest! {
        #[test]
        fn equal_to_the_sum_over_all_paths(log_probs in noise(1..=6, 2..=4)) {
            let texts = texts(&log_probs);
            for (text, &probability) in &texts {
                let found = log_probability(&log_probs, text).exp();
                prop_assert!((found - probability).abs() < 1e-9, "{text:?}: {found}, {probability}");
                let sums = ForwardBackward::new(&log_probs, text).unwrap();
                prop_assert!((sums.log_probability().exp() - probability).abs() < 1e-9);
                for symbol in 0..text.len() {
                    // All texts with the symbol replaced or left out.
                    let mut all = 0.0;
                    for class in 0..log_probs.classes() {
                        let mut other = text.clone();
                        if class == 0 { other.remove(symbol); } else { other[symbol] = class; }
                        all += texts.get(&other).copied().unwrap_or(0.0);
                    }
                    let expected = probability / all;
                    let exact = sums.posterior_among(symbol, 0..log_probs.frames(), 0.0).unwrap();
                    prop_assert!((exact - expected).abs() < 1e-9, "{text:?} {symbol}");
                    // What is left out only makes it larger.
                    let found = sums.posterior(symbol).unwrap();
                    prop_assert!(found >= expected - 1e-9 && found <= 1.0);
                }
            }
            let too_long = vec![1; log_probs.frames() + 1];
            prop_assert_eq!(log_probability(&log_probs, &too_long), f64::NEG_INFINITY);
            prop_assert!(ForwardBackward::new(&log_probs, &too_long).is_none());
            prop_assert!(best_alignment(&log_probs, &too_long).is_none());
        }

        #[test]
        fn occupancy_is_the_gradient(log_probs in noise(2..=6, 3..=5), seed in 0usize..1000) {
            let path: Vec<usize> =
                (0..log_probs.frames()).map(|t| (seed / 3usize.pow(t as u32)) % 3).collect();
            let text = collapse(&path);
            let sums = ForwardBackward::new(&log_probs, &text).unwrap();
            for frame in 0..log_probs.frames() {
                for class in 1..log_probs.classes() {
                    let gradient: f64 = (0..text.len())
                        .filter(|&symbol| text[symbol] == class)
                        .map(|symbol| sums.occupancy(frame, symbol))
                        .sum();
                    const H: f32 = 1e-2;
                    let moved = |by: f32| {
                        let mut values = log_probs.as_slice().to_vec();
                        values[frame * log_probs.classes() + class] += by;
                        let moved = LogProbs::unchecked(log_probs.frames(), log_probs.classes(), values, false);
                        let by = moved.as_slice()[frame * log_probs.classes() + class]
                            - log_probs.as_slice()[frame * log_probs.classes() + class];
                        (log_probability(&moved, &text), f64::from(by))
                    };
                    let ((up, plus), (down, minus)) = (moved(H), moved(-H));
                    let difference = (up - down) / (plus - minus);
                    prop_assert!((gradient - difference).abs() < 1e-4, "{gradient}, {difference}");
                }
            }
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
