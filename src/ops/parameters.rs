//! Where layers get their parameters, and what they are prepared to.

use super::{ConvConfig, Gate};
use crate::error::Result;

/// What a newly initialised parameter starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// A constant.
    Constant(f64),
    /// A normal distribution with mean 0 and this standard deviation.
    Normal(f64),
    /// Kaiming's normal distribution, fan-out, for ReLU: the standard deviation is
    /// `sqrt(2 / outputs)`, where `outputs` is the product of all dimensions but the second.
    Kaiming,
}

/// Hands out named parameters.
pub(crate) trait ParameterSource<P> {
    /// The parameter of the given name and shape. `init` is what a missing one is initialised with,
    /// if the source initialises parameters.
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<P>;

    /// Whether the patch embedding's batch norms are layers of their own, not folded.
    fn has_batch_norms(&self) -> bool {
        false
    }
}

/// A source of parameters below a prefix of their names.
pub(crate) struct Scope<'a, P> {
    source: &'a dyn ParameterSource<P>,
    prefix: String,
}

impl<'a, P> Scope<'a, P> {
    /// All parameters of a source.
    pub(crate) fn new(source: &'a dyn ParameterSource<P>) -> Self {
        Scope { source, prefix: String::new() }
    }

    /// Those whose names go on with `part`.
    pub(crate) fn below(&self, part: impl std::fmt::Display) -> Self {
        Scope { source: self.source, prefix: self.name(part) }
    }

    /// [`ParameterSource::get`] of a name below the prefix.
    pub(crate) fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<P> {
        self.source.get(&self.name(name), shape, init)
    }

    /// [`ParameterSource::has_batch_norms`].
    pub(crate) fn has_batch_norms(&self) -> bool {
        self.source.has_batch_norms()
    }

    fn name(&self, part: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() { part.to_string() } else { format!("{}.{part}", self.prefix) }
    }
}

/// Parameters of a linear layer.
#[derive(Debug, Clone)]
pub(crate) struct LinearParameters<P> {
    /// `[out, in]`
    pub weight: P,
    /// `[out]`
    pub bias: Option<P>,
    pub in_dim: usize,
    pub out_dim: usize,
}

/// Parameters of a convolution.
#[derive(Debug, Clone)]
pub(crate) struct ConvParameters<P> {
    /// As of [`ConvConfig::weight_shape`].
    pub weight: P,
    /// `[out]`; absent in front of a batch norm.
    pub bias: Option<P>,
    pub config: ConvConfig,
}

/// Parameters of a layer norm, `[dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct LayerNormParameters<P> {
    pub weight: P,
    pub bias: P,
    /// Added to the variance.
    pub eps: f64,
}

/// Parameters and running statistics of a batch norm, `[channels]` each.
#[derive(Debug, Clone)]
pub(crate) struct BatchNormParameters<P> {
    pub weight: P,
    pub bias: P,
    pub running_mean: P,
    pub running_var: P,
    /// Added to the variance.
    pub eps: f64,
}

/// Parameters of squeeze-excite.
#[derive(Debug, Clone)]
pub(crate) struct SqueezeExciteParameters<P> {
    /// `[hidden, channels]`
    pub fc1: LinearParameters<P>,
    /// `[channels, hidden]`
    pub fc2: LinearParameters<P>,
    /// What makes a factor of a channel's value.
    pub gate: Gate,
}

/// Parameters of the vertical attention and of the classifier behind it.
///
/// A position `x` has the key `k = Wk x + bk` and the value `v = Wv x + bv`; the token `t` gives it
/// the score `t.k`; the softmax over a column's scores weighs the values, whose sum goes through
/// the classifier.
#[derive(Debug, Clone)]
pub(crate) struct VerticalAttentionParameters<P> {
    /// `[1, 1, dim]`
    pub token: P,
    /// Key and value: `[2 * dim, dim]`.
    pub key_value: LinearParameters<P>,
    /// `[classes, dim]`
    pub classifier: LinearParameters<P>,
}

impl<P> LinearParameters<P> {
    /// The same with every parameter converted.
    pub(crate) fn map<Q>(self, convert: impl Fn(P) -> Q) -> LinearParameters<Q> {
        let LinearParameters { weight, bias, in_dim, out_dim } = self;
        LinearParameters { weight: convert(weight), bias: bias.map(convert), in_dim, out_dim }
    }
}

impl<P> ConvParameters<P> {
    /// As [`LinearParameters::map`].
    pub(crate) fn map<Q>(self, convert: impl Fn(P) -> Q) -> ConvParameters<Q> {
        let ConvParameters { weight, bias, config } = self;
        ConvParameters { weight: convert(weight), bias: bias.map(convert), config }
    }
}

impl<P> LayerNormParameters<P> {
    /// As [`LinearParameters::map`].
    pub(crate) fn map<Q>(self, convert: impl Fn(P) -> Q) -> LayerNormParameters<Q> {
        let LayerNormParameters { weight, bias, eps } = self;
        LayerNormParameters { weight: convert(weight), bias: convert(bias), eps }
    }
}

impl<P> SqueezeExciteParameters<P> {
    /// As [`LinearParameters::map`].
    pub(crate) fn map<Q>(self, convert: impl Fn(P) -> Q) -> SqueezeExciteParameters<Q> {
        let SqueezeExciteParameters { fc1, fc2, gate } = self;
        SqueezeExciteParameters { fc1: fc1.map(&convert), fc2: fc2.map(&convert), gate }
    }
}

impl<P> VerticalAttentionParameters<P> {
    /// As [`LinearParameters::map`].
    pub(crate) fn map<Q>(self, convert: impl Fn(P) -> Q) -> VerticalAttentionParameters<Q> {
        let VerticalAttentionParameters { token, key_value, classifier } = self;
        VerticalAttentionParameters {
            token: convert(token),
            key_value: key_value.map(&convert),
            classifier: classifier.map(&convert),
        }
    }
}

/// The kinds of layers, with their parameters prepared for an implementation of the operations.
pub(crate) trait Layers {
    /// What a source hands out.
    type Parameter;
    type Linear;
    type Conv;
    type LayerNorm;
    type BatchNorm;
    type SqueezeExcite;
    type VerticalAttention;

    fn linear(parameters: LinearParameters<Self::Parameter>) -> Result<Self::Linear>;
    fn conv(parameters: ConvParameters<Self::Parameter>) -> Result<Self::Conv>;
    fn layer_norm(parameters: LayerNormParameters<Self::Parameter>) -> Result<Self::LayerNorm>;
    fn batch_norm(parameters: BatchNormParameters<Self::Parameter>) -> Result<Self::BatchNorm>;
    fn squeeze_excite(
        parameters: SqueezeExciteParameters<Self::Parameter>,
    ) -> Result<Self::SqueezeExcite>;
    fn vertical_attention(
        parameters: VerticalAttentionParameters<Self::Parameter>,
    ) -> Result<Self::VerticalAttention>;
}
