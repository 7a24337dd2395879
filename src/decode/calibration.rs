//! Confidences that mean what they say: temperature scaling (Guo et al., 2017) of the probability
//! of a whole text.

use super::LogProbs;
use super::ctc::text_log_probability;
use super::emitted::{Calibrated, Emitted, Restricted};
use crate::error::{ConfigError, EmissionsError};

/// Where temperatures are looked for.
const RANGE: (f64, f64) = (0.05, 20.0);

impl LogProbs {
    /// The same log-probabilities at a temperature: every log-probability divided by it, and every frame
    /// normalised again. Above 1 frames become less sure, below 1 surer; the order of classes stays.
    ///
    /// # Errors
    /// [`ConfigError`] if the temperature is not a finite number above 0.
    pub fn at_temperature(&self, temperature: f32) -> Result<LogProbs, ConfigError> {
        let calibrated = Calibrated::new(Restricted::whole(self), temperature)?;
        let (frames, classes) = (self.frames(), self.classes());
        let cells = (0..frames).flat_map(|frame| (0..classes).map(move |class| (frame, class)));
        let values = cells.map(|(frame, class)| calibrated.at(frame, class)).collect();
        Ok(LogProbs::unchecked(frames, classes, values, true))
    }
}

/// The confidence in a text (0..=1): its probability, summed over its alignments, at a temperature.
/// Of the empty text it is the probability that there is nothing to read.
///
/// Where a mask restricts the texts, [`Decoder::confidence`](super::Decoder::confidence) says what
/// becomes of the confidence.
///
/// # Errors
/// As [`LogProbs::at_temperature`].
pub fn confidence(
    log_probs: &LogProbs,
    text: &[usize],
    temperature: f32,
) -> Result<f32, ConfigError> {
    let calibrated = Calibrated::new(Restricted::whole(log_probs), temperature)?;
    let log_prob = text_log_probability(&calibrated, text);
    Ok((log_prob.exp() as f32).clamp(0.0, 1.0))
}

/// The temperature at which the confidences in texts are the most likely to have led to what was
/// right and what was wrong: the smallest mean cross entropy of (confidence, right), looked for
/// between 0.05 and 20.
///
/// Texts that were decoded, each with the log-probabilities and whether it was right. 200 texts, a tenth of
/// them wrong, are the least that gives a useful figure.
///
/// # Errors
/// [`EmissionsError::NothingToFit`] without both a right and a wrong text.
pub fn fit_temperature(texts: &[(&LogProbs, &[usize], bool)]) -> Result<f32, EmissionsError> {
    let right = texts.iter().filter(|text| text.2).count();
    if right == 0 || right == texts.len() {
        return Err(EmissionsError::NothingToFit { right, wrong: texts.len() - right });
    }
    // Golden section on the logarithm: the loss falls, then rises.
    let (mut low, mut high) = (RANGE.0.ln(), RANGE.1.ln());
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let inner = |low: f64, high: f64| (high - ratio * (high - low), low + ratio * (high - low));
    let (mut a, mut b) = inner(low, high);
    let (mut loss_a, mut loss_b) = (cross_entropy(texts, a), cross_entropy(texts, b));
    while high - low > 1e-3 {
        if loss_a < loss_b {
            high = b;
            (b, loss_b) = (a, loss_a);
            a = inner(low, high).0;
            loss_a = cross_entropy(texts, a);
        } else {
            low = a;
            (a, loss_a) = (b, loss_b);
            b = inner(low, high).1;
            loss_b = cross_entropy(texts, b);
        }
    }
    Ok(((low + high) / 2.0).exp() as f32)
}

fn cross_entropy(texts: &[(&LogProbs, &[usize], bool)], log_temperature: f64) -> f64 {
    // What is certain and wrong would otherwise decide everything.
    const MIN: f64 = 1e-6;
    let temperature = log_temperature.exp() as f32;
    let loss = |&(log_probs, text, right): &(&LogProbs, &[usize], bool)| {
        let confidence = f64::from(confidence(log_probs, text, temperature).unwrap_or(0.0));
        -(if right { confidence } else { 1.0 - confidence }).max(MIN).ln()
    };
    texts.iter().map(loss).sum::<f64>() / texts.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::ClassMask;
    use super::*;
    use crate::charset::Charset;

    #[test]
    fn temperatures() {
        let log_probs =
            LogProbs::from_logits(2, 3, vec![0.0, 2.0, -1.0, f32::NEG_INFINITY, 0.5, 0.0]).unwrap();
        let warm = log_probs.at_temperature(2.0).unwrap();
        let expected =
            LogProbs::from_logits(2, 3, vec![0.0, 1.0, -0.5, f32::NEG_INFINITY, 0.25, 0.0])
                .unwrap();
        for (a, b) in warm.as_slice().iter().zip(expected.as_slice()) {
            assert!(a == b || (a - b).abs() < 1e-6);
        }
        assert_eq!(log_probs.at_temperature(1.0).unwrap(), log_probs);
        for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(log_probs.at_temperature(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_masked_text_is_normalised_at_every_temperature() {
        let charset = Charset::from_characters("ab").unwrap();
        let log_probs = LogProbs::from_probabilities(1, 3, vec![0.1, 0.3, 0.6]).unwrap();
        let mask = ClassMask::allow(&charset, ["a"]).unwrap();
        let masked = log_probs.restricted(&mask).unwrap();
        let at = |temperature| confidence(&masked, &[1], temperature).unwrap();
        assert!((at(1.0) - 0.75).abs() < 1e-6, "{}", at(1.0));
        assert!((at(1.0) - at(1.0 + 1e-6)).abs() < 1e-5);
    }

    #[test]
    fn overconfidence_is_found() {
        // One frame; 0.9 sure, but right seven times of ten: the temperature at which 0.9 is 0.7.
        let log_probs = LogProbs::from_probabilities(1, 2, vec![0.1, 0.9]).unwrap();
        let texts: Vec<(&LogProbs, &[usize], bool)> =
            (0..10).map(|i| (&log_probs, &[1][..], i < 7)).collect();
        let temperature = fit_temperature(&texts).unwrap();
        let found = confidence(&log_probs, &[1], temperature).unwrap();
        assert!((found - 0.7).abs() < 1e-3, "{found}");
        assert!((temperature - 9f32.ln() / (7.0f32 / 3.0).ln()).abs() < 0.01);
        for one_sided in [&texts[..7], &texts[7..], &[]] {
            assert!(fit_temperature(one_sided).is_err());
        }
    }
}
