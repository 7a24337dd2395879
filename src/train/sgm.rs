//! The semantic guidance module (paper section 3.4; reference module `smtr_decoder`): in training it
//! asks the encoder's features for every character, given its neighbours to one side.

use candle_core::{D, DType, Device, Result, Tensor};

use super::sgm_labels::{CONTEXT, SgmLabels, SgmTargets, Vocabulary};
use super::sgm_layers::{layer_norm, linear};
use crate::error;
use crate::model::{Config, layers};
use crate::ops::candle::{Tensors, log_softmax, softmax};
use crate::ops::{Init, LayerNormParameters, LinearParameters, Scope};

/// Epsilon of all its norms.
const EPS: f64 = 1e-6;
/// Heads of the attention over the features.
const FEATURE_HEADS: usize = 2;
/// Channels of a head of the attention over the prompt.
const PROMPT_HEAD_DIM: usize = 32;
const TOKEN_INIT: Init = Init::Normal(0.02);

type Linear = LinearParameters<Tensor>;
type LayerNorm = LayerNormParameters<Tensor>;

/// The semantic guidance module, in differentiable tensors on any device.
#[derive(Debug, Clone)]
pub struct Sgm {
    /// `[vocabulary, dim]`
    embedding: Tensor,
    left: Direction,
    right: Direction,
    over_prompt: CrossAttention,
    over_features: CrossAttention,
    norm_q1: LayerNorm,
    norm_kv1: LayerNorm,
    norm_q2: LayerNorm,
    norm_kv2: LayerNorm,
    norm: LayerNorm,
    head: Linear,
    vocabulary: Vocabulary,
}

/// What one direction has of its own.
#[derive(Debug, Clone)]
struct Direction {
    /// The query, `[1, 1, 1, dim]`.
    token: Tensor,
    /// The prompt's positions, `[1, 1, 6, dim]`.
    prompt: Tensor,
}

impl Sgm {
    /// Where its parameters are in a checkpoint.
    pub(super) const PREFIX: &str = "decoder.gtc_decoder";

    pub(super) fn new(config: &Config, scope: &Scope<Tensor>) -> error::Result<Self> {
        let dim = config.feature_dim();
        let classes = config.num_classes;
        let token = |name: &str, shape: &[usize]| scope.get(name, shape, TOKEN_INIT);
        let direction = |name: &str| {
            Ok::<_, error::Error>(Direction {
                token: token(&format!("{name}_token"), &[1, 1, 1, dim])?,
                prompt: token(&format!("prompt_{name}_embed"), &[1, 1, CONTEXT + 1, dim])?,
            })
        };
        let entries = Vocabulary::len(classes);
        let embedding_init = Init::Normal((dim as f64).powf(-0.5));
        let embedding =
            scope.get("char_embed.embedding.weight", &[entries, dim], embedding_init)?;
        let layer = scope.below("cmff_decoder.0");
        let heads = (dim / PROMPT_HEAD_DIM).max(1);
        let attention = |name: &str, heads| CrossAttention::new(dim, heads, &layer.below(name));
        let norm = |scope: Scope<Tensor>| layers::layer_norm::<Tensors>(dim, EPS, &scope);
        Ok(Sgm {
            embedding,
            left: direction("next")?,
            right: direction("pre")?,
            over_prompt: attention("images_to_question_cross_attn", heads)?,
            over_features: attention("question_to_images_cross_attn", FEATURE_HEADS)?,
            norm_q1: norm(layer.below("normq1"))?,
            norm_kv1: norm(layer.below("normkv1"))?,
            norm_q2: norm(layer.below("normq2"))?,
            norm_kv2: norm(layer.below("normkv2"))?,
            norm: norm(scope.below("norm_pred"))?,
            head: layers::linear::<Tensors>(
                dim,
                Vocabulary::predictions(classes),
                &scope.below("ques1_head"),
            )?,
            vocabulary: Vocabulary::new(classes),
        })
    }

    /// The loss, a scalar: the cross entropy averaged over all characters and ends in both
    /// directions. `features` are `[batch, positions, dim]`.
    ///
    /// # Errors
    /// If shapes do not fit each other or the device fails.
    pub fn loss(&self, features: &Tensor, labels: &SgmLabels) -> Result<Tensor> {
        // What the features give to both directions is computed once.
        let kv = self.over_features.keys_values(&layer_norm(&self.norm_kv2, features)?)?;
        let (left, left_count) =
            self.direction_loss(&self.left, self.vocabulary.left_pad, &kv, &labels.left)?;
        let (right, right_count) =
            self.direction_loss(&self.right, self.vocabulary.right_pad, &kv, &labels.right)?;
        (left + right)? / (left_count + right_count).max(1) as f64
    }

    /// The sum of the cross entropies, and of how many.
    fn direction_loss(
        &self,
        direction: &Direction,
        masked: u32,
        kv: &(Tensor, Tensor),
        targets: &[SgmTargets],
    ) -> Result<(Tensor, usize)> {
        let device = kv.0.device();
        let (contexts, answers) = SgmLabels::tensors(targets, self.vocabulary.pad, device)?;
        let logits = self.logits(direction, masked, kv, &contexts)?;
        let classes = logits.dim(D::Minus1)?;
        let log_probs = log_softmax(&logits.reshape(((), classes))?)?;
        let answers = answers.flatten_all()?;
        let counted = answers.ne(self.vocabulary.pad)?;
        let count = targets.iter().map(|targets| targets.targets.len()).sum();
        let answers = (answers * counted.to_dtype(DType::U32)?)?;
        let picked = log_probs.gather(&answers.unsqueeze(1)?, 1)?.squeeze(1)?;
        let sum = (picked * counted.to_dtype(DType::F32)?)?.sum_all()?;
        Ok((sum.neg()?, count))
    }

    /// `[batch, length, predictions]` for contexts `[batch, length, 5]`.
    fn logits(
        &self,
        direction: &Direction,
        masked: u32,
        kv: &(Tensor, Tensor),
        contexts: &Tensor,
    ) -> Result<Tensor> {
        let (batch, length, _) = contexts.dims3()?;
        let dim = self.embedding.dim(1)?;
        let rows = batch * length;
        let flat = contexts.flatten_all()?;
        let embedded = (self.embedding.index_select(&flat, 0)? * (dim as f64).sqrt())?;
        let embedded = embedded.reshape((rows, CONTEXT, dim))?;
        let first = Tensor::zeros((rows, 1, dim), embedded.dtype(), embedded.device())?;
        let positions = direction.prompt.reshape((1, CONTEXT + 1, dim))?;
        let prompt = Tensor::cat(&[&first, &embedded], 1)?.broadcast_add(&positions)?;
        let mask = mask(contexts, masked)?.reshape((rows, 1, 1, CONTEXT + 1))?;

        let query = direction.token.reshape((1, 1, dim))?.broadcast_as((rows, 1, dim))?;
        let normed = layer_norm(&self.norm_q1, &query.contiguous()?)?;
        let prompt_kv = self.over_prompt.keys_values(&layer_norm(&self.norm_kv1, &prompt)?)?;
        let attended = self.over_prompt.forward(&normed, &prompt_kv, Some(&mask))?;
        let query = query.add(&attended)?.reshape((batch, length, dim))?;
        let found = self.over_features.forward(&layer_norm(&self.norm_q2, &query)?, kv, None)?;
        linear(&self.head, &layer_norm(&self.norm, &found)?)
    }
}

/// 0 where a prompt's position is looked at, minus infinity where the context is padding; the first
/// position always is.
fn mask(contexts: &Tensor, masked: u32) -> Result<Tensor> {
    let (batch, length, _) = contexts.dims3()?;
    let contexts = contexts.flatten_all()?.to_vec1::<u32>()?;
    let rows = contexts.chunks_exact(CONTEXT).flat_map(|context| {
        let of = |&token: &u32| if token == masked { f32::NEG_INFINITY } else { 0.0 };
        std::iter::once(0.0).chain(context.iter().map(of))
    });
    Tensor::from_vec(rows.collect(), (batch * length, CONTEXT + 1), &Device::Cpu)
}

/// Attention of queries over other tokens.
#[derive(Debug, Clone)]
struct CrossAttention {
    q: Linear,
    kv: Linear,
    proj: Linear,
    heads: usize,
}

impl CrossAttention {
    fn new(dim: usize, heads: usize, scope: &Scope<Tensor>) -> error::Result<Self> {
        Ok(CrossAttention {
            q: layers::linear::<Tensors>(dim, dim, &scope.below("q"))?,
            kv: layers::linear::<Tensors>(dim, 2 * dim, &scope.below("kv"))?,
            proj: layers::linear::<Tensors>(dim, dim, &scope.below("proj"))?,
            heads,
        })
    }

    /// Keys and values, `[batch, heads, tokens, d]` each, of tokens `[batch, tokens, dim]`.
    fn keys_values(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, tokens, dim) = x.dims3()?;
        let kv = linear(&self.kv, x)?.reshape((batch, tokens, 2, self.heads, dim / self.heads))?;
        let kv = kv.permute((2, 0, 3, 1, 4))?.contiguous()?;
        Ok((kv.get(0)?, kv.get(1)?))
    }

    /// Queries `[batch, length, dim]` to the same shape.
    fn forward(
        &self,
        x: &Tensor,
        (keys, values): &(Tensor, Tensor),
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, length, dim) = x.dims3()?;
        let d = dim / self.heads;
        let q = linear(&self.q, x)?.reshape((batch, length, self.heads, d))?;
        let q = (q.transpose(1, 2)?.contiguous()? * (d as f64).powf(-0.5))?;
        let scores = q.matmul(&keys.t()?)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(&mask.to_device(x.device())?)?,
            None => scores,
        };
        let weights = softmax(&scores, scores.rank() - 1)?;
        let mixed = weights.matmul(values)?.transpose(1, 2)?.reshape((batch, length, dim))?;
        linear(&self.proj, &mixed)
    }
}
