//! The feature rearrangement module and the classifier (paper section 3.3; reference module
//! `rctc_decoder`): from a grid of features to the logits of each column.

use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Result};
use crate::model::attention::{BlockShape, PreNormBlock};
use crate::model::layers;
use crate::model::limits::{check_heads, check_mlp};
use crate::ops::{Activation, Grid, Layers, Ops, Scope, VerticalAttentionParameters};

/// Epsilon of the norms of the horizontal block.
const EPS: f64 = 1e-5;

/// The shape of the feature rearrangement module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrmConfig {
    /// Heads of attention of the horizontal block; one per 32 channels in the published variants.
    pub heads: usize,
    /// Hidden units of its MLP; 4 times the channels in the published variants.
    pub mlp_dim: usize,
}

impl FrmConfig {
    pub(crate) fn validate(&self, feature_dim: usize) -> Result<(), ConfigError> {
        check_heads("frm_heads", self.heads, feature_dim)?;
        check_mlp("frm_mlp_dim", self.mlp_dim)
    }
}

/// Rearranges features within rows, then pools each column into one frame and classifies it.
pub(in crate::model) struct Frm<L: Layers> {
    /// Applied to every row of the grid by itself.
    horizontal: PreNormBlock<L>,
    vertical: L::VerticalAttention,
}

impl<L: Layers> Frm<L> {
    pub(super) fn new(
        config: &FrmConfig,
        dim: usize,
        classes: usize,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let FrmConfig { heads, mlp_dim } = *config;
        let shape = BlockShape { dim, heads, mlp_dim, activation: Activation::Gelu, eps: EPS };
        let horizontal = PreNormBlock::frm(shape, &scope.below("w_atten_block"))?;
        let vertical = L::vertical_attention(VerticalAttentionParameters {
            token: scope.get("char_token", &[1, 1, dim], layers::LINEAR_INIT)?,
            key_value: layers::linear_parameters(dim, 2 * dim, &scope.below("fc_kv"))?,
            classifier: layers::linear_parameters(dim, classes, &scope.below("fc"))?,
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
