//! Where the network looked when it recognised a character: the middle of its attention.

use std::ops::Range;

use crate::emissions::Attention;
use crate::ops::MAP_REACH;

/// The power that attention weights are raised to: it keeps what the network looks at most and
/// removes the faint rest.
const SHARPNESS: i32 = 5;

/// The middle of the attention of a character.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Focus {
    /// In frames from the left edge.
    pub(super) x: f32,
    /// In rows of features from the upper edge.
    pub(super) y: f32,
    /// The standard deviation of the rows.
    pub(super) deviation: f32,
}

impl Focus {
    /// Of the attention at some frames; without any attention the middle of the frames.
    ///
    /// A network trained with CTC emits a character where it is sure of it, which is often at the
    /// character's edge and, for the first one, at the edge of the crop. What the network attends
    /// to at these frames is where the character is.
    pub(super) fn new(attention: &Attention, frames: &Range<usize>) -> Self {
        let rows = attention.rows() as f32;
        let x = (frames.start + frames.end) as f32 / 2.0;
        let nowhere = Focus { x, y: rows / 2.0, deviation: rows };
        Self::of(attention, frames).unwrap_or(nowhere)
    }

    fn of(attention: &Attention, frames: &Range<usize>) -> Option<Self> {
        let rows = attention.rows();
        // The columns that any of the frames can look at: time and memory do not grow with the line.
        let end = frames.end.saturating_add(MAP_REACH).min(attention.frames());
        let first = frames.start.saturating_sub(MAP_REACH).min(end);
        let columns = end - first;
        let mut around = vec![0.0f32; rows * columns];
        for frame in frames.clone() {
            let near = frame.saturating_sub(MAP_REACH)..(frame + MAP_REACH + 1).min(end);
            for row in 0..rows {
                for column in near.clone() {
                    let weight = attention.weight(frame, row, column).unwrap_or(0.0);
                    around[row * columns + column - first] += weight;
                }
            }
        }
        let sharpened = |weight: f32| f64::from(weight).powi(SHARPNESS);
        let sums = (0..columns)
            .map(|column| sharpened((0..rows).map(|row| around[row * columns + column]).sum()));
        let (x, _) = mean_and_deviation(sums)?;
        let x = x + first as f32;
        let sums = around.chunks_exact(columns.max(1));
        let sums = sums.map(|row| row.iter().copied().map(sharpened).sum());
        let (y, deviation) = mean_and_deviation(sums)?;
        Some(Focus { x, y, deviation })
    }
}

/// The mean and the standard deviation of the positions 0.5, 1.5, .. by their weights; `None`
/// without any weight.
fn mean_and_deviation(weights: impl Iterator<Item = f64>) -> Option<(f32, f32)> {
    let (mut total, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (index, weight) in weights.enumerate() {
        let place = index as f64 + 0.5;
        total += weight;
        sum += weight * place;
        squares += weight * place * place;
    }
    let mean = sum / total;
    let deviation = (squares / total - mean * mean).max(0.0).sqrt();
    (total > 0.0).then_some((mean as f32, deviation as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 2 * MAP_REACH + 1;

    #[test]
    fn attention_of_a_frame() {
        let mut weights = vec![0.0; 3 * 2 * WIDTH];
        // Frame 1 looks at row 1, column 2.
        weights[(2 + 1) * WIDTH + MAP_REACH + 1] = 0.5;
        let attention = Attention::new(3, 2, weights);
        assert_eq!(attention.weight(1, 1, 2), Some(0.5));
        assert_eq!(attention.weight(1, 1, 1), Some(0.0));
        assert_eq!(attention.weight(1, 1, 3), None);
        let found = Focus::of(&attention, &(1..2)).unwrap();
        assert_eq!(found, Focus { x: 2.5, y: 1.5, deviation: 0.0 });
        assert!(Focus::of(&attention, &(0..1)).is_none());
    }
}
