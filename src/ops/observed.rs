//! Inference on a CPU in f32, as [`native`](super::native) does it, that observes the inputs of linear layers
//! and convolutions: for the calibration of int8.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use super::native::{self, Native, Packed, Tokens};
use super::{
    Activation, BatchNormParameters, ConvConfig, ConvParameters, ConvShape, Epilogue, Grid,
    LayerNormParameters, Layers, LinearParameters, Ops, SqueezeExciteParameters,
    VerticalAttentionParameters,
};
use crate::cpu::{self, ActivationBits, PackedMatrix, SqueezeExcite};
use crate::error::{ComputeError, Result};

/// A parameter and its name.
pub(crate) struct Named {
    pub name: String,
    pub values: Vec<f32>,
}

/// A layer and the name of its weight.
pub(crate) struct Observed<L> {
    layer: L,
    name: String,
}

/// The inputs of a layer, summed up.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerInput {
    /// The sum of the squares of each input channel.
    pub squares: Vec<f64>,
    /// Input positions that were summed up.
    pub positions: u64,
    /// The sums of what each weight of an output channel was multiplied with, `[input channels, taps]`.
    pub sums: Vec<f64>,
    /// Output positions that were summed up.
    pub out_positions: f64,
    /// The sum of the products of what two weights of an output channel are multiplied with, group by
    /// group: `[groups, weights, weights]`.
    pub products: Vec<f32>,
    /// Multiplications of the layer.
    pub multiplications: u64,
}

/// The layers, packed, with names.
pub(crate) enum ObservedLayers {}

impl From<Named> for Vec<f32> {
    fn from(parameter: Named) -> Self {
        parameter.values
    }
}

impl Layers for ObservedLayers {
    type Parameter = Named;
    type Linear = Observed<PackedMatrix>;
    type Conv = (Observed<native::Conv>, ConvConfig);
    type LayerNorm = native::LayerNorm;
    type BatchNorm = Infallible;
    type SqueezeExcite = SqueezeExcite;
    type VerticalAttention = native::VerticalAttention;

    fn linear(parameters: LinearParameters<Named>) -> Result<Self::Linear> {
        let name = parameters.weight.name.clone();
        Ok(Observed { layer: Packed::linear(parameters.map(Vec::from))?, name })
    }

    fn conv(parameters: ConvParameters<Named>) -> Result<Self::Conv> {
        let (name, config) = (parameters.weight.name.clone(), parameters.config);
        Ok((Observed { layer: Packed::conv(parameters.map(Vec::from))?, name }, config))
    }

    fn layer_norm(parameters: LayerNormParameters<Named>) -> Result<native::LayerNorm> {
        Packed::layer_norm(parameters.map(Vec::from))
    }

    fn batch_norm(_: BatchNormParameters<Named>) -> Result<Infallible> {
        Err(ComputeError::Unsupported("a batch norm outside training").into())
    }

    fn squeeze_excite(parameters: SqueezeExciteParameters<Named>) -> Result<SqueezeExcite> {
        Packed::squeeze_excite(parameters.map(Vec::from))
    }

    fn vertical_attention(
        parameters: VerticalAttentionParameters<Named>,
    ) -> Result<native::VerticalAttention> {
        Packed::vertical_attention(parameters.map(Vec::from))
    }
}

/// Computes with the CPU operations, and sums up the inputs of the layers that int8 inference rounds.
#[derive(Default)]
pub(crate) struct ActivationStatistics {
    inputs: Mutex<BTreeMap<String, LayerInput>>,
}

impl ActivationStatistics {
    /// The inputs of the layers, by the names of their weights.
    pub(crate) fn into_inputs(self) -> BTreeMap<String, LayerInput> {
        self.inputs.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the input of a layer, for whose weights `columns(group)` has what they are multiplied with.
    fn observe(
        &self,
        name: &str,
        x: &Tokens,
        groups: usize,
        columns: impl Fn(usize) -> Columns,
        multiplications: usize,
    ) {
        let mut squares = vec![0.0f64; x.channels];
        for row in x.values.chunks_exact(x.channels.max(1)) {
            for (square, &x) in squares.iter_mut().zip(row) {
                *square += f64::from(x) * f64::from(x);
            }
        }
        let (mut sums, mut products, mut positions) = (Vec::new(), Vec::new(), 0);
        for Columns { values, count } in (0..groups).map(columns) {
            positions = values.len().checked_div(count).unwrap_or(0);
            let columns = values.chunks_exact(positions.max(1));
            sums.extend(columns.map(|column| column.iter().map(|&x| f64::from(x)).sum::<f64>()));
            let matrix = cpu::pack_linear(&values, count, None);
            products.extend(cpu::linear(&values, &matrix, cpu::Epilogue::Store));
        }
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let input = inputs.entry(name.to_owned()).or_default();
        let add = |all: &mut Vec<f64>, values: &[f64]| {
            all.resize(values.len(), 0.0);
            all.iter_mut().zip(values).for_each(|(all, value)| *all += value);
        };
        add(&mut input.squares, &squares);
        add(&mut input.sums, &sums);
        input.products.resize(products.len(), 0.0);
        cpu::add(&mut input.products, &products);
        input.positions += x.rows() as u64;
        input.out_positions += positions as f64;
        input.multiplications += multiplications as u64;
    }
}

/// Values for each of `count` weights.
struct Columns {
    values: Vec<f32>,
    count: usize,
}

/// What the weights of a group's output channels are multiplied with, output position by output position:
/// `[in / groups, taps]` columns.
fn taps_of_group(x: &Tokens, grid: Grid, config: &ConvConfig, group: usize) -> Columns {
    let channels = config.in_dim / config.groups;
    let (taps, ConvShape { kernel, stride, padding }) = (config.shape.taps(), config.shape);
    let images = x.rows().checked_div(grid.positions()).unwrap_or(0);
    let out = config.output_grid(grid);
    let mut values = Vec::new();
    for (channel, tap) in (0..channels).flat_map(|c| (0..taps).map(move |tap| (c, tap))) {
        let channel = group * channels + channel;
        for (image, position) in
            (0..images).flat_map(|image| (0..out.positions()).map(move |at| (image, at)))
        {
            let row = position / out.width * stride.0 + tap / kernel.1;
            let column = position % out.width * stride.1 + tap % kernel.1;
            let row = row.checked_sub(padding.top).filter(|&row| row < grid.height);
            let column = column.checked_sub(padding.left).filter(|&column| column < grid.width);
            values.push(match (row, column) {
                (Some(row), Some(column)) => {
                    let token = (image * grid.height + row) * grid.width + column;
                    x.values[token * x.channels + channel]
                }
                _ => 0.0,
            });
        }
    }
    Columns { values, count: channels * taps }
}

impl Ops for ActivationStatistics {
    type Layers = ObservedLayers;
    type Tensor = Tokens;

    fn linear(
        &self,
        Observed { layer, name }: &Observed<PackedMatrix>,
        x: &Tokens,
        then: Epilogue<Tokens>,
    ) -> Result<Tokens> {
        let columns = |_| Columns {
            values: cpu::channels_first(&x.values, x.rows(), x.channels),
            count: x.channels,
        };
        self.observe(name, x, 1, columns, x.values.len() * layer.n());
        Native.linear(layer, x, then)
    }

    fn mlp(
        &self,
        fc1: &Observed<PackedMatrix>,
        activation: Activation,
        fc2: &Observed<PackedMatrix>,
        x: &Tokens,
        residual: Option<&Tokens>,
        depth: f64,
    ) -> Result<Tokens> {
        let hidden = self.linear(fc1, x, Epilogue::Activate(activation))?;
        self.linear(fc2, &hidden, Epilogue::add(residual, depth))
    }

    fn conv(
        &self,
        (Observed { layer, name }, config): &(Observed<native::Conv>, ConvConfig),
        x: &Tokens,
        grid: Grid,
        then: Epilogue<Tokens>,
    ) -> Result<Tokens> {
        let y = Native.conv(layer, x, grid, then)?;
        if !config.fits_int8(ActivationBits::Eight) {
            return Ok(y);
        }
        let multiplications = y.values.len() * config.in_dim / config.groups * config.shape.taps();
        let columns = |group| taps_of_group(x, grid, config, group);
        self.observe(name, x, config.groups, columns, multiplications);
        Ok(y)
    }

    native::shared_with_native!();
}
