//! From a grid of features to the logits of its columns: attention over the height by a learned
//! token, then the classifier.

use std::sync::Arc;

use candle_core::{D, Result, Tensor};
use candle_nn::Init;

use super::builder::{Backend, Builder, values};
use super::custom_op::unary;
use super::linear::Linear;
use crate::cpu::{self, Epilogue, PackedMatrix};
use crate::model::pass::Pass;
#[cfg(feature = "train")]
use crate::model::tape;

/// Gathers each column into one vector and classifies it.
///
/// A position `x` has the key `k = Wk x + bk` and the value `v = Wv x + bv`; the token `t` gives it
/// the score `t.k`; the softmax over a column's scores weighs the values, whose sum goes through
/// the classifier `Wc`.
#[derive(Debug, Clone)]
pub(crate) enum VerticalAttention {
    Tensors {
        /// Key and value.
        fc_kv: Linear,
        /// `[1, 1, dim]`
        token: Tensor,
        fc: Linear,
    },
    /// For inference, four layers fold into two: `t.k` is `(Wk^T t).x` and a constant, which the
    /// softmax ignores; and since weights sum to 1, the logits are `(Wc Wv)` times the weighted
    /// sum of the features themselves, plus `Wc bv + bc`.
    Kernels { score: Arc<Vec<f32>>, classifier: Arc<PackedMatrix> },
}

impl VerticalAttention {
    pub(crate) fn new(dim: usize, classes: usize, builder: &Builder) -> Result<Self> {
        let token_init = Init::Randn { mean: 0.0, stdev: 0.02 };
        let token = builder.get((1, 1, dim), "char_token", token_init)?;
        match builder.backend() {
            Backend::Tensors => Ok(VerticalAttention::Tensors {
                fc_kv: Linear::new(dim, 2 * dim, &builder.pp("fc_kv"))?,
                token,
                fc: Linear::new(dim, classes, &builder.pp("fc"))?,
            }),
            Backend::Kernels => Self::folded(dim, classes, &values(&token)?, builder),
        }
    }

    fn folded(dim: usize, classes: usize, token: &[f32], builder: &Builder) -> Result<Self> {
        let get = |part: &str, name: &str, shape: &[usize]| {
            values(&builder.pp(part).get(shape, name, Init::Const(0.0))?)
        };
        let kv_weight = get("fc_kv", "weight", &[2 * dim, dim])?;
        let kv_bias = get("fc_kv", "bias", &[2 * dim])?;
        let fc_weight = get("fc", "weight", &[classes, dim])?;
        let fc_bias = get("fc", "bias", &[classes])?;
        let (keys, values) = kv_weight.split_at(dim * dim);
        let value_bias = &kv_bias[dim..];

        // Sums in f64, each rounded once.
        let combine = |factors: &[f32], rows: &[f32]| -> Vec<f32> {
            let mut sums = vec![0.0f64; dim];
            for (factor, row) in factors.iter().zip(rows.chunks_exact(dim)) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*factor) * f64::from(*value);
                }
            }
            sums.into_iter().map(|sum| sum as f32).collect()
        };
        let score = combine(token, keys);
        let mut weight = Vec::with_capacity(classes * dim);
        let mut bias = Vec::with_capacity(classes);
        for (row, own) in fc_weight.chunks_exact(dim).zip(&fc_bias) {
            weight.extend(combine(row, values));
            let dot: f64 =
                row.iter().zip(value_bias).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            bias.push((dot + f64::from(*own)) as f32);
        }
        let classifier = cpu::pack_linear(&weight, classes, Some(&bias));
        Ok(VerticalAttention::Kernels { score: Arc::new(score), classifier: Arc::new(classifier) })
    }

    /// `[batch, height, width, dim]` to logits `[batch, width, classes]`.
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let (batch, height, width, dim) = x.dims4()?;
        #[cfg(feature = "train")]
        if let (VerticalAttention::Tensors { fc_kv, token, fc }, Some(tape)) = (self, pass.tape()) {
            let kv = fc_kv.forward(x, pass)?;
            return fc.forward(&tape::vertical_attention(tape, &kv, token)?, pass);
        }
        match self {
            VerticalAttention::Tensors { fc_kv, token, fc } => {
                let kv = fc_kv.forward(x, pass)?;
                let (key, value) = (kv.narrow(D::Minus1, 0, dim)?, kv.narrow(D::Minus1, dim, dim)?);
                let scores = key.broadcast_mul(&token.flatten_all()?)?.sum_keepdim(D::Minus1)?;
                let weights = candle_nn::ops::softmax(&scores, 1)?;
                fc.forward(&value.broadcast_mul(&weights)?.sum(1)?, pass)
            }
            VerticalAttention::Kernels { score, classifier } => {
                let shape = (batch, width, classifier.n());
                unary("column_classifier", x, shape, |x| {
                    let columns = cpu::vertical_attention(x, score, height, width);
                    cpu::linear(&columns, classifier, Epilogue::Store)
                })
            }
        }
    }
}
