//! Batch normalisation, which only training has: for inference it is folded.

use candle_core::{Result, Tensor};
use candle_nn::init::{ONE, ZERO};

use super::{Builder, widened};
use crate::model::pass::Pass;
use crate::model::tape::{self, BatchNormInput};
use crate::model::training::{BatchNormMode, Training};

/// Epsilon of the batch norms.
const EPS: f64 = 1e-5;

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, all `[channels]`, over tokens.
#[derive(Debug, Clone)]
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    pub(crate) fn new(channels: usize, builder: &Builder) -> Result<Self> {
        Ok(BatchNorm {
            weight: builder.get(channels, "weight", ONE)?,
            bias: builder.get(channels, "bias", ZERO)?,
            running_mean: builder.get(channels, "running_mean", ZERO)?,
            running_var: builder.get(channels, "running_var", ONE)?,
        })
    }

    /// `[batch, positions, channels]` to the same shape. With the batch's statistics if the pass
    /// says so, which it is told.
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let training = pass.as_training();
        let of_batch = training.filter(|pass| pass.batch_norm() == BatchNormMode::Batch);
        if let Some(tape) = pass.tape() {
            let input = match of_batch {
                Some(_) => BatchNormInput::Batch,
                None => BatchNormInput::Given {
                    mean: self.running_mean.to_vec1()?,
                    variance: self.running_var.to_vec1()?,
                },
            };
            let (y, found) =
                tape::batch_norm(tape, x, &self.weight, &self.bias, EPS as f32, input)?;
            if let (Some(training), Some((mean, variance))) = (of_batch, found) {
                let channels = mean.len();
                let mean = Tensor::from_vec(mean, channels, x.device())?;
                tell(training, x, mean, Tensor::from_vec(variance, channels, x.device())?)?;
            }
            return Ok(y);
        }
        // The parameters stay in f32 whatever the precision of the pass.
        let dtype = x.dtype();
        let x = &widened(x)?;
        let channels = self.weight.elem_count();
        let (mean, variance) = match of_batch {
            Some(training) => {
                let rows = x.reshape(((), channels))?;
                let mean = rows.mean(0)?;
                let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?;
                tell(training, x, mean.detach(), variance.detach())?;
                (mean, variance)
            }
            None => (self.running_mean.detach(), self.running_var.detach()),
        };
        let normed = x.broadcast_sub(&mean)?.broadcast_div(&(variance + EPS)?.sqrt()?)?;
        normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?.to_dtype(dtype)
    }
}

/// Hands on what was found in a batch, the variance with n - 1.
fn tell(training: &Training, x: &Tensor, mean: Tensor, variance: Tensor) -> Result<()> {
    let rows = (x.elem_count() / mean.elem_count().max(1)) as f64;
    let variance = if rows > 1.0 { (variance * (rows / (rows - 1.0)))? } else { variance };
    training.found(mean, variance);
    Ok(())
}
