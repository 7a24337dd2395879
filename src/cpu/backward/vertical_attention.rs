//! Vertical attention over keys and values, and its gradients.

use rayon::prelude::*;

use super::super::dispatch::Isa;
use super::super::vertical_attention::{Columns, dot};

/// The shape of [`vertical_attention_kv`]'s input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerticalShape {
    pub height: usize,
    pub width: usize,
    /// Channels of a key, and of a value.
    pub dim: usize,
}

impl VerticalShape {
    fn image_len(self) -> usize {
        (self.height * self.width * 2 * self.dim).max(1)
    }

    fn pooled_len(self) -> usize {
        (self.width * self.dim).max(1)
    }

    fn columns<'a>(self, kv: &'a [f32], token: &'a [f32]) -> Columns<'a> {
        let VerticalShape { height, width, dim } = self;
        Columns {
            isa: Isa::best(),
            values: kv,
            height,
            width,
            stride: 2 * dim,
            value: dim,
            score: token,
        }
    }
}

/// Keys and values of images `[height, width, 2 * dim]`: the softmax over the height of `token.key`
/// weighs the values, to images `[width, dim]`.
pub(crate) fn vertical_attention_kv(kv: &[f32], token: &[f32], shape: VerticalShape) -> Vec<f32> {
    assert_eq!(token.len(), shape.dim, "a token of another size");
    let images = kv.par_chunks_exact(shape.image_len());
    let pooled: Vec<Vec<f32>> = images
        .map(|kv| {
            let mut pooled = Vec::with_capacity(shape.pooled_len());
            shape.columns(kv, token).pool(&mut pooled);
            pooled
        })
        .collect();
    pooled.concat()
}

/// The gradients of [`vertical_attention_kv`] for keys and values and for the token, from that for
/// its result.
pub(crate) fn vertical_attention_backward(
    kv: &[f32],
    token: &[f32],
    shape: VerticalShape,
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(token.len(), shape.dim, "a token of another size");
    let mut d_kv = vec![0.0; kv.len()];
    let images = d_kv.par_chunks_exact_mut(shape.image_len());
    let images = images.zip(kv.par_chunks_exact(shape.image_len()));
    let d_tokens: Vec<Vec<f32>> = images
        .zip(dy.par_chunks_exact(shape.pooled_len()))
        .map(|((d_kv, kv), dy)| {
            let columns = shape.columns(kv, token);
            let mut d_token = vec![0.0; shape.dim];
            for (column, dy) in dy.chunks_exact(shape.dim).enumerate() {
                columns.backward(column, dy, d_kv, &mut d_token);
            }
            d_token
        })
        .collect();
    let mut d_token = vec![0.0f32; shape.dim];
    for part in d_tokens {
        d_token.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    (d_kv, d_token)
}

impl Columns<'_> {
    /// Writes the gradients for a column's keys and values, adds that for the token.
    fn backward(&self, column: usize, dy: &[f32], d_kv: &mut [f32], d_token: &mut [f32]) {
        let (token, dim) = (self.score, self.score.len());
        let mut weights = vec![0.0; self.height];
        self.weights(column, &mut weights);
        let d_weights: Vec<f32> =
            (0..self.height).map(|row| dot(self.value(row, column), dy)).collect();
        let mean = dot(&weights, &d_weights);
        for (row, (weight, d_weight)) in weights.iter().zip(&d_weights).enumerate() {
            let d_score = weight * (d_weight - mean);
            let d_position = &mut d_kv[self.start(row, column)..][..2 * dim];
            let (d_key, d_value) = d_position.split_at_mut(dim);
            d_key.iter_mut().zip(token).for_each(|(d, t)| *d = d_score * t);
            d_value.iter_mut().zip(dy).for_each(|(d, dy)| *d = weight * dy);
            let key = self.key(row, column);
            d_token.iter_mut().zip(key).for_each(|(sum, key)| *sum += d_score * key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// The definition, in f64.
    fn plain(kv: &[f64], token: &[f64], shape: VerticalShape) -> Vec<f64> {
        let VerticalShape { height, width, dim } = shape;
        let mut pooled = Vec::new();
        for image in kv.chunks_exact(shape.image_len()) {
            for column in 0..width {
                let at = |row: usize| &image[(row * width + column) * 2 * dim..][..2 * dim];
                let score = |row: usize| at(row).iter().zip(token).map(|(k, t)| k * t).sum::<f64>();
                let exps: Vec<f64> = (0..height).map(|row| score(row).exp()).collect();
                let sum: f64 = exps.iter().sum();
                for c in 0..dim {
                    pooled.push((0..height).map(|row| exps[row] / sum * at(row)[dim + c]).sum());
                }
            }
        }
        pooled
    }

    #[test]
    fn equals_the_plain_version_and_its_differences() {
        let shape = VerticalShape { height: 3, width: 4, dim: 19 };
        let kv = noise(1, 2 * shape.image_len());
        let token = noise(2, shape.dim);
        let dy = noise(3, 2 * shape.pooled_len());
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (kv64, token64, dy64) = (wide(&kv), wide(&token), wide(&dy));
        let found = vertical_attention_kv(&kv, &token, shape);
        assert_close(&found, &plain(&kv64, &token64, shape), 1e-6, "forward");

        let value = |kv: &[f64], token: &[f64]| -> f64 {
            plain(kv, token, shape).iter().zip(&dy64).map(|(y, dy)| y * dy).sum()
        };
        let slopes = |x: &[f64], value: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let moved = |i: usize, by: f64| {
                let mut x = x.to_vec();
                x[i] += by;
                value(&x)
            };
            (0..x.len()).map(|i| (moved(i, 1e-5) - moved(i, -1e-5)) / 2e-5).collect()
        };
        let (d_kv, d_token) = vertical_attention_backward(&kv, &token, shape, &dy);
        assert_close(&d_kv, &slopes(&kv64, &|kv| value(kv, &token64)), 2e-6, "keys and values");
        assert_close(&d_token, &slopes(&token64, &|t| value(&kv64, t)), 5e-6, "token");
    }
}
