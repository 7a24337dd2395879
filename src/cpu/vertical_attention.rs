//! Attention over the height of a grid: one weighted sum a column.

/// For `x` of images `[height, width, dim]`: the softmax over a column of `score.x` weighs the
/// column's positions; the result is the weighted sums, images of `[width, dim]`.
///
/// A small share of the network's work: plain code, in sixteen partial sums that compilers turn
/// into vectors.
pub(crate) fn vertical_attention(
    x: &[f32],
    score: &[f32],
    height: usize,
    width: usize,
) -> Vec<f32> {
    let dim = score.len();
    let mut pooled = Vec::with_capacity(x.len() / height.max(1));
    let mut weights = vec![0.0; height];
    let mut sums = vec![0.0; dim];
    for image in x.chunks_exact((height * width * dim).max(1)) {
        for column in 0..width {
            let position = |row: usize| &image[(row * width + column) * dim..][..dim];
            for (row, weight) in weights.iter_mut().enumerate() {
                *weight = dot(position(row), score);
            }
            let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            weights.iter_mut().for_each(|weight| *weight = (*weight - largest).exp());
            let factor = weights.iter().sum::<f32>().recip();
            sums.fill(0.0);
            for (row, weight) in weights.iter().enumerate() {
                let weight = weight * factor;
                for (sum, value) in sums.iter_mut().zip(position(row)) {
                    *sum += weight * value;
                }
            }
            pooled.extend_from_slice(&sums);
        }
    }
    pooled
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
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
        assert_close(&vertical_attention(&x, &score, height, width), &expected, 1e-5, "columns");
    }
}
