//! Pool, blocks and stem of the encoder.

use super::super::graph::ValueId;
use super::super::patterns::{Conv, Padding};
use super::Walk;
use super::necks::is_pointwise;
use crate::error::Result;
use crate::model::RepVitStem;

/// Blocks of an encoder: the largest published one has 15.
const MAX_BLOCKS: usize = 1 << 10;
/// The pool behind the encoder takes so many rows and columns.
const POOL: [i64; 2] = [3, 2];

/// The only change of channels without a stride: in the medium network, whose widths are 128, 256, 512
/// and 768.
const MEDIUM_WIDENING: [usize; 2] = [128, 256];

/// A block as the walk finds it.
pub(super) struct Block {
    depthwise: Conv,
    /// The two layers of the squeeze-excite.
    squeeze_excite: Option<(Conv, Conv)>,
    expand: Conv,
    project: Conv,
    residual: bool,
}

impl Block {
    pub(super) fn input(&self) -> ValueId {
        self.depthwise.input
    }

    /// Channels of the output.
    pub(super) fn dim(&self) -> usize {
        self.project.weight.shape().first().copied().unwrap_or(0)
    }

    pub(super) fn has_squeeze_excite(&self) -> bool {
        self.squeeze_excite.is_some()
    }

    /// Whether it has a stride.
    pub(super) fn halves(&self) -> bool {
        self.depthwise.strides != [1, 1]
    }
}

impl Walk<'_, '_> {
    /// From the pooled features to the graph's input.
    pub(super) fn encoder(&mut self, features: ValueId) -> Result<()> {
        let found =
            self.graph.pool(features, "AveragePool").filter(|(_, kernel, strides, padding)| {
                let valid = *padding == Padding::Zeros([0; 4]);
                *kernel == POOL && *strides == POOL && valid
            });
        let (value, ..) =
            self.find(found, features, "an average pool of 3x2 behind the encoder")?;
        let (blocks, value) = self.blocks(value)?;
        self.put_blocks(blocks);
        self.stem(value)?;
        Ok(())
    }

    /// The blocks that end in a value, the first one first, and the stem's output.
    pub(super) fn blocks(&self, mut value: ValueId) -> Result<(Vec<Block>, ValueId)> {
        let mut blocks = Vec::new();
        while let Some(block) = self.block(value)? {
            if blocks.len() >= MAX_BLOCKS {
                return Err(self.misfit(value, "one of at most 1024 blocks"));
            }
            value = block.input();
            blocks.push(block);
        }
        let what = "a block: a depthwise convolution of 3x3, then two of 1x1 with GELU between";
        self.find((!blocks.is_empty()).then_some(()), value, what)?;
        blocks.reverse();
        Ok((blocks, value))
    }

    pub(super) fn put_blocks(&mut self, blocks: Vec<Block>) {
        for (number, block) in blocks.into_iter().enumerate() {
            self.put_block(&format!("encoder.features.{}", number + 1), block);
        }
    }

    fn put_block(&mut self, name: &str, block: Block) {
        // Only a block that keeps channels and size has branches while it is trained.
        let conv = match block.residual {
            true => format!("{name}.token_mixer.0.conv"),
            false => format!("{name}.token_mixer.0"),
        };
        self.put_conv(&format!("{conv}.c"), &format!("{conv}.bn"), block.depthwise);
        if let Some((fc1, fc2)) = block.squeeze_excite {
            let layer = format!("{name}.token_mixer.1");
            self.put_conv(&format!("{layer}.fc1"), &format!("{layer}.norm1"), fc1);
            self.put_conv(&format!("{layer}.fc2"), &format!("{layer}.norm2"), fc2);
        }
        for (number, conv) in [(0, block.expand), (2, block.project)] {
            let layer = format!("{name}.channel_mixer.m.{number}");
            self.put_conv(&format!("{layer}.c"), &format!("{layer}.bn"), conv);
        }
    }

    /// The block that ends in a value; `None` if the stem ends there.
    fn block(&self, value: ValueId) -> Result<Option<Block>> {
        let graph = self.graph;
        // Channel mixer: with a residual, where the block keeps channels and size.
        let mixer = |value: ValueId| {
            let project = graph.conv(value).filter(is_pointwise)?;
            let expand = graph.conv(graph.gelu(project.input)?).filter(is_pointwise)?;
            Some((expand, project))
        };
        let (expand, project, residual) = match graph.sum(value) {
            Some([a, b]) => {
                let found = [(a, b), (b, a)].into_iter().find_map(|(input, branch)| {
                    mixer(branch).filter(|(expand, _)| expand.input == input)
                });
                let what = "the sum of two 1x1 convolutions with GELU between and their input";
                let (expand, project) = self.find(found, value, what)?;
                (expand, project, true)
            }
            None => match mixer(value) {
                Some((expand, project)) => (expand, project, false),
                None => return Ok(None),
            },
        };
        let mixed = expand.input;
        let (mixed, squeeze_excite) = match graph.product(mixed) {
            Some([a, b]) => {
                let found = [(a, b), (b, a)].into_iter().find_map(|(input, gate)| {
                    let fc2 = graph.conv(graph.hard_sigmoid(gate)?).filter(is_pointwise)?;
                    let fc1 = graph.conv(graph.unary(fc2.input, "Relu")?).filter(is_pointwise)?;
                    (graph.mean(fc1.input)? == input).then_some((input, (fc1, fc2)))
                });
                let what = "a squeeze-excite: mean, 1x1, ReLU, 1x1, hard sigmoid of 1/6";
                let (input, layers) = self.find(found, mixed, what)?;
                (input, Some(layers))
            }
            None => (mixed, None),
        };
        let what = "a depthwise convolution of 3x3, padded by one";
        let depthwise = self.find(graph.conv(mixed).filter(is_depthwise), mixed, what)?;
        let dims = [&depthwise, &project].map(|conv| conv.weight.shape()[0]);
        // Strides do not show in the weights: they are told from the channels when the file is opened.
        let (kept, stride) = match dims {
            [before, behind] if before == behind => (true, [1, 1]),
            MEDIUM_WIDENING => (false, [1, 1]),
            _ => (false, self.halving),
        };
        let what = "a block with a stride of (1, 1) and a residual where the channels stay, and a stride of \
                    (2, 1), in detectors (2, 2), and none where they change";
        let known = kept == residual && depthwise.strides == stride;
        self.find(known.then_some(()), value, what)?;
        Ok(Some(Block { depthwise, squeeze_excite, expand, project, residual }))
    }

    /// Two convolutions with stride 2, between which small and medium networks have two branches; gives the
    /// kind of the stem and the channels of its output.
    pub(super) fn stem(&mut self, value: ValueId) -> Result<(RepVitStem, usize)> {
        let graph = self.graph;
        let dim = |last: &Conv| last.weight.shape().first().copied().unwrap_or(0);
        let what = "the end of the stem: a 1x1 convolution with ReLU, or one of 3x3 with stride 2";
        let (start, stem) = match graph.unary(value, "Relu") {
            Some(value) => {
                let last = self.find(graph.conv(value).filter(is_pointwise), value, what)?;
                let down =
                    self.relu_conv(last.input, is_downsampling, "a 3x3 convolution with stride 2")?;
                let what = "a pooled and a convolved branch, one behind the other";
                let [pooled, convolved] =
                    self.find(graph.concatenation(down.input), down.input, what)?;
                let second =
                    self.relu_conv(convolved, is_two_by_two, "a padded 2x2 convolution")?;
                let first =
                    self.relu_conv(second.input, is_two_by_two, "a padded 2x2 convolution")?;
                let start = first.input;
                let pool =
                    graph.pool(pooled, "MaxPool").filter(|(input, kernel, strides, padding)| {
                        let same =
                            [Padding::SameUpper, Padding::Zeros([0, 0, 1, 1])].contains(padding);
                        *input == start && *kernel == [2, 2] && *strides == [1, 1] && same
                    });
                self.find(pool, pooled, "a padded max pool of 2x2 beside the two convolutions")?;
                let stem = (RepVitStem::Branched, dim(&last));
                self.put_stem(4, last);
                self.put_stem(3, down);
                self.put_stem(2, second);
                self.put_stem(1, first);
                (self.find(graph.unary(start, "Relu"), start, "a ReLU")?, stem)
            }
            None => {
                let last = self.find(graph.conv(value).filter(is_downsampling), value, what)?;
                let start = self.find(graph.gelu(last.input), last.input, "the stem's GELU")?;
                let stem = (RepVitStem::Plain, dim(&last));
                self.put_stem(2, last);
                (start, stem)
            }
        };
        let what = "the first convolution, of 3x3 with stride 2";
        let first = self.find(graph.conv(start).filter(is_downsampling), start, what)?;
        let input = first.input;
        self.put_stem(0, first);
        self.find(graph.is_input(input).then_some(()), input, "the graph's input")?;
        Ok(stem)
    }

    fn put_stem(&mut self, number: usize, conv: Conv) {
        let name = format!("encoder.features.0.{number}");
        self.put_conv(&format!("{name}.c"), &format!("{name}.bn"), conv);
    }

    /// A convolution with ReLU.
    pub(super) fn relu_conv(
        &self,
        value: ValueId,
        is: fn(&Conv) -> bool,
        what: &str,
    ) -> Result<Conv> {
        let conv = self.graph.unary(value, "Relu").and_then(|value| self.graph.conv(value));
        self.find(conv.filter(is), value, what)
    }
}

/// A 3x3 convolution padded by one.
pub(super) fn is_three_by_three(conv: &Conv) -> bool {
    conv.weight.shape()[2..] == [3, 3] && conv.padding == Padding::Zeros([1; 4])
}

/// With a kernel a channel.
fn is_depthwise(conv: &Conv) -> bool {
    let &[channels, 1, ..] = conv.weight.shape() else {
        return false;
    };
    is_three_by_three(conv) && conv.groups == channels as i64
}

fn is_downsampling(conv: &Conv) -> bool {
    is_three_by_three(conv) && conv.groups == 1 && conv.strides == [2, 2]
}

/// A 2x2 convolution that keeps the size: the padding is at the bottom and right.
fn is_two_by_two(conv: &Conv) -> bool {
    let same = [Padding::SameUpper, Padding::Zeros([0, 0, 1, 1])].contains(&conv.padding);
    conv.weight.shape()[2..] == [2, 2] && conv.groups == 1 && conv.strides == [1, 1] && same
}
