//! Batch normalisation over tokens.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::{Tape, with_values};

/// Rows that a task's sums cover.
const BLOCK_ROWS: usize = 2048;

/// What a batch norm normalises with.
pub(crate) enum BatchNormInput {
    /// Mean and variance, `[channels]` each, that are given.
    Given { mean: Vec<f32>, variance: Vec<f32> },
    /// The batch's own.
    Batch,
}

/// A batch norm's result, and the batch's mean and variance (with n) if it took those.
pub(crate) type BatchNormResult = (Tensor, Option<(Vec<f32>, Vec<f32>)>);

/// `(x - mean) / sqrt(variance + eps) * weight + bias` with statistics over all but the last
/// dimension.
pub(crate) fn batch_norm(
    tape: &Tape,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f32,
    input: BatchNormInput,
) -> Result<BatchNormResult> {
    let channels = weight.elem_count();
    let rows = x.elem_count().checked_div(channels).unwrap_or(0);
    let of_batch = matches!(input, BatchNormInput::Batch);
    let (mean, variance) = match input {
        BatchNormInput::Given { mean, variance } => (mean, variance),
        BatchNormInput::Batch => with_values(x, |x| statistics(x, channels))?,
    };
    let factors: Vec<f32> = variance.iter().map(|v| (v + eps).sqrt().recip()).collect();
    let weights = with_values(weight, <[f32]>::to_vec)?;
    let biases = with_values(bias, <[f32]>::to_vec)?;
    let normed = |x: &[f32]| -> Vec<f32> {
        let mut normed = x.to_vec();
        normed.par_chunks_mut((BLOCK_ROWS * channels).max(1)).for_each(|rows| {
            for row in rows.chunks_exact_mut(channels) {
                for (channel, value) in row.iter_mut().enumerate() {
                    *value = (*value - mean[channel]) * factors[channel];
                }
            }
        });
        normed
    };
    let mut y = with_values(x, normed)?;
    y.par_chunks_mut((BLOCK_ROWS * channels).max(1)).for_each(|rows| {
        for row in rows.chunks_exact_mut(channels) {
            for (channel, value) in row.iter_mut().enumerate() {
                *value = *value * weights[channel] + biases[channel];
            }
        }
    });
    let statistics = of_batch.then(|| (mean.clone(), variance));
    let (x, weight, bias) = (x.clone(), weight.clone(), bias.clone());
    let operands = [x.clone(), weight.clone(), bias.clone()];
    let operands = [&operands[0], &operands[1], &operands[2]];
    let y = tape.record(&operands, y, x.shape().clone(), move |mut dy, gradients| {
        let (d_bias, d_weight) = with_values(&x, |x| {
            sums(x, channels, |x, row, channel| {
                let dy = f64::from(dy[row * channels + channel]);
                (dy, dy * f64::from((x - mean[channel]) * factors[channel]))
            })
        })?;
        // With the batch's own statistics, x moves them too.
        let count = rows as f64;
        let own = |sum: &f64| if of_batch { (sum / count) as f32 } else { 0.0 };
        let (shift, slope): (Vec<f32>, Vec<f32>) =
            (d_bias.iter().map(own).collect(), d_weight.iter().map(own).collect());
        with_values(&x, |x| {
            let blocks = dy.par_chunks_mut((BLOCK_ROWS * channels).max(1));
            blocks.zip(x.par_chunks((BLOCK_ROWS * channels).max(1))).for_each(|(dy, x)| {
                for (dy, x) in dy.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    for (channel, (dy, x)) in dy.iter_mut().zip(x).enumerate() {
                        let normed = (x - mean[channel]) * factors[channel];
                        let centred = *dy - shift[channel] - normed * slope[channel];
                        *dy = centred * weights[channel] * factors[channel];
                    }
                }
            });
        })?;
        let rounded = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        gradients.add(&x, dy);
        gradients.add(&weight, rounded(d_weight));
        gradients.add(&bias, rounded(d_bias));
        Ok(())
    })?;
    Ok((y, statistics))
}

/// Mean and variance (with n) of every channel.
fn statistics(x: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let rows = (x.len() / channels.max(1)).max(1) as f64;
    let (totals, _) = sums(x, channels, |x, _, _| (f64::from(x), 0.0));
    let means: Vec<f64> = totals.iter().map(|sum| sum / rows).collect();
    let (squares, _) = sums(x, channels, |x, _, channel| {
        let centred = f64::from(x) - means[channel];
        (centred * centred, 0.0)
    });
    let variance = squares.iter().map(|sum| (sum / rows) as f32).collect();
    (means.into_iter().map(|mean| mean as f32).collect(), variance)
}

/// For every channel the sums over the rows of what `terms` makes of a value, its row and channel.
fn sums(
    x: &[f32],
    channels: usize,
    terms: impl Fn(f32, usize, usize) -> (f64, f64) + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let partial: Vec<(Vec<f64>, Vec<f64>)> = x
        .par_chunks((BLOCK_ROWS * channels).max(1))
        .enumerate()
        .map(|(block, rows)| {
            let (mut first, mut second) = (vec![0.0; channels], vec![0.0; channels]);
            for (row, values) in (block * BLOCK_ROWS..).zip(rows.chunks_exact(channels)) {
                for (channel, &value) in values.iter().enumerate() {
                    let (a, b) = terms(value, row, channel);
                    first[channel] += a;
                    second[channel] += b;
                }
            }
            (first, second)
        })
        .collect();
    let (mut first, mut second) = (vec![0.0; channels], vec![0.0; channels]);
    for (a, b) in partial {
        first.iter_mut().zip(a).for_each(|(sum, value)| *sum += value);
        second.iter_mut().zip(b).for_each(|(sum, value)| *sum += value);
    }
    (first, second)
}
