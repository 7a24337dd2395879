//! What was read in a crop: the text, how sure that is, and where its characters lie.

use std::ops::Range;

use crate::charset::Charset;
use crate::crop::Rotation;
use crate::decode::{Decoder, ForwardBackward, best_alignment, confidence};
use crate::emissions::Emissions;
use crate::error::Result;
use crate::geometry::Rect;
use crate::locate::locate;
use crate::resize::{ResizedCrop, TargetSize};

/// What was read in a crop.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognition {
    /// The text; it may be empty.
    pub text: String,
    /// The reference implementation's score, 0..=1: the mean probability of the characters at
    /// their first frames; 0 for an empty text.
    pub score: f32,
    /// The natural-log probability of the text, summed over all of its alignments; `-inf` if the
    /// decoder found no text that fits (then the text is empty). The empty text has the probability
    /// that all frames are blank.
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

/// A character of a [`Recognition`].
#[derive(Debug, Clone, PartialEq)]
pub struct Character {
    /// The charset's entry, of one or more code points.
    pub symbol: String,
    /// Its probability (0..=1) at the first of its frames.
    pub score: f32,
    /// Its probability (0..=1) among everything that could stand in its place
    /// ([`ForwardBackward::posterior`]).
    pub posterior: f32,
    /// Its frames in the most probable alignment; never empty.
    pub frames: Range<usize>,
    /// Where it lies in the crop, in pixels of the crop as it was given (resizing and rotation
    /// undone): an estimate. The middle is that of what the network looked at
    /// when it read the character; the columns are those from there to halfway to the nearer
    /// neighbour, the rows those that it looked at.
    pub bounds: Rect,
}

/// From shares (0..=1) of the crop that was read to pixels of the crop that was given.
fn rect_from_shares(x: (f32, f32), y: (f32, f32), size: (u32, u32), rotation: Rotation) -> Rect {
    let (width, height) = (size.0 as f32, size.1 as f32);
    let (x, y) = match rotation {
        Rotation::None => (x, y),
        // The turned crop's left edge was on top, its upper edge on the right.
        Rotation::CounterClockwise => ((1.0 - y.1, 1.0 - y.0), x),
        // The turned crop's left edge was at the bottom, its upper edge on the left.
        Rotation::Clockwise => (y, (1.0 - x.1, 1.0 - x.0)),
    };
    Rect { x0: x.0 * width, x1: x.1 * width, y0: y.0 * height, y1: y.1 * height }
}

impl Recognition {
    pub(crate) fn new(
        crop: &ResizedCrop,
        emissions: &Emissions,
        decoder: &Decoder,
        charset: &Charset,
        temperature: f32,
    ) -> Result<Self> {
        charset.check_classes(emissions.log_probs.classes())?;
        let restricted = decoder.restrict(&emissions.log_probs)?;
        let log_probs = restricted.as_ref().unwrap_or(&emissions.log_probs);
        let spell = |text: &[usize]| -> String {
            text.iter().filter_map(|&class| charset.symbol(class)).collect()
        };
        let mut found = decoder.decode_restricted(log_probs).into_iter();
        let best = found.next();
        let text = best.as_ref().map(|best| best.text.as_slice()).unwrap_or_default();
        let sums = ForwardBackward::new(log_probs, text).filter(|_| best.is_some());
        let mut recognition = Recognition {
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
        let (Some(sums), Some(frames)) = (sums, best_alignment(log_probs, text)) else {
            return Ok(recognition);
        };
        recognition.log_prob = sums.log_probability();
        recognition.confidence = confidence(log_probs, text, temperature)?;
        let spans = locate(&frames, &emissions.attention);
        let chars = text.iter().zip(frames).zip(spans).enumerate();
        recognition.chars = chars
            .map(|(index, ((&class, frames), (x, y)))| Character {
                symbol: charset.symbol(class).unwrap_or_default().to_owned(),
                score: log_probs.probability(frames.start, class).unwrap_or(0.0),
                posterior: sums.posterior(index).unwrap_or(0.0) as f32,
                bounds: rect_from_shares(x, y, crop.source_size, crop.rotation),
                frames,
            })
            .collect();
        if !recognition.chars.is_empty() {
            let sum: f32 = recognition.chars.iter().map(|c| c.score).sum();
            recognition.score = sum / recognition.chars.len() as f32;
        }
        Ok(recognition)
    }
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
            let span = rect_from_shares(x, y, (3, 5), rotation);
            for (found, expected) in
                [(span.x0, 2.0), (span.x1, 3.0), (span.y0, 1.0), (span.y1, 2.0)]
            {
                assert!((found - expected).abs() < 1e-5, "{rotation:?}: {span:?}");
            }
        }
    }
}
