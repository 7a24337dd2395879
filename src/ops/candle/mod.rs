//! Candle tensors: any device, f32, f16 or bf16, differentiable. The oracle of the other
//! implementations.
//!
//! Layer norm, softmax and the sigmoid are candle-nn's. Its fused layer norm and softmax have no gradients: where one
//! is asked for, and in f64, they are composed of candle's differentiable operations, as everything else is.
//! Half-precision values are summed in f32.

mod attention;
mod conv;
mod norm;
mod rounding;

use candle_core::{D, DType, Tensor};

use super::{
    Activation, BatchNormParameters, ConvParameters, Epilogue, Gate, Grid, LayerNormParameters,
    Layers, LinearParameters, MapOps, Ops, SqueezeExciteParameters, VerticalAttentionParameters,
};
use crate::cpu::{ActivationBits, Int8Linear};
use crate::error::Result;

/// The layers, with their parameters as they are.
#[derive(Debug)]
pub(crate) enum Tensors {}

impl Layers for Tensors {
    type Parameter = Tensor;
    type Linear = LinearParameters<Tensor>;
    type Conv = ConvParameters<Tensor>;
    type LayerNorm = LayerNormParameters<Tensor>;
    type BatchNorm = BatchNormParameters<Tensor>;
    type SqueezeExcite = SqueezeExciteParameters<Tensor>;
    type VerticalAttention = VerticalAttentionParameters<Tensor>;

    fn linear(parameters: LinearParameters<Tensor>) -> Result<LinearParameters<Tensor>> {
        Ok(parameters)
    }

    fn conv(parameters: ConvParameters<Tensor>) -> Result<ConvParameters<Tensor>> {
        Ok(parameters)
    }

    fn layer_norm(parameters: LayerNormParameters<Tensor>) -> Result<LayerNormParameters<Tensor>> {
        Ok(parameters)
    }

    fn batch_norm(parameters: BatchNormParameters<Tensor>) -> Result<BatchNormParameters<Tensor>> {
        Ok(parameters)
    }

    fn squeeze_excite(
        parameters: SqueezeExciteParameters<Tensor>,
    ) -> Result<SqueezeExciteParameters<Tensor>> {
        Ok(parameters)
    }

    fn vertical_attention(
        parameters: VerticalAttentionParameters<Tensor>,
    ) -> Result<VerticalAttentionParameters<Tensor>> {
        Ok(parameters)
    }
}

/// What a pass in training decides and is told.
pub(crate) trait TrainingContext {
    /// Stochastic depth: for each sample of the batch, the factor of what a block at `depth` (0..=1
    /// from the first to the last) adds to its input; `None` if it is 1 for all.
    fn drop_path(&self, depth: f64) -> Option<Vec<f32>>;

    /// Whether batch norms normalise with the statistics of the batch instead of the running ones.
    fn batch_statistics(&self) -> bool;

    /// Is told what the next batch norm found in the batch, `[channels]` each; the variance is with
    /// n - 1.
    fn found(&self, mean: Tensor, variance: Tensor);
}

/// Computes with candle.
#[derive(Clone, Copy, Default)]
pub(crate) struct Candle<'a> {
    /// `None` for inference.
    pub context: Option<&'a dyn TrainingContext>,
    /// Whether weights and inputs are rounded where int8 inference rounds them; gradients pass
    /// straight through.
    pub rounded: bool,
}

impl Candle<'_> {
    /// What an epilogue makes of `y`, `[rows, channels]`.
    fn finish(&self, y: Tensor, epilogue: Epilogue<Tensor>) -> Result<Tensor> {
        match epilogue {
            Epilogue::Store => Ok(y),
            Epilogue::Activate(activation) => Ok(activate(&y, activation)?),
            Epilogue::Add { residual, depth } => {
                let factors = self.context.and_then(|context| context.drop_path(depth));
                let Some(factors) = factors else {
                    return Ok((residual + y)?);
                };
                let (rows, channels) = y.dims2()?;
                let samples = factors.len();
                let shape = (samples, rows / samples.max(1), channels);
                let factors = Tensor::new(factors, y.device())?.to_dtype(y.dtype())?;
                let scaled = y.reshape(shape)?.broadcast_mul(&factors.reshape(((), 1, 1))?)?;
                Ok((residual + scaled.reshape((rows, channels))?)?)
            }
        }
    }
}

impl Ops for Candle<'_> {
    type Layers = Tensors;
    type Tensor = Tensor;

    fn linear(
        &self,
        layer: &LinearParameters<Tensor>,
        x: &Tensor,
        epilogue: Epilogue<Tensor>,
    ) -> Result<Tensor> {
        if !self.rounded {
            return self.finish(linear(layer, x)?, epilogue);
        }
        let layer = LinearParameters { weight: rounding::weight(&layer.weight)?, ..layer.clone() };
        let group = Int8Linear::scale_group(layer.in_dim);
        self.finish(linear(&layer, &rounding::input(x, group)?)?, epilogue)
    }

    fn mlp(
        &self,
        fc1: &LinearParameters<Tensor>,
        activation: Activation,
        fc2: &LinearParameters<Tensor>,
        x: &Tensor,
        residual: Option<&Tensor>,
        depth: f64,
    ) -> Result<Tensor> {
        let hidden = self.linear(fc1, x, Epilogue::Activate(activation))?;
        self.linear(fc2, &hidden, Epilogue::add(residual, depth))
    }

    fn conv(
        &self,
        layer: &ConvParameters<Tensor>,
        x: &Tensor,
        grid: Grid,
        epilogue: Epilogue<Tensor>,
    ) -> Result<Tensor> {
        if !self.rounded || !layer.config.fits_int8(ActivationBits::Eight) {
            return self.finish(conv::conv(layer, x, grid)?, epilogue);
        }
        let layer = ConvParameters { weight: rounding::weight(&layer.weight)?, ..layer.clone() };
        let images = x.reshape(((), grid.positions() * layer.config.in_dim))?;
        let x = rounding::input(&images, images.dim(D::Minus1)?)?.reshape(x.shape())?;
        self.finish(conv::conv(&layer, &x, grid)?, epilogue)
    }

    fn attention(&self, qkv: &Tensor, heads: usize, length: usize) -> Result<Tensor> {
        Ok(attention::attend(qkv, heads, length)?.0)
    }

    fn attention_with_map(
        &self,
        qkv: &Tensor,
        heads: usize,
        grid: Grid,
    ) -> Result<(Tensor, Tensor)> {
        let (mixed, weights) = attention::attend(qkv, heads, grid.positions())?;
        Ok((mixed, attention::map(&weights, grid)?))
    }

    fn squeeze_excite(
        &self,
        layer: &SqueezeExciteParameters<Tensor>,
        x: Tensor,
        grid: Grid,
    ) -> Result<Tensor> {
        let (rows, channels) = x.dims2()?;
        let images = x.reshape(((), grid.positions(), channels))?;
        let means = widened(&images)?.mean(1)?.to_dtype(x.dtype())?;
        let gates = linear(&layer.fc2, &linear(&layer.fc1, &means)?.relu()?)?;
        let gates = match layer.gate {
            Gate::Sigmoid => candle_nn::ops::sigmoid(&gates)?,
            Gate::HardSigmoid => ((gates / 6.0)? + 0.5)?.clamp(0.0, 1.0)?,
            Gate::ResidualHardSigmoid => (((gates / 5.0)? + 0.5)?.clamp(0.0, 1.0)? + 1.0)?,
        };
        Ok(images.broadcast_mul(&gates.unsqueeze(1)?)?.reshape((rows, channels))?)
    }

    fn average_pool(&self, x: &Tensor, grid: Grid, window: (usize, usize)) -> Result<Tensor> {
        Ok(conv::average_pool(x, grid, window)?)
    }

    fn max_pool(&self, x: &Tensor, grid: Grid, window: (usize, usize)) -> Result<Tensor> {
        Ok(conv::max_pool(x, grid, window)?)
    }

    fn concat(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(Tensor::cat(&[a, b], 1)?)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok((a + b)?)
    }

    fn mean(&self, first: &Tensor, others: &[Tensor]) -> Result<Tensor> {
        let sum = others.iter().try_fold(first.clone(), |sum, other| sum + other)?;
        Ok((sum / (others.len() + 1) as f64)?)
    }

    fn layer_norm(&self, layer: &LayerNormParameters<Tensor>, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(layer, x)?)
    }

    fn batch_norm_gelu(&self, layer: &BatchNormParameters<Tensor>, x: &Tensor) -> Result<Tensor> {
        Ok(norm::batch_norm(layer, x, self.context)?.gelu_erf()?)
    }

    fn vertical_attention(
        &self,
        layer: &VerticalAttentionParameters<Tensor>,
        x: &Tensor,
        grid: Grid,
    ) -> Result<Tensor> {
        let VerticalAttentionParameters { token, key_value, classifier } = layer;
        let dim = classifier.in_dim;
        let kv = linear(key_value, x)?.reshape(((), grid.height, grid.width, 2 * dim))?;
        let (key, value) = (kv.narrow(D::Minus1, 0, dim)?, kv.narrow(D::Minus1, dim, dim)?);
        let scores = key.broadcast_mul(&token.flatten_all()?)?.sum_keepdim(D::Minus1)?;
        let pooled = value.broadcast_mul(&softmax(&scores, 1)?)?.sum(1)?;
        Ok(linear(classifier, &pooled.reshape(((), dim))?)?)
    }
}

impl MapOps for Candle<'_> {
    fn add_upsampled(
        &self,
        fine: Tensor,
        coarse: &Tensor,
        grid: Grid,
        factor: usize,
    ) -> Result<Tensor> {
        Ok((fine + upsampled(coarse, grid, factor)?)?)
    }

    fn concat_upsampled(&self, maps: &[(&Tensor, usize)], grid: Grid) -> Result<Tensor> {
        let maps: Vec<Tensor> = maps
            .iter()
            .map(|&(map, factor)| upsampled(map, grid, factor))
            .collect::<candle_core::Result<_>>()?;
        Ok(Tensor::cat(&maps, 1)?)
    }

    fn split_rows(&self, x: Tensor, parts: usize) -> Result<Tensor> {
        let (rows, channels) = x.dims2()?;
        Ok(x.reshape((rows * parts, channels / parts.max(1)))?)
    }
}

/// Tokens on a grid that is coarser by `factor`, repeated to those on `grid`.
fn upsampled(coarse: &Tensor, grid: Grid, factor: usize) -> candle_core::Result<Tensor> {
    let (height, width) = (grid.height / factor, grid.width / factor);
    let (rows, channels) = coarse.dims2()?;
    let images = rows / (height * width).max(1);
    let repeated = coarse.reshape((images * height, 1, width, 1, channels))?.broadcast_as((
        images * height,
        factor,
        width,
        factor,
        channels,
    ))?;
    repeated.reshape((images * grid.positions(), channels))
}

/// Images `[batch, 3, height, width]` as tokens, with the batch and the grid.
pub(crate) fn image_tokens(images: &Tensor) -> Result<(usize, Grid, Tensor)> {
    let (batch, grid) = Grid::from_images(images.dims(), images.elem_count())?;
    let tokens = images.flatten_from(2)?.transpose(1, 2)?.contiguous()?.reshape(((), 3))?;
    Ok((batch, grid, tokens))
}

/// `x W^T + b` over the last dimension, of any number of dimensions.
pub(crate) fn linear(layer: &LinearParameters<Tensor>, x: &Tensor) -> candle_core::Result<Tensor> {
    let LinearParameters { weight, bias, in_dim, out_dim } = layer;
    let y = x.reshape(((), *in_dim))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = *out_dim;
    }
    y.reshape(shape)
}

fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::Relu => x.relu(),
        Activation::Swish => x.silu(),
        Activation::HardSwish => x * ((x / 6.0)? + 0.5)?.clamp(0.0, 1.0)?,
    }
}

pub(crate) use norm::layer_norm;
#[cfg(feature = "train")]
pub(crate) use norm::unbiased;

/// The softmax over a dimension, differentiable. Half-precision values are summed in f32.
pub(crate) fn softmax(x: &Tensor, dim: usize) -> candle_core::Result<Tensor> {
    let wide = widened(x)?;
    if dim + 1 == x.rank() && may_fuse(&[&wide]) {
        return candle_nn::ops::softmax_last_dim(&wide.contiguous()?)?.to_dtype(x.dtype());
    }
    let exps = wide.broadcast_sub(&wide.max_keepdim(dim)?)?.exp()?;
    exps.broadcast_div(&exps.sum_keepdim(dim)?)?.to_dtype(x.dtype())
}

/// The natural logarithm of the softmax over the last dimension, differentiable.
#[cfg(feature = "train")]
pub(crate) fn log_softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Whether a fused operation gives what is asked of these operands' results: none needs a gradient, and f32, in
/// which it may compute, is wide enough.
fn may_fuse(operands: &[&Tensor]) -> bool {
    operands.iter().all(|operand| !operand.track_op() && operand.dtype() != DType::F64)
}

/// Half-precision values in f32, in which sums are taken; others as they are.
fn widened(x: &Tensor) -> candle_core::Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}
