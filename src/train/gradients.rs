//! Gradients by the names of their parameters.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

/// The gradients of a loss for a network's parameters, by their names.
#[derive(Debug, Clone, Default)]
pub struct Gradients(BTreeMap<String, Tensor>);

impl FromIterator<(String, Tensor)> for Gradients {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(gradients: I) -> Self {
        Gradients(gradients.into_iter().collect())
    }
}

impl Gradients {
    pub(super) fn insert(&mut self, name: &str, gradient: Tensor) {
        self.0.insert(name.to_owned(), gradient);
    }

    /// The gradient for a parameter; `None` if the loss does not depend on it or it is frozen.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }

    /// Adds those of another batch: how a batch is spread over several passes.
    ///
    /// # Errors
    /// If a parameter has another shape in the other.
    pub fn add(&mut self, other: &Gradients) -> Result<()> {
        for (name, gradient) in &other.0 {
            let sum = match self.0.get(name) {
                Some(own) => (own + gradient)?,
                None => gradient.clone(),
            };
            self.0.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// Multiplies all by a factor.
    ///
    /// # Errors
    /// If the device fails.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in self.0.values_mut() {
            *gradient = (&*gradient * factor)?;
        }
        Ok(())
    }

    /// The square root of the sum of all squares.
    ///
    /// # Errors
    /// If the device fails.
    pub fn norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for gradient in self.0.values() {
            let squares = gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?;
            sum += f64::from(squares.to_vec0::<f32>()?);
        }
        Ok(sum.sqrt())
    }

    /// Scales all down so that [`Gradients::norm`] is `largest` at the most; gives what it was.
    ///
    /// # Errors
    /// If the device fails.
    pub fn clip_norm(&mut self, largest: f64) -> Result<f64> {
        let norm = self.norm()?;
        if norm > largest {
            self.scale(largest / (norm + 1e-6))?;
        }
        Ok(norm)
    }
}
