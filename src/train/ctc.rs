//! The loss of connectionist temporal classification, with exact gradients.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::decode;

/// The CTC loss of every sample, `[batch]`: minus the log-probability of its label, for logits
/// `[batch, time, class]` before the softmax (class 0 is the blank).
///
/// A label that does not fit into the time steps has the loss infinity; with `zero_infinity` it is
/// 0 and so are its gradients. The reference's loss is the mean over the batch. Computed in f64 on
/// the host, whatever the device.
///
/// # Errors
/// If shapes, labels and classes do not fit each other.
pub fn ctc_loss(logits: &Tensor, labels: &[Vec<u32>], zero_infinity: bool) -> Result<Tensor> {
    let (batch, _, classes) = logits.dims3()?;
    if labels.len() != batch {
        bail!("{} labels for a batch of {batch}", labels.len());
    }
    for label in labels {
        if let Some(class) = label.iter().find(|&&class| class == 0 || class as usize >= classes) {
            bail!("the label {label:?} holds the class {class}, not in 1..{classes}");
        }
    }
    let labels = labels.iter().map(|label| label.iter().map(|&c| c as usize).collect()).collect();
    let op = Ctc { labels, zero_infinity, gradient: OnceLock::new() };
    let host = logits.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
    host.apply_op1(op)?.to_device(logits.device())
}

struct Ctc {
    labels: Vec<Vec<usize>>,
    zero_infinity: bool,
    /// Of every sample's loss for its logits.
    gradient: OnceLock<Vec<f32>>,
}

impl CustomOp1 for Ctc {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, time, classes) = layout.shape().dims3()?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("logits are not contiguous");
        };
        let logits = &storage.as_slice::<f32>()?[start..end];
        let mut gradient = vec![0.0f32; logits.len()];
        let size = (time * classes).max(1);
        let losses: Vec<f32> = gradient
            .par_chunks_mut(size)
            .zip(logits.par_chunks(size))
            .zip(&self.labels)
            .map(|((gradient, logits), label)| {
                let loss = decode::ctc_loss(logits, classes, label, gradient);
                if loss == f64::INFINITY {
                    return if self.zero_infinity { 0.0 } else { f32::INFINITY };
                }
                loss as f32
            })
            .collect();
        // The operation runs once.
        let _ = self.gradient.set(gradient);
        Ok((CpuStorage::F32(losses), Shape::from(batch)))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else {
            bail!("the CTC loss has not run yet");
        };
        let grad = grad.to_vec1::<f32>()?;
        let mut scaled = gradient.clone();
        let size = (scaled.len() / grad.len().max(1)).max(1);
        scaled.par_chunks_mut(size).zip(&grad).for_each(|(sample, factor)| {
            sample.iter_mut().for_each(|value| *value *= factor);
        });
        Ok(Some(Tensor::from_vec(scaled, arg.shape(), arg.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    fn logits(batch: usize, time: usize, classes: usize) -> Var {
        let values: Vec<f32> =
            (0..batch * time * classes).map(|i| ((i * 7919) % 97) as f32 / 16.0 - 3.0).collect();
        Var::from_vec(values, (batch, time, classes), &Device::Cpu).unwrap()
    }

    /// Minus the log of the sum over all paths.
    fn enumerated(logits: &[Vec<f32>], label: &[u32]) -> f64 {
        let classes = logits[0].len();
        let mut total = 0.0;
        for path in 0..classes.pow(logits.len() as u32) {
            let mut rest = path;
            let (mut probability, mut before, mut text) = (1.0, 0, Vec::new());
            for row in logits {
                let class = rest % classes;
                rest /= classes;
                let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                probability *= f64::from(row[class]).exp() / sum;
                if class != 0 && class != before {
                    text.push(class as u32);
                }
                before = class;
            }
            if text == label {
                total += probability;
            }
        }
        -f64::ln(total)
    }

    #[test]
    fn equals_enumeration() {
        let logits = logits(1, 5, 3);
        let rows = logits.to_vec3::<f32>().unwrap().remove(0);
        for label in [vec![], vec![1], vec![1, 1], vec![1, 2, 1], vec![2, 2, 2]] {
            let loss = ctc_loss(&logits, std::slice::from_ref(&label), false).unwrap();
            let found = f64::from(loss.to_vec1::<f32>().unwrap()[0]);
            let expected = enumerated(&rows, &label);
            assert!((found - expected).abs() < 1e-5, "{label:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn gradients_equal_differences() {
        let (time, classes) = (6, 5);
        let logits = logits(2, time, classes);
        let labels = [vec![1, 3, 3], vec![]];
        let total = |logits: &Tensor| {
            ctc_loss(logits, &labels, true).unwrap().sum_all().unwrap().to_vec0::<f32>().unwrap()
        };
        let loss = ctc_loss(&logits, &labels, true).unwrap().sum_all().unwrap();
        let found = loss.backward().unwrap().get(&logits).unwrap().flatten_all().unwrap();
        let found = found.to_vec1::<f32>().unwrap();
        let values = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, found) in found.iter().enumerate() {
            let moved = |by: f32| {
                let mut values = values.clone();
                values[i] += by;
                total(&Tensor::from_vec(values, (2, time, classes), &Device::Cpu).unwrap())
            };
            let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((found - expected).abs() < 2e-3, "{i}: {found} instead of {expected}");
        }
    }

    #[test]
    fn labels_that_do_not_fit() {
        let logits = logits(2, 3, 4);
        let labels = [vec![1, 1, 1], vec![2]];
        let loss = |zero| ctc_loss(&logits, &labels, zero).unwrap();
        assert_eq!(loss(false).to_vec1::<f32>().unwrap()[0], f32::INFINITY);
        let zeroed = loss(true);
        assert_eq!(zeroed.to_vec1::<f32>().unwrap()[0], 0.0);
        let gradient = zeroed.sum_all().unwrap().backward().unwrap();
        let gradient = gradient.get(&logits).unwrap().to_vec3::<f32>().unwrap();
        assert!(gradient[0].iter().flatten().all(|&g| g == 0.0));
        assert!(gradient[1].iter().flatten().any(|&g| g != 0.0));
        assert!(ctc_loss(&logits, &[vec![1]], true).is_err());
        assert!(ctc_loss(&logits, &[vec![4], vec![1]], true).is_err());
        assert!(ctc_loss(&logits, &[vec![0], vec![1]], true).is_err());
    }
}
