//! Inference on a CPU in integers of 8 bits: linear layers and convolutions multiply int8 and sum up
//! in i32; what lies between them is computed in f32, as [`native`](super::native) does.
//!
//! A weight is an integer times the scale of its output channel. What it is multiplied with is
//! rounded when it is there: each row of a linear layer, in groups of at most 512, and each image of a
//! convolution, to 255 or 4095 steps of its own range ([`ActivationBits`]). The first convolution, whose input
//! are the three channels of the image, the classifier of the FRM head, depthwise convolutions and squeeze-excite
//! compute in f32, and so does a layer whose weight is [kept in f32](Values::KeepF32).

use std::convert::Infallible;

use super::native::{self, Native, Packed, Tokens, conv_epilogue, epilogue};
use super::quantized::{ActivationBits, QuantizedTensor};
use super::{
    Activation, BatchNormParameters, ConvConfig, ConvParameters, Epilogue, Grid,
    LayerNormParameters, Layers, LinearParameters, Ops, SqueezeExciteParameters,
    VerticalAttentionParameters,
};
use crate::cpu::{self, Int8Conv, Int8Input, Int8Linear, PackedMatrix, SqueezeExcite};
use crate::error::{ComputeError, Result};

/// Values of a parameter.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    /// To be rounded where a layer computes in int8.
    F32(Vec<f32>),
    /// Of a layer that computes in f32.
    KeepF32(Vec<f32>),
    Int8(QuantizedTensor),
}

impl Values {
    /// In f32.
    fn into_f32(self) -> Vec<f32> {
        match self {
            Values::F32(values) | Values::KeepF32(values) => values,
            Values::Int8(tensor) => tensor.dequantized(),
        }
    }

    /// How finely an input is rounded that meets them.
    fn activation_bits(&self) -> ActivationBits {
        match self {
            Values::Int8(tensor) => tensor.activation_bits,
            Values::F32(_) | Values::KeepF32(_) => ActivationBits::Eight,
        }
    }

    /// In integers; numbers are rounded.
    fn into_int8(self, rows: usize) -> QuantizedTensor {
        match self {
            Values::Int8(tensor) => tensor,
            Values::F32(values) | Values::KeepF32(values) => {
                QuantizedTensor::rounded(&values, rows)
            }
        }
    }
}

/// A linear layer, packed.
pub(crate) enum Linear {
    F32(PackedMatrix),
    Int8(Int8Linear),
}

impl Linear {
    fn dims(&self) -> (usize, usize) {
        match self {
            Linear::F32(layer) => (layer.k(), layer.n()),
            Linear::Int8(layer) => (layer.in_dim(), layer.out_dim()),
        }
    }
}

/// A convolution, packed.
pub(crate) enum Conv {
    F32(native::Conv),
    Int8 { packed: Int8Conv, config: ConvConfig },
}

/// The layers, packed.
pub(crate) enum PackedInt8 {}

/// Checks that there is a factor for each channel of the input.
fn check_factors(factors: Option<&[f32]>, in_dim: usize) -> Result<()> {
    match factors {
        Some(factors) if factors.len() != in_dim => {
            Err(ComputeError::operand("smoothing scales", [1, factors.len()], [1, in_dim]))
        }
        _ => Ok(()),
    }
}

impl Layers for PackedInt8 {
    type Parameter = Values;
    type Linear = Linear;
    type Conv = Conv;
    type LayerNorm = native::LayerNorm;
    /// Batch norms are folded before.
    type BatchNorm = Infallible;
    type SqueezeExcite = SqueezeExcite;
    type VerticalAttention = native::VerticalAttention;

    fn linear(parameters: LinearParameters<Values>) -> Result<Linear> {
        if let Values::KeepF32(_) = parameters.weight {
            return Ok(Linear::F32(Packed::linear(parameters.map(Values::into_f32))?));
        }
        let LinearParameters { weight, bias, in_dim, out_dim } = parameters;
        let QuantizedTensor { levels, scales, smoothing_scales, activation_bits, .. } =
            weight.into_int8(out_dim);
        check_factors(smoothing_scales.as_deref(), in_dim)?;
        let bias = bias.map(Values::into_f32);
        let input = Int8Input { factors: smoothing_scales, bits: activation_bits.into() };
        Ok(Linear::Int8(Int8Linear::new(&levels, &scales, bias.as_deref(), input)))
    }

    fn conv(parameters: ConvParameters<Values>) -> Result<Conv> {
        let config = parameters.config;
        let weight = &parameters.weight;
        if matches!(weight, Values::KeepF32(_))
            || !config.fits_int8(weight.activation_bits().into())
        {
            return Ok(Conv::F32(Packed::conv(parameters.map(Values::into_f32))?));
        }
        let ConvParameters { weight, bias, .. } = parameters;
        let ConvConfig { in_dim, out_dim, groups, shape } = config;
        let bias = bias.map_or_else(|| vec![0.0; out_dim], Values::into_f32);
        let QuantizedTensor { levels, scales, smoothing_scales, activation_bits, .. } =
            weight.into_int8(out_dim);
        check_factors(smoothing_scales.as_deref(), in_dim)?;
        let input = Int8Input { factors: smoothing_scales, bits: activation_bits.into() };
        let packed = Int8Conv::new((&levels, &scales), &bias, in_dim, groups, shape, input);
        Ok(Conv::Int8 { packed, config })
    }

    fn layer_norm(parameters: LayerNormParameters<Values>) -> Result<native::LayerNorm> {
        Packed::layer_norm(parameters.map(Values::into_f32))
    }

    fn batch_norm(_: BatchNormParameters<Values>) -> Result<Infallible> {
        Err(ComputeError::Unsupported("a batch norm outside training").into())
    }

    fn squeeze_excite(parameters: SqueezeExciteParameters<Values>) -> Result<SqueezeExcite> {
        Packed::squeeze_excite(parameters.map(Values::into_f32))
    }

    fn vertical_attention(
        parameters: VerticalAttentionParameters<Values>,
    ) -> Result<native::VerticalAttention> {
        Packed::vertical_attention(parameters.map(Values::into_f32))
    }
}

/// Computes with the CPU operations, linear layers and convolutions in int8.
pub(crate) struct Int8;

impl Ops for Int8 {
    type Layers = PackedInt8;
    type Tensor = Tokens;

    fn linear(&self, layer: &Linear, x: &Tokens, then: Epilogue<Tokens>) -> Result<Tokens> {
        match layer {
            Linear::F32(layer) => Native.linear(layer, x, then),
            Linear::Int8(layer) => {
                x.check("linear", layer.in_dim())?;
                let then = epilogue("linear's residual", then, x.rows(), layer.out_dim())?;
                let values = cpu::linear_int8(&x.values, layer, then);
                Ok(Tokens { values, channels: layer.out_dim() })
            }
        }
    }

    fn mlp(
        &self,
        fc1: &Linear,
        activation: Activation,
        fc2: &Linear,
        x: &Tokens,
        residual: Option<&Tokens>,
        depth: f64,
    ) -> Result<Tokens> {
        x.check("mlp", fc1.dims().0)?;
        if let Some(residual) = residual {
            residual.check_like("mlp's residual", x.rows(), fc2.dims().1)?;
        }
        match (fc1, fc2) {
            (Linear::F32(fc1), Linear::F32(fc2)) => {
                Native.mlp(fc1, activation, fc2, x, residual, depth)
            }
            (Linear::Int8(fc1), Linear::Int8(fc2)) => {
                let residual = residual.map(|residual| &residual.values[..]);
                let values = cpu::mlp_int8(&x.values, fc1, fc2, activation, residual);
                Ok(Tokens { values, channels: fc2.out_dim() })
            }
            _ => {
                let hidden = self.linear(fc1, x, Epilogue::Activate(activation))?;
                self.linear(fc2, &hidden, Epilogue::add(residual, depth))
            }
        }
    }

    fn conv(&self, layer: &Conv, x: &Tokens, grid: Grid, then: Epilogue<Tokens>) -> Result<Tokens> {
        match layer {
            Conv::F32(layer) => Native.conv(layer, x, grid, then),
            Conv::Int8 { packed, config } => {
                let then = conv_epilogue(config, x, grid, then)?;
                let values = cpu::conv_int8(&x.values, grid.height, grid.width, packed, then);
                Ok(Tokens { values, channels: config.out_dim })
            }
        }
    }

    native::shared_with_native!();
}
