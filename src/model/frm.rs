//! The feature rearrangement module and the classifier (paper section 3.3; reference module
//! `rctc_decoder`): from a grid of features to the logits of each column.

use super::attention::{Mlp, SelfAttention};
use super::config::Config;
use super::layers;
use crate::error::Result;
use crate::ops::{Epilogue, Grid, Layers, Ops, Scope, VerticalAttentionParameters};

/// Epsilon of the norms of the horizontal block.
const EPS: f64 = 1e-5;

/// Rearranges features within rows, then pools each column into one frame and classifies it.
pub(super) struct Frm<L: Layers> {
    horizontal: HorizontalBlock<L>,
    vertical: L::VerticalAttention,
}

impl<L: Layers> Frm<L> {
    pub(super) fn new(config: &Config, scope: &Scope<L::Parameter>) -> Result<Self> {
        let dim = config.feature_dim();
        let horizontal = HorizontalBlock::new(config, &scope.below("w_atten_block"))?;
        let vertical = L::vertical_attention(VerticalAttentionParameters {
            token: scope.get("char_token", &[1, 1, dim], layers::LINEAR_INIT)?,
            key_value: layers::linear_parameters(dim, 2 * dim, &scope.below("fc_kv"))?,
            classifier: layers::linear_parameters(dim, config.num_classes, &scope.below("fc"))?,
        })?;
        Ok(Frm { horizontal, vertical })
    }

    /// Features `[rows, dim]` on `grid` to logits `[batch * width, classes]`.
    pub(super) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        grid: Grid,
    ) -> Result<O::Tensor> {
        let x = self.horizontal.forward(ops, x, grid.width)?;
        ops.vertical_attention(&self.vertical, &x, grid)
    }
}

/// A pre-norm transformer block applied to every row of a grid by itself.
struct HorizontalBlock<L: Layers> {
    norm1: L::LayerNorm,
    attention: SelfAttention<L>,
    norm2: L::LayerNorm,
    mlp: Mlp<L>,
}

impl<L: Layers> HorizontalBlock<L> {
    fn new(config: &Config, scope: &Scope<L::Parameter>) -> Result<Self> {
        let (dim, heads) = (config.feature_dim(), config.frm_heads);
        Ok(HorizontalBlock {
            norm1: layers::layer_norm::<L>(dim, EPS, &scope.below("norm1"))?,
            attention: SelfAttention::new(dim, heads, false, &scope.below("attn"))?,
            norm2: layers::layer_norm::<L>(dim, EPS, &scope.below("norm2"))?,
            mlp: Mlp::new(dim, config.frm_mlp_dim, &scope.below("mlp"))?,
        })
    }

    /// `[rows, dim]` to the same shape, within sequences of `width` tokens.
    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        width: usize,
    ) -> Result<O::Tensor> {
        let normed = ops.layer_norm(&self.norm1, x)?;
        let add = Epilogue::Add { residual: x, depth: 0.0 };
        let x = self.attention.forward(ops, &normed, width, add)?;
        self.mlp.forward_add(ops, &ops.layer_norm(&self.norm2, &x)?, &x, 0.0)
    }
}
