//! Gradients of squeeze-and-excitation. Means, hidden channels and gates are computed anew: they are a
//! small share of the work.

use super::super::dispatch::{Isa, dispatch};
use super::super::gemm::{Activation, Epilogue};
use super::super::parts::{Chunks, for_each_part};
use super::super::squeeze_excite::{Gate, Gates, channel_means, scale_channels};
use super::linear::{column_sums, linear_forward, linear_input_gradient, linear_weight_gradient};
use super::products::Products;

/// The weights `[hidden, channels]` and `[channels, hidden]`, with their biases.
#[derive(Clone, Copy)]
pub(crate) struct SqueezeExciteWeights<'a> {
    pub fc1: (&'a [f32], &'a [f32]),
    pub fc2: (&'a [f32], &'a [f32]),
    pub gate: Gate,
}

/// What [`squeeze_excite_backward`] finds.
pub(crate) struct SqueezeExciteGradients {
    /// For the input.
    pub input: Vec<f32>,
    /// For the first layer's weight and bias.
    pub fc1: (Vec<f32>, Vec<f32>),
    /// For the second layer's weight and bias.
    pub fc2: (Vec<f32>, Vec<f32>),
}

/// What comes out between an input and its gates.
struct Intermediate {
    means: Vec<f32>,
    hidden: Vec<f32>,
    gates: Vec<f32>,
}

impl SqueezeExciteWeights<'_> {
    fn channels(&self) -> usize {
        self.fc2.1.len()
    }

    fn intermediate(&self, x: &[f32], positions: usize) -> Intermediate {
        let SqueezeExciteWeights { fc1, fc2, gate } = *self;
        let means = channel_means(x, positions, self.channels());
        let layer = |x: &[f32], (weight, bias): (&[f32], &[f32]), epilogue| {
            linear_forward(Products::f32(), x, weight, bias.len(), Some(bias), epilogue)
        };
        let hidden = layer(&means, fc1, Activation::Relu.into());
        let mut gates = layer(&hidden, fc2, Epilogue::Store);
        dispatch(Isa::best(), Gates { gate, x: &mut gates });
        Intermediate { means, hidden, gates }
    }
}

/// `squeeze_excite` in training: the weights are packed anew.
pub(crate) fn squeeze_excite_forward(
    x: &[f32],
    positions: usize,
    weights: SqueezeExciteWeights,
) -> Vec<f32> {
    let mut y = x.to_vec();
    let gates = weights.intermediate(x, positions).gates;
    scale_channels(&mut y, positions, &gates, weights.channels());
    y
}

/// The gradients of [`squeeze_excite_forward`] from that for its result.
pub(crate) fn squeeze_excite_backward(
    x: &[f32],
    positions: usize,
    weights: SqueezeExciteWeights,
    mut dy: Vec<f32>,
) -> SqueezeExciteGradients {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let SqueezeExciteWeights { fc1, fc2, gate } = weights;
    let (channels, hidden_dim) = (weights.channels(), fc1.1.len());
    let Intermediate { means, hidden, gates } = weights.intermediate(x, positions);
    let products = Products::f32();

    let mut d_out = channel_dots(x, &dy, positions, channels);
    for (d, &y) in d_out.iter_mut().zip(&gates) {
        *d *= match gate {
            Gate::Sigmoid => y * (1.0 - y),
            Gate::HardSigmoid if y > 0.0 && y < 1.0 => 1.0 / 6.0,
            Gate::ResidualHardSigmoid if y > 1.0 && y < 2.0 => 1.0 / 5.0,
            Gate::HardSigmoid | Gate::ResidualHardSigmoid => 0.0,
        };
    }
    let of_fc2 = (
        linear_weight_gradient(products, &hidden, &d_out, hidden_dim, channels),
        column_sums(&d_out, channels),
    );
    let mut d_hidden = linear_input_gradient(products, &d_out, fc2.0, channels, None);
    for (d, &y) in d_hidden.iter_mut().zip(&hidden) {
        *d = if y > 0.0 { *d } else { 0.0 };
    }
    let of_fc1 = (
        linear_weight_gradient(products, &means, &d_hidden, channels, hidden_dim),
        column_sums(&d_hidden, hidden_dim),
    );
    let d_means = linear_input_gradient(products, &d_hidden, fc1.0, hidden_dim, None);

    scale_channels(&mut dy, positions, &gates, channels);
    let images = d_means.len().checked_div(channels).unwrap_or(0);
    let share = 1.0 / positions as f32;
    for_each_part(Chunks::equal(&mut dy, images), &|image, dx| {
        let d_means = &d_means[image * channels..][..channels];
        for row in dx.chunks_exact_mut(channels) {
            row.iter_mut().zip(d_means).for_each(|(dx, d_mean)| *dx += d_mean * share);
        }
    });
    SqueezeExciteGradients { input: dy, fc1: of_fc1, fc2: of_fc2 }
}

/// The sums over the positions of each image of the products of two inputs, `[images, channels]`.
fn channel_dots(a: &[f32], b: &[f32], positions: usize, channels: usize) -> Vec<f32> {
    let len = positions * channels;
    let images = a.len().checked_div(len).unwrap_or(0);
    let mut dots = vec![0.0; images * channels];
    for_each_part(Chunks::equal(&mut dots, images), &|image, dots| {
        let image = image * len..(image + 1) * len;
        let rows = a[image.clone()].chunks_exact(channels).zip(b[image].chunks_exact(channels));
        for (a, b) in rows {
            dots.iter_mut().zip(a).zip(b).for_each(|((dot, a), b)| *dot += a * b);
        }
    });
    dots
}

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::super::super::squeeze_excite::tests::plain;
    use super::*;

    #[test]
    fn equals_the_differences_of_the_plain_version() {
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        for (images, positions, channels, hidden) in [(1, 1, 2, 1), (2, 5, 7, 3), (2, 9, 12, 3)] {
            for gate in [Gate::Sigmoid, Gate::HardSigmoid, Gate::ResidualHardSigmoid] {
                let row = format!("{images} x {positions} x {channels}, {gate:?}");
                let x = noise(1, images * positions * channels);
                let (weight1, bias1) = (noise(2, hidden * channels), noise(3, hidden));
                let weight2: Vec<f32> =
                    noise(4, hidden * channels).iter().map(|x| 4.0 * x).collect();
                let bias2 = noise(5, channels);
                let dy = noise(6, x.len());
                let fixed = [&x, &weight1, &bias1, &weight2, &bias2].map(|values| wide(values));
                let value = |moved: usize, values: &[f64]| -> f64 {
                    let [x, weight1, bias1, weight2, bias2]: [&[f64]; 5] =
                        std::array::from_fn(|i| if i == moved { values } else { &fixed[i] });
                    let y = plain(x, positions, (weight1, bias1), (weight2, bias2), gate);
                    y.iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
                };
                let slopes = |moved: usize| -> Vec<f64> {
                    let at = |i: usize, by: f64| {
                        let mut values = fixed[moved].clone();
                        values[i] += by;
                        value(moved, &values)
                    };
                    (0..fixed[moved].len()).map(|i| (at(i, 1e-6) - at(i, -1e-6)) / 2e-6).collect()
                };
                let weights =
                    SqueezeExciteWeights { fc1: (&weight1, &bias1), fc2: (&weight2, &bias2), gate };
                let y = squeeze_excite_forward(&x, positions, weights);
                let expected = plain(
                    &fixed[0],
                    positions,
                    (&fixed[1], &fixed[2]),
                    (&fixed[3], &fixed[4]),
                    gate,
                );
                assert_close(&y, &expected, 1e-5, &row);
                let found = squeeze_excite_backward(&x, positions, weights, dy.clone());
                let all = [&found.input, &found.fc1.0, &found.fc1.1, &found.fc2.0, &found.fc2.1];
                for (i, found) in all.into_iter().enumerate() {
                    assert_close(found, &slopes(i), 2e-5, &format!("{row}, {i}"));
                }
            }
        }
    }
}
