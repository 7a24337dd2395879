//! Batch normalisation over rows and its gradients: only training has it.

use rayon::prelude::*;

/// Rows that a task's sums cover.
const BLOCK_ROWS: usize = 2048;

/// Mean and variance of every channel of a batch.
#[derive(Debug, Clone)]
pub(crate) struct ChannelStatistics {
    pub mean: Vec<f32>,
    /// With n, not n - 1.
    pub variance: Vec<f32>,
}

impl ChannelStatistics {
    /// Those of rows of `channels` values. Sums are taken in f64.
    pub(crate) fn from_rows(x: &[f32], channels: usize) -> Self {
        let rows = (x.len() / channels.max(1)).max(1) as f64;
        let (totals, _) = sums(x, channels, |x, _, _| (f64::from(x), 0.0));
        let means: Vec<f64> = totals.iter().map(|sum| sum / rows).collect();
        let (squares, _) = sums(x, channels, |x, _, channel| {
            let centred = f64::from(x) - means[channel];
            (centred * centred, 0.0)
        });
        let variance = squares.iter().map(|sum| (sum / rows) as f32).collect();
        let mean = means.into_iter().map(|mean| mean as f32).collect();
        ChannelStatistics { mean, variance }
    }

    /// `1 / sqrt(variance + eps)`
    fn factors(&self, eps: f32) -> Vec<f32> {
        self.variance.iter().map(|v| (v + eps).sqrt().recip()).collect()
    }
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` for rows of `weight.len()` channels.
pub(crate) fn batch_norm(
    x: &[f32],
    statistics: &ChannelStatistics,
    weight: &[f32],
    bias: &[f32],
    eps: f32,
) -> Vec<f32> {
    let channels = weight.len();
    let (mean, factors) = (&statistics.mean, statistics.factors(eps));
    let mut y = x.to_vec();
    y.par_chunks_mut((BLOCK_ROWS * channels).max(1)).for_each(|rows| {
        for row in rows.chunks_exact_mut(channels) {
            for (channel, value) in row.iter_mut().enumerate() {
                let normed = (*value - mean[channel]) * factors[channel];
                *value = normed * weight[channel] + bias[channel];
            }
        }
    });
    y
}

/// The gradients for weight and bias of [`batch_norm`].
pub(crate) struct BatchNormGradients {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Turns the gradient `dy` for the result of [`batch_norm`] into that for `x`, and gives those for
/// weight and bias. `batch_statistics` tells whether the statistics are those of `x`, which then moves them
/// too.
pub(crate) fn batch_norm_backward(
    x: &[f32],
    statistics: &ChannelStatistics,
    weight: &[f32],
    eps: f32,
    batch_statistics: bool,
    dy: &mut [f32],
) -> BatchNormGradients {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let channels = weight.len();
    let (mean, factors) = (&statistics.mean, statistics.factors(eps));
    let (d_bias, d_weight) = sums(x, channels, |x, row, channel| {
        let dy = f64::from(dy[row * channels + channel]);
        (dy, dy * f64::from((x - mean[channel]) * factors[channel]))
    });
    let rows = x.len().checked_div(channels).unwrap_or(0) as f64;
    let share = |sum: &f64| if batch_statistics { (sum / rows) as f32 } else { 0.0 };
    let shift: Vec<f32> = d_bias.iter().map(share).collect();
    let slope: Vec<f32> = d_weight.iter().map(share).collect();
    let block = (BLOCK_ROWS * channels).max(1);
    dy.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(dy, x)| {
        for (dy, x) in dy.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for (channel, (dy, x)) in dy.iter_mut().zip(x).enumerate() {
                let normed = (x - mean[channel]) * factors[channel];
                let centred = *dy - shift[channel] - normed * slope[channel];
                *dy = centred * weight[channel] * factors[channel];
            }
        }
    });
    let rounded = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
    BatchNormGradients { weight: rounded(d_weight), bias: rounded(d_bias) }
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

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::*;

    const EPS: f32 = 1e-3;

    /// The definition in f64; `given` statistics or the batch's own.
    fn plain(x: &[f64], weight: &[f64], bias: &[f64], given: Option<(&[f64], &[f64])>) -> Vec<f64> {
        let channels = weight.len();
        let rows = (x.len() / channels) as f64;
        let column = |c: usize| x.iter().skip(c).step_by(channels);
        let mut y = x.to_vec();
        for c in 0..channels {
            let (mean, variance) = match given {
                Some((mean, variance)) => (mean[c], variance[c]),
                None => {
                    let mean = column(c).sum::<f64>() / rows;
                    (mean, column(c).map(|x| (x - mean).powi(2)).sum::<f64>() / rows)
                }
            };
            let factor = (variance + f64::from(EPS)).sqrt().recip();
            let column = y.iter_mut().skip(c).step_by(channels);
            column.for_each(|x| *x = (*x - mean) * factor * weight[c] + bias[c]);
        }
        y
    }

    #[test]
    fn equals_the_plain_version_and_its_differences() {
        let (rows, channels) = (23, 5);
        let (x, dy) = (noise(1, rows * channels), noise(2, rows * channels));
        let (weight, bias) = (noise(3, channels), noise(4, channels));
        let given = ChannelStatistics { mean: noise(5, channels), variance: vec![0.7; channels] };
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (x64, weight64, bias64) = (wide(&x), wide(&weight), wide(&bias));
        let (mean, variance) = (wide(&given.mean), wide(&given.variance));
        for batch_statistics in [true, false] {
            let own = ChannelStatistics::from_rows(&x, channels);
            let statistics = if batch_statistics { &own } else { &given };
            let fixed = (!batch_statistics).then_some((&mean[..], &variance[..]));
            let row = format!("of the batch: {batch_statistics}");
            let y = batch_norm(&x, statistics, &weight, &bias, EPS);
            assert_close(&y, &plain(&x64, &weight64, &bias64, fixed), 1e-6, &row);

            let value = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
                let y = plain(x, weight, bias, fixed);
                y.iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
            };
            let slopes = |x: &[f64], value: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
                let moved = |i: usize, by: f64| {
                    let mut x = x.to_vec();
                    x[i] += by;
                    value(&x)
                };
                (0..x.len()).map(|i| (moved(i, 1e-5) - moved(i, -1e-5)) / 2e-5).collect()
            };
            let mut d_x = dy.clone();
            let found =
                batch_norm_backward(&x, statistics, &weight, EPS, batch_statistics, &mut d_x);
            assert_close(&d_x, &slopes(&x64, &|x| value(x, &weight64, &bias64)), 2e-6, &row);
            let of_weight = slopes(&weight64, &|weight| value(&x64, weight, &bias64));
            assert_close(&found.weight, &of_weight, 5e-6, &row);
            let of_bias = slopes(&bias64, &|bias| value(&x64, &weight64, bias));
            assert_close(&found.bias, &of_bias, 5e-6, &row);
        }
    }
}
