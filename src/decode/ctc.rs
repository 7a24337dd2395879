//! Connectionist temporal classification (Graves et al., "Connectionist Temporal Classification",
//! ICML 2006): the sums over all alignments of a text with the frames of a network.
//!
//! A text of `n` symbols is a chain of `2n + 1` states: a blank, the first symbol, a blank, ..,
//! the last symbol, a blank. An alignment occupies one state a frame. From frame to frame it stays
//! or moves to the next state; it may jump over the blank between two different symbols. It starts
//! in one of the first two states and ends in one of the last two. The forward sums (section 4.1)
//! give the probability of a text; together with the backward sums they give the posterior
//! probability of every state at every frame, which is the gradient that training needs.
//!
//! All sums are of natural logarithms in `f64`. Decoding and training use the same code.

use super::LogProbs;
use super::emitted::Emitted;
use crate::charset::Charset;

/// The natural logarithm of probability 0.
pub(super) const IMPOSSIBLE: f64 = f64::NEG_INFINITY;

/// `ln(e^a + e^b)`, exact where one of them is `-inf`.
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == IMPOSSIBLE { high } else { high + (low - high).exp().ln_1p() }
}

/// The natural-log probability of a text, summed over all of its alignments (forward algorithm).
///
/// The empty text has the probability that every frame is blank. A text without an alignment (too
/// long, or with the blank or an unknown class in it) has `-inf`.
///
/// ```
/// use svtrv2::decode::{LogProbs, log_probability};
///
/// // Two frames: the alignments of "a" are a-, -a and aa.
/// let log_probs = LogProbs::from_probabilities(2, 2, vec![0.4, 0.6, 0.3, 0.7])?;
/// let p = log_probability(&log_probs, &[1]).exp();
/// assert!((p - (0.6 * 0.3 + 0.4 * 0.7 + 0.6 * 0.7)).abs() < 1e-6);
/// assert!((log_probability(&log_probs, &[]).exp() - 0.4 * 0.3).abs() < 1e-6);
/// # Ok::<(), svtrv2::Error>(())
/// ```
pub fn log_probability(log_probs: &LogProbs, text: &[usize]) -> f64 {
    text_log_probability(log_probs, text)
}

/// [`log_probability`] of anything that gives log-probabilities.
pub(crate) fn text_log_probability(emitted: &impl Emitted, text: &[usize]) -> f64 {
    let Some(chain) = Chain::new(text, emitted.classes()) else {
        return IMPOSSIBLE;
    };
    let mut states = vec![IMPOSSIBLE; chain.len()];
    for frame in 0..emitted.frames() {
        chain.forward(frame, |class| f64::from(emitted.at(frame, class)), &mut states);
    }
    chain.ending(emitted.frames(), &states)
}

/// The chain of states of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    text: &'a [usize],
}

impl<'a> Chain<'a> {
    /// `None` if the text holds the blank or a class from `classes` on.
    pub(super) fn new(text: &'a [usize], classes: usize) -> Option<Self> {
        let possible = |&class: &usize| class != Charset::BLANK && class < classes;
        text.iter().all(possible).then_some(Chain { text })
    }

    /// The number of states.
    pub(super) fn len(self) -> usize {
        2 * self.text.len() + 1
    }

    /// The class that a state emits.
    pub(super) fn class(self, state: usize) -> usize {
        if state % 2 == 1 { self.text[state / 2] } else { Charset::BLANK }
    }

    /// True if an alignment may jump to this state from the one before the last.
    pub(super) fn jumps_to(self, state: usize) -> bool {
        state % 2 == 1 && state > 1 && self.text[state / 2] != self.text[state / 2 - 1]
    }

    /// Forward recursion, in place: from the log-probabilities of the states after the previous
    /// frame to those after `frame`. `emitted` gives the log-probability of a class at the frame.
    pub(super) fn forward(self, frame: usize, emitted: impl Fn(usize) -> f64, states: &mut [f64]) {
        if frame == 0 {
            for (state, value) in states.iter_mut().enumerate() {
                *value = if state < 2 { emitted(self.class(state)) } else { IMPOSSIBLE };
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
            states[state] = sum + emitted(self.class(state));
        }
    }

    /// The log-probability of the text from that of the states after the last frame.
    fn ending(self, frames: usize, states: &[f64]) -> f64 {
        match (frames, states) {
            (0, _) if self.text.is_empty() => 0.0,
            (0, _) => IMPOSSIBLE,
            (_, [.., symbol, blank]) => log_add(*symbol, *blank),
            (_, [.., blank]) => *blank,
            (_, []) => IMPOSSIBLE,
        }
    }
}

/// The forward and the backward sums of a text: one lattice of frames and states.
#[derive(Debug, Clone)]
pub(super) struct Lattice<'a> {
    chain: Chain<'a>,
    frames: usize,
    log_prob: f64,
    /// `[frame, state]`: alignments up to this frame, its own emission included.
    forward: Vec<f64>,
    /// `[frame, state]`: alignments behind this frame, its own emission not included.
    backward: Vec<f64>,
}

impl<'a> Lattice<'a> {
    /// Sums over all alignments with `frames` frames; `emitted(frame, class)` is a natural-log
    /// probability. `None` if the text has no alignment.
    ///
    /// Time and memory are proportional to frames times symbols.
    pub(super) fn new(
        chain: Chain<'a>,
        frames: usize,
        emitted: impl Fn(usize, usize) -> f64,
    ) -> Option<Self> {
        let states = chain.len();
        let mut forward = Vec::with_capacity(frames * states);
        let mut current = vec![IMPOSSIBLE; states];
        for frame in 0..frames {
            chain.forward(frame, |class| emitted(frame, class), &mut current);
            forward.extend_from_slice(&current);
        }
        let log_prob = chain.ending(frames, &current);
        if log_prob == IMPOSSIBLE {
            return None;
        }
        let mut backward = vec![IMPOSSIBLE; frames * states];
        // Alignments from the next frame on, that frame's emission included.
        let mut next = current;
        for frame in (0..frames).rev() {
            let row = &mut backward[frame * states..][..states];
            if frame + 1 == frames {
                row[states.saturating_sub(2)..].fill(0.0);
            } else {
                for (state, value) in row.iter_mut().enumerate() {
                    let mut sum = next[state];
                    if state + 1 < states {
                        sum = log_add(sum, next[state + 1]);
                    }
                    if state + 2 < states && chain.jumps_to(state + 2) {
                        sum = log_add(sum, next[state + 2]);
                    }
                    *value = sum;
                }
            }
            for (state, (next, behind)) in next.iter_mut().zip(row.iter()).enumerate() {
                *next = behind + emitted(frame, chain.class(state));
            }
        }
        Some(Lattice { chain, frames, log_prob, forward, backward })
    }

    /// The natural-log probability of the text.
    pub(super) fn log_prob(&self) -> f64 {
        self.log_prob
    }

    pub(super) fn chain(&self) -> Chain<'a> {
        self.chain
    }

    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// The forward sums of a frame, by state.
    pub(super) fn forward(&self, frame: usize) -> &[f64] {
        &self.forward[frame * self.chain.len()..][..self.chain.len()]
    }

    /// The backward sums of a frame, by state.
    pub(super) fn backward(&self, frame: usize) -> &[f64] {
        &self.backward[frame * self.chain.len()..][..self.chain.len()]
    }

    /// The probability (0..=1), given the text, that its alignment is in a state at a frame.
    pub(super) fn posterior(&self, frame: usize, state: usize) -> f64 {
        let at = frame * self.chain.len() + state;
        (self.forward[at] + self.backward[at] - self.log_prob).exp()
    }
}

/// The CTC loss of one sample, minus the natural-log probability of `label`, for logits
/// `[frame, class]` before the softmax; writes its gradient with respect to the logits.
///
/// The gradient is softmax minus posterior (Graves et al., equation 16): the posterior of a class
/// at a frame is the sum over the label's states of that class. Everything is summed in `f64`. A
/// label without an alignment has the loss infinity and the gradient 0.
///
/// Samples are independent: a batch calls this once a sample, on as many threads as it likes.
#[cfg(feature = "train")]
pub(crate) fn ctc_loss(
    logits: &[f32],
    classes: usize,
    label: &[usize],
    gradient: &mut [f32],
) -> f64 {
    gradient.fill(0.0);
    let rows = || logits.chunks_exact(classes.max(1));
    let log_sums: Vec<f64> = rows()
        .map(|row| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
            f64::from(largest) + sum.ln()
        })
        .collect();
    let emitted =
        |frame: usize, class: usize| f64::from(logits[frame * classes + class]) - log_sums[frame];
    let lattice =
        Chain::new(label, classes).and_then(|chain| Lattice::new(chain, log_sums.len(), emitted));
    let Some(lattice) = lattice else {
        return f64::INFINITY;
    };
    let chain = lattice.chain();
    let gradients = gradient.chunks_exact_mut(classes.max(1));
    for (frame, (gradient, row)) in gradients.zip(rows()).enumerate() {
        for (gradient, &logit) in gradient.iter_mut().zip(row) {
            *gradient = (f64::from(logit) - log_sums[frame]).exp() as f32;
        }
        for state in 0..chain.len() {
            gradient[chain.class(state)] -= lattice.posterior(frame, state) as f32;
        }
    }
    -lattice.log_prob()
}
