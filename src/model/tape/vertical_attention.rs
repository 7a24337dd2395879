//! The vertical part of the feature rearrangement module: attention over the height by a token.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::{Tape, with_values};

/// Keys and values `[batch, height, width, 2 * dim]`, weighed by the softmax over the height of
/// `token.key`, to `[batch, width, dim]`.
pub(crate) fn vertical_attention(tape: &Tape, kv: &Tensor, token: &Tensor) -> Result<Tensor> {
    let (batch, height, width, dim) = kv.dims4()?;
    let dim = dim / 2;
    if token.elem_count() != dim {
        bail!("a token of {} for {dim} channels", token.elem_count());
    }
    let image_len = height * width * 2 * dim;
    let mut pooled = vec![0.0; batch * width * dim];
    with_values(kv, |kv| {
        with_values(token, |token| {
            pooled.par_chunks_mut((width * dim).max(1)).enumerate().for_each(|(image, pooled)| {
                let kv = &kv[image * image_len..][..image_len];
                for (column, pooled) in pooled.chunks_exact_mut(dim).enumerate() {
                    let column = Column { kv, height, width, dim, column };
                    for (row, weight) in column.weights(token).into_iter().enumerate() {
                        let value = &column.at(row)[dim..];
                        pooled.iter_mut().zip(value).for_each(|(sum, v)| *sum += weight * v);
                    }
                }
            });
        })
    })??;
    let of_token = tape.tracks(token);
    let (kv, token) = (kv.clone(), token.clone());
    let operands = [kv.clone(), token.clone()];
    tape.record(&[&operands[0], &operands[1]], pooled, (batch, width, dim), move |dy, gradients| {
        let mut d_kv = vec![0.0; batch * image_len];
        let d_tokens: Vec<Vec<f32>> = with_values(&kv, |kv| {
            with_values(&token, |token| {
                let images = d_kv.par_chunks_mut(image_len.max(1)).enumerate();
                let backward = |(image, d_kv): (usize, &mut [f32])| {
                    let kv = &kv[image * image_len..][..image_len];
                    let dy = &dy[image * width * dim..][..width * dim];
                    let mut d_token = vec![0.0; dim];
                    for (column, dy) in dy.chunks_exact(dim).enumerate() {
                        let column = Column { kv, height, width, dim, column };
                        column.backward(token, dy, d_kv, &mut d_token);
                    }
                    d_token
                };
                images.map(backward).collect()
            })
        })??;
        gradients.add(&kv, d_kv);
        if of_token {
            let mut sum = vec![0.0f32; dim];
            for d_token in d_tokens {
                sum.iter_mut().zip(d_token).for_each(|(sum, value)| *sum += value);
            }
            gradients.add(&token, sum);
        }
        Ok(())
    })
}

/// A column of an image.
struct Column<'a> {
    /// `[height, width, 2 * dim]`
    kv: &'a [f32],
    height: usize,
    width: usize,
    dim: usize,
    column: usize,
}

impl Column<'_> {
    fn start(&self, row: usize) -> usize {
        (row * self.width + self.column) * 2 * self.dim
    }

    /// Key and value of a position.
    fn at(&self, row: usize) -> &[f32] {
        &self.kv[self.start(row)..][..2 * self.dim]
    }

    /// The softmax over the rows of `token.key`.
    fn weights(&self, token: &[f32]) -> Vec<f32> {
        let scores: Vec<f32> =
            (0..self.height).map(|row| dot(&self.at(row)[..self.dim], token)).collect();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        weights
    }

    /// Writes the gradients for keys and values, adds that for the token.
    fn backward(&self, token: &[f32], dy: &[f32], d_kv: &mut [f32], d_token: &mut [f32]) {
        let dim = self.dim;
        let weights = self.weights(token);
        let d_weights: Vec<f32> =
            (0..self.height).map(|row| dot(&self.at(row)[dim..], dy)).collect();
        let mean = dot(&weights, &d_weights);
        for (row, (weight, d_weight)) in weights.iter().zip(&d_weights).enumerate() {
            let d_score = weight * (d_weight - mean);
            let (d_key, d_value) = d_kv[self.start(row)..][..2 * dim].split_at_mut(dim);
            d_key.iter_mut().zip(token).for_each(|(d, t)| *d = d_score * t);
            d_value.iter_mut().zip(dy).for_each(|(d, dy)| *d = weight * dy);
            let key = &self.at(row)[..dim];
            d_token.iter_mut().zip(key).for_each(|(sum, key)| *sum += d_score * key);
        }
    }
}

/// The sum of products, in eight lanes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
