//! Gradients by the names of their parameters.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Result, Storage, Tensor};
use rayon::prelude::*;

/// Values of a task of a sum. Sums of blocks are added in their order, whatever the threads.
const BLOCK: usize = 1 << 15;

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

    /// The mean over the batches that make a step.
    ///
    /// # Errors
    /// If a parameter has another shape in another batch.
    pub(super) fn mean(mut batches: Vec<Gradients>) -> Result<Self> {
        if batches.len() < 2 {
            return Ok(batches.pop().unwrap_or_default());
        }
        let share = 1.0 / batches.len() as f64;
        let names: BTreeSet<&String> = batches.iter().flat_map(|batch| batch.0.keys()).collect();
        let mean = |name: &String| {
            let all: Vec<&Tensor> = batches.iter().filter_map(|batch| batch.0.get(name)).collect();
            Ok((name.clone(), mean_of(&all, share)?))
        };
        Ok(Gradients(names.into_iter().map(mean).collect::<Result<_>>()?))
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
            sum += match with_host(&[gradient], |values| {
                let blocks = values[0].par_chunks(BLOCK);
                let squares = |block: &[f32]| block.iter().map(|v| v * v).sum::<f32>();
                let blocks: Vec<f32> = blocks.map(squares).collect();
                blocks.into_iter().map(f64::from).sum::<f64>()
            }) {
                Some(squares) => squares,
                None => {
                    let squares = gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?;
                    f64::from(squares.to_vec0::<f32>()?)
                }
            };
        }
        Ok(sum.sqrt())
    }

    /// Scales all down so that [`Gradients::norm`] is `largest` at most; gives what it was.
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

/// The sum of tensors of the same shape times a factor.
fn mean_of(tensors: &[&Tensor], share: f64) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        candle_core::bail!("a mean of nothing");
    };
    if tensors.iter().any(|tensor| tensor.shape() != first.shape()) {
        candle_core::bail!("gradients of one parameter have several shapes");
    }
    let on_host = with_host(tensors, |all| {
        let mut sum = all[0].to_vec();
        sum.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sum)| {
            let start = block * BLOCK;
            for values in &all[1..] {
                for (sum, value) in sum.iter_mut().zip(&values[start..]) {
                    *sum += value;
                }
            }
            for sum in sum {
                *sum *= share as f32;
            }
        });
        Tensor::from_vec(sum, first.shape(), first.device())
    });
    if let Some(mean) = on_host {
        return mean;
    }
    let mut sum = (*first).clone();
    for tensor in &tensors[1..] {
        sum = (sum + *tensor)?;
    }
    sum * share
}

/// Calls a function with the values of tensors that are contiguous f32 in the CPU's memory; `None`
/// if they are not.
fn with_host<T>(tensors: &[&Tensor], call: impl FnOnce(&[&[f32]]) -> T) -> Option<T> {
    let stored: Vec<_> = tensors.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let mut all = Vec::with_capacity(stored.len());
    for (storage, layout) in &stored {
        let Storage::Cpu(storage) = &**storage else {
            return None;
        };
        let (start, end) = layout.contiguous_offsets()?;
        all.push(&storage.as_slice::<f32>().ok()?[start..end]);
    }
    Some(call(&all))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn means_and_norms() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let large: Vec<f32> = (0..100_000).map(|i| (i % 7) as f32).collect();
        let one: Gradients =
            [("a".to_owned(), tensor(&[1.0, -2.0])), ("b".to_owned(), tensor(&large))]
                .into_iter()
                .collect();
        let other: Gradients = [("a".to_owned(), tensor(&[5.0, 4.0]))].into_iter().collect();
        let mean = Gradients::mean(vec![one.clone(), other]).unwrap();
        assert_eq!(mean.get("a").unwrap().to_vec1::<f32>().unwrap(), [3.0, 1.0]);
        let half = mean.get("b").unwrap().to_vec1::<f32>().unwrap();
        assert!(half.iter().zip(&large).all(|(half, whole)| *half == whole / 2.0));
        let squares: f64 = large.iter().map(|v| f64::from(v * v)).sum::<f64>() + 5.0;
        assert!((one.norm().unwrap() - squares.sqrt()).abs() < 1e-3 * squares.sqrt());
        assert_eq!(Gradients::mean(Vec::new()).unwrap().norm().unwrap(), 0.0);
    }
}
