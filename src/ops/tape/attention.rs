//! Multi-head self-attention, and the vertical attention of the feature rearrangement module.

use candle_core::Tensor;

use super::{Tape, Tracked, values};
use crate::cpu;
use crate::cpu::backward::{
    VerticalShape, attention_backward, vertical_attention_backward, vertical_attention_kv,
};
use crate::error::Result;
use crate::ops::Grid;

/// `softmax(q k^T / sqrt(d)) v` for each head: `[rows, 3 * dim]` to `[rows, dim]`.
pub(super) fn attention(
    tape: &Tape,
    qkv: &Tracked,
    heads: usize,
    length: usize,
) -> Result<Tracked> {
    qkv.check_length("attention", length)?;
    let dim = qkv.channels / 3;
    let y = cpu::attention(qkv.values(), length, heads, dim);
    let qkv = qkv.clone();
    Ok(tape.record(qkv.is_tracked(), y, dim, move |dy, gradients| {
        gradients.add(&qkv, attention_backward(qkv.values(), &dy, length, heads, dim));
        Ok(())
    }))
}

/// Keys and values `[rows, 2 * dim]`, weighed by the softmax over the height of `token.key`, to
/// `[batch * width, dim]`.
pub(super) fn vertical(tape: &Tape, token: &Tensor, kv: &Tracked, grid: Grid) -> Result<Tracked> {
    kv.check_length("vertical attention", grid.positions())?;
    let dim = kv.channels / 2;
    kv.check("vertical attention", kv.rows(), 2 * token.elem_count())?;
    let shape = VerticalShape { height: grid.height, width: grid.width, dim };
    let token_values = values(token)?;
    let y = vertical_attention_kv(kv.values(), &token_values, shape);
    let (kv, token) = (kv.clone(), token.clone());
    Ok(tape.record(kv.is_tracked() || token.is_variable(), y, dim, move |dy, gradients| {
        let found = vertical_attention_backward(kv.values(), &token_values, shape, &dy);
        let (d_kv, d_token) = found;
        gradients.add(&kv, d_kv);
        if token.is_variable() {
            gradients.add_parameter(&token, d_token);
        }
        Ok(())
    }))
}
