//! Log-probabilities with some symbols forbidden, and at a temperature, without a copy of them.

use super::log_probs::LARGE;
use super::{ClassMask, LogProbs};
use crate::charset::Charset;
use crate::cpu::{largest, sum_of_exponentials};
use crate::error::{ConfigError, EmissionsError, Result};

/// What the sums over alignments ask for: the natural-log probability of any class at any frame.
pub(crate) trait Emitted {
    fn frames(&self) -> usize;

    /// Classes, the blank included.
    fn classes(&self) -> usize;

    /// The natural-log probability of a class at a frame; both are there.
    fn at(&self, frame: usize, class: usize) -> f32;
}

impl Emitted for LogProbs {
    fn frames(&self) -> usize {
        LogProbs::frames(self)
    }

    fn classes(&self) -> usize {
        LogProbs::classes(self)
    }

    fn at(&self, frame: usize, class: usize) -> f32 {
        self.as_slice()[frame * LogProbs::classes(self) + class]
    }
}

impl LogProbs {
    /// The log-probabilities under the condition that the symbols which the mask does not permit
    /// cannot occur: they have probability 0, and the rest of every frame is scaled to sum to 1 again
    /// (a frame of which nothing is left becomes a certain blank).
    ///
    /// A [`Decoder`](super::Decoder) with a mask needs no such copy.
    ///
    /// # Errors
    /// [`EmissionsError::Size`](crate::EmissionsError::Size) if the mask is for another number of
    /// classes.
    pub fn restricted(&self, mask: &ClassMask) -> Result<LogProbs> {
        let view = Restricted::new(self, mask, true)?;
        let (frames, classes) = (self.frames(), self.classes());
        let rows = view.rows();
        let values = rows.flat_map(|row| (0..classes).map(move |class| row.at(class))).collect();
        Ok(LogProbs::unchecked(frames, classes, values, true))
    }
}

/// Log-probabilities of which a mask may forbid classes.
#[derive(Debug, Clone)]
pub(crate) struct Restricted<'a> {
    log_probs: &'a LogProbs,
    mask: Option<&'a ClassMask>,
    /// Of every frame, the natural logarithm of what is permitted, if that is scaled to sum to 1.
    log_masses: Option<Vec<f64>>,
}

/// A frame of [`Restricted`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    values: &'a [f32],
    mask: Option<&'a ClassMask>,
    log_mass: Option<f64>,
}

impl<'a> Restricted<'a> {
    /// All classes are permitted.
    pub(crate) fn whole(log_probs: &'a LogProbs) -> Self {
        Restricted { log_probs, mask: None, log_masses: None }
    }

    /// The classes that a mask permits; with `renormalize` they are scaled to sum to 1.
    ///
    /// # Errors
    /// [`EmissionsError::Size`] if the mask is for another number of classes.
    pub(crate) fn new(
        log_probs: &'a LogProbs,
        mask: &'a ClassMask,
        renormalize: bool,
    ) -> Result<Self, EmissionsError> {
        let (frames, classes) = (log_probs.frames(), log_probs.classes());
        if mask.classes() != classes {
            let found = frames * mask.classes();
            return Err(EmissionsError::Size { frames, classes, found });
        }
        let mut restricted = Restricted { log_probs, mask: Some(mask), log_masses: None };
        if renormalize {
            let mut scratch = Vec::new();
            let sums = (0..frames).map(|frame| log_mass(restricted.row(frame), &mut scratch));
            restricted.log_masses = Some(sums.collect());
        }
        Ok(restricted)
    }

    pub(super) fn row(&self, frame: usize) -> Row<'a> {
        let log_mass = self.log_masses.as_ref().map(|masses| masses[frame]);
        Row { values: self.log_probs.row(frame), mask: self.mask, log_mass }
    }

    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = Row<'a>> {
        (0..self.log_probs.frames()).map(|frame| self.row(frame))
    }

    /// The probability (0..=1) of a class at a frame; both are there.
    pub(crate) fn probability(&self, frame: usize, class: usize) -> f32 {
        self.at(frame, class).exp()
    }
}

impl Emitted for Restricted<'_> {
    fn frames(&self) -> usize {
        self.log_probs.frames()
    }

    fn classes(&self) -> usize {
        self.log_probs.classes()
    }

    fn at(&self, frame: usize, class: usize) -> f32 {
        self.row(frame).at(class)
    }
}

impl<'a> Row<'a> {
    /// The log-probabilities before the mask.
    pub(super) fn values(&self) -> &'a [f32] {
        self.values
    }

    /// True if nothing is forbidden.
    pub(super) fn is_whole(&self) -> bool {
        self.mask.is_none()
    }

    pub(super) fn allows(&self, class: usize) -> bool {
        self.mask.is_none_or(|mask| mask.allows(class))
    }

    /// The permitted classes in order.
    pub(super) fn permitted(&self) -> impl Iterator<Item = usize> {
        let classes = 0..self.values.len();
        classes.filter(|&class| self.allows(class))
    }

    /// What becomes of the log-probability of a permitted symbol. A larger one never becomes the
    /// smaller one.
    pub(super) fn scaled(&self, value: f32) -> f32 {
        match self.log_mass {
            Some(log_mass) if log_mass > f64::NEG_INFINITY => (f64::from(value) - log_mass) as f32,
            _ => value,
        }
    }

    /// The natural-log probability of a class.
    pub(super) fn at(&self, class: usize) -> f32 {
        if !self.allows(class) {
            return f32::NEG_INFINITY;
        }
        if class == Charset::BLANK && self.log_mass == Some(f64::NEG_INFINITY) {
            // Of a frame of which nothing is left, a certain blank.
            return 0.0;
        }
        self.scaled(self.values[class])
    }
}

/// The natural logarithm of what a mask leaves of a frame.
fn log_mass(row: Row, scratch: &mut Vec<f32>) -> f64 {
    let classes = row.values.len();
    if classes <= LARGE {
        let masses = row.permitted().map(|class| f64::from(row.at(class)).exp());
        return masses.sum::<f64>().ln();
    }
    let (max, sum) = exponentials(row, 1.0, scratch);
    if max == f32::NEG_INFINITY { f64::NEG_INFINITY } else { f64::from(max) + sum.ln() }
}

/// The largest log-probability of many classes, and the sum of all `exp((x - largest) * scale)`.
fn exponentials(row: Row, scale: f32, scratch: &mut Vec<f32>) -> (f32, f64) {
    let values = if row.is_whole() {
        row.values
    } else {
        scratch.clear();
        scratch.extend((0..row.values.len()).map(|class| row.at(class)));
        scratch
    };
    let max = largest(values);
    let sum = if max == f32::NEG_INFINITY { 0.0 } else { sum_of_exponentials(values, max, scale) };
    (max, sum)
}

/// Log-probabilities at a temperature: each divided by it, and every frame normalised again.
#[derive(Debug, Clone)]
pub(crate) struct Calibrated<'a> {
    restricted: Restricted<'a>,
    /// The temperature, and of every frame the logarithm of its sum; none if nothing changes.
    scaling: Option<(f32, Vec<f32>)>,
}

impl<'a> Calibrated<'a> {
    /// The log-probabilities as they are.
    pub(super) fn plain(log_probs: &'a LogProbs) -> Self {
        Calibrated { restricted: Restricted::whole(log_probs), scaling: None }
    }

    /// At a temperature.
    ///
    /// A mask whose symbols do not share the probability of the others changes nothing: a text has the
    /// probability that it has among all texts, those with forbidden symbols included.
    ///
    /// # Errors
    /// [`ConfigError`] if the temperature is not a finite number above 0.
    pub(crate) fn new(restricted: Restricted<'a>, temperature: f32) -> Result<Self, ConfigError> {
        ConfigError::check_positive("temperature", temperature)?;
        let shared = restricted.log_masses.is_some();
        let restricted = if shared { restricted } else { Restricted::whole(restricted.log_probs) };
        if temperature == 1.0 && (shared || restricted.log_probs.is_normalized()) {
            return Ok(Calibrated { restricted, scaling: None });
        }
        let mut scratch = Vec::new();
        let log_sums =
            restricted.rows().map(|row| log_sum(row, temperature, &mut scratch)).collect();
        Ok(Calibrated { restricted, scaling: Some((temperature, log_sums)) })
    }

    fn scaled(&self, frame: usize, value: f32) -> f32 {
        match &self.scaling {
            Some((temperature, log_sums)) => value / temperature - log_sums[frame],
            None => value,
        }
    }

    /// The symbols of a frame, by class, whose natural-log probability is above a threshold.
    pub(super) fn symbols_above(&self, frame: usize, threshold: f32, mut found: impl FnMut(usize)) {
        const CHUNK: usize = 32;
        let row = self.restricted.row(frame);
        for (chunk, values) in row.values().chunks(CHUNK).enumerate() {
            // Neither the mask nor the temperature changes which one is the largest.
            if self.scaled(frame, row.scaled(largest(values))) > threshold {
                let classes = chunk * CHUNK..chunk * CHUNK + values.len();
                classes
                    .filter(|&class| class != Charset::BLANK && self.at(frame, class) > threshold)
                    .for_each(&mut found);
            }
        }
    }
}

impl Emitted for Calibrated<'_> {
    fn frames(&self) -> usize {
        self.restricted.frames()
    }

    fn classes(&self) -> usize {
        self.restricted.classes()
    }

    fn at(&self, frame: usize, class: usize) -> f32 {
        self.scaled(frame, self.restricted.at(frame, class))
    }
}

/// The logarithm of the sum of a frame at a temperature; 0 for a frame in which nothing is possible.
fn log_sum(row: Row, temperature: f32, scratch: &mut Vec<f32>) -> f32 {
    let classes = row.values.len();
    if classes > LARGE {
        let (max, sum) = exponentials(row, temperature.recip(), scratch);
        return match max {
            f32::NEG_INFINITY => 0.0,
            max => (f64::from(max / temperature) + sum.ln()) as f32,
        };
    }
    let values = || (0..classes).map(|class| row.at(class) / temperature);
    let max = values().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return 0.0;
    }
    let sum: f64 = values().map(|value| f64::from((value - max).exp())).sum();
    (f64::from(max) + sum.ln()) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::noise;
    use super::super::{BeamSearch, log_probability};
    use super::*;

    /// Every value of a view, in a matrix.
    fn copied(emitted: &impl Emitted) -> Vec<f32> {
        let (frames, classes) = (emitted.frames(), emitted.classes());
        (0..frames * classes).map(|i| emitted.at(i / classes, i % classes)).collect()
    }

    proptest! {
        #[test]
        fn views_equal_copies(
            log_probs in noise(1..=6, 5..=5),
            temperature in 0.3f32..4.0,
            allowed in prop::collection::vec(any::<bool>(), 4),
        ) {
            let charset = Charset::from_characters("abcd").unwrap();
            let symbols = charset.symbols().iter().zip(&allowed).filter(|(_, on)| **on);
            let mask = ClassMask::allow(&charset, symbols.map(|(symbol, _)| symbol)).unwrap();
            let view = Restricted::new(&log_probs, &mask, true).unwrap();
            let copy = log_probs.restricted(&mask).unwrap();
            prop_assert_eq!(&copied(&view)[..], copy.as_slice());
            let calibrated = Calibrated::new(view.clone(), temperature).unwrap();
            let warm = copy.at_temperature(temperature).unwrap();
            prop_assert_eq!(&copied(&calibrated)[..], warm.as_slice());
            // A search over the view finds what one over the copy finds.
            let search = BeamSearch { n_best: 4, ..BeamSearch::default() };
            prop_assert_eq!(search.search_checked(&view).unwrap(), search.search(&copy).unwrap());
            for frame in 0..log_probs.frames() {
                let mut above = Vec::new();
                calibrated.symbols_above(frame, -1.5, |class| above.push(class));
                let expected: Vec<usize> =
                    (1..5).filter(|&class| calibrated.at(frame, class) > -1.5).collect();
                prop_assert_eq!(above, expected);
            }
        }

        #[test]
        fn what_is_removed_is_missing(log_probs in noise(1..=4, 4..=4)) {
            let charset = Charset::from_characters("abc").unwrap();
            let mask = ClassMask::deny(&charset, ["b"]).unwrap();
            let view = Restricted::new(&log_probs, &mask, false).unwrap();
            for (i, (found, &whole)) in copied(&view).iter().zip(log_probs.as_slice()).enumerate() {
                prop_assert_eq!(*found, if i % 4 == 2 { f32::NEG_INFINITY } else { whole });
            }
            let text = [1, 3];
            let found = super::super::ctc::text_log_probability(&view, &text);
            prop_assert_eq!(found, log_probability(&log_probs, &text));
        }
    }

    #[test]
    fn many_classes_are_as_exact() {
        // The same distribution over 1000 classes and over 18 710, most of them impossible.
        let (small, large) = (1000, 18_710);
        let logit = |class: usize| ((class * 37) % 101) as f32 / 7.0;
        let row: Vec<f32> = (0..small).map(logit).collect();
        let mut padded = row.clone();
        padded.resize(large, -200.0);
        let few = LogProbs::from_logits(1, small, row).unwrap();
        let many = LogProbs::from_logits(1, large, padded).unwrap();
        let charset = Charset::new((1..large).map(|i| i.to_string())).unwrap();
        let mask = ClassMask::deny(&charset, (1..9).map(|i| i.to_string())).unwrap();
        let few_charset = Charset::new((1..small).map(|i| i.to_string())).unwrap();
        let few_mask = ClassMask::deny(&few_charset, (1..9).map(|i| i.to_string())).unwrap();
        for temperature in [1.0, 0.5, 3.0] {
            for renormalize in [false, true] {
                let of = |log_probs, mask| {
                    let view = Restricted::new(log_probs, mask, renormalize).unwrap();
                    copied(&Calibrated::new(view, temperature).unwrap())
                };
                let (few, many) = (of(&few, &few_mask), of(&many, &mask));
                for (class, (few, many)) in few.iter().zip(&many).enumerate() {
                    assert!(few == many || (few - many).abs() < 1e-5, "{class}: {few} {many}");
                }
            }
        }
    }

    #[test]
    fn restriction() {
        let charset = Charset::from_characters("ab").unwrap();
        let values = vec![0.5, 0.25, 0.25, 0.0, 0.0, 1.0];
        let log_probs = LogProbs::from_probabilities(2, 3, values).unwrap();
        let mask = ClassMask::allow(&charset, ["a"]).unwrap();
        let restricted = log_probs.restricted(&mask).unwrap();
        let expected = [2.0 / 3.0, 1.0 / 3.0, 0.0, 1.0, 0.0, 0.0];
        for (found, expected) in restricted.as_slice().iter().zip(expected) {
            assert!((found.exp() - expected).abs() < 1e-6);
        }
        let other = ClassMask::allow(&Charset::english(), ["a"]).unwrap();
        assert!(matches!(log_probs.restricted(&other), Err(crate::Error::Emissions(_))));
    }
}
