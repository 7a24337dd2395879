//! The models inside the program.

use super::Weights;
use crate::error::Result;

impl Weights {
    /// The weights of the English model in the crate `svtrv2-english`.
    ///
    /// # Errors
    /// None today: the file is part of the program.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self> {
        Self::from_bytes(svtrv2_english::WEIGHTS)
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
