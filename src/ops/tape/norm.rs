//! Layer normalisation and batch normalisation.

use candle_core::Tensor;

use super::{Tape, Tracked, values, with_values};
use crate::cpu;
use crate::cpu::backward::{self, ChannelStatistics, batch_norm_backward, layer_norm_backward};
use crate::error::Result;
use crate::ops::candle::{TrainingContext, unbiased};
use crate::ops::{BatchNormParameters, LayerNormParameters};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` for every row.
pub(super) fn layer_norm(
    tape: &Tape,
    layer: &LayerNormParameters<Tensor>,
    x: &Tracked,
) -> Result<Tracked> {
    x.check("layer norm", x.rows(), layer.weight.elem_count())?;
    let LayerNormParameters { weight, bias, .. } = layer.clone();
    let eps = layer.eps as f32;
    let y = with_values(&weight, |weight| {
        with_values(&bias, |bias| cpu::layer_norm(x.values(), weight, bias, eps))
    })??;
    let parameters = weight.is_variable() || bias.is_variable();
    let x = x.clone();
    Ok(tape.record(parameters || x.is_tracked(), y, x.channels, move |dy, gradients| {
        let found =
            with_values(&weight, |weight| layer_norm_backward(x.values(), weight, eps, &dy))?;
        gradients.add(&x, found.input);
        if parameters {
            gradients.add_parameter(&weight, found.weight);
            gradients.add_parameter(&bias, found.bias);
        }
        Ok(())
    }))
}

/// Batch normalisation over the rows.
pub(super) fn batch_norm(
    tape: &Tape,
    layer: &BatchNormParameters<Tensor>,
    x: &Tracked,
    context: &dyn TrainingContext,
) -> Result<Tracked> {
    let channels = layer.weight.elem_count();
    x.check("batch norm", x.rows(), channels)?;
    let BatchNormParameters { weight, bias, .. } = layer.clone();
    let eps = layer.eps as f32;
    let batch_statistics = context.batch_statistics();
    let statistics = if batch_statistics {
        let found = ChannelStatistics::from_rows(x.values(), channels);
        let tensor = |values: &[f32]| Tensor::from_slice(values, channels, weight.device());
        context.found(tensor(&found.mean)?, unbiased(&tensor(&found.variance)?, x.rows())?);
        found
    } else {
        let (mean, variance) = (values(&layer.running_mean)?, values(&layer.running_var)?);
        ChannelStatistics { mean, variance }
    };
    let weights = values(&weight)?;
    let y = backward::batch_norm(x.values(), &statistics, &weights, &values(&bias)?, eps);
    let parameters = weight.is_variable() || bias.is_variable();
    let x = x.clone();
    Ok(tape.record(parameters || x.is_tracked(), y, x.channels, move |mut dy, gradients| {
        let found =
            batch_norm_backward(x.values(), &statistics, &weights, eps, batch_statistics, &mut dy);
        gradients.add(&x, dy);
        if parameters {
            gradients.add_parameter(&weight, found.weight);
            gradients.add_parameter(&bias, found.bias);
        }
        Ok(())
    }))
}
