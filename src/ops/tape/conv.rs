//! Convolutions over tokens.

use candle_core::Tensor;

use super::{Operands, Tape, Tracked, values};
use crate::cpu::backward::{
    ConvDims, DepthwiseDims, column_sums, conv_forward, conv_input_gradient, conv_weight_gradient,
    depthwise_input_gradient, depthwise_weight_gradient,
};
use crate::cpu::{self, ActivationBits, DepthwiseConv, Epilogue};
use crate::error::Result;
use crate::ops::{ConvConfig, ConvParameters, Grid};

/// A convolution, plus `residual` if there is one.
pub(super) fn conv(
    tape: &Tape,
    operands: Operands,
    layer: &ConvParameters<Tensor>,
    x: &Tracked,
    grid: Grid,
    residual: Option<&Tracked>,
) -> Result<Tracked> {
    if layer.config.is_depthwise() {
        return depthwise(tape, layer, x, grid, residual);
    }
    let ConvParameters { weight, bias, config } = layer.clone();
    let ConvConfig { in_dim, out_dim, groups, shape } = config;
    x.check("conv", x.rows(), in_dim)?;
    x.check_length("conv", grid.positions())?;
    if let Some(residual) = residual {
        let rows = x.rows() / grid.positions() * config.output_grid(grid).positions();
        residual.check("conv's residual", rows, out_dim)?;
    }
    let bias_values = match &bias {
        Some(bias) => values(bias)?,
        None => vec![0.0; out_dim],
    };
    let epilogue = residual.map_or(Epilogue::Store, |other| Epilogue::Add(other.values()));
    let Grid { height, width } = grid;
    let dims = ConvDims { in_dim, out_dim, groups, shape, height, width };
    // Int8 inference rounds an image at once.
    let rounded = operands.rounded && config.fits_int8(ActivationBits::Eight);
    let operands = Operands { rounded, ..operands };
    let products = operands.products;
    let image_len = grid.positions() * in_dim;
    let input = operands.input(x.values(), image_len, image_len);
    let y = operands.with_weight(&weight, out_dim, |weight| {
        conv_forward(products, &input, weight, &bias_values, dims, epilogue)
    })?;
    drop(input);
    let bias = bias.filter(|bias| bias.is_variable());
    let parameters = weight.is_variable() || bias.is_some();
    let tracked = parameters || x.is_tracked() || residual.is_some_and(Tracked::is_tracked);
    let (x, residual) = (x.clone(), residual.cloned());
    Ok(tape.record(tracked, y, out_dim, move |dy, gradients| {
        if weight.is_variable() {
            let input = operands.input(x.values(), image_len, image_len);
            gradients.add_parameter(&weight, conv_weight_gradient(products, &input, &dy, dims));
        }
        if let Some(bias) = &bias {
            gradients.add_parameter(bias, column_sums(&dy, out_dim));
        }
        if x.is_tracked() {
            let so_far = gradients.take(&x);
            let gradient = operands.with_weight(&weight, out_dim, |weight| {
                conv_input_gradient(products, &dy, weight, dims, so_far.as_deref())
            })?;
            gradients.add(&x, gradient);
        }
        if let Some(residual) = &residual {
            gradients.add(residual, dy);
        }
        Ok(())
    }))
}

/// A depthwise convolution, plus `residual` if there is one. Int8 inference computes it in f32.
fn depthwise(
    tape: &Tape,
    layer: &ConvParameters<Tensor>,
    x: &Tracked,
    grid: Grid,
    residual: Option<&Tracked>,
) -> Result<Tracked> {
    let ConvParameters { weight, bias, config } = layer.clone();
    let (channels, Grid { height, width }) = (config.out_dim, grid);
    x.check("conv", x.rows(), channels)?;
    x.check_length("conv", grid.positions())?;
    if let Some(residual) = residual {
        let rows = x.rows() / grid.positions() * config.output_grid(grid).positions();
        residual.check("conv's residual", rows, channels)?;
    }
    let weight_values = values(&weight)?;
    let bias_values = match &bias {
        Some(bias) => values(bias)?,
        None => vec![0.0; channels],
    };
    let epilogue = residual.map_or(Epilogue::Store, |other| Epilogue::Add(other.values()));
    let packed = DepthwiseConv::new(&weight_values, &bias_values, config.shape);
    let y = cpu::depthwise_conv(x.values(), height, width, &packed, epilogue);
    let dims = DepthwiseDims { channels, shape: config.shape, height, width };
    let bias = bias.filter(|bias| bias.is_variable());
    let parameters = weight.is_variable() || bias.is_some();
    let tracked = parameters || x.is_tracked() || residual.is_some_and(Tracked::is_tracked);
    let (x, residual) = (x.clone(), residual.cloned());
    Ok(tape.record(tracked, y, channels, move |dy, gradients| {
        if weight.is_variable() {
            gradients.add_parameter(&weight, depthwise_weight_gradient(x.values(), &dy, dims));
        }
        if let Some(bias) = &bias {
            gradients.add_parameter(bias, column_sums(&dy, channels));
        }
        if x.is_tracked() {
            let so_far = gradients.take(&x);
            let so_far = so_far.as_deref();
            gradients.add(&x, depthwise_input_gradient(&dy, &weight_values, dims, so_far));
        }
        if let Some(residual) = &residual {
            gradients.add(residual, dy);
        }
        Ok(())
    }))
}
