//! 3x3 convolutions over tokens.

use candle_core::{Result, Tensor};

use super::{Tape, with_values};
use crate::cpu::backward::{ConvShape, column_sums, conv_input_gradient, conv_weight_gradient};
use crate::cpu::{self, Epilogue, PackedConv};
use crate::model::layers::{ConvConfig, Grid};

/// A convolution with padding 1, plus `residual` if there is one.
pub(crate) fn conv(
    tape: &Tape,
    x: &Tensor,
    grid: Grid,
    config: ConvConfig,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let ConvConfig { in_dim, out_dim, groups, stride } = config;
    let bias_values = match bias {
        Some(bias) => with_values(bias, <[f32]>::to_vec)?,
        None => vec![0.0; out_dim],
    };
    let packed = with_values(weight, |weight| {
        PackedConv::new(weight, &bias_values, in_dim, groups, stride)
    })?;
    let run =
        |x: &[f32], epilogue: Epilogue| cpu::conv(x, grid.height, grid.width, &packed, epilogue);
    let y = with_values(x, |x| match residual {
        None => Ok(run(x, Epilogue::Store)),
        Some(residual) => with_values(residual, |residual| run(x, Epilogue::Add(residual))),
    })??;
    let out = config.output_grid(grid);
    let result_shape = (x.dim(0)?, out.height * out.width, out_dim);
    let Grid { height, width } = grid;
    let shape = ConvShape { in_dim, out_dim, groups, stride, height, width };
    let (of_x, of_weight) = (tape.tracks(x), tape.tracks(weight));
    let of_bias = bias.filter(|bias| tape.tracks(bias)).cloned();
    let (x, weight, residual) = (x.clone(), weight.clone(), residual.cloned());
    let operands: Vec<Tensor> =
        [&x, &weight].into_iter().chain(&of_bias).chain(&residual).cloned().collect();
    let operands: Vec<&Tensor> = operands.iter().collect();
    tape.record(&operands, y, result_shape, move |dy, gradients| {
        if of_weight {
            gradients.add(&weight, with_values(&x, |x| conv_weight_gradient(x, &dy, shape))?);
        }
        if let Some(bias) = &of_bias {
            gradients.add(bias, column_sums(&dy, out_dim));
        }
        if of_x {
            let so_far = gradients.take(&x);
            let gradient = with_values(&weight, |weight| {
                conv_input_gradient(&dy, weight, shape, so_far.as_deref())
            })?;
            gradients.add(&x, gradient);
        }
        if let Some(residual) = &residual {
            gradients.add(residual, dy);
        }
        Ok(())
    })
}
