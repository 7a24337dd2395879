//! What a beam search asks of a language model.

use std::fmt::Debug;

/// What a language model remembers of a text: as much as fits here, or a key to what it holds
/// itself.
pub type LmState = [u32; 4];

/// Gives texts a probability, symbol by symbol, in classes of the charset.
///
/// Texts with equal states must have equal futures. Log-probabilities are natural ones and at most
/// 0, `-inf` included: a beam search prunes by that bound. It returns an error for NaN and for
/// anything above 0.
///
/// ```
/// use svtrv2::language_model::{LanguageModel, LmState};
///
/// /// Doubts that a symbol is doubled.
/// #[derive(Debug)]
/// struct NoDoubles;
///
/// impl LanguageModel for NoDoubles {
///     fn start(&self) -> LmState {
///         LmState::default()
///     }
///
///     fn advance(&self, state: LmState, class: usize) -> (f64, LmState) {
///         let log_prob = if state[0] == class as u32 { 0.01f64.ln() } else { 0.0 };
///         (log_prob, [class as u32, 0, 0, 0])
///     }
///
///     fn finish(&self, _: LmState) -> f64 {
///         0.0
///     }
/// }
/// ```
pub trait LanguageModel: Debug + Send + Sync {
    /// The state of a text that has not begun.
    fn start(&self) -> LmState;

    /// The log-probability that the text goes on with `class`, and the state behind it.
    fn advance(&self, state: LmState, class: usize) -> (f64, LmState);

    /// The log-probability that the text ends here.
    fn finish(&self, state: LmState) -> f64;

    /// [`Charset::fingerprint`](crate::Charset::fingerprint) of the charset whose classes the model
    /// takes; `None` if it takes those of any. A search with another charset is an error then.
    fn charset_fingerprint(&self) -> Option<u64> {
        None
    }
}

/// The log-probability of a whole text, its end included.
pub fn lm_log_probability(model: &dyn LanguageModel, text: &[usize]) -> f64 {
    let mut state = model.start();
    let mut sum = 0.0;
    for &class in text {
        let (log_prob, next) = model.advance(state, class);
        sum += log_prob;
        state = next;
    }
    sum + model.finish(state)
}
