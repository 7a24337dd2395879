//! Multi-head self-attention and the MLP that follows it.

use super::layers;
use crate::error::Result;
use crate::ops::{Epilogue, Grid, Layers, Ops, Scope};

/// Multi-head self-attention over the tokens of a sequence, with its projections.
pub(super) struct SelfAttention<L: Layers> {
    qkv: L::Linear,
    proj: L::Linear,
    heads: usize,
}

impl<L: Layers> SelfAttention<L> {
    pub(super) fn new(
        dim: usize,
        heads: usize,
        qkv_bias: bool,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let qkv = if qkv_bias { layers::linear::<L> } else { layers::linear_without_bias::<L> };
        Ok(SelfAttention {
            qkv: qkv(dim, 3 * dim, &scope.below("qkv"))?,
            proj: layers::linear::<L>(dim, dim, &scope.below("proj"))?,
            heads,
        })
    }

    /// `proj(attention(qkv(x)))` within sequences of `length` tokens, added to what `then` says.
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        length: usize,
        then: Epilogue<O::Tensor>,
    ) -> Result<O::Tensor> {
        let qkv = ops.linear(&self.qkv, x, Epilogue::Store)?;
        let mixed = ops.attention(&qkv, self.heads, length)?;
        drop(qkv);
        ops.linear(&self.proj, &mixed, then)
    }

    /// As [`SelfAttention::forward`] within images, and the map ([`Ops::attention_with_map`]).
    pub(super) fn forward_with_map<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        grid: Grid,
        then: Epilogue<O::Tensor>,
    ) -> Result<(O::Tensor, O::Tensor)> {
        let qkv = ops.linear(&self.qkv, x, Epilogue::Store)?;
        let (mixed, map) = ops.attention_with_map(&qkv, self.heads, grid)?;
        drop(qkv);
        Ok((ops.linear(&self.proj, &mixed, then)?, map))
    }
}

/// Two linear layers with an exact GELU between.
pub(super) struct Mlp<L: Layers> {
    fc1: L::Linear,
    fc2: L::Linear,
}

impl<L: Layers> Mlp<L> {
    /// `dim` channels, `hidden` units between the two layers.
    pub(super) fn new(dim: usize, hidden: usize, scope: &Scope<L::Parameter>) -> Result<Self> {
        let fc1 = layers::linear::<L>(dim, hidden, &scope.below("fc1"))?;
        let fc2 = layers::linear::<L>(hidden, dim, &scope.below("fc2"))?;
        Ok(Mlp { fc1, fc2 })
    }

    /// `residual + fc2(gelu(fc1(x)))`; `depth` as in [`Epilogue::Add`].
    pub(super) fn forward_add<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        residual: &O::Tensor,
        depth: f64,
    ) -> Result<O::Tensor> {
        ops.mlp(&self.fc1, &self.fc2, x, residual, depth)
    }
}
