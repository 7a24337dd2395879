//! Greedy CTC decoding ("best path decoding", Graves et al., 2006, section 3.2): the most probable
//! class of every frame, repeats collapsed, blanks removed.

use std::ops::Range;

use super::LogProbs;
use super::emitted::{Restricted, Row};
use crate::charset::Charset;
use crate::cpu::largest;

/// A decoded sequence.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Decoded {
    /// The symbols in reading order; none is a valid result.
    pub symbols: Vec<DecodedSymbol>,
    /// The reference implementation's score, 0..=1: the mean over the symbols of the probability
    /// at the frame where each was first seen; 0 without symbols.
    pub score: f32,
}

/// A symbol of a decoded sequence.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DecodedSymbol {
    /// The class, at least 1.
    pub class: usize,
    /// The probability (0..=1) of the class at the first of its frames.
    pub score: f32,
    /// The consecutive frames at which the class was the most probable one; never empty.
    pub frames: Range<usize>,
}

impl Decoded {
    /// The text under a charset; classes beyond its end stand for nothing.
    pub fn text(&self, charset: &Charset) -> String {
        self.symbols.iter().filter_map(|symbol| charset.symbol(symbol.class)).collect()
    }
}

/// Decodes greedily; on ties the first class wins, as in the reference implementation.
///
/// ```
/// use svtrv2::{Charset, decode::{LogProbs, greedy}};
///
/// let log_probs = LogProbs::from_probabilities(
///     4,
///     3,
///     vec![0.1, 0.8, 0.1, 0.1, 0.9, 0.0, 0.7, 0.2, 0.1, 0.1, 0.6, 0.3],
/// )?;
/// let decoded = greedy(&log_probs);
/// assert_eq!(decoded.text(&Charset::from_characters("ab")?), "aa");
/// assert_eq!(decoded.symbols[0].frames, 0..2);
/// assert!((decoded.score - 0.7).abs() < 1e-6); // (0.8 + 0.6) / 2
/// # Ok::<(), svtrv2::Error>(())
/// ```
pub fn greedy(log_probs: &LogProbs) -> Decoded {
    best_path(&Restricted::whole(log_probs))
}

/// [`greedy`] of the symbols that are permitted.
pub(super) fn best_path(log_probs: &Restricted) -> Decoded {
    let mut symbols: Vec<DecodedSymbol> = Vec::new();
    let mut previous = Charset::BLANK;
    for (frame, row) in log_probs.rows().enumerate() {
        let class = first_maximum(&row);
        if class != Charset::BLANK {
            match symbols.last_mut() {
                Some(symbol) if class == previous => symbol.frames.end = frame + 1,
                _ => symbols.push(DecodedSymbol {
                    class,
                    score: row.at(class).exp(),
                    frames: frame..frame + 1,
                }),
            }
        }
        previous = class;
    }
    let score = match symbols.len() {
        0 => 0.0,
        count => symbols.iter().map(|symbol| symbol.score).sum::<f32>() / count as f32,
    };
    Decoded { symbols, score }
}

fn first_maximum(row: &Row) -> usize {
    if row.is_whole() {
        let largest = largest(row.values());
        return row.values().iter().position(|&value| value == largest).unwrap_or(0);
    }
    let mut best = (0, row.at(0));
    for class in row.permitted() {
        let value = row.at(class);
        if value > best.1 {
            best = (class, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Emissions in which each frame's class has 0.6 and the others share the rest.
    fn path(classes: usize, path: &[usize]) -> LogProbs {
        let rest = 0.4 / (classes - 1) as f32;
        let probabilities = path
            .iter()
            .flat_map(|&best| (0..classes).map(move |c| if c == best { 0.6 } else { rest }))
            .collect();
        LogProbs::from_probabilities(path.len(), classes, probabilities).unwrap()
    }

    #[test]
    fn paths() {
        type Symbols = &'static [(usize, Range<usize>)];
        let cases: [(&[usize], Symbols); 7] = [
            (&[], &[]),
            (&[0, 0], &[]),
            (&[1], &[(1, 0..1)]),
            (&[1, 1, 1], &[(1, 0..3)]),
            (&[1, 0, 1], &[(1, 0..1), (1, 2..3)]),
            (&[0, 2, 2, 1, 0], &[(2, 1..3), (1, 3..4)]),
            (&[1, 2, 1], &[(1, 0..1), (2, 1..2), (1, 2..3)]),
        ];
        for (frames, expected) in cases {
            let decoded = greedy(&path(3, frames));
            let found: Vec<_> =
                decoded.symbols.iter().map(|s| (s.class, s.frames.clone())).collect();
            assert_eq!(found, expected, "{frames:?}");
            let score = if expected.is_empty() { 0.0 } else { 0.6 };
            assert!((decoded.score - score).abs() < 1e-6, "{frames:?}: {}", decoded.score);
        }
    }

    #[test]
    fn first_class_wins_ties() {
        let log_probs = LogProbs::from_logits(2, 3, vec![0.0, 1.0, 1.0, 2.0, 2.0, 2.0]).unwrap();
        let decoded = greedy(&log_probs);
        assert_eq!(decoded.symbols.len(), 1);
        assert_eq!(decoded.symbols[0].class, 1);
    }
}
