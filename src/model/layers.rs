//! Layers by their parameters' names, shapes and initial values.

use crate::error::Result;
use crate::ops::{
    BatchNormParameters, ConvConfig, ConvParameters, Gate, Init, LayerNormParameters, Layers,
    LinearParameters, Scope, SqueezeExciteParameters,
};

/// The published initialisation of linear layers (a truncation at 100 standard deviations, which
/// has no effect).
pub(super) const LINEAR_INIT: Init = Init::Normal(0.02);
const ZERO: Init = Init::Constant(0.0);
const ONE: Init = Init::Constant(1.0);
/// Epsilon of the batch norms.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Parameters of a linear layer with bias.
pub(super) fn linear_parameters<P>(
    in_dim: usize,
    out_dim: usize,
    scope: &Scope<P>,
) -> Result<LinearParameters<P>> {
    let weight = scope.get("weight", &[out_dim, in_dim], LINEAR_INIT)?;
    let bias = Some(scope.get("bias", &[out_dim], ZERO)?);
    Ok(LinearParameters { weight, bias, in_dim, out_dim })
}

/// A linear layer with bias.
pub(crate) fn linear<L: Layers>(
    in_dim: usize,
    out_dim: usize,
    scope: &Scope<L::Parameter>,
) -> Result<L::Linear> {
    L::linear(linear_parameters(in_dim, out_dim, scope)?)
}

/// A linear layer without bias.
pub(super) fn linear_without_bias<L: Layers>(
    in_dim: usize,
    out_dim: usize,
    scope: &Scope<L::Parameter>,
) -> Result<L::Linear> {
    let weight = scope.get("weight", &[out_dim, in_dim], LINEAR_INIT)?;
    L::linear(LinearParameters { weight, bias: None, in_dim, out_dim })
}

fn conv_weight<P>(config: &ConvConfig, scope: &Scope<P>) -> Result<P> {
    scope.get("weight", &config.weight_shape(), Init::Kaiming)
}

/// A convolution with bias.
pub(super) fn conv<L: Layers>(config: ConvConfig, scope: &Scope<L::Parameter>) -> Result<L::Conv> {
    let weight = conv_weight(&config, scope)?;
    let bias = Some(scope.get("bias", &[config.out_dim], ZERO)?);
    L::conv(ConvParameters { weight, bias, config })
}

/// A convolution without bias, for a batch norm to follow.
pub(super) fn conv_without_bias<L: Layers>(
    config: ConvConfig,
    scope: &Scope<L::Parameter>,
) -> Result<L::Conv> {
    let weight = conv_weight(&config, scope)?;
    L::conv(ConvParameters { weight, bias: None, config })
}

/// Squeeze-excite of `dim` channels, parameters `fc1` and `fc2`.
pub(super) fn squeeze_excite<L: Layers>(
    dim: usize,
    hidden: usize,
    gate: Gate,
    scope: &Scope<L::Parameter>,
) -> Result<L::SqueezeExcite> {
    L::squeeze_excite(SqueezeExciteParameters {
        fc1: linear_parameters(dim, hidden, &scope.below("fc1"))?,
        fc2: linear_parameters(hidden, dim, &scope.below("fc2"))?,
        gate,
    })
}

/// A layer norm over `dim` channels.
pub(crate) fn layer_norm<L: Layers>(
    dim: usize,
    eps: f64,
    scope: &Scope<L::Parameter>,
) -> Result<L::LayerNorm> {
    let weight = scope.get("weight", &[dim], ONE)?;
    let bias = scope.get("bias", &[dim], ZERO)?;
    L::layer_norm(LayerNormParameters { weight, bias, eps })
}

/// A batch norm.
pub(super) fn batch_norm<L: Layers>(
    channels: usize,
    scope: &Scope<L::Parameter>,
) -> Result<L::BatchNorm> {
    L::batch_norm(BatchNormParameters {
        weight: scope.get("weight", &[channels], ONE)?,
        bias: scope.get("bias", &[channels], ZERO)?,
        running_mean: scope.get("running_mean", &[channels], ZERO)?,
        running_var: scope.get("running_var", &[channels], ONE)?,
        eps: BATCH_NORM_EPS,
    })
}
