//! What was read in a crop: the text, how sure that is, and where its characters lie.

use std::ops::Range;

use crate::charset::Charset;
use crate::crop::Rotation;
use crate::decode::{Decoder, ForwardBackward, best_alignment, confidence};
use crate::error::Result;
use crate::kernels::MAP_REACH;
use crate::recognizer::{ResizedCrop, Scores};
use crate::resize::TargetSize;

/// What was read in a crop.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The text; it may be empty.
    pub text: String,
    /// The reference implementation's score, 0..=1: the mean probability of the characters at
    /// their first steps; 0 for an empty text.
    pub score: f32,
    /// The natural-log probability of the text, summed over all of its alignments; `-inf` if the
    /// decoder found no text that fits (then the text is empty). The empty text has the probability
    /// that all steps are blank.
    pub log_prob: f64,
    /// The probability (0..=1) that the text is right: its probability at the weights' temperature
    /// ([`confidence`]). Calibrated if the weights are.
    pub confidence: f32,
    /// The characters, in reading order.
    pub chars: Vec<Character>,
    /// The texts that the decoder ranks next, best first; none after greedy decoding.
    pub alternatives: Vec<Alternative>,
    /// The size that the crop was resized to.
    pub size: TargetSize,
    /// How the crop was turned before it was read.
    pub rotation: Rotation,
}

/// A text that might have been meant instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// The text.
    pub text: String,
    /// The natural-log probability of the text in the beam
    /// ([`Hypothesis::log_prob`](crate::decode::Hypothesis::log_prob)).
    pub log_prob: f64,
    /// What the texts are ranked by ([`Hypothesis::score`](crate::decode::Hypothesis::score)).
    pub score: f64,
}

/// A character of a [`Reading`].
#[derive(Debug, Clone, PartialEq)]
pub struct Character {
    /// The charset's entry, of one or more code points.
    pub symbol: String,
    /// Its probability (0..=1) at the first of its steps.
    pub score: f32,
    /// Its probability (0..=1) among everything that could stand in its place
    /// ([`ForwardBackward::posterior`]).
    pub posterior: f32,
    /// Its time steps in the most probable alignment; never empty.
    pub steps: Range<usize>,
    /// Where it lies in the crop: an estimate. The middle is that of what the network looked at
    /// when it read the character; the columns are those from there to halfway to the nearer
    /// neighbour, the rows those that it looked at.
    pub span: Span,
}

/// A rectangle of a crop, in pixels of the crop as it was given (resizing and rotation undone);
/// the left and upper edge of the crop are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Left edge.
    pub x0: f32,
    /// Right edge.
    pub x1: f32,
    /// Upper edge.
    pub y0: f32,
    /// Lower edge.
    pub y1: f32,
}

impl Span {
    /// The middle, x and y.
    pub fn center(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0)
    }

    /// From shares (0..=1) of the crop that was read to pixels of the crop that was given.
    fn of_shares(x: (f32, f32), y: (f32, f32), size: (u32, u32), rotation: Rotation) -> Self {
        let (width, height) = (size.0 as f32, size.1 as f32);
        let (x, y) = match rotation {
            Rotation::None => (x, y),
            // The turned crop's left edge was on top, its upper edge on the right.
            Rotation::CounterClockwise => ((1.0 - y.1, 1.0 - y.0), x),
            // The turned crop's left edge was at the bottom, its upper edge on the left.
            Rotation::Clockwise => (y, (1.0 - x.1, 1.0 - x.0)),
        };
        Span { x0: x.0 * width, x1: x.1 * width, y0: y.0 * height, y1: y.1 * height }
    }
}

/// Where the network looked at every time step: weights (0..=1) of the features around it, 0 where
/// there are none ([`Model::forward_with_attention`](crate::model::Model::forward_with_attention)).
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    steps: usize,
    rows: usize,
    /// `[step, row, column - step + MAP_REACH]`
    weights: Vec<f32>,
}

const WIDTH: usize = 2 * MAP_REACH + 1;

impl Attention {
    /// From weights `[steps, rows, 2 * MAP_REACH + 1]`.
    pub(crate) fn new(steps: usize, rows: usize, weights: Vec<f32>) -> Self {
        Attention { steps, rows, weights }
    }

    /// Time steps: one stands for 4 columns of the resized crop.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Rows of features: one stands for 8 rows of the resized crop.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How much the network looked at a row and column (a time step as well) for a time step;
    /// `None` beyond the last of any, and 0 for columns that are more than 16 away.
    pub fn weight(&self, step: usize, row: usize, column: usize) -> Option<f32> {
        if step >= self.steps || row >= self.rows || column >= self.steps {
            return None;
        }
        let offset = (column + MAP_REACH).checked_sub(step).filter(|offset| *offset < WIDTH);
        offset.map_or(Some(0.0), |offset| {
            self.weights.get((step * self.rows + row) * WIDTH + offset).copied()
        })
    }

    /// The middle of what the network looked at for some steps, in steps and rows from the left
    /// and upper edge, and the standard deviation of the rows. `None` if it looked at nothing.
    fn focus(&self, steps: &Range<usize>) -> Option<Focus> {
        let mut around = vec![0.0f32; self.rows * self.steps];
        for step in steps.clone() {
            let columns = step.saturating_sub(MAP_REACH)..(step + MAP_REACH + 1).min(self.steps);
            for row in 0..self.rows {
                for column in columns.clone() {
                    let weight = self.weight(step, row, column).unwrap_or(0.0);
                    around[row * self.steps + column] += weight;
                }
            }
        }
        let sharpened = |weight: f32| f64::from(weight).powi(SHARPNESS);
        let columns = (0..self.steps).map(|column| {
            sharpened((0..self.rows).map(|row| around[row * self.steps + column]).sum())
        });
        let (x, _) = mean_and_deviation(columns)?;
        let rows = around.chunks_exact(self.steps.max(1));
        let rows = rows.map(|row| row.iter().copied().map(sharpened).sum());
        let (y, deviation) = mean_and_deviation(rows)?;
        Some(Focus { x, y, deviation })
    }
}

/// The power that weights are taken to: it leaves what the network looks at, and takes away what
/// it only sees.
const SHARPNESS: i32 = 5;

/// The middle of what the network looked at.
struct Focus {
    x: f32,
    y: f32,
    /// Of the rows.
    deviation: f32,
}

/// The mean and the standard deviation of places 0.5, 1.5, .. by their weights; `None` without any
/// weight.
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

impl Reading {
    pub(crate) fn new(
        crop: &ResizedCrop,
        scores: &Scores,
        decoder: &Decoder,
        charset: &Charset,
        temperature: f32,
    ) -> Result<Self> {
        charset.check_classes(scores.log_probs.classes())?;
        let restricted = decoder.restrict(&scores.log_probs)?;
        let log_probs = restricted.as_ref().unwrap_or(&scores.log_probs);
        let spell = |text: &[usize]| -> String {
            text.iter().filter_map(|&class| charset.symbol(class)).collect()
        };
        let mut found = decoder.decode_restricted(log_probs).into_iter();
        let best = found.next();
        let text = best.as_ref().map(|best| best.text.as_slice()).unwrap_or_default();
        let sums = ForwardBackward::new(log_probs, text).filter(|_| best.is_some());
        let mut reading = Reading {
            text: spell(text),
            score: 0.0,
            log_prob: f64::NEG_INFINITY,
            confidence: 0.0,
            chars: Vec::new(),
            alternatives: found
                .map(|next| Alternative {
                    text: spell(&next.text),
                    log_prob: next.log_prob,
                    score: next.score,
                })
                .collect(),
            size: crop.size,
            rotation: crop.rotation,
        };
        let (Some(sums), Some(steps)) = (sums, best_alignment(log_probs, text)) else {
            return Ok(reading);
        };
        reading.log_prob = sums.log_probability();
        reading.confidence = confidence(log_probs, text, temperature)?;
        let spans = locate(&steps, &scores.attention);
        let chars = text.iter().zip(steps).zip(spans).enumerate();
        reading.chars = chars
            .map(|(index, ((&class, steps), (x, y)))| Character {
                symbol: charset.symbol(class).unwrap_or_default().to_owned(),
                score: log_probs.probability(steps.start, class).unwrap_or(0.0),
                posterior: sums.posterior(index).unwrap_or(0.0) as f32,
                span: Span::of_shares(x, y, crop.source_size, crop.rotation),
                steps,
            })
            .collect();
        if !reading.chars.is_empty() {
            let sum: f32 = reading.chars.iter().map(|c| c.score).sum();
            reading.score = sum / reading.chars.len() as f32;
        }
        Ok(reading)
    }
}

/// Where the characters of a text lie, in shares of the width and of the height.
///
/// A network trained with CTC names a character where it is sure of it, which is often at its edge
/// and, for the first one, at the edge of the crop. Where it looked when it did is where the
/// character is.
fn locate(steps: &[Range<usize>], attention: &Attention) -> Vec<((f32, f32), (f32, f32))> {
    /// Half a character's height in standard deviations of the rows: the mean over words that were
    /// rendered with known boxes.
    const HALF_HEIGHT: f32 = 1.5;
    let (total, rows) = (attention.steps().max(1) as f32, attention.rows().max(1) as f32);
    let focuses: Vec<Focus> = steps
        .iter()
        .map(|steps| {
            let x = (steps.start + steps.end) as f32 / 2.0;
            let nowhere = Focus { x, y: rows / 2.0, deviation: rows };
            attention.focus(steps).unwrap_or(nowhere)
        })
        .collect();
    let mut gaps: Vec<f32> = focuses.windows(2).map(|pair| (pair[1].x - pair[0].x).abs()).collect();
    gaps.sort_by(f32::total_cmp);
    // A character alone may be as wide as the crop.
    let pitch = gaps.get(gaps.len() / 2).copied().unwrap_or(total);
    (0..focuses.len())
        .map(|i| {
            let Focus { x, y, deviation } = focuses[i];
            // Halfway to the nearer neighbour: the middle of the box stays where it is.
            let gap = |other: Option<&Focus>| other.map_or(f32::INFINITY, |o| (o.x - x).abs());
            let before = gap(i.checked_sub(1).map(|j| &focuses[j]));
            let nearer = before.min(gap(focuses.get(i + 1))).min(1.5 * pitch).max(0.5);
            let half_width = (nearer / 2.0).min(x).min(total - x);
            let half_height = (HALF_HEIGHT * deviation).max(0.5).min(y).min(rows - y);
            let x = ((x - half_width) / total, (x + half_width) / total);
            (x, ((y - half_height) / rows, (y + half_height) / rows))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Crop;

    #[test]
    fn spans_are_turned_back() {
        let mut image = image::RgbImage::new(3, 5);
        image.put_pixel(2, 1, image::Rgb([255; 3]));
        let crop = Crop::from_rgb(&image).unwrap();
        for rotation in [Rotation::None, Rotation::CounterClockwise, Rotation::Clockwise] {
            let turned = crop.rotated(rotation);
            let (width, height) = (turned.width(), turned.height());
            let at = turned.rgb().iter().position(|&sample| sample == 255).unwrap() as u32 / 3;
            let share = |at: u32, of: u32| (at as f32 / of as f32, (at + 1) as f32 / of as f32);
            let (x, y) = (share(at % width, width), share(at / width, height));
            let span = Span::of_shares(x, y, (3, 5), rotation);
            for (found, expected) in
                [(span.x0, 2.0), (span.x1, 3.0), (span.y0, 1.0), (span.y1, 2.0)]
            {
                assert!((found - expected).abs() < 1e-5, "{rotation:?}: {span:?}");
            }
        }
    }

    #[test]
    fn attention_of_a_step() {
        let mut weights = vec![0.0; 3 * 2 * WIDTH];
        // Step 1 looks at row 1, column 2.
        weights[(2 + 1) * WIDTH + MAP_REACH + 1] = 0.5;
        let attention = Attention::new(3, 2, weights);
        assert_eq!(attention.weight(1, 1, 2), Some(0.5));
        assert_eq!(attention.weight(1, 1, 1), Some(0.0));
        assert_eq!(attention.weight(1, 1, 3), None);
        let focus = attention.focus(&(1..2)).unwrap();
        assert_eq!((focus.x, focus.y, focus.deviation), (2.5, 1.5, 0.0));
        assert!(attention.focus(&(0..1)).is_none());
    }
}
