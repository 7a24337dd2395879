//! The emissions of the network for a crop: log-probabilities and attention.

use crate::decode::LogProbs;
use crate::ops::MAP_REACH;

/// The network's output for a crop: the result of [`Recognizer::emissions`](crate::Recognizer::emissions).
#[derive(Debug, Clone, PartialEq)]
pub struct Emissions {
    /// The log-probabilities `[time, class]`. One frame stands for 4 columns of the resized
    /// crop.
    pub log_probs: LogProbs,
    /// Where the network looked at every frame.
    pub attention: Attention,
}

/// Where the network looked at every frame: weights (0..=1) of the features around it, 0 where
/// there are none ([`Model::forward_with_attention`](crate::inference::Model::forward_with_attention)).
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    frames: usize,
    rows: usize,
    /// `[frame, row, column - frame + MAP_REACH]`
    weights: Vec<f32>,
}

const WIDTH: usize = 2 * MAP_REACH + 1;

impl Attention {
    /// From weights `[frames, rows, 2 * MAP_REACH + 1]`.
    pub(crate) fn new(frames: usize, rows: usize, weights: Vec<f32>) -> Self {
        Attention { frames, rows, weights }
    }

    /// The weights `[frames, rows, 2 * MAP_REACH + 1]`.
    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.weights
    }

    /// Frames: one stands for 4 columns of the resized crop.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Rows of features: one stands for 8 rows of the resized crop.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How much the network looked at a row and column (a frame as well) for a frame;
    /// `None` beyond the last of any, and 0 for columns that are more than 16 away.
    pub fn weight(&self, frame: usize, row: usize, column: usize) -> Option<f32> {
        if frame >= self.frames || row >= self.rows || column >= self.frames {
            return None;
        }
        let offset = (column + MAP_REACH).checked_sub(frame).filter(|offset| *offset < WIDTH);
        offset.map_or(Some(0.0), |offset| {
            self.weights.get((frame * self.rows + row) * WIDTH + offset).copied()
        })
    }
}
