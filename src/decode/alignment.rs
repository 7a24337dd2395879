//! The most probable alignment of a text with the frames (Viterbi, 1967, over the states of CTC).

use std::ops::Range;

use super::LogProbs;
use super::ctc::{Chain, IMPOSSIBLE};
use super::emitted::Emitted;

/// The most probable alignment of a text: the frames of each symbol, in order, none of them empty.
/// `None` if the text has no alignment.
///
/// For a text that was decoded greedily these are the frames at which its symbols were seen.
pub fn best_alignment(log_probs: &LogProbs, text: &[usize]) -> Option<Vec<Range<usize>>> {
    align(log_probs, text)
}

/// [`best_alignment`] with anything that gives log-probabilities.
pub(crate) fn align(emitted: &impl Emitted, text: &[usize]) -> Option<Vec<Range<usize>>> {
    let frames = emitted.frames();
    let chain = Chain::new(text, emitted.classes())?;
    let states = chain.len();
    let mut best = vec![IMPOSSIBLE; states];
    // How many states each frame went on by.
    let mut moves = vec![0u8; frames * states];
    for frame in 0..frames {
        let emission = |class| f64::from(emitted.at(frame, class));
        if frame == 0 {
            chain.forward(0, emission, &mut best);
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
            best[state] = from.0 + emission(chain.class(state));
            moves[frame * states + state] = from.1;
        }
    }
    let mut state = match best[..] {
        [.., symbol, blank] if symbol > blank => states - 2,
        _ => states - 1,
    };
    if frames == 0 {
        return text.is_empty().then(Vec::new);
    }
    if best[state] == IMPOSSIBLE {
        return None;
    }
    let mut spans = vec![0..0; text.len()];
    for frame in (0..frames).rev() {
        if state % 2 == 1 {
            let span = &mut spans[state / 2];
            if span.end == 0 {
                span.end = frame + 1;
            }
            span.start = frame;
        }
        state -= usize::from(moves[frame * states + state]);
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::greedy;
    use super::super::tests::{collapse, noise, paths};
    use super::*;

    proptest! {
        #[test]
        fn best_alignment_is_the_best_path(log_probs in noise(1..=6, 2..=4)) {
            let mut best: HashMap<Vec<usize>, f64> = HashMap::new();
            for path in paths(log_probs.frames(), log_probs.classes()) {
                let log_prob: f64 =
                    log_probs.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
                let entry = best.entry(collapse(&path)).or_insert(f64::NEG_INFINITY);
                *entry = entry.max(log_prob);
            }
            for (text, log_prob) in best {
                let spans = best_alignment(&log_probs, &text).unwrap();
                let mut path = vec![0; log_probs.frames()];
                for (span, class) in spans.iter().zip(&text) {
                    prop_assert!(!span.is_empty());
                    path[span.clone()].fill(*class);
                }
                prop_assert_eq!(collapse(&path), text);
                let found: f64 =
                    log_probs.iter().zip(&path).map(|(row, &class)| f64::from(row[class])).sum();
                prop_assert!((found - log_prob).abs() < 1e-6, "{} {}", found, log_prob);
            }
        }

        #[test]
        fn greedy_texts_keep_their_steps(log_probs in noise(1..=9, 2..=5)) {
            let decoded = greedy(&log_probs);
            let text: Vec<usize> = decoded.symbols.iter().map(|s| s.class).collect();
            let frames: Vec<_> = decoded.symbols.iter().map(|s| s.frames.clone()).collect();
            prop_assert_eq!(best_alignment(&log_probs, &text).unwrap(), frames);
        }
    }
}
