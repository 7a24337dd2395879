//! The feature rearrangement module and the classifier (paper section 3.3; reference module
//! `rctc_decoder`): from a grid of features to one distribution a column.

use candle_core::{Result, Tensor};

use super::config::Config;
use super::layers::{Builder, Grid, LayerNorm, Mlp, SelfAttention, VerticalAttention};
use super::pass::Pass;

/// Epsilon of the norms of the horizontal block.
const EPS: f64 = 1e-5;

/// Rearranges features within rows, then gathers each column into one step, and classifies it.
#[derive(Debug, Clone)]
pub(super) struct Frm {
    horizontal: HorizontalBlock,
    columns: VerticalAttention,
}

impl Frm {
    pub(super) fn new(config: &Config, builder: &Builder) -> Result<Self> {
        let dim = config.feature_dim();
        let horizontal = HorizontalBlock::new(config, &builder.pp("w_atten_block"))?;
        let columns = VerticalAttention::new(dim, config.num_classes, builder)?;
        Ok(Frm { horizontal, columns })
    }

    /// `[batch, height * width, dim]` to logits `[batch, width, classes]`.
    pub(super) fn forward(&self, x: &Tensor, grid: Grid, pass: Pass) -> Result<Tensor> {
        let (batch, _, dim) = x.dims3()?;
        let rows = pass.reshape(x, (batch * grid.height, grid.width, dim))?;
        let x = self.horizontal.forward(&rows, pass)?;
        let x = pass.reshape(&x, (batch, grid.height, grid.width, dim))?;
        self.columns.forward(&x, pass)
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
    fn new(config: &Config, builder: &Builder) -> Result<Self> {
        let (dim, heads) = (config.feature_dim(), config.frm_heads);
        Ok(HorizontalBlock {
            norm1: LayerNorm::new(dim, EPS, &builder.pp("norm1"))?,
            attention: SelfAttention::new(dim, heads, false, &builder.pp("attn"))?,
            norm2: LayerNorm::new(dim, EPS, &builder.pp("norm2"))?,
            mlp: Mlp::new(dim, config.frm_mlp_dim, &builder.pp("mlp"))?,
        })
    }

    /// `[rows, width, dim]` to the same shape.
    fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let x = self.attention.forward_add(&self.norm1.forward(x, pass)?, x, pass)?;
        self.mlp.forward_add(&self.norm2.forward(&x, pass)?, &x, pass)
    }
}
