//! Layers that inference folds into fewer.

/// The vertical attention and the classifier with folded parameters.
pub(crate) struct FoldedVerticalAttention {
    /// `[dim]`: [`vertical_attention`](super::vertical_attention) takes it.
    pub score: Vec<f32>,
    /// `[classes, dim]` of the linear layer behind it.
    pub weight: Vec<f32>,
    /// `[classes]`
    pub bias: Vec<f32>,
}

/// Folds four layers into two: with the token `t`, keys `Wk x + bk`, values `Wv x + bv` and the
/// classifier `Wc, bc`, a position's score `t.k` is `(Wk^T t).x` and a constant, which the softmax
/// ignores; and since weights sum to 1, the logits are `(Wc Wv)` times the weighted sum of the
/// features themselves, plus `Wc bv + bc`.
///
/// `key_value` is the weight `[2 * dim, dim]` and bias of keys and values. Sums are taken in f64
/// and rounded once.
pub(crate) fn fold_vertical_attention(
    token: &[f32],
    key_value: (&[f32], &[f32]),
    classifier: (&[f32], &[f32]),
) -> FoldedVerticalAttention {
    let dim = token.len();
    let (keys, values) = key_value.0.split_at(dim * dim);
    let value_bias = &key_value.1[dim..];
    let combine = |factors: &[f32], rows: &[f32]| -> Vec<f32> {
        let mut sums = vec![0.0f64; dim];
        for (factor, row) in factors.iter().zip(rows.chunks_exact(dim)) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*factor) * f64::from(*value);
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    };
    let mut weight = Vec::with_capacity(classifier.0.len());
    let mut bias = Vec::with_capacity(classifier.1.len());
    for (row, own) in classifier.0.chunks_exact(dim).zip(classifier.1) {
        weight.extend(combine(row, values));
        let dot: f64 = row.iter().zip(value_bias).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        bias.push((dot + f64::from(*own)) as f32);
    }
    FoldedVerticalAttention { score: combine(token, keys), weight, bias }
}
