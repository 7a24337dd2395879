//! Errors of configurations and options.

/// Why a configuration or an option cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {detail}")]
pub struct ConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// Its value and what is permitted.
    pub detail: String,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, detail: impl Into<String>) -> Self {
        ConfigError { field, detail: detail.into() }
    }

    /// The largest weight, bonus or penalty of a decoder, in nats: beyond it sums lose what tells
    /// texts apart.
    pub(crate) const MAX_WEIGHT: f64 = 1e6;

    /// Checks that a weight, a bonus or a penalty is a number from `least` to
    /// [`MAX_WEIGHT`](Self::MAX_WEIGHT).
    pub(crate) fn check_weight(
        field: &'static str,
        value: f64,
        least: f64,
    ) -> Result<(), ConfigError> {
        if (least..=Self::MAX_WEIGHT).contains(&value) {
            return Ok(());
        }
        let detail = format!("{value} is not in {least}..={}", Self::MAX_WEIGHT);
        Err(ConfigError::new(field, detail))
    }

    /// Checks that a value is a finite number above 0.
    pub(crate) fn check_positive(field: &'static str, value: f32) -> Result<(), ConfigError> {
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        Err(ConfigError::new(field, format!("{value} is not above 0")))
    }
}
