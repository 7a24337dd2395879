//! Inference on a CPU in integers of 8 bits: linear layers and convolutions multiply int8 and sum up
//! in i32; what lies between them is computed in f32, as [`native`](super::native) does.
//!
//! A weight is an integer times the scale of its output channel. What it is multiplied with is
//! rounded when it is there: each row of a linear layer, and each image of a convolution, to 255
//! steps of its own range. The first convolution, whose input are the three channels of the image,
//! and the classifier compute in f32, and so does a layer whose weight is [exact](Values::Exact).

use std::convert::Infallible;

use super::native::{self, Native, Packed, Tokens, conv_epilogue, epilogue};
use super::{
    BatchNormParameters, ConvConfig, ConvParameters, Epilogue, Grid, LayerNormParameters, Layers,
    LinearParameters, Ops, VerticalAttentionParameters,
};
use crate::cpu::{self, Int8Matrix, PackedConv, PackedMatrix};
use crate::error::Result;

/// Values of a parameter.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    /// To be rounded where a layer computes in int8.
    F32(Vec<f32>),
    /// Of a layer that computes in f32.
    Exact(Vec<f32>),
    /// Integers times a scale a row.
    Int8 { levels: Vec<i8>, scales: Vec<f32> },
}

impl Values {
    /// In f32.
    fn into_f32(self) -> Vec<f32> {
        match self {
            Values::F32(values) | Values::Exact(values) => values,
            Values::Int8 { levels, scales } => dequantized(&levels, &scales),
        }
    }

    /// In integers, with a scale a row: of numbers, 127 is the row's largest magnitude.
    fn into_int8(self, rows: usize) -> (Vec<i8>, Vec<f32>) {
        match self {
            Values::Int8 { levels, scales } => (levels, scales),
            Values::F32(values) | Values::Exact(values) => {
                let columns = values.len().checked_div(rows).unwrap_or(0).max(1);
                let mut levels = Vec::with_capacity(values.len());
                let mut scales = Vec::with_capacity(rows);
                for row in values.chunks_exact(columns) {
                    let largest = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                    let factor = if largest > 0.0 { 127.0 / largest } else { 0.0 };
                    levels.extend(row.iter().map(|x| (x * factor).round_ties_even() as i8));
                    scales.push(largest / 127.0);
                }
                (levels, scales)
            }
        }
    }
}

/// Integers times a scale a row.
pub(crate) fn dequantized(levels: &[i8], scales: &[f32]) -> Vec<f32> {
    let columns = levels.len().checked_div(scales.len()).unwrap_or(0).max(1);
    let rows = levels.chunks_exact(columns).zip(scales);
    rows.flat_map(|(row, &scale)| row.iter().map(move |&level| f32::from(level) * scale)).collect()
}

/// A linear layer, packed.
pub(crate) enum Linear {
    F32(PackedMatrix),
    Int8(Int8Matrix),
}

impl Linear {
    fn dims(&self) -> (usize, usize) {
        match self {
            Linear::F32(layer) => (layer.k(), layer.n()),
            Linear::Int8(layer) => (layer.rows(), layer.columns()),
        }
    }
}

/// A 3x3 convolution, packed.
pub(crate) enum Conv {
    F32(native::Conv),
    Int8 { packed: PackedConv<Int8Matrix>, config: ConvConfig },
}

/// The layers, packed.
pub(crate) enum PackedInt8 {}

/// The parameters in f32.
fn in_f32(parameters: LinearParameters<Values>) -> LinearParameters<Vec<f32>> {
    let LinearParameters { weight, bias, in_dim, out_dim } = parameters;
    LinearParameters {
        weight: weight.into_f32(),
        bias: bias.map(Values::into_f32),
        in_dim,
        out_dim,
    }
}

impl Layers for PackedInt8 {
    type Parameter = Values;
    type Linear = Linear;
    type Conv = Conv;
    type LayerNorm = native::LayerNorm;
    /// Batch norms are folded before.
    type BatchNorm = Infallible;
    type VerticalAttention = native::VerticalAttention;

    fn linear(parameters: LinearParameters<Values>) -> Result<Linear> {
        if let Values::Exact(_) = parameters.weight {
            return Ok(Linear::F32(Packed::linear(in_f32(parameters))?));
        }
        let LinearParameters { weight, bias, out_dim, .. } = parameters;
        let (levels, scales) = weight.into_int8(out_dim);
        let bias = bias.map(Values::into_f32);
        Ok(Linear::Int8(cpu::pack_linear_int8(&levels, &scales, bias.as_deref())))
    }

    fn conv(parameters: ConvParameters<Values>) -> Result<Conv> {
        let ConvParameters { weight, bias, config } = parameters;
        let ConvConfig { in_dim, out_dim, groups, stride } = config;
        let bias = bias.map_or_else(|| vec![0.0; out_dim], Values::into_f32);
        let packed = match &weight {
            Values::Exact(_) => None,
            _ => {
                let (levels, scales) = weight.clone().into_int8(out_dim);
                cpu::pack_conv_int8(&levels, &scales, &bias, in_dim, groups, stride)
            }
        };
        if let Some(packed) = packed {
            return Ok(Conv::Int8 { packed, config });
        }
        let (weight, bias) = (weight.into_f32(), Some(bias));
        Ok(Conv::F32(Packed::conv(ConvParameters { weight, bias, config })?))
    }

    fn layer_norm(parameters: LayerNormParameters<Values>) -> Result<native::LayerNorm> {
        let LayerNormParameters { weight, bias, eps } = parameters;
        let (weight, bias) = (weight.into_f32(), bias.into_f32());
        Packed::layer_norm(LayerNormParameters { weight, bias, eps })
    }

    fn batch_norm(parameters: BatchNormParameters<Values>) -> Result<Infallible> {
        let BatchNormParameters { weight, bias, running_mean, running_var, eps } = parameters;
        Packed::batch_norm(BatchNormParameters {
            weight: weight.into_f32(),
            bias: bias.into_f32(),
            running_mean: running_mean.into_f32(),
            running_var: running_var.into_f32(),
            eps,
        })
    }

    fn vertical_attention(
        parameters: VerticalAttentionParameters<Values>,
    ) -> Result<native::VerticalAttention> {
        let VerticalAttentionParameters { token, key_value, classifier } = parameters;
        Packed::vertical_attention(VerticalAttentionParameters {
            token: token.into_f32(),
            key_value: in_f32(key_value),
            classifier: in_f32(classifier),
        })
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
                x.check("linear", layer.rows())?;
                let then = epilogue("linear's residual", then, x.rows(), layer.columns())?;
                let values = cpu::linear_int8(&x.values, layer, then);
                Ok(Tokens { values, channels: layer.columns() })
            }
        }
    }

    fn mlp(
        &self,
        fc1: &Linear,
        fc2: &Linear,
        x: &Tokens,
        residual: &Tokens,
        depth: f64,
    ) -> Result<Tokens> {
        x.check("mlp", fc1.dims().0)?;
        residual.check_like("mlp's residual", x.rows(), fc2.dims().1)?;
        match (fc1, fc2) {
            (Linear::F32(fc1), Linear::F32(fc2)) => Native.mlp(fc1, fc2, x, residual, depth),
            (Linear::Int8(fc1), Linear::Int8(fc2)) => {
                let values = cpu::mlp_int8(&x.values, fc1, fc2, &residual.values);
                Ok(Tokens { values, channels: fc2.columns() })
            }
            _ => {
                let hidden = self.linear(fc1, x, Epilogue::Gelu)?;
                self.linear(fc2, &hidden, Epilogue::Add { residual, depth })
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

    fn attention(&self, qkv: &Tokens, heads: usize, length: usize) -> Result<Tokens> {
        Native.attention(qkv, heads, length)
    }

    fn attention_with_map(
        &self,
        qkv: &Tokens,
        heads: usize,
        grid: Grid,
    ) -> Result<(Tokens, Tokens)> {
        Native.attention_with_map(qkv, heads, grid)
    }

    fn mean(&self, first: &Tokens, others: &[Tokens]) -> Result<Tokens> {
        Native.mean(first, others)
    }

    fn layer_norm(&self, layer: &native::LayerNorm, x: &Tokens) -> Result<Tokens> {
        Native.layer_norm(layer, x)
    }

    fn batch_norm_gelu(&self, layer: &Infallible, _: &Tokens) -> Result<Tokens> {
        match *layer {}
    }

    fn vertical_attention(
        &self,
        layer: &native::VerticalAttention,
        x: &Tokens,
        grid: Grid,
    ) -> Result<Tokens> {
        Native.vertical_attention(layer, x, grid)
    }
}
