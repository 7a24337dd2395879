//! Pools, squeeze-excite, and what joins two tensors.

use candle_core::Tensor;

use super::{Tape, Tracked, values};
use crate::cpu;
use crate::cpu::backward::{
    SqueezeExciteWeights, average_pool_backward, max_pool_backward, squeeze_excite_backward,
    squeeze_excite_forward,
};
use crate::error::Result;
use crate::ops::{Grid, LinearParameters, SqueezeExciteParameters};

/// The means of windows side by side.
pub(super) fn average_pool(
    tape: &Tape,
    x: &Tracked,
    grid: Grid,
    window: (usize, usize),
) -> Result<Tracked> {
    x.check_length("average pool", grid.positions())?;
    let (Grid { height, width }, channels) = (grid, x.channels);
    let y = cpu::average_pool(x.values(), height, width, channels, window);
    let x = x.clone();
    Ok(tape.record(x.is_tracked(), y, channels, move |dy, gradients| {
        gradients.add(&x, average_pool_backward(&dy, height, width, channels, window));
        Ok(())
    }))
}

/// The largest values of windows that begin at every position.
pub(super) fn max_pool(
    tape: &Tape,
    x: &Tracked,
    grid: Grid,
    window: (usize, usize),
) -> Result<Tracked> {
    x.check_length("max pool", grid.positions())?;
    let (Grid { height, width }, channels) = (grid, x.channels);
    let y = cpu::max_pool(x.values(), height, width, channels, window);
    let x = x.clone();
    Ok(tape.record(x.is_tracked(), y, channels, move |dy, gradients| {
        gradients.add(&x, max_pool_backward(x.values(), &dy, height, width, channels, window));
        Ok(())
    }))
}

/// The channels of `a`, then those of `b`.
pub(super) fn concat(tape: &Tape, a: &Tracked, b: &Tracked) -> Result<Tracked> {
    b.check("concat", a.rows(), b.channels)?;
    let (a_channels, b_channels) = (a.channels, b.channels);
    let joined = cpu::concat_channels(a.values(), a_channels, b.values(), b_channels);
    let (a, b) = (a.clone(), b.clone());
    let tracked = a.is_tracked() || b.is_tracked();
    Ok(tape.record(tracked, joined, a_channels + b_channels, move |dy, gradients| {
        let (da, db) = cpu::split_channels(&dy, a_channels, b_channels);
        gradients.add(&a, da);
        gradients.add(&b, db);
        Ok(())
    }))
}

/// The sum of two tensors.
pub(super) fn add(tape: &Tape, a: &Tracked, b: &Tracked) -> Result<Tracked> {
    b.check("add", a.rows(), a.channels)?;
    let mut sum = a.values().to_vec();
    cpu::add(&mut sum, b.values());
    let (a, b, channels) = (a.clone(), b.clone(), a.channels);
    Ok(tape.record(a.is_tracked() || b.is_tracked(), sum, channels, move |dy, gradients| {
        gradients.add(&a, dy.clone());
        gradients.add(&b, dy);
        Ok(())
    }))
}

/// The values of a layer's weight and bias.
fn layer(parameters: &LinearParameters<Tensor>) -> Result<(Vec<f32>, Vec<f32>)> {
    let bias = match &parameters.bias {
        Some(bias) => values(bias)?,
        None => vec![0.0; parameters.out_dim],
    };
    Ok((values(&parameters.weight)?, bias))
}

/// Squeeze-excite of the images on `grid`.
pub(super) fn squeeze_excite(
    tape: &Tape,
    parameters: &SqueezeExciteParameters<Tensor>,
    x: &Tracked,
    grid: Grid,
) -> Result<Tracked> {
    x.check("squeeze-excite", x.rows(), parameters.fc1.in_dim)?;
    x.check_length("squeeze-excite", grid.positions())?;
    let (gate, positions, channels) = (parameters.gate, grid.positions(), x.channels);
    let (fc1, fc2) = (layer(&parameters.fc1)?, layer(&parameters.fc2)?);
    let weights = SqueezeExciteWeights { fc1: (&fc1.0, &fc1.1), fc2: (&fc2.0, &fc2.1), gate };
    let y = squeeze_excite_forward(x.values(), positions, weights);
    let trained = |layer: &LinearParameters<Tensor>| {
        let of = |parameter: &Tensor| parameter.is_variable().then(|| parameter.clone());
        [of(&layer.weight), layer.bias.as_ref().and_then(of)]
    };
    let trained = [trained(&parameters.fc1), trained(&parameters.fc2)];
    let tracked = x.is_tracked() || trained.iter().flatten().any(Option::is_some);
    let x = x.clone();
    Ok(tape.record(tracked, y, channels, move |dy, gradients| {
        let weights = SqueezeExciteWeights { fc1: (&fc1.0, &fc1.1), fc2: (&fc2.0, &fc2.1), gate };
        let found = squeeze_excite_backward(x.values(), positions, weights, dy);
        let found_parameters = [found.fc1, found.fc2].map(|(weight, bias)| [weight, bias]);
        let pairs = trained.iter().flatten().zip(found_parameters.into_iter().flatten());
        for (parameter, gradient) in pairs {
            if let Some(parameter) = parameter {
                gradients.add_parameter(parameter, gradient);
            }
        }
        gradients.add(&x, found.input);
        Ok(())
    }))
}
