//! Multi-head self-attention.

use candle_core::{Result, Tensor};

use super::{Tape, with_values};
use crate::cpu;
use crate::cpu::backward::attention_backward;

/// `softmax(q k^T / sqrt(d)) v` for each head: `[sequences, tokens, 3 * dim]` to `[.., dim]`.
pub(crate) fn attention(tape: &Tape, qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (sequences, tokens, dim) = qkv.dims3()?;
    let dim = dim / 3;
    let y = with_values(qkv, |qkv| cpu::attention(qkv, tokens, heads, dim))?;
    let qkv = qkv.clone();
    tape.record(&[&qkv.clone()], y, (sequences, tokens, dim), move |dy, gradients| {
        let gradient = with_values(&qkv, |qkv| attention_backward(qkv, &dy, tokens, heads, dim))?;
        gradients.add(&qkv, gradient);
        Ok(())
    })
}
