//! Linear layers and the two of them that make an MLP.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder, init::ZERO};

/// The published initialisation (a truncation at 100 standard deviations, which has no effect).
const WEIGHT_INIT: Init = Init::Randn { mean: 0.0, stdev: 0.02 };

/// `y = x W^T + b` over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[out, in]`
    weight: Tensor,
    /// `[out]`
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        let bias = vb.get_with_hints(out_dim, "bias", ZERO)?;
        Ok(Linear { bias: Some(bias), ..Self::without_bias(in_dim, out_dim, vb)? })
    }

    pub(crate) fn without_bias(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints((out_dim, in_dim), "weight", WEIGHT_INIT)?;
        Ok(Linear { weight, bias: None })
    }

    /// `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (&in_dim, leading) = x.dims().split_last().ok_or_else(|| {
            candle_core::Error::Msg("a linear layer needs at least one dimension".into())
        })?;
        let rows = leading.iter().product::<usize>();
        let y = x.reshape((rows, in_dim))?.matmul(&self.weight.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape([leading, &[self.weight.dim(0)?]].concat())
    }
}

/// Two linear layers with an exact GELU between.
#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    /// The hidden layer's width as a multiple of the dimension.
    const RATIO: usize = 4;

    pub(crate) fn new(dim: usize, vb: VarBuilder) -> Result<Self> {
        let hidden = dim * Self::RATIO;
        let fc1 = Linear::new(dim, hidden, vb.pp("fc1"))?;
        let fc2 = Linear::new(hidden, dim, vb.pp("fc2"))?;
        Ok(Mlp { fc1, fc2 })
    }

    /// `residual + fc2(gelu(fc1(x)))`, all `[.., dim]`.
    pub(crate) fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        residual + self.fc2.forward(&self.fc1.forward(x)?.gelu_erf()?)?
    }
}
