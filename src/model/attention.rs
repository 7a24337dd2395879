//! Multi-head self-attention, the MLP that follows it, and the pre-norm block of both.

use super::layers;
use crate::error::Result;
use crate::ops::{Activation, Epilogue, Grid, Layers, Ops, Scope};

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

/// Two linear layers with an activation between.
pub(super) struct Mlp<L: Layers> {
    fc1: L::Linear,
    activation: Activation,
    fc2: L::Linear,
}

impl<L: Layers> Mlp<L> {
    /// `dim` channels, `hidden` units between the two layers, parameters `fc1` and `fc2`.
    pub(super) fn new(
        dim: usize,
        hidden: usize,
        activation: Activation,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let names = [scope.below("fc1"), scope.below("fc2")];
        Self::named(dim, hidden, dim, activation, &names)
    }

    /// `in_dim` channels to `out_dim`, with parameters of these names.
    pub(super) fn named(
        in_dim: usize,
        hidden: usize,
        out_dim: usize,
        activation: Activation,
        [fc1, fc2]: &[Scope<L::Parameter>; 2],
    ) -> Result<Self> {
        let fc1 = layers::linear::<L>(in_dim, hidden, fc1)?;
        let fc2 = layers::linear::<L>(hidden, out_dim, fc2)?;
        Ok(Mlp { fc1, activation, fc2 })
    }

    /// `fc2(activation(fc1(x)))`
    pub(super) fn forward<O: Ops<Layers = L>>(&self, ops: &O, x: &O::Tensor) -> Result<O::Tensor> {
        ops.mlp(&self.fc1, self.activation, &self.fc2, x, None, 0.0)
    }

    /// `residual + fc2(activation(fc1(x)))`; `depth` as in [`Epilogue::Add`].
    pub(super) fn forward_add<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        residual: &O::Tensor,
        depth: f64,
    ) -> Result<O::Tensor> {
        ops.mlp(&self.fc1, self.activation, &self.fc2, x, Some(residual), depth)
    }
}

/// A pre-norm transformer block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
pub(super) struct PreNormBlock<L: Layers> {
    norm1: L::LayerNorm,
    attention: SelfAttention<L>,
    norm2: L::LayerNorm,
    mlp: Mlp<L>,
}

/// The size of a [`PreNormBlock`].
#[derive(Clone, Copy)]
pub(super) struct BlockShape {
    pub dim: usize,
    pub heads: usize,
    /// Units between the two layers of the MLP.
    pub mlp_dim: usize,
    pub activation: Activation,
    /// Of the layer norms.
    pub eps: f64,
}

impl<L: Layers> PreNormBlock<L> {
    /// With the names of SVTR's blocks: the attention is `mixer`, its first projection has a bias.
    pub(super) fn new(shape: BlockShape, scope: &Scope<L::Parameter>) -> Result<Self> {
        Self::with_attention(shape, "mixer", true, scope)
    }

    /// With the names of the feature rearrangement module's block: the attention is `attn`, its first
    /// projection has no bias.
    pub(super) fn frm(shape: BlockShape, scope: &Scope<L::Parameter>) -> Result<Self> {
        Self::with_attention(shape, "attn", false, scope)
    }

    fn with_attention(
        BlockShape { dim, heads, mlp_dim, activation, eps }: BlockShape,
        name: &'static str,
        qkv_bias: bool,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        Ok(PreNormBlock {
            norm1: layers::layer_norm::<L>(dim, eps, &scope.below("norm1"))?,
            attention: SelfAttention::new(dim, heads, qkv_bias, &scope.below(name))?,
            norm2: layers::layer_norm::<L>(dim, eps, &scope.below("norm2"))?,
            mlp: Mlp::new(dim, mlp_dim, activation, &scope.below("mlp"))?,
        })
    }

    /// `[rows, dim]` to the same shape, within sequences of `length` tokens.
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        length: usize,
    ) -> Result<O::Tensor> {
        let normed = ops.layer_norm(&self.norm1, x)?;
        let add = Epilogue::Add { residual: x, depth: 0.0 };
        let x = self.attention.forward(ops, &normed, length, add)?;
        self.mlp.forward_add(ops, &ops.layer_norm(&self.norm2, &x)?, &x, 0.0)
    }
}
