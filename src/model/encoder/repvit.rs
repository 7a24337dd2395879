//! The RepViT-like encoders: RepSVTR of OpenOCR's mobile model, and that of PP-OCRv6's recognisers
//! (PPLCNetV4).
//!
//! A stem of convolutions leads to a quarter of the height and of the width. Each block then mixes
//! positions with a depthwise 3x3 convolution, weighs channels by squeeze-excite where it has one, and
//! mixes channels with a pointwise MLP (Wang et al., 2024, "RepViT",
//! [arXiv 2307.09283](https://arxiv.org/abs/2307.09283)). The branches that training puts beside the
//! depthwise convolution are folded into it, as batch norms are.
//!
//! Parameters have the names of OpenOCR's checkpoints, `encoder.features.N.*`. PP-OCRv6's have no
//! published ones and take the same.

use serde::{Deserialize, Serialize};

use super::Features;
use crate::error::{ConfigError, Result};
use crate::model::attention::Mlp;
use crate::model::layers;
use crate::model::limits::{MAX_BLOCKS, check_dim};
use crate::ops::{
    Activation, ConvConfig, ConvShape, Epilogue, Gate, Grid, Layers, Ops, Padding, Scope,
};

/// Hidden units of a channel mixer per channel.
const MIXER_RATIO: usize = 2;
/// Channels of a block per hidden unit of its squeeze-excite.
const SQUEEZE_RATIO: usize = 4;

/// The convolutions before the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepVitStem {
    /// Two 3x3 convolutions of stride 2 with a GELU between; half the channels behind the first.
    Plain,
    /// A 3x3 convolution of stride 2; two 2x2 convolutions beside a 2x2 maximum; a 3x3 convolution of
    /// stride 2; a 1x1 convolution. A ReLU behind each. Half the channels in all but the last.
    Branched,
}

/// Which of the two networks the blocks are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepVitKind {
    /// OpenOCR's: a block that changes the grid or the channels does the latter with a 1x1 convolution
    /// of its own, and every channel mixer has a residual. Gates are sigmoids.
    RepSvtr,
    /// PP-OCRv6's: the channel mixer of a block that changes the grid or the channels does the latter
    /// and has no residual. Gates are hard sigmoids.
    PpOcr,
}

/// A block of a RepViT-like encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RepVitBlock {
    /// Channels of its output.
    pub dim: usize,
    /// Whether it has squeeze-excite: only blocks that keep the grid and the channels can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub squeeze_excite: bool,
    /// Rows from one position of the output to the next, 1 or 2.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub row_stride: usize,
    /// Columns from one position of the output to the next: 1 in recognisers, in detectors the same as
    /// `row_stride`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub column_stride: usize,
}

fn one() -> usize {
    1
}

fn is_one(stride: &usize) -> bool {
    *stride == 1
}

impl RepVitBlock {
    fn plain(dim: usize) -> Self {
        RepVitBlock { dim, squeeze_excite: false, row_stride: 1, column_stride: 1 }
    }

    fn squeezed(dim: usize) -> Self {
        RepVitBlock { squeeze_excite: true, ..Self::plain(dim) }
    }

    fn strided(dim: usize) -> Self {
        RepVitBlock { row_stride: 2, ..Self::plain(dim) }
    }
}

/// The shape of a RepViT-like encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepVitConfig {
    /// The kind of the blocks.
    pub kind: RepVitKind,
    /// The convolutions before the blocks.
    pub stem: RepVitStem,
    /// Channels behind the stem; even.
    pub stem_dim: usize,
    /// The blocks in their order.
    pub blocks: Vec<RepVitBlock>,
}

impl RepVitConfig {
    /// OpenOCR's RepSVTR, the encoder of its "mobile" model.
    pub fn rep_svtr() -> Self {
        RepVitConfig {
            kind: RepVitKind::RepSvtr,
            stem: RepVitStem::Plain,
            stem_dim: 96,
            blocks: blocks(&[(96, "+.."), (192, "/+.+.+."), (384, "/+.")]),
        }
    }

    /// The encoder of PP-OCRv6 tiny.
    pub fn pp_ocr_v6_tiny() -> Self {
        RepVitConfig {
            kind: RepVitKind::PpOcr,
            stem: RepVitStem::Plain,
            stem_dim: 48,
            blocks: blocks(&[(48, "+."), (96, "/+."), (160, "/+..")]),
        }
    }

    /// The encoder of PP-OCRv6 small.
    pub fn pp_ocr_v6_small() -> Self {
        RepVitConfig {
            kind: RepVitKind::PpOcr,
            stem: RepVitStem::Branched,
            stem_dim: 96,
            blocks: blocks(&[(96, "+.."), (192, "/+.+.+."), (384, "/+.")]),
        }
    }

    /// The encoder of PP-OCRv6 medium.
    pub fn pp_ocr_v6_medium() -> Self {
        RepVitConfig {
            kind: RepVitKind::PpOcr,
            stem: RepVitStem::Branched,
            stem_dim: 128,
            blocks: blocks(&[(128, "+"), (256, "..+"), (512, "/+.+.+"), (768, "/+.")]),
        }
    }

    /// The encoder of PP-OCRv6's small detector.
    pub fn pp_ocr_v6_small_detector() -> Self {
        let mut blocks = blocks(&[(48, "+."), (96, "/+."), (192, "/+.+."), (384, "/+.")]);
        for block in &mut blocks {
            block.column_stride = block.row_stride;
        }
        RepVitConfig { kind: RepVitKind::PpOcr, stem: RepVitStem::Branched, stem_dim: 48, blocks }
    }

    /// Channels of the output.
    pub(crate) fn feature_dim(&self) -> usize {
        self.blocks.last().map_or(self.stem_dim, |block| block.dim)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_dim("stem_dim", self.stem_dim)?;
        if !self.stem_dim.is_multiple_of(2) {
            return Err(ConfigError::new("stem_dim", format!("{} is odd", self.stem_dim)));
        }
        if self.blocks.len() > MAX_BLOCKS {
            let detail = format!("{} blocks, at most {MAX_BLOCKS}", self.blocks.len());
            return Err(ConfigError::new("blocks", detail));
        }
        let mut dim = self.stem_dim;
        for block in &self.blocks {
            check_dim("dim", block.dim)?;
            if !(1..=2).contains(&block.row_stride) {
                let detail = format!("{} is not 1 or 2", block.row_stride);
                return Err(ConfigError::new("row_stride", detail));
            }
            if block.column_stride != 1 && block.column_stride != block.row_stride {
                let detail = format!("{} is not 1 nor the row stride", block.column_stride);
                return Err(ConfigError::new("column_stride", detail));
            }
            if block.squeeze_excite && block.dim < SQUEEZE_RATIO {
                let detail = format!("{} channels are too few for squeeze-excite", block.dim);
                return Err(ConfigError::new("squeeze_excite", detail));
            }
            if block.squeeze_excite && (block.row_stride, block.dim) != (1, dim) {
                let detail = "a block that changes the grid or the channels has none".to_owned();
                return Err(ConfigError::new("squeeze_excite", detail));
            }
            dim = block.dim;
        }
        let halved = self.blocks.iter().filter(|block| block.row_stride == 2).count();
        if halved > MAX_HALVINGS {
            let detail = format!("{halved} blocks halve the height, at most {MAX_HALVINGS}");
            return Err(ConfigError::new("row_stride", detail));
        }
        Ok(())
    }
}

/// Blocks that halve the height, at most: far beyond the height of any input.
const MAX_HALVINGS: usize = 8;

/// Blocks of one width after the other: `.` a plain one, `+` one with squeeze-excite, `/` a strided one.
fn blocks(widths: &[(usize, &str)]) -> Vec<RepVitBlock> {
    let block = |dim: usize, kind: char| match kind {
        '+' => RepVitBlock::squeezed(dim),
        '/' => RepVitBlock::strided(dim),
        _ => RepVitBlock::plain(dim),
    };
    widths
        .iter()
        .flat_map(|&(dim, kinds)| kinds.chars().map(move |kind| block(dim, kind)))
        .collect()
}

/// A convolution that is followed by an activation.
struct Conv<L: Layers> {
    conv: L::Conv,
    config: ConvConfig,
}

impl<L: Layers> Conv<L> {
    fn new(config: ConvConfig, scope: &Scope<L::Parameter>) -> Result<Self> {
        Ok(Conv { conv: layers::conv::<L>(config, scope)?, config })
    }

    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: &O::Tensor,
        grid: Grid,
        then: Epilogue<O::Tensor>,
    ) -> Result<(O::Tensor, Grid)> {
        Ok((ops.conv(&self.conv, x, grid, then)?, self.config.output_grid(grid)))
    }
}

/// What the names of the stem's parameters start with. In int8 it computes in f32: it has a tenth of the
/// network's multiplications, and errors of its numbers, whose ranges are wide, reach everything behind
/// (measured: they cost PP-OCRv6 small four words of a hundred).
pub(super) const STEM_SCOPE: &str = "encoder.features.0.";

const RELU: Activation = Activation::Relu;

enum Stem<L: Layers> {
    Plain([Conv<L>; 2]),
    Branched { first: Conv<L>, branch: [Conv<L>; 2], second: Conv<L>, last: L::Linear },
}

impl<L: Layers> Stem<L> {
    fn new(config: &RepVitConfig, scope: &Scope<L::Parameter>) -> Result<Self> {
        let (dim, half) = (config.stem_dim, config.stem_dim / 2);
        let conv = |index: usize, in_dim: usize, out_dim: usize, shape: ConvShape| {
            Conv::new(ConvConfig::dense(in_dim, out_dim, shape), &scope.below(index).below("c"))
        };
        let halving = ConvShape::new_3x3((2, 2));
        let padding = Padding { top: 0, left: 0, bottom: 1, right: 1 };
        let two = ConvShape { kernel: (2, 2), stride: (1, 1), padding };
        Ok(match config.stem {
            RepVitStem::Plain => {
                Stem::Plain([conv(0, 3, half, halving)?, conv(2, half, dim, halving)?])
            }
            RepVitStem::Branched => Stem::Branched {
                first: conv(0, 3, half, halving)?,
                branch: [conv(1, half, half / 2, two)?, conv(2, half / 2, half, two)?],
                second: conv(3, 2 * half, half, halving)?,
                last: layers::linear::<L>(half, dim, &scope.below(4).below("c"))?,
            },
        })
    }

    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
    ) -> Result<(O::Tensor, Grid)> {
        match self {
            Stem::Plain([first, second]) => {
                let gelu = Epilogue::Activate(Activation::Gelu);
                let (x, grid) = first.forward(ops, &images, grid, gelu)?;
                second.forward(ops, &x, grid, Epilogue::Store)
            }
            Stem::Branched { first, branch: [narrow, wide], second, last } => {
                let relu = || Epilogue::Activate(RELU);
                let (x, grid) = first.forward(ops, &images, grid, relu())?;
                let (y, _) = narrow.forward(ops, &x, grid, relu())?;
                let (y, _) = wide.forward(ops, &y, grid, relu())?;
                let x = ops.concat(&ops.max_pool(&x, grid, (2, 2))?, &y)?;
                let (x, grid) = second.forward(ops, &x, grid, relu())?;
                Ok((ops.linear(last, &x, relu())?, grid))
            }
        }
    }
}

/// What brings a block to its channels, or adds to what it has.
enum ChannelMixer<L: Layers> {
    /// `x + mlp(x)`
    Residual(Mlp<L>),
    /// `mlp(x)`, to other channels.
    Plain(Mlp<L>),
}

/// A block: depthwise convolution, squeeze-excite, channel mixer.
struct Block<L: Layers> {
    depthwise: Conv<L>,
    /// A 1x1 convolution to other channels.
    pointwise: Option<L::Linear>,
    squeeze_excite: Option<L::SqueezeExcite>,
    mixer: ChannelMixer<L>,
    /// Where it stands among all blocks, from 0 (first) to 1 (last).
    depth: f64,
}

impl<L: Layers> Block<L> {
    fn new(
        kind: RepVitKind,
        in_dim: usize,
        block: &RepVitBlock,
        depth: f64,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let RepVitBlock { dim, squeeze_excite, row_stride, column_stride } = *block;
        let token_mixer = scope.below("token_mixer");
        let shape = ConvShape::new_3x3((row_stride, column_stride));
        // A block that keeps grid and channels was trained with branches beside its convolution.
        let keeps = row_stride == 1 && in_dim == dim;
        let name = if keeps { "conv.c" } else { "c" };
        let depthwise = ConvConfig::depthwise(in_dim, shape);
        let depthwise = Conv::new(depthwise, &token_mixer.below(0).below(name))?;
        let separate = kind == RepVitKind::RepSvtr && !keeps;
        let pointwise = separate
            .then(|| layers::linear::<L>(in_dim, dim, &token_mixer.below(2).below("c")))
            .transpose()?;
        let mixed = if separate { dim } else { in_dim };
        let gate = match kind {
            RepVitKind::RepSvtr => Gate::Sigmoid,
            RepVitKind::PpOcr => Gate::HardSigmoid,
        };
        let squeeze_excite = squeeze_excite
            .then(|| {
                let hidden = (mixed / SQUEEZE_RATIO).max(1);
                layers::squeeze_excite::<L>(mixed, hidden, gate, &token_mixer.below(1))
            })
            .transpose()?;
        let scope = scope.below("channel_mixer.m");
        let names = [scope.below("0.c"), scope.below("2.c")];
        let mlp = Mlp::named(mixed, MIXER_RATIO * mixed, dim, Activation::Gelu, &names)?;
        let residual = keeps || separate;
        let mixer = if residual { ChannelMixer::Residual(mlp) } else { ChannelMixer::Plain(mlp) };
        Ok(Block { depthwise, pointwise, squeeze_excite, mixer, depth })
    }

    /// Whether it changes the grid.
    fn halves(&self) -> bool {
        self.depthwise.config.shape.stride != (1, 1)
    }

    fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        x: O::Tensor,
        grid: Grid,
    ) -> Result<(O::Tensor, Grid)> {
        let (mut x, grid) = self.depthwise.forward(ops, &x, grid, Epilogue::Store)?;
        if let Some(layer) = &self.squeeze_excite {
            x = ops.squeeze_excite(layer, x, grid)?;
        }
        if let Some(layer) = &self.pointwise {
            x = ops.linear(layer, &x, Epilogue::Store)?;
        }
        let x = match &self.mixer {
            ChannelMixer::Residual(mlp) => mlp.forward_add(ops, &x, &x, self.depth)?,
            ChannelMixer::Plain(mlp) => mlp.forward(ops, &x)?,
        };
        Ok((x, grid))
    }
}

/// A RepViT-like encoder: images `[batch * height * width, 3]` to features on a quarter of the width.
pub(in crate::model) struct RepVit<L: Layers> {
    stem: Stem<L>,
    blocks: Vec<Block<L>>,
}

impl<L: Layers> RepVit<L> {
    pub(in crate::model) fn new(
        config: &RepVitConfig,
        scope: &Scope<L::Parameter>,
    ) -> Result<Self> {
        let scope = scope.below("features");
        let stem = Stem::new(config, &scope.below(0))?;
        let mut in_dim = config.stem_dim;
        let last = config.blocks.len().saturating_sub(1).max(1);
        let mut blocks = Vec::with_capacity(config.blocks.len());
        for (index, block) in config.blocks.iter().enumerate() {
            let depth = index as f64 / last as f64;
            let scope = scope.below(index + 1);
            blocks.push(Block::new(config.kind, in_dim, block, depth, &scope)?);
            in_dim = block.dim;
        }
        Ok(RepVit { stem, blocks })
    }

    pub(in crate::model) fn forward<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
    ) -> Result<Features<O::Tensor>> {
        let (mut tokens, mut grid) = self.stem.forward(ops, images, grid)?;
        for block in &self.blocks {
            (tokens, grid) = block.forward(ops, tokens, grid)?;
        }
        Ok(Features { tokens, grid, map: None })
    }

    /// The features in front of every block that changes the grid, and those at the end, the finest first.
    pub(in crate::model) fn pyramid<O: Ops<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
    ) -> Result<Vec<(O::Tensor, Grid)>> {
        let (mut tokens, mut grid) = self.stem.forward(ops, images, grid)?;
        let mut levels = Vec::new();
        for block in &self.blocks {
            let before = block.halves().then(|| (tokens.clone(), grid));
            levels.extend(before);
            (tokens, grid) = block.forward(ops, tokens, grid)?;
        }
        levels.push((tokens, grid));
        Ok(levels)
    }
}
