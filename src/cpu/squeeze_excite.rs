//! Squeeze-and-excitation: channels are scaled by gates that two linear layers compute from their means.
//!
//! "Squeeze-and-Excitation Networks" (CVPR 2018, arXiv 1709.01507), section 3.

use super::dispatch::{Isa, Kernel, dispatch};
use super::gemm::{Activation, Epilogue, PackedMatrix};
use super::linear::{linear, pack_linear_for};
use super::math::{hard_sigmoid, sigmoid};
use super::parts::{Chunks, for_each_part};
use super::simd::Simd;

/// Positions that a task sums up, or scales.
const TASK_POSITIONS: usize = 128;

/// What makes a channel's factor of the second layer's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `x / 6 + 1 / 2`, between 0 and 1.
    HardSigmoid,
    /// 1 plus `x / 5 + 1 / 2` between 0 and 1: of a squeeze-excite whose result is added to its input.
    ResidualHardSigmoid,
}

impl Gate {
    /// Applies it.
    #[inline(always)]
    fn of<S: Simd>(self, simd: S, x: S::V) -> S::V {
        match self {
            Gate::Sigmoid => sigmoid(simd, x),
            Gate::HardSigmoid => hard_sigmoid(simd, x),
            Gate::ResidualHardSigmoid => {
                let gate = simd.mul_add(x, simd.splat(0.2), simd.splat(0.5));
                let gate = simd.min(simd.max(gate, simd.splat(0.0)), simd.splat(1.0));
                simd.add(gate, simd.splat(1.0))
            }
        }
    }
}

/// The two layers, packed.
#[derive(Debug, Clone)]
pub(crate) struct SqueezeExcite {
    isa: Isa,
    /// From channels to hidden channels; followed by a ReLU.
    fc1: PackedMatrix,
    /// From hidden channels to channels.
    fc2: PackedMatrix,
    gate: Gate,
}

impl SqueezeExcite {
    /// Packs the weights `[hidden, channels]` and `[channels, hidden]`, with their biases.
    ///
    /// # Panics
    /// If the weights do not fit each other.
    pub(crate) fn new(fc1: (&[f32], &[f32]), fc2: (&[f32], &[f32]), gate: Gate) -> Self {
        Self::new_for(Isa::best(), fc1, fc2, gate)
    }

    pub(super) fn new_for(
        isa: Isa,
        fc1: (&[f32], &[f32]),
        fc2: (&[f32], &[f32]),
        gate: Gate,
    ) -> Self {
        let pack = |(weight, bias): (&[f32], &[f32])| {
            let layer = pack_linear_for(isa, weight, bias.len(), Some(bias));
            assert_eq!(weight.len(), layer.k() * layer.n(), "the weight has another size");
            layer
        };
        let (fc1, fc2) = (pack(fc1), pack(fc2));
        assert_eq!((fc1.k(), fc1.n()), (fc2.n(), fc2.k()), "layers that do not fit each other");
        SqueezeExcite { isa, fc1, fc2, gate }
    }

    /// Channels of the input and the output.
    pub(crate) fn channels(&self) -> usize {
        self.fc1.k()
    }
}

/// The images of `positions` tokens in `x`, each channel times `gate(fc2(relu(fc1(means))))`.
pub(crate) fn squeeze_excite(mut x: Vec<f32>, positions: usize, layer: &SqueezeExcite) -> Vec<f32> {
    let channels = layer.channels();
    let hidden =
        linear(&channel_means(&x, positions, channels), &layer.fc1, Activation::Relu.into());
    let mut gates = linear(&hidden, &layer.fc2, Epilogue::Store);
    dispatch(layer.isa, Gates { gate: layer.gate, x: &mut gates });
    scale_channels(&mut x, positions, &gates, channels);
    x
}

/// The means of the channels of each image of `positions` tokens, `[images, channels]`.
pub(super) fn channel_means(x: &[f32], positions: usize, channels: usize) -> Vec<f32> {
    let image_len = positions * channels;
    let images = x.len().checked_div(image_len).unwrap_or(0);
    assert_eq!(x.len(), images * image_len, "the input has no whole images");
    // Sums of some positions each, always the same ones.
    let tasks = positions.div_ceil(TASK_POSITIONS);
    let mut partial = vec![0.0f32; images * tasks * channels];
    for_each_part(Chunks::equal(&mut partial, images * tasks), &|number, sums| {
        let (image, task) = (number / tasks, number % tasks);
        let start = task * TASK_POSITIONS;
        let rows = start..positions.min(start + TASK_POSITIONS);
        let x = &x[image * image_len..][rows.start * channels..rows.end * channels];
        dispatch(Isa::best(), AddRows { x, sums });
    });
    let factor = 1.0 / positions as f32;
    let mut means = vec![0.0f32; images * channels];
    let of_images = partial.chunks_exact((tasks * channels).max(1));
    for (means, partial) in means.chunks_exact_mut(channels.max(1)).zip(of_images) {
        for sums in partial.chunks_exact(channels) {
            means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
        }
        means.iter_mut().for_each(|mean| *mean *= factor);
    }
    means
}

/// Multiplies the channels of each image of `positions` tokens by its `factors`, `[images, channels]`.
pub(super) fn scale_channels(x: &mut [f32], positions: usize, factors: &[f32], channels: usize) {
    let image_len = positions * channels;
    let task_len = TASK_POSITIONS.min(positions) * channels;
    for (image, factors) in
        x.chunks_exact_mut(image_len.max(1)).zip(factors.chunks_exact(channels.max(1)))
    {
        for_each_part(Chunks::new(image, task_len), &|_, rows| {
            dispatch(Isa::best(), ScaleRows { rows, factors });
        });
    }
}

/// Adds rows to their sums. Compiled for the instruction set, the loop over channels is vectors.
struct AddRows<'a> {
    x: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) {
        for row in self.x.chunks_exact(self.sums.len()) {
            self.sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// Multiplies rows by factors. Compiled as above.
struct ScaleRows<'a> {
    rows: &'a mut [f32],
    factors: &'a [f32],
}

impl Kernel for ScaleRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) {
        for row in self.rows.chunks_exact_mut(self.factors.len()) {
            row.iter_mut().zip(self.factors).for_each(|(value, factor)| *value *= factor);
        }
    }
}

/// Replaces numbers by their gates.
pub(super) struct Gates<'a> {
    pub gate: Gate,
    pub x: &'a mut [f32],
}

impl Kernel for Gates<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let (vectors, rest) = S::split_mut(self.x);
        for x in vectors {
            simd.store(self.gate.of(simd, simd.load(x)), x);
        }
        let lanes = simd.lanes(self.gate.of(simd, simd.load_part(rest, 0.0)));
        rest.iter_mut().zip(lanes).for_each(|(x, gate)| *x = gate);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// The definition, in f64.
    pub(in crate::cpu) fn plain(
        x: &[f64],
        positions: usize,
        (weight1, bias1): (&[f64], &[f64]),
        (weight2, bias2): (&[f64], &[f64]),
        gate: Gate,
    ) -> Vec<f64> {
        let channels = bias2.len();
        let layer = |x: &[f64], weight: &[f64], bias: &[f64]| -> Vec<f64> {
            let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
            weight.chunks_exact(x.len()).zip(bias).map(|(row, b)| b + dot(row)).collect()
        };
        let gate = |x: f64| match gate {
            Gate::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Gate::HardSigmoid => (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Gate::ResidualHardSigmoid => 1.0 + (x / 5.0 + 0.5).clamp(0.0, 1.0),
        };
        x.chunks_exact(positions * channels)
            .flat_map(|image| {
                let mean = |c: usize| {
                    image.iter().skip(c).step_by(channels).sum::<f64>() / positions as f64
                };
                let means: Vec<f64> = (0..channels).map(mean).collect();
                let hidden: Vec<f64> =
                    layer(&means, weight1, bias1).into_iter().map(|x| x.max(0.0)).collect();
                let gates: Vec<f64> =
                    layer(&hidden, weight2, bias2).into_iter().map(gate).collect();
                image.iter().enumerate().map(|(i, x)| x * gates[i % channels]).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn equals_the_plain_version() {
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        for (images, positions, channels, hidden) in
            [(1, 1, 1, 1), (2, 35, 12, 3), (1, 300, 96, 24), (3, 128, 19, 5)]
        {
            let x = noise(1, images * positions * channels);
            let (weight1, bias1) = (noise(2, hidden * channels), noise(3, hidden));
            // Gates at both ends of their range, too.
            let weight2: Vec<f32> = noise(4, hidden * channels).iter().map(|x| 9.0 * x).collect();
            let bias2 = noise(5, channels);
            for gate in [Gate::Sigmoid, Gate::HardSigmoid, Gate::ResidualHardSigmoid] {
                let expected = plain(
                    &wide(&x),
                    positions,
                    (&wide(&weight1), &wide(&bias1)),
                    (&wide(&weight2), &wide(&bias2)),
                    gate,
                );
                for isa in Isa::all() {
                    let row = format!("{isa:?}, {images} x {positions} x {channels}, {gate:?}");
                    let (fc1, fc2) = ((&weight1[..], &bias1[..]), (&weight2[..], &bias2[..]));
                    let layer = SqueezeExcite::new_for(isa, fc1, fc2, gate);
                    let found = squeeze_excite(x.clone(), positions, &layer);
                    assert_close(&found, &expected, 1e-5, &row);
                    let image = &x[..positions * channels];
                    let alone = squeeze_excite(image.to_vec(), positions, &layer);
                    assert!(alone == found[..image.len()], "{row}");
                }
            }
        }
    }
}
