//! A search with everything that constraints it.

use super::beam::check_guide;
use super::{BeamSearch, ClassMask, Hypothesis, LogProbs, greedy, log_probability};
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
    /// Whether the permitted symbols share the probability of those that are not
    /// ([`LogProbs::restricted`]).
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
        match self.restrict(log_probs)? {
            Some(restricted) => self.decode_restricted(&restricted),
            None => self.decode_restricted(log_probs),
        }
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
    pub(crate) fn restrict(&self, log_probs: &LogProbs) -> Result<Option<LogProbs>> {
        self.classes.as_ref().map(|mask| log_probs.restricted(mask, self.renormalize)).transpose()
    }

    /// [`Decoder::decode`] of a decoder that was checked, for log-probabilities that were restricted.
    pub(crate) fn decode_restricted(&self, log_probs: &LogProbs) -> Result<Vec<Hypothesis>> {
        match &self.search {
            Search::Greedy => {
                let text: Vec<usize> =
                    greedy(log_probs).symbols.into_iter().map(|symbol| symbol.class).collect();
                let log_prob = log_probability(log_probs, &text);
                Ok(vec![Hypothesis { text, log_prob, score: log_prob }])
            }
            Search::Beam(search) => Ok(search.search_checked(log_probs)?),
        }
    }
}
