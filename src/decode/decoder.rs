//! A search with everything that constraints it.

use super::beam::check_guide;
use super::ctc::text_log_probability;
use super::emitted::{Calibrated, Restricted};
use super::greedy::best_path;
use super::{BeamSearch, ClassMask, Hypothesis, LogProbs};
use crate::charset::Charset;
use crate::error::Result;

/// How texts are found in log_probs.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Search {
    /// The most probable path: the reference implementation's way.
    #[default]
    Greedy,
    /// The most probable texts.
    Beam(BeamSearch),
}

/// From log-probabilities to texts.
///
/// ```
/// use svtrv2::decode::{BeamSearch, Decoder, LogProbs};
///
/// let decoder = Decoder::beam(BeamSearch { n_best: 3, ..BeamSearch::default() });
/// let log_probs = LogProbs::from_probabilities(2, 2, vec![0.6, 0.4, 0.6, 0.4])?;
/// let texts = decoder.decode(&log_probs)?;
/// assert_eq!(texts[0].text, vec![1]);
/// assert!(texts[1].text.is_empty());
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    /// How texts are found.
    pub search: Search,
    /// Which symbols a text may hold.
    pub classes: Option<ClassMask>,
    /// Whether the permitted symbols share the probability of the others, frame by frame
    /// ([`LogProbs::restricted`]): probabilities and confidences then are those under the condition
    /// that the others cannot occur, and a "g" may be a certain "9". If not, they fall by what the
    /// others have, and say whether the crop shows a permitted text at all.
    pub renormalize: bool,
}

impl Decoder {
    /// Greedy decoding.
    pub fn greedy() -> Self {
        Self::default()
    }

    /// A beam search.
    pub fn beam(search: BeamSearch) -> Self {
        Decoder { search: Search::Beam(search), ..Self::default() }
    }

    /// The texts, best first: one if the search is greedy, up to
    /// [`BeamSearch::n_best`] otherwise; none if no text fits ([`BeamSearch::search`]).
    ///
    /// # Errors
    /// As [`LogProbs::restricted`] and [`BeamSearch::search`].
    pub fn decode(&self, log_probs: &LogProbs) -> Result<Vec<Hypothesis>> {
        self.check(log_probs.classes(), None)?;
        self.decode_restricted(&self.restrict(log_probs)?)
    }

    /// The confidence (0..=1) in a text that this decoder found: its probability, summed over its
    /// alignments, at a temperature.
    ///
    /// With [`Decoder::renormalize`] it is the probability among the texts of permitted symbols,
    /// without among all texts, so that it falls by what the mask removed.
    ///
    /// ```
    /// use svtrv2::{Charset, decode::{ClassMask, Decoder, LogProbs}};
    ///
    /// // A "g", at first sight.
    /// let charset = Charset::from_characters("9g")?;
    /// let log_probs = LogProbs::from_probabilities(1, 3, vec![0.01, 0.09, 0.9])?;
    /// let mut decoder = Decoder::greedy();
    /// decoder.classes = Some(ClassMask::allow(&charset, ["9"])?);
    /// assert!((decoder.confidence(&log_probs, &[1], 1.0)? - 0.09).abs() < 1e-6);
    /// decoder.renormalize = true;
    /// assert!((decoder.confidence(&log_probs, &[1], 1.0)? - 0.9).abs() < 1e-6);
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`EmissionsError::Size`](crate::EmissionsError::Size) if the mask is for another number of
    /// classes, [`ConfigError`](crate::ConfigError) if the temperature is not a finite number above 0.
    pub fn confidence(
        &self,
        log_probs: &LogProbs,
        text: &[usize],
        temperature: f32,
    ) -> Result<f32> {
        let calibrated = Calibrated::new(self.restrict(log_probs)?, temperature)?;
        let possible = text.iter().all(|&class| self.allows(class));
        let log_prob = text_log_probability(&calibrated, text);
        Ok(if possible { (log_prob.exp() as f32).clamp(0.0, 1.0) } else { 0.0 })
    }

    fn allows(&self, class: usize) -> bool {
        self.classes.as_ref().is_none_or(|mask| mask.allows(class))
    }

    /// Checks every number, and that everything that constrains the search is for this charset.
    ///
    /// # Errors
    /// [`CharsetError::Constraint`](crate::CharsetError::Constraint),
    /// [`ConfigError`](crate::ConfigError) for a number out of range.
    pub fn check_charset(&self, charset: &Charset) -> Result<()> {
        self.check(charset.classes(), Some(charset.fingerprint()))?;
        if let (Search::Beam(search), Some(mask)) = (&self.search, &self.classes)
            && let Some(lexicon) = search.lexicon.as_ref().filter(|lexicon| lexicon.is_closed())
        {
            // The first text shall not take longer than the others.
            lexicon.frames_to_end_with(|class| mask.allows(class));
        }
        Ok(())
    }

    fn check(&self, classes: usize, mut fingerprint: Option<u64>) -> Result<()> {
        if let Some(mask) = &self.classes {
            fingerprint = Some(check_guide("class mask", mask.fingerprint(), fingerprint)?);
        }
        match &self.search {
            Search::Greedy => Ok(()),
            Search::Beam(search) => search.check(classes, fingerprint),
        }
    }

    /// The log-probabilities with the permitted symbols only, if any are forbidden.
    pub(crate) fn restrict<'a>(&'a self, log_probs: &'a LogProbs) -> Result<Restricted<'a>> {
        Ok(match &self.classes {
            Some(mask) => Restricted::new(log_probs, mask, self.renormalize)?,
            None => Restricted::whole(log_probs),
        })
    }

    /// [`Decoder::decode`] of a decoder that was checked, for log-probabilities that were restricted.
    pub(crate) fn decode_restricted(&self, log_probs: &Restricted) -> Result<Vec<Hypothesis>> {
        match &self.search {
            Search::Greedy => {
                let symbols = best_path(log_probs).symbols.into_iter();
                let text: Vec<usize> = symbols.map(|symbol| symbol.class).collect();
                let log_prob = text_log_probability(log_probs, &text);
                Ok(vec![Hypothesis { text, log_prob, score: log_prob }])
            }
            Search::Beam(search) => Ok(search.search_checked(log_probs)?),
        }
    }
}
