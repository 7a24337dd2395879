//! Inference on a CPU in f32, as [`native`](super::native) does it, that observes the inputs of linear layers
//! and convolutions: for the calibration of int8.

use std::array::from_fn;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use super::native::{self, Native, Packed, Tokens};
use super::{
    BatchNormParameters, ConvConfig, ConvParameters, Epilogue, Grid, LayerNormParameters, Layers,
    LinearParameters, Ops, VerticalAttentionParameters,
};
use crate::cpu::{self, PackedMatrix};
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
    /// The sum of what each weight of an output channel was multiplied with, `[input channels, taps]`.
    pub sums: Vec<f64>,
    /// Output positions that were summed up.
    pub out_positions: f64,
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

    fn vertical_attention(
        parameters: VerticalAttentionParameters<Named>,
    ) -> Result<native::VerticalAttention> {
        Packed::vertical_attention(parameters.map(Vec::from))
    }
}

/// Computes with the CPU operations, and sums up the inputs of the layers that int8 inference rounds.
#[derive(Default)]
pub(crate) struct Observing {
    inputs: Mutex<BTreeMap<String, LayerInput>>,
}

impl Observing {
    /// The inputs of the layers, by the names of their weights.
    pub(crate) fn into_inputs(self) -> BTreeMap<String, LayerInput> {
        self.inputs.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the input of a layer, each position of which meets a tap in so many output positions.
    fn observe(
        &self,
        name: &str,
        x: &Tokens,
        taps: &[f64],
        out_rows: usize,
        multiplications: usize,
    ) {
        let mut squares = vec![0.0f64; x.channels];
        let mut sums = vec![0.0f64; x.channels];
        for row in x.values.chunks_exact(x.channels.max(1)) {
            for ((sum, square), &x) in sums.iter_mut().zip(&mut squares).zip(row) {
                *sum += f64::from(x);
                *square += f64::from(x) * f64::from(x);
            }
        }
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let input = inputs.entry(name.to_owned()).or_default();
        input.squares.resize(x.channels, 0.0);
        input.squares.iter_mut().zip(&squares).for_each(|(all, square)| *all += square);
        input.sums.resize(x.channels * taps.len(), 0.0);
        let sums = sums.iter().flat_map(|sum| taps.iter().map(move |tap| sum * tap));
        input.sums.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
        input.positions += x.rows() as u64;
        input.out_positions += out_rows as f64;
        input.multiplications += multiplications as u64;
    }
}

impl Ops for Observing {
    type Layers = ObservedLayers;
    type Tensor = Tokens;

    fn linear(
        &self,
        Observed { layer, name }: &Observed<PackedMatrix>,
        x: &Tokens,
        then: Epilogue<Tokens>,
    ) -> Result<Tokens> {
        self.observe(name, x, &[1.0], x.rows(), x.values.len() * layer.n());
        Native.linear(layer, x, then)
    }

    fn mlp(
        &self,
        fc1: &Observed<PackedMatrix>,
        fc2: &Observed<PackedMatrix>,
        x: &Tokens,
        residual: &Tokens,
        depth: f64,
    ) -> Result<Tokens> {
        let hidden = self.linear(fc1, x, Epilogue::Gelu)?;
        self.linear(fc2, &hidden, Epilogue::Add { residual, depth })
    }

    fn conv(
        &self,
        (Observed { layer, name }, config): &(Observed<native::Conv>, ConvConfig),
        x: &Tokens,
        grid: Grid,
        then: Epilogue<Tokens>,
    ) -> Result<Tokens> {
        let y = Native.conv(layer, x, grid, then)?;
        if !config.fits_int8() {
            return Ok(y);
        }
        let Grid { height, width } = grid;
        // The share of the positions that a tap meets, along an axis.
        let share = |tap: usize, size: usize, stride: usize| {
            let met = (0..size).step_by(stride).filter(|at| (1..=size).contains(&(at + tap)));
            met.count() as f64 / size as f64
        };
        let (rows, columns) = config.stride;
        let taps: [f64; cpu::TAPS] =
            from_fn(|tap| share(tap / 3, height, rows) * share(tap % 3, width, columns));
        let multiplications = y.values.len() * config.in_dim / config.groups * taps.len();
        self.observe(name, x, &taps, y.rows(), multiplications);
        Ok(y)
    }

    native::shared_with_native!();
}
