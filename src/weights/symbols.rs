//! Cutting a network down to some of its symbols.

use std::collections::BTreeSet;

use super::Weights;
use crate::charset::Charset;
use crate::error::{CharsetError, Result};

/// What has a row a class.
const CLASSIFIER: [&str; 2] = ["decoder.fc.weight", "decoder.fc.bias"];

impl Weights {
    /// Keeps only some symbols of the charset, in the charset's order: the classifier loses the rows of
    /// all others, everything else stays as it is.
    ///
    /// The logits of the symbols that are kept do not change. A classifier that is stored in integers
    /// becomes f32: quantise afterwards.
    ///
    /// # Errors
    /// [`CharsetError::Missing`] if the weights have no charset; [`CharsetError::UnknownSymbol`] for a
    /// symbol that the charset does not hold; [`CharsetError::Empty`] without symbols;
    /// [`WeightsError::NonFinite`](crate::WeightsError::NonFinite).
    pub fn with_symbols<S: AsRef<str>>(
        mut self,
        symbols: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let Some(charset) = &self.charset else {
            return Err(CharsetError::Missing { classes: self.config.num_classes }.into());
        };
        let (subset, classes) = select(charset, symbols)?;
        for name in CLASSIFIER {
            if let Some(tensor) = self.tensors.get_mut(name) {
                *tensor = tensor.rows(name, &classes)?;
            }
        }
        self.config.num_classes = subset.classes();
        self.charset = Some(subset);
        Ok(self)
    }
}

/// The charset of some symbols, and the classes that they had, the blank's first.
fn select<S: AsRef<str>>(
    charset: &Charset,
    symbols: impl IntoIterator<Item = S>,
) -> Result<(Charset, Vec<usize>)> {
    let mut classes = BTreeSet::new();
    for symbol in symbols {
        let symbol = symbol.as_ref();
        let class = charset.class(symbol);
        let unknown = || CharsetError::UnknownSymbol { symbol: symbol.to_owned() };
        classes.insert(class.ok_or_else(unknown)?);
    }
    let subset = Charset::new(classes.iter().filter_map(|&class| charset.symbol(class)))?;
    classes.insert(Charset::BLANK);
    Ok((subset, classes.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::super::tensor::StoredTensor;
    use super::*;

    #[test]
    fn selection() {
        let charset = Charset::new(["b", "ch", " ", "a"]).unwrap();
        let (subset, classes) = select(&charset, ["a", "b", "a"]).unwrap();
        assert_eq!(
            (subset.symbols(), &classes[..]),
            (&["b", "a"].map(String::from)[..], &[0, 1, 4][..])
        );
        assert!(select(&charset, ["x"]).unwrap_err().to_string().contains('x'));
        assert!(select::<&str>(&charset, []).is_err());
    }

    #[test]
    fn rows_of_a_tensor() {
        let tensor = StoredTensor::computed((0..6).map(|i| i as f32).collect(), vec![3, 2]);
        let rows = tensor.rows("t", &[0, 2]).unwrap();
        assert_eq!(rows.shape(), [2, 2]);
        assert_eq!(rows.values("t").unwrap(), [0.0, 1.0, 4.0, 5.0]);
        assert!(tensor.rows("t", &[3]).is_err());
    }
}
