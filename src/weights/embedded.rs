//! The model that is part of the crate.

use super::Weights;
use crate::error::Result;

/// docs/model_card.md says what it is, and how the file is made.
const ENGLISH: &[u8] = include_bytes!("../../models/english.safetensors");

impl Weights {
    /// The weights of the English model that is part of the crate.
    ///
    /// # Errors
    /// None today: the file is part of the program.
    pub fn embedded() -> Result<Self> {
        Self::from_bytes(ENGLISH)
    }
}
