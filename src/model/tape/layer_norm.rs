//! Layer normalisation.

use candle_core::{Result, Tensor};

use super::{Tape, with_values};
use crate::cpu;
use crate::cpu::backward::layer_norm_backward;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension.
pub(crate) fn layer_norm(
    tape: &Tape,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f32,
) -> Result<Tensor> {
    let y = with_values(x, |x| {
        with_values(weight, |weight| {
            with_values(bias, |bias| cpu::layer_norm(x, weight, bias, eps))
        })
    })???;
    let parameters = tape.tracks(weight) || tape.tracks(bias);
    let (x, weight, bias) = (x.clone(), weight.clone(), bias.clone());
    let operands = [x.clone(), weight.clone(), bias.clone()];
    let operands = [&operands[0], &operands[1], &operands[2]];
    tape.record(&operands, y, x.shape().clone(), move |dy, gradients| {
        let found = with_values(&x, |x| {
            with_values(&weight, |weight| layer_norm_backward(x, weight, eps, &dy))
        })??;
        gradients.add(&x, found.input);
        if parameters {
            gradients.add(&weight, found.weight);
            gradients.add(&bias, found.bias);
        }
        Ok(())
    })
}
