//! The feature rearrangement module and the classifier (paper section 3.3; reference module
//! `rctc_decoder`): from a grid of features to one distribution a column.

use candle_core::{D, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::config::Config;
use super::layers::{Grid, LayerNorm, Linear, Mlp, SelfAttention};

/// Epsilon of the norms of the horizontal block.
const EPS: f64 = 1e-5;

/// Rearranges features within rows, then gathers each column into one step, and classifies it.
#[derive(Debug, Clone)]
pub(super) struct Frm {
    horizontal: HorizontalBlock,
    /// Key and value of a position.
    fc_kv: Linear,
    /// The selecting token, `[dim]`.
    token: Tensor,
    /// The classifier.
    fc: Linear,
}

impl Frm {
    pub(super) fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        let dim = config.feature_dim();
        let token_init = Init::Randn { mean: 0.0, stdev: 0.02 };
        Ok(Frm {
            horizontal: HorizontalBlock::new(dim, config.frm_heads, vb.pp("w_atten_block"))?,
            fc_kv: Linear::new(dim, 2 * dim, vb.pp("fc_kv"))?,
            token: vb.get_with_hints((1, 1, dim), "char_token", token_init)?.flatten_all()?,
            fc: Linear::new(dim, config.num_classes, vb.pp("fc"))?,
        })
    }

    /// `[batch, height * width, dim]` to logits `[batch, width, classes]`.
    pub(super) fn forward(&self, x: &Tensor, grid: Grid) -> Result<Tensor> {
        let (batch, _, dim) = x.dims3()?;
        let rows = x.reshape((batch * grid.height, grid.width, dim))?;
        let x = self.horizontal.forward(&rows)?;

        let kv = self.fc_kv.forward(&x)?.reshape((batch, grid.height, grid.width, 2 * dim))?;
        let (key, value) = (kv.narrow(D::Minus1, 0, dim)?, kv.narrow(D::Minus1, dim, dim)?);
        let scores = key.broadcast_mul(&self.token)?.sum_keepdim(D::Minus1)?;
        let weights = candle_nn::ops::softmax(&scores, 1)?;
        let columns = value.broadcast_mul(&weights)?.sum(1)?;
        self.fc.forward(&columns)
    }
}

/// A pre-norm transformer block applied to every row by itself.
#[derive(Debug, Clone)]
struct HorizontalBlock {
    norm1: LayerNorm,
    attention: SelfAttention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl HorizontalBlock {
    fn new(dim: usize, heads: usize, vb: VarBuilder) -> Result<Self> {
        Ok(HorizontalBlock {
            norm1: LayerNorm::new(dim, EPS, vb.pp("norm1"))?,
            attention: SelfAttention::new(dim, heads, false, vb.pp("attn"))?,
            norm2: LayerNorm::new(dim, EPS, vb.pp("norm2"))?,
            mlp: Mlp::new(dim, vb.pp("mlp"))?,
        })
    }

    /// `[rows, width, dim]` to the same shape.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.attention.forward_add(&self.norm1.forward(x)?, x)?;
        self.mlp.forward_add(&self.norm2.forward(&x)?, &x)
    }
}
