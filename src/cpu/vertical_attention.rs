//! Attention over the height of a grid: one weighted sum a column.
//!
//! A small share of the network's work: plain code, in sixteen partial sums that compilers turn
//! into vectors.

use super::dispatch::Isa;
use super::softmax::softmax;

/// For `x` of images `[height, width, dim]`: the softmax over a column of `score.x` weighs the
/// column's positions; the result is the weighted sums, images of `[width, dim]`.
pub(crate) fn vertical_attention(
    x: &[f32],
    score: &[f32],
    height: usize,
    width: usize,
) -> Vec<f32> {
    vertical_attention_for(Isa::best(), x, score, height, width)
}

pub(super) fn vertical_attention_for(
    isa: Isa,
    x: &[f32],
    score: &[f32],
    height: usize,
    width: usize,
) -> Vec<f32> {
    let dim = score.len();
    let mut pooled = Vec::with_capacity(x.len() / height.max(1));
    for image in x.chunks_exact((height * width * dim).max(1)) {
        let columns = Columns { isa, values: image, height, width, stride: dim, value: 0, score };
        columns.pool(&mut pooled);
    }
    pooled
}

/// The columns of an image whose positions have a key, which the score is multiplied with, and a
/// value.
pub(super) struct Columns<'a> {
    pub isa: Isa,
    /// `[height, width, stride]`: keys in front.
    pub values: &'a [f32],
    pub height: usize,
    pub width: usize,
    pub stride: usize,
    /// Where a position's value starts.
    pub value: usize,
    /// `[dim]`
    pub score: &'a [f32],
}

impl Columns<'_> {
    /// Where a position is.
    pub(super) fn start(&self, row: usize, column: usize) -> usize {
        (row * self.width + column) * self.stride
    }

    pub(super) fn key(&self, row: usize, column: usize) -> &[f32] {
        &self.values[self.start(row, column)..][..self.score.len()]
    }

    pub(super) fn value(&self, row: usize, column: usize) -> &[f32] {
        &self.values[self.start(row, column) + self.value..][..self.score.len()]
    }

    /// The softmax over the rows of `score.key`.
    pub(super) fn weights(&self, column: usize, weights: &mut [f32]) {
        for (row, weight) in weights.iter_mut().enumerate() {
            *weight = dot(self.key(row, column), self.score);
        }
        softmax(self.isa, weights);
    }

    /// Appends the weighted sum of the values of every column.
    pub(super) fn pool(&self, pooled: &mut Vec<f32>) {
        let mut weights = vec![0.0; self.height];
        let mut sums = vec![0.0; self.score.len()];
        for column in 0..self.width {
            self.weights(column, &mut weights);
            sums.fill(0.0);
            for (row, weight) in weights.iter().enumerate() {
                for (sum, value) in sums.iter_mut().zip(self.value(row, column)) {
                    *sum += weight * value;
                }
            }
            pooled.extend_from_slice(&sums);
        }
    }
}

/// The sum of products.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::*;

    #[test]
    fn equals_the_plain_version() {
        let (images, height, width, dim) = (2, 5, 7, 35);
        let x = noise(1, images * height * width * dim);
        let score = noise(2, dim);
        let at = |i: usize, y: usize, c: usize, d: usize| {
            f64::from(x[((i * height + y) * width + c) * dim + d])
        };
        let mut expected = Vec::new();
        for i in 0..images {
            for c in 0..width {
                let weights: Vec<f64> = (0..height)
                    .map(|y| (0..dim).map(|d| at(i, y, c, d) * f64::from(score[d])).sum::<f64>())
                    .map(f64::exp)
                    .collect();
                let total: f64 = weights.iter().sum();
                for d in 0..dim {
                    let sum: f64 = (0..height).map(|y| weights[y] * at(i, y, c, d)).sum();
                    expected.push(sum / total);
                }
            }
        }
        for isa in Isa::all() {
            let found = vertical_attention_for(isa, &x, &score, height, width);
            assert_close(&found, &expected, 1e-5, &format!("{isa:?}"));
        }
    }
}
