//! PP-OCRv6's detectors: two transposed convolutions, the pyramid, the encoder.

use super::super::super::tensor::StoredTensor;
use super::super::graph::ValueId;
use super::super::patterns::{Conv, Padding};
use super::Walk;
use super::blocks::is_three_by_three;
use super::necks::is_pointwise;
use crate::error::Result;
use crate::model::{DetectorConfig, RepVitBlock, RepVitConfig, RepVitKind};

/// Levels of the pyramid.
const LEVELS: usize = 4;
/// The slope of the pyramid's hard sigmoids.
const SLOPE: f32 = 0.2;

impl Walk<'_, '_> {
    /// From the output to the input.
    pub(super) fn detector(&mut self) -> Result<DetectorConfig> {
        let graph = self.graph;
        let output = graph.same(graph.output());
        let logits = graph.unary(output, "Sigmoid").unwrap_or(output);
        let value = self.put_transposed(logits, "head.up.1")?;
        let value = self.find(graph.unary(value, "Relu"), value, "a ReLU")?;
        let value = self.put_transposed(value, "head.up.0")?;
        let what = "a 3x3 convolution with ReLU";
        let mix =
            self.relu_conv(value, |conv| is_three_by_three(conv) && conv.strides == [1, 1], what)?;
        let joined = mix.input;
        self.put_conv("head.mix", "", mix);
        let parts = graph.concatenated(joined);
        let what = "four maps of the pyramid side by side";
        let parts: [ValueId; LEVELS] =
            self.find(parts.and_then(|parts| parts.try_into().ok()), joined, what)?;

        // The coarsest first. What the sums of the levels begin with, and the features that they come from.
        let mut features = [None; LEVELS];
        let (mut above, mut dim, mut kernel) = (None, 0, 0);
        for (index, part) in parts.into_iter().enumerate() {
            let level = LEVELS - 1 - index;
            let factor = 1 << level;
            let map = match factor {
                1 => part,
                _ => self.find(
                    graph.repeated(part, factor),
                    part,
                    "a map repeated to the finest one's size",
                )?,
            };
            let name = format!("neck.{level}");
            let reduce = self.weighed(map, &name, "reduce")?;
            let what = "a depthwise convolution that keeps the size";
            let smooth = self.find(graph.conv(reduce).filter(is_smoothing), reduce, what)?;
            let sum = smooth.input;
            let [channels, _, rows, _] = smooth.weight.shape()[..] else {
                return Err(self.misfit(reduce, what));
            };
            (dim, kernel) = (channels, rows);
            self.put_conv(&format!("{name}.smooth"), "", smooth);
            let lateral = match above {
                None => sum,
                Some(above) => {
                    let what = "a level of the pyramid with the coarser one added";
                    let operands = self.find(graph.sum(sum), sum, what)?;
                    let [a, b] = operands;
                    let found = [(a, b), (b, a)].into_iter().find_map(|(own, coarse)| {
                        (graph.repeated(coarse, 2)? == above).then_some(own)
                    });
                    self.find(found, sum, what)?
                }
            };
            above = Some(sum);
            features[level] = Some(self.weighed(lateral, &name, "lateral")?);
        }
        let [Some(finest), Some(second), Some(third), Some(coarsest)] = features else {
            return Err(self.misfit(joined, "four levels"));
        };
        let encoder = self.detector_encoder([finest, second, third, coarsest])?;
        Ok(DetectorConfig { encoder, dim, kernel })
    }

    /// A 1x1 convolution without bias whose channels are weighed, with a residual; gives its input.
    fn weighed(&mut self, value: ValueId, name: &str, layer: &str) -> Result<ValueId> {
        let graph = self.graph;
        let found = graph.sum(value).and_then(|[a, b]| {
            [(a, b), (b, a)].into_iter().find_map(|(input, product)| {
                let [x, y] = graph.product(product)?;
                let gate = if x == input {
                    y
                } else if y == input {
                    x
                } else {
                    return None;
                };
                let fc2 = graph.conv(graph.hard_sigmoid_of(gate, SLOPE)?).filter(is_pointwise)?;
                let fc1 = graph.conv(graph.unary(fc2.input, "Relu")?).filter(is_pointwise)?;
                (graph.mean(fc1.input)? == input).then_some((input, fc1, fc2))
            })
        });
        let what = "a squeeze-excite with a residual: mean, 1x1, ReLU, 1x1, hard sigmoid of 0.2";
        let (input, fc1, fc2) = self.find(found, value, what)?;
        self.put_conv(&format!("{name}.{layer}_se.fc1"), "", fc1);
        self.put_conv(&format!("{name}.{layer}_se.fc2"), "", fc2);
        let plain = graph.conv(input).filter(|conv| is_pointwise(conv) && conv.bias.is_none());
        let conv = self.find(plain, input, "a 1x1 convolution without bias")?;
        let features = conv.input;
        self.put_conv(&format!("{name}.{layer}"), "", conv);
        Ok(features)
    }

    /// A transposed convolution as a linear layer to four pixels; gives its input.
    fn put_transposed(&mut self, value: ValueId, name: &str) -> Result<ValueId> {
        let what = "a transposed convolution of 2x2 with a stride of 2 and a bias";
        let (input, weight, bias) = self.find(self.graph.transposed_conv(value), value, what)?;
        let &[in_dim, out_dim, 2, 2] = weight.shape() else {
            return Err(self.misfit(value, what));
        };
        let (weight, bias) = (weight.values(name)?, bias.values(name)?);
        if bias.len() != out_dim {
            return Err(self.misfit(value, what));
        }
        let mut rows = Vec::with_capacity(weight.len());
        for pixel in 0..4 {
            for output in 0..out_dim {
                rows.extend(
                    (0..in_dim).map(|input| weight[(input * out_dim + output) * 4 + pixel]),
                );
            }
        }
        self.put(name, "weight", StoredTensor::computed(rows, vec![4 * out_dim, in_dim]));
        self.put(name, "bias", StoredTensor::computed(bias.repeat(4), vec![4 * out_dim]));
        Ok(input)
    }

    /// From the features of every level, the finest first, to the input.
    fn detector_encoder(&mut self, features: [ValueId; LEVELS]) -> Result<RepVitConfig> {
        let [.., coarsest] = features;
        let (blocks, stem) = self.blocks(coarsest)?;
        // Features of finer levels are what the blocks that halve the grid begin with.
        let halving = blocks.iter().filter(|block| block.halves()).map(|block| block.input());
        let expected = features[..LEVELS - 1].iter().map(|&value| self.graph.same(value));
        let in_front = halving.clone().eq(expected).then_some(());
        self.find(
            in_front,
            coarsest,
            "behind three blocks that halve the grid, each at a level's features",
        )?;
        let config = blocks.iter().map(|block| RepVitBlock {
            dim: block.dim(),
            squeeze_excite: block.has_squeeze_excite(),
            row_stride: if block.halves() { 2 } else { 1 },
            column_stride: if block.halves() { 2 } else { 1 },
        });
        let config: Vec<RepVitBlock> = config.collect();
        self.put_blocks(blocks);
        let (stem, stem_dim) = self.stem(stem)?;
        Ok(RepVitConfig { kind: RepVitKind::PpOcr, stem, stem_dim, blocks: config })
    }
}

/// A depthwise convolution of an odd kernel that keeps the size.
fn is_smoothing(conv: &Conv) -> bool {
    let &[channels, 1, rows, columns] = conv.weight.shape() else {
        return false;
    };
    let edge = (rows / 2) as i64;
    rows == columns
        && rows % 2 == 1
        && conv.groups == channels as i64
        && conv.strides == [1, 1]
        && [Padding::SameUpper, Padding::Zeros([edge; 4])].contains(&conv.padding)
}
