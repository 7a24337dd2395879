//! Inference on a CPU in f32: packed parameters, plain buffers, no gradients.

use std::convert::Infallible;

use super::{
    Activation, BatchNormParameters, ConvConfig, ConvParameters, Epilogue, Grid,
    LayerNormParameters, Layers, LinearParameters, MAP_WIDTH, MapOps, Ops, SqueezeExciteParameters,
    VerticalAttentionParameters,
};
use crate::cpu::{self, DepthwiseConv, PackedConv, PackedMatrix, SqueezeExcite};
use crate::error::{ComputeError, Result};

/// Tokens `[rows, channels]` in row-major order.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub values: Vec<f32>,
    pub channels: usize,
}

impl Tokens {
    pub(super) fn rows(&self) -> usize {
        self.values.len().checked_div(self.channels).unwrap_or(0)
    }

    pub(super) fn check(&self, name: &'static str, channels: usize) -> Result<()> {
        if self.channels == channels && channels > 0 {
            return Ok(());
        }
        Err(ComputeError::operand(name, [self.rows(), self.channels], [self.rows(), channels]))
    }

    pub(super) fn check_like(
        &self,
        name: &'static str,
        rows: usize,
        channels: usize,
    ) -> Result<()> {
        self.check(name, channels)?;
        if self.rows() == rows {
            return Ok(());
        }
        Err(ComputeError::operand(name, [self.rows(), self.channels], [rows, channels]))
    }

    /// Checks that the rows make whole sequences.
    fn check_length(&self, name: &'static str, length: usize) -> Result<()> {
        if length > 0 && self.rows().is_multiple_of(length) {
            return Ok(());
        }
        Err(ComputeError::operand(name, [self.rows(), self.channels], [length, self.channels]))
    }
}

/// A convolution, packed.
pub(crate) struct Conv {
    packed: Kernel,
    config: ConvConfig,
}

enum Kernel {
    Dense(PackedConv),
    Depthwise(DepthwiseConv),
}

/// Weight and bias of a layer norm.
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

/// The vertical attention and the classifier, folded from four layers into two
/// ([`cpu::fold_vertical_attention`]).
pub(crate) struct VerticalAttention {
    /// What a position's features are multiplied with for its score.
    score: Vec<f32>,
    classifier: PackedMatrix,
}

/// The layers, packed.
pub(crate) enum Packed {}

impl Layers for Packed {
    type Parameter = Vec<f32>;
    type Linear = PackedMatrix;
    type Conv = Conv;
    type LayerNorm = LayerNorm;
    /// Batch norms are folded before.
    type BatchNorm = Infallible;
    type SqueezeExcite = SqueezeExcite;
    type VerticalAttention = VerticalAttention;

    fn linear(parameters: LinearParameters<Vec<f32>>) -> Result<PackedMatrix> {
        let LinearParameters { weight, bias, out_dim, .. } = parameters;
        Ok(cpu::pack_linear(&weight, out_dim, bias.as_deref()))
    }

    fn conv(parameters: ConvParameters<Vec<f32>>) -> Result<Conv> {
        let ConvParameters { weight, bias, config } = parameters;
        let ConvConfig { in_dim, out_dim, groups, shape } = config;
        let bias = bias.unwrap_or_else(|| vec![0.0; out_dim]);
        let packed = if config.is_depthwise() {
            Kernel::Depthwise(DepthwiseConv::new(&weight, &bias, shape))
        } else {
            Kernel::Dense(PackedConv::new(&weight, &bias, in_dim, groups, shape))
        };
        Ok(Conv { packed, config })
    }

    fn layer_norm(parameters: LayerNormParameters<Vec<f32>>) -> Result<LayerNorm> {
        let LayerNormParameters { weight, bias, eps } = parameters;
        Ok(LayerNorm { weight, bias, eps: eps as f32 })
    }

    fn batch_norm(_: BatchNormParameters<Vec<f32>>) -> Result<Infallible> {
        Err(ComputeError::Unsupported("a batch norm outside training").into())
    }

    fn squeeze_excite(parameters: SqueezeExciteParameters<Vec<f32>>) -> Result<SqueezeExcite> {
        let SqueezeExciteParameters { mut fc1, mut fc2, gate } = parameters;
        let bias = |layer: &mut LinearParameters<Vec<f32>>| {
            layer.bias.take().unwrap_or_else(|| vec![0.0; layer.out_dim])
        };
        let (bias1, bias2) = (bias(&mut fc1), bias(&mut fc2));
        Ok(SqueezeExcite::new((&fc1.weight, &bias1), (&fc2.weight, &bias2), gate))
    }

    fn vertical_attention(
        parameters: VerticalAttentionParameters<Vec<f32>>,
    ) -> Result<VerticalAttention> {
        let VerticalAttentionParameters { token, key_value, classifier } = parameters;
        let bias = |layer: &LinearParameters<Vec<f32>>| {
            layer.bias.clone().unwrap_or_else(|| vec![0.0; layer.out_dim])
        };
        let folded = cpu::fold_vertical_attention(
            &token,
            (&key_value.weight, &bias(&key_value)),
            (&classifier.weight, &bias(&classifier)),
        );
        let (weight, bias) = (&folded.weight, &folded.bias);
        let packed = cpu::pack_linear(weight, classifier.out_dim, Some(bias));
        Ok(VerticalAttention { score: folded.score, classifier: packed })
    }
}

/// Computes with the CPU operations.
pub(crate) struct Native;

/// The operations that other implementations on [`Tokens`] have in common with [`Native`]: all but linear
/// layers, MLPs and convolutions.
macro_rules! shared_with_native {
    () => {
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

        fn squeeze_excite(&self, layer: &SqueezeExcite, x: Tokens, grid: Grid) -> Result<Tokens> {
            Native.squeeze_excite(layer, x, grid)
        }

        fn average_pool(&self, x: &Tokens, grid: Grid, window: (usize, usize)) -> Result<Tokens> {
            Native.average_pool(x, grid, window)
        }

        fn max_pool(&self, x: &Tokens, grid: Grid, window: (usize, usize)) -> Result<Tokens> {
            Native.max_pool(x, grid, window)
        }

        fn concat(&self, a: &Tokens, b: &Tokens) -> Result<Tokens> {
            Native.concat(a, b)
        }

        fn add(&self, a: &Tokens, b: &Tokens) -> Result<Tokens> {
            Native.add(a, b)
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
    };
}
pub(super) use shared_with_native;

/// The epilogue of the CPU operations; a residual is checked to have the result's shape.
pub(super) fn epilogue<'a>(
    name: &'static str,
    epilogue: Epilogue<'a, Tokens>,
    rows: usize,
    channels: usize,
) -> Result<cpu::Epilogue<'a>> {
    match epilogue {
        Epilogue::Store => Ok(cpu::Epilogue::Store),
        Epilogue::Activate(activation) => Ok(activation.into()),
        Epilogue::Add { residual, .. } => {
            residual.check_like(name, rows, channels)?;
            Ok(cpu::Epilogue::Add(&residual.values))
        }
    }
}

/// The epilogue of a convolution, whose input is checked.
pub(super) fn conv_epilogue<'a>(
    config: &ConvConfig,
    x: &Tokens,
    grid: Grid,
    then: Epilogue<'a, Tokens>,
) -> Result<cpu::Epilogue<'a>> {
    x.check("conv", config.in_dim)?;
    x.check_length("conv", grid.positions())?;
    let rows = x.rows() / grid.positions() * config.output_grid(grid).positions();
    epilogue("conv's residual", then, rows, config.out_dim)
}

impl Ops for Native {
    type Layers = Packed;
    type Tensor = Tokens;

    fn linear(&self, layer: &PackedMatrix, x: &Tokens, then: Epilogue<Tokens>) -> Result<Tokens> {
        x.check("linear", layer.k())?;
        let then = epilogue("linear's residual", then, x.rows(), layer.n())?;
        Ok(Tokens { values: cpu::linear(&x.values, layer, then), channels: layer.n() })
    }

    fn mlp(
        &self,
        fc1: &PackedMatrix,
        activation: Activation,
        fc2: &PackedMatrix,
        x: &Tokens,
        residual: Option<&Tokens>,
        _: f64,
    ) -> Result<Tokens> {
        x.check("mlp", fc1.k())?;
        if let Some(residual) = residual {
            residual.check_like("mlp's residual", x.rows(), fc2.n())?;
        }
        let residual = residual.map(|residual| &residual.values[..]);
        let values = cpu::mlp(&x.values, fc1, fc2, activation, residual);
        Ok(Tokens { values, channels: fc2.n() })
    }

    fn conv(&self, layer: &Conv, x: &Tokens, grid: Grid, then: Epilogue<Tokens>) -> Result<Tokens> {
        let Conv { packed, config } = layer;
        let then = conv_epilogue(config, x, grid, then)?;
        let values = match packed {
            Kernel::Dense(packed) => cpu::conv(&x.values, grid.height, grid.width, packed, then),
            Kernel::Depthwise(packed) => {
                cpu::depthwise_conv(&x.values, grid.height, grid.width, packed, then)
            }
        };
        Ok(Tokens { values, channels: config.out_dim })
    }

    fn attention(&self, qkv: &Tokens, heads: usize, length: usize) -> Result<Tokens> {
        qkv.check_length("attention", length)?;
        let channels = qkv.channels / 3;
        let values = cpu::attention(&qkv.values, length, heads, channels);
        Ok(Tokens { values, channels })
    }

    fn attention_with_map(
        &self,
        qkv: &Tokens,
        heads: usize,
        grid: Grid,
    ) -> Result<(Tokens, Tokens)> {
        qkv.check_length("attention", grid.positions())?;
        let channels = qkv.channels / 3;
        let (values, length) = (&qkv.values, grid.positions());
        let mut values = cpu::attention_with_map(values, length, heads, channels, grid.width);
        let map = values.split_off(qkv.rows() * channels);
        Ok((Tokens { values, channels }, Tokens { values: map, channels: MAP_WIDTH }))
    }

    fn squeeze_excite(&self, layer: &SqueezeExcite, x: Tokens, grid: Grid) -> Result<Tokens> {
        x.check("squeeze-excite", layer.channels())?;
        x.check_length("squeeze-excite", grid.positions())?;
        let values = cpu::squeeze_excite(x.values, grid.positions(), layer);
        Ok(Tokens { values, channels: x.channels })
    }

    fn average_pool(&self, x: &Tokens, grid: Grid, window: (usize, usize)) -> Result<Tokens> {
        x.check_length("average pool", grid.positions())?;
        let values = cpu::average_pool(&x.values, grid.height, grid.width, x.channels, window);
        Ok(Tokens { values, channels: x.channels })
    }

    fn max_pool(&self, x: &Tokens, grid: Grid, window: (usize, usize)) -> Result<Tokens> {
        x.check_length("max pool", grid.positions())?;
        let values = cpu::max_pool(&x.values, grid.height, grid.width, x.channels, window);
        Ok(Tokens { values, channels: x.channels })
    }

    fn concat(&self, a: &Tokens, b: &Tokens) -> Result<Tokens> {
        b.check_like("concat", a.rows(), b.channels)?;
        let values = cpu::concat_channels(&a.values, a.channels, &b.values, b.channels);
        Ok(Tokens { values, channels: a.channels + b.channels })
    }

    fn add(&self, a: &Tokens, b: &Tokens) -> Result<Tokens> {
        b.check_like("add", a.rows(), a.channels)?;
        let mut values = a.values.clone();
        cpu::add(&mut values, &b.values);
        Ok(Tokens { values, channels: a.channels })
    }

    fn mean(&self, first: &Tokens, others: &[Tokens]) -> Result<Tokens> {
        let (rows, channels) = (first.rows(), first.channels);
        let mut values = first.values.clone();
        for other in others {
            other.check_like("mean", rows, channels)?;
            cpu::add(&mut values, &other.values);
        }
        cpu::scale(&mut values, (1.0 / (others.len() + 1) as f64) as f32);
        Ok(Tokens { values, channels })
    }

    fn layer_norm(&self, layer: &LayerNorm, x: &Tokens) -> Result<Tokens> {
        x.check("layer norm", layer.weight.len())?;
        let values = cpu::layer_norm(&x.values, &layer.weight, &layer.bias, layer.eps);
        Ok(Tokens { values, channels: x.channels })
    }

    fn batch_norm_gelu(&self, layer: &Infallible, _: &Tokens) -> Result<Tokens> {
        match *layer {}
    }

    fn vertical_attention(
        &self,
        layer: &VerticalAttention,
        x: &Tokens,
        grid: Grid,
    ) -> Result<Tokens> {
        let VerticalAttention { score, classifier } = layer;
        x.check("vertical attention", score.len())?;
        x.check_length("vertical attention", grid.positions())?;
        let columns = cpu::vertical_attention(&x.values, score, grid.height, grid.width);
        let values = cpu::linear(&columns, classifier, cpu::Epilogue::Store);
        Ok(Tokens { values, channels: classifier.n() })
    }
}

impl MapOps for Native {
    fn add_upsampled(
        &self,
        mut fine: Tokens,
        coarse: &Tokens,
        grid: Grid,
        factor: usize,
    ) -> Result<Tokens> {
        fine.check_length("upsampling", grid.positions())?;
        check_coarse(coarse, fine.rows(), fine.channels, grid, factor)?;
        let (channels, width) = (fine.channels, grid.width);
        cpu::add_upsampled(&mut fine.values, &coarse.values, width, channels, factor);
        Ok(fine)
    }

    fn concat_upsampled(&self, maps: &[(&Tokens, usize)], grid: Grid) -> Result<Tokens> {
        let images = match maps.first() {
            Some((map, factor)) => map.rows() * factor * factor / grid.positions().max(1),
            None => 0,
        };
        let rows = images * grid.positions();
        for &(map, factor) in maps {
            check_coarse(map, rows, map.channels, grid, factor)?;
        }
        let inputs: Vec<_> =
            maps.iter().map(|(map, factor)| (&map.values[..], map.channels, *factor)).collect();
        let channels = maps.iter().map(|(map, _)| map.channels).sum();
        Ok(Tokens { values: cpu::concat_upsampled(&inputs, rows, grid.width), channels })
    }

    fn split_rows(&self, x: Tokens, parts: usize) -> Result<Tokens> {
        if parts == 0 || !x.channels.is_multiple_of(parts) {
            return Err(ComputeError::operand(
                "split rows",
                [x.rows(), x.channels],
                [x.rows(), parts],
            ));
        }
        Ok(Tokens { channels: x.channels / parts, ..x })
    }
}

/// Checks that a map covers `rows` tokens on `grid` where each of its own stands for a square of `factor`.
fn check_coarse(
    coarse: &Tokens,
    rows: usize,
    channels: usize,
    grid: Grid,
    factor: usize,
) -> Result<()> {
    let covers = factor > 0
        && grid.height.is_multiple_of(factor)
        && grid.width.is_multiple_of(factor)
        && coarse.rows() * factor * factor == rows;
    if covers {
        return coarse.check("upsampling", channels);
    }
    let found = [coarse.rows(), coarse.channels];
    Err(ComputeError::operand("upsampling", found, [rows, channels]))
}
