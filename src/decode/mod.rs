//! From scores of every time step to text: [`LogProbs`] in, texts with scores and spans out.

mod greedy;
mod log_probs;

pub use greedy::{Decoded, DecodedSymbol, greedy};
pub use log_probs::LogProbs;
