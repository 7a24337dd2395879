//! What int8 inference makes of weights and inputs, in candle's operations. The gradient for a rounded
//! tensor is that for the tensor.

use candle_core::{D, Result, Tensor};

const MAX: f64 = 127.0;
const STEPS: f64 = 255.0;
/// In place of a range of 0.
const MIN_SCALE: f64 = 1e-30;

/// A weight, each row rounded to 127 of its largest magnitude.
pub(super) fn weight(weight: &Tensor) -> Result<Tensor> {
    let rows = weight.detach().flatten_from(1)?;
    let scale = (rows.abs()?.max_keepdim(D::Minus1)? / MAX)?.maximum(MIN_SCALE)?;
    let rounded = rows.broadcast_div(&scale)?.round()?.broadcast_mul(&scale)?;
    straight_through(weight, &rounded.reshape(weight.shape())?)
}

/// The input of a layer, each group of a row rounded to 255 steps of its range, 0 included.
pub(super) fn input(x: &Tensor, group: usize) -> Result<Tensor> {
    let (rows, k) = (x.detach(), x.dim(D::Minus1)?);
    let groups = (0..k).step_by(group.max(1));
    let rounded: Vec<Tensor> = groups
        .map(|start| round_group(&rows.narrow(D::Minus1, start, group.min(k - start))?))
        .collect::<Result<_>>()?;
    straight_through(x, &Tensor::cat(&rounded, D::Minus1)?)
}

fn round_group(rows: &Tensor) -> Result<Tensor> {
    let least = rows.min_keepdim(D::Minus1)?.minimum(0.0)?;
    let largest = rows.max_keepdim(D::Minus1)?.maximum(0.0)?;
    let scale = ((largest - &least)? / STEPS)?.maximum(MIN_SCALE)?;
    let zero = (least.neg()? / &scale)?.round()?.clamp(0.0, STEPS)?;
    let levels = rows.broadcast_div(&scale)?.round()?;
    let levels = levels.broadcast_maximum(&zero.neg()?)?.broadcast_minimum(&(STEPS - &zero)?)?;
    levels.broadcast_mul(&scale)
}

/// `rounded`, with the gradient of `x`.
fn straight_through(x: &Tensor, rounded: &Tensor) -> Result<Tensor> {
    x + (rounded - x.detach())?.detach()
}
