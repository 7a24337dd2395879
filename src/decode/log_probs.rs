//! The log-probabilities that decoding starts from.

use crate::cpu::{largest, normalize, sum_of_exponentials};
use crate::error::{EmissionsError, Result};

/// Natural-log probabilities `[time, class]`; class 0 is the CTC blank.
///
/// Every constructor says what it is given: nothing guesses whether numbers are logits,
/// probabilities or log-probabilities. Every frame is a distribution: its probabilities sum to 1.
///
/// They take 4 bytes a frame and class, 3 MB for 40 frames of 18 710 classes, and are computed in the
/// memory that they are made of. Decoding does not copy them.
///
/// ```
/// use svtrv2::decode::LogProbs;
///
/// let log_probs = LogProbs::from_probabilities(2, 2, vec![0.25, 0.75, 1.0, 0.0])?;
/// assert_eq!(log_probs.frames(), 2);
/// assert_eq!(log_probs.probability(0, 1), Some(0.75));
/// assert_eq!(log_probs.frame(1), Some(&[0.0, f32::NEG_INFINITY][..]));
/// assert_eq!(log_probs.frame(2), None);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LogProbs {
    frames: usize,
    classes: usize,
    values: Vec<f32>,
    /// Whether every frame sums to 1 but for rounding.
    normalized: bool,
}

impl PartialEq for LogProbs {
    fn eq(&self, other: &Self) -> bool {
        (self.frames, self.classes) == (other.frames, other.classes) && self.values == other.values
    }
}

/// Above so many classes, exponentials are summed in vectors: the logarithm of a sum is off by up
/// to 3e-6 then.
pub(super) const LARGE: usize = 1024;

/// How far from 1 the probabilities of a frame may sum: what rounding to 8 bits makes of 256 of
/// them still passes, logits taken for probabilities do not.
const SUM_TOLERANCE: f32 = 1e-2;

impl LogProbs {
    /// The most frames. The networks of this crate give at most 1024. Aligning a text takes 34 bytes
    /// for every frame and symbol.
    pub const MAX_FRAMES: usize = 8192;

    /// From log-probabilities before the softmax, row-major `[frames, classes]`.
    ///
    /// # Errors
    /// [`EmissionsError`] if the count is not `frames * classes`, there are fewer than 2 classes or
    /// more than [`LogProbs::MAX_FRAMES`], a logit is NaN or `+inf`, or all logits of a frame are
    /// `-inf`.
    ///
    /// Above 1024 classes the log-probabilities of a frame are off by up to 3e-6.
    pub fn from_logits(frames: usize, classes: usize, mut logits: Vec<f32>) -> Result<Self> {
        check_size(frames, classes, &logits)?;
        for (frame, row) in logits.chunks_exact_mut(classes).enumerate() {
            // Without a branch an element: rows may have thousands.
            let finite = row.iter().fold(true, |finite, &value| finite & (value < f32::INFINITY));
            if !finite {
                let wrong = row.iter().position(|v| v.is_nan() || *v == f32::INFINITY);
                let class = wrong.unwrap_or_default();
                let value = row[class];
                return Err(EmissionsError::Value { kind: "logit", frame, class, value }.into());
            }
            let max = largest(row);
            if max == f32::NEG_INFINITY {
                let (kind, class, value) = ("logit", 0, max);
                return Err(EmissionsError::Value { kind, frame, class, value }.into());
            }
            // In f64: over thousands of classes the rounding of an f32 sum would show.
            let sum: f64 = if classes > LARGE {
                sum_of_exponentials(row, max, 1.0)
            } else {
                row.iter().map(|&logit| f64::from(logit - max).exp()).sum()
            };
            normalize(row, max, sum.ln());
        }
        Ok(LogProbs { frames, classes, values: logits, normalized: true })
    }

    /// From probabilities, row-major `[frames, classes]`.
    ///
    /// # Errors
    /// [`EmissionsError`] as for [`LogProbs::from_logits`], or if a probability lies outside 0..=1 or
    /// the probabilities of a frame do not sum to 1.
    pub fn from_probabilities(
        frames: usize,
        classes: usize,
        mut probabilities: Vec<f32>,
    ) -> Result<Self> {
        check_size(frames, classes, &probabilities)?;
        for (frame, row) in probabilities.chunks_exact_mut(classes).enumerate() {
            let outside = row.iter().position(|p| !(0.0..=1.0).contains(p));
            if let Some(class) = outside {
                let (kind, value) = ("probability", row[class]);
                return Err(EmissionsError::Value { kind, frame, class, value }.into());
            }
            check_sum(frame, row.iter().sum())?;
            row.iter_mut().for_each(|p| *p = p.ln());
        }
        Ok(LogProbs { frames, classes, values: probabilities, normalized: false })
    }

    /// From natural-log probabilities, row-major `[frames, classes]`; `-inf` is probability 0.
    ///
    /// # Errors
    /// [`EmissionsError`] as for [`LogProbs::from_probabilities`].
    pub fn from_log_probabilities(
        frames: usize,
        classes: usize,
        log_probabilities: Vec<f32>,
    ) -> Result<Self> {
        check_size(frames, classes, &log_probabilities)?;
        for (frame, row) in log_probabilities.chunks_exact(classes).enumerate() {
            // Rounding may leave a certain class a little above 0.
            let outside = row.iter().position(|p| p.is_nan() || *p > SUM_TOLERANCE);
            if let Some(class) = outside {
                let (kind, value) = ("log-probability", row[class]);
                return Err(EmissionsError::Value { kind, frame, class, value }.into());
            }
            check_sum(frame, row.iter().map(|p| p.exp()).sum())?;
        }
        Ok(LogProbs { frames, classes, values: log_probabilities, normalized: false })
    }

    /// From log-probabilities whose frames need not sum to 1; `normalized` if they do.
    pub(super) fn unchecked(
        frames: usize,
        classes: usize,
        values: Vec<f32>,
        normalized: bool,
    ) -> Self {
        debug_assert_eq!(values.len(), frames * classes);
        LogProbs { frames, classes, values, normalized }
    }

    /// Whether every frame is known to sum to 1 but for rounding.
    pub(super) fn is_normalized(&self) -> bool {
        self.normalized
    }

    /// Frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Classes, the blank included.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The natural-log probabilities of one frame, a class each; `None` beyond the last frame.
    pub fn frame(&self, frame: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.classes).nth(frame)
    }

    /// The natural-log probabilities of a frame that there is.
    pub(super) fn row(&self, frame: usize) -> &[f32] {
        &self.values[frame * self.classes..][..self.classes]
    }

    /// The frames in order, each a slice of natural-log probabilities.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> + DoubleEndedIterator {
        self.values.chunks_exact(self.classes)
    }

    /// The probability (0..=1) of a class at a frame; `None` beyond the last of either.
    pub fn probability(&self, frame: usize, class: usize) -> Option<f32> {
        Some(self.frame(frame)?.get(class)?.exp())
    }

    /// All natural-log probabilities, row-major `[time, class]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }
}

fn check_size(frames: usize, classes: usize, log_probs: &[f32]) -> Result<(), EmissionsError> {
    if frames > LogProbs::MAX_FRAMES {
        return Err(EmissionsError::Frames { frames, most: LogProbs::MAX_FRAMES });
    }
    if classes < 2 {
        return Err(EmissionsError::Classes { classes });
    }
    if frames.checked_mul(classes) != Some(log_probs.len()) {
        return Err(EmissionsError::Size { frames, classes, found: log_probs.len() });
    }
    Ok(())
}

fn check_sum(frame: usize, sum: f32) -> Result<(), EmissionsError> {
    if (sum - 1.0).abs() <= SUM_TOLERANCE {
        Ok(())
    } else {
        Err(EmissionsError::Sum { frame, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;

    #[test]
    fn the_three_kinds_agree() {
        let logits = vec![1.0, -2.0, 0.5, 1000.0, 0.0, -INF];
        let from_logits = LogProbs::from_logits(2, 3, logits).unwrap();
        let probabilities: Vec<f32> = from_logits.as_slice().iter().map(|p| p.exp()).collect();
        assert!((probabilities[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(probabilities[3..], [1.0, 0.0, 0.0]);
        let again = LogProbs::from_probabilities(2, 3, probabilities).unwrap();
        for (a, b) in again.as_slice()[..3].iter().zip(from_logits.as_slice()) {
            assert!((a - b).abs() < 1e-6);
        }
        let values = from_logits.as_slice().to_vec();
        assert_eq!(LogProbs::from_log_probabilities(2, 3, values).unwrap(), from_logits);
    }

    #[test]
    fn faults() {
        type Make = fn(usize, usize, Vec<f32>) -> Result<LogProbs>;
        let (logits, probabilities, logs): (Make, Make, Make) =
            (LogProbs::from_logits, LogProbs::from_probabilities, LogProbs::from_log_probabilities);
        let cases: [(&str, Make, usize, usize, Vec<f32>); 13] = [
            ("too many frames", logits, 8193, 2, vec![0.0; 16386]),
            ("one class", logits, 2, 1, vec![0.0; 2]),
            ("no classes", logits, 2, 0, vec![]),
            ("too few", logits, 2, 3, vec![0.0; 5]),
            ("overflow", logits, usize::MAX, 3, vec![0.0; 5]),
            ("NaN", logits, 1, 2, vec![0.0, NAN]),
            ("infinite", logits, 1, 2, vec![0.0, INF]),
            ("nothing possible", logits, 1, 2, vec![-INF, -INF]),
            ("logits as probabilities", probabilities, 1, 2, vec![3.0, -1.0]),
            ("not normalised", probabilities, 1, 2, vec![0.3, 0.3]),
            ("NaN probability", probabilities, 1, 2, vec![NAN, 0.3]),
            ("logits as logs", logs, 1, 2, vec![3.0, -1.0]),
            ("NaN log", logs, 1, 2, vec![NAN, 0.0]),
        ];
        for (name, make, frames, classes, log_probs) in cases {
            assert!(
                matches!(make(frames, classes, log_probs), Err(crate::Error::Emissions(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn no_steps() {
        assert_eq!(LogProbs::from_logits(0, 5, vec![]).unwrap().frames(), 0);
    }
}
