//! The models inside the program.

use super::Weights;
use crate::error::Result;

/// docs/model_card.md says what it is, and how the file is made.
#[cfg(feature = "embedded")]
const ENGLISH: &[u8] = include_bytes!("../../models/english.safetensors");

impl Weights {
    /// The weights of the English model that is part of the crate.
    ///
    /// # Errors
    /// None today: the file is part of the program.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self> {
        Self::from_bytes(ENGLISH)
    }

    /// The weights of the model for Latin scripts in the crate `svtrv2-latin`.
    ///
    /// # Errors
    /// None today: the file is part of the program.
    #[cfg(feature = "latin")]
    pub fn latin() -> Result<Self> {
        Self::from_bytes(svtrv2_latin::WEIGHTS)
    }
}
