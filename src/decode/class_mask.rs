//! Which symbols a text may hold.

use crate::charset::Charset;
use crate::error::{CharsetError, Result};

/// A set of permitted classes; the blank is always one of them.
///
/// ```
/// use svtrv2::{Charset, decode::{ClassMask, LogProbs, greedy}};
///
/// let charset = Charset::from_characters("0O")?;
/// let log_probs = LogProbs::from_probabilities(1, 3, vec![0.1, 0.4, 0.5])?;
/// assert_eq!(greedy(&log_probs).text(&charset), "O");
/// let digits = ClassMask::allow(&charset, ["0"])?;
/// let log_probs = log_probs.restricted(&digits)?;
/// assert_eq!(greedy(&log_probs).text(&charset), "0");
/// assert!((log_probs.probability(0, 1).unwrap_or_default() - 0.8).abs() < 1e-6);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMask {
    allowed: Vec<bool>,
    /// [`Charset::fingerprint`].
    fingerprint: u64,
}

impl ClassMask {
    /// Permits the given symbols of a charset and no others.
    ///
    /// # Errors
    /// [`CharsetError::UnknownSymbol`] for a symbol that the charset does not hold.
    pub fn allow<S: AsRef<str>>(
        charset: &Charset,
        symbols: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut mask = Self::all(charset, false);
        mask.allowed[Charset::BLANK] = true;
        mask.set(charset, symbols, true)?;
        Ok(mask)
    }

    /// Permits all symbols of a charset but the given ones.
    ///
    /// # Errors
    /// As [`ClassMask::allow`].
    pub fn deny<S: AsRef<str>>(
        charset: &Charset,
        symbols: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut mask = Self::all(charset, true);
        mask.set(charset, symbols, false)?;
        Ok(mask)
    }

    fn all(charset: &Charset, allowed: bool) -> Self {
        ClassMask { allowed: vec![allowed; charset.classes()], fingerprint: charset.fingerprint() }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn set<S: AsRef<str>>(
        &mut self,
        charset: &Charset,
        symbols: impl IntoIterator<Item = S>,
        allowed: bool,
    ) -> Result<()> {
        for symbol in symbols {
            let symbol = symbol.as_ref();
            let class = charset
                .class(symbol)
                .ok_or_else(|| CharsetError::UnknownSymbol { symbol: symbol.to_owned() })?;
            self.allowed[class] = allowed;
        }
        Ok(())
    }

    /// The number of classes, the blank included.
    pub fn classes(&self) -> usize {
        self.allowed.len()
    }

    /// Whether a class is permitted; none beyond the end is.
    pub fn allows(&self, class: usize) -> bool {
        self.allowed.get(class).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn sets() {
        let charset = Charset::from_characters("abc").unwrap();
        let allowed = ClassMask::allow(&charset, ["a", "c"]).unwrap();
        assert_eq!(
            (0..5).map(|c| allowed.allows(c)).collect::<Vec<_>>(),
            [true, true, false, true, false]
        );
        assert_eq!(ClassMask::deny(&charset, ["b"]).unwrap(), allowed);
        for mask in [ClassMask::allow(&charset, ["x"]), ClassMask::deny(&charset, ["ab"])] {
            assert!(matches!(mask, Err(Error::Charset(CharsetError::UnknownSymbol { .. }))));
        }
    }
}
