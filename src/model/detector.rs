//! The network that finds text: PP-OCRv6's detector, a RepViT-like encoder with a feature pyramid and the head
//! of DB (Liao et al., 2020, [arXiv 1911.08947](https://arxiv.org/abs/1911.08947)).
//!
//! The encoder's features on a quarter, an eighth, a sixteenth and a thirty-second of the image's sides are
//! brought to the same channels; coarser ones are added to finer ones; depthwise convolutions with large
//! kernels smooth the sums. All of them side by side lead to the probability of every pixel to be text.
//! Channels are weighed by squeeze-excite with residuals at both places.
//!
//! Parameters have no published names. Transposed convolutions of 2x2 with a stride of 2 are linear layers to
//! four times the channels, in the order of the four pixels.

use serde::{Deserialize, Serialize};

use super::encoder::repvit::{RepVit, RepVitConfig};
use super::layers;
use super::limits::check_dim;
use crate::error::{ConfigError, Result};
use crate::ops::{
    Activation, ConvConfig, ConvShape, Epilogue, Gate, Grid, Layers, MapOps, Padding, Scope,
};

/// Features of so many sizes: blocks halve the grid once less.
const LEVELS: usize = 4;
/// Channels of the pyramid per channel that a level brings to the head.
const SMOOTHED_RATIO: usize = 4;
/// Channels of a squeeze-excite per hidden unit.
const SQUEEZE_RATIO: usize = 4;
/// Pixels of the map for a token of the finest features, down and across.
pub(crate) const MAP_PATCH: usize = 4;
/// Channels of the finest features at most, and of the pyramid; coarser features may have twice as many each. Pages
/// have millions of pixels: a small file could ask for any memory otherwise.
const MAX_FINE_DIM: usize = 256;
/// The largest kernel of the pyramid.
const MAX_KERNEL: usize = 7;

/// The shape of a network that finds text.
///
/// ```
/// use svtrv2::model::DetectorConfig;
///
/// assert_eq!(DetectorConfig::pp_ocr_v6_small().encoder.blocks.len(), 13);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// The encoder: three of its blocks halve rows and columns.
    pub encoder: RepVitConfig,
    /// Channels of the feature pyramid, a multiple of 16.
    pub dim: usize,
    /// Rows and columns of the kernels that smooth the pyramid, an odd number up to 7.
    pub kernel: usize,
}

impl DetectorConfig {
    /// The sides of an image are multiples of this.
    pub const STEP: usize = 32;

    /// PP-OCRv6's small detector.
    pub fn pp_ocr_v6_small() -> Self {
        DetectorConfig { encoder: RepVitConfig::pp_ocr_v6_small_detector(), dim: 96, kernel: 7 }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field, its value and what is permitted.
    pub fn validate(&self) -> Result<()> {
        self.encoder.validate()?;
        check_dim("dim", self.dim)?;
        let fault = |field, detail: String| Err(ConfigError::new(field, detail).into());
        if !self.dim.is_multiple_of(SMOOTHED_RATIO * SQUEEZE_RATIO) {
            return fault("dim", format!("{} is no multiple of 16", self.dim));
        }
        if self.kernel.is_multiple_of(2) || self.kernel > MAX_KERNEL {
            return fault("kernel", format!("{} is not 1, 3, 5 or 7", self.kernel));
        }
        let halving = self.encoder.blocks.iter().filter(|block| block.row_stride == 2);
        if halving.clone().any(|block| block.column_stride != 2) {
            return fault("column_stride", "1 in a detector, where row_stride is 2".to_owned());
        }
        if halving.count() != LEVELS - 1 {
            return fault(
                "row_stride",
                "a detector has three blocks that halve the grid".to_owned(),
            );
        }
        check_page_dim("stem_dim", self.encoder.stem_dim, 0)?;
        check_page_dim("dim", self.dim, 0)?;
        let mut level = 0;
        for block in &self.encoder.blocks {
            level += usize::from(block.row_stride == 2);
            check_page_dim("dim", block.dim, level)?;
        }
        Ok(())
    }

    /// Channels of the features of each level.
    fn level_dims(&self) -> Vec<usize> {
        let mut dims = Vec::with_capacity(LEVELS);
        let mut dim = self.encoder.stem_dim;
        for block in &self.encoder.blocks {
            if block.row_stride == 2 {
                dims.push(dim);
            }
            dim = block.dim;
        }
        dims.push(dim);
        dims
    }
}

/// Checks the channels of features on a grid that was halved `level` times behind the stem.
fn check_page_dim(field: &'static str, dim: usize, level: usize) -> Result<(), ConfigError> {
    let most = MAX_FINE_DIM << level;
    if dim <= most {
        return Ok(());
    }
    Err(ConfigError::new(field, format!("{dim} channels where pages permit {most}")))
}

/// A network that finds text, with layers of type `L`.
pub(crate) struct Detector<L: Layers> {
    encoder: RepVit<L>,
    /// The finest first.
    levels: Vec<Level<L>>,
    mix: L::Conv,
    /// To two by two pixels each.
    up: [L::Linear; 2],
}

/// A level of the pyramid.
struct Level<L: Layers> {
    lateral: L::Linear,
    weigh: L::SqueezeExcite,
    smooth: L::Conv,
    reduce: L::Linear,
    weigh_reduced: L::SqueezeExcite,
}

impl<L: Layers> Level<L> {
    fn new(in_dim: usize, config: &DetectorConfig, scope: &Scope<L::Parameter>) -> Result<Self> {
        let (dim, smoothed) = (config.dim, config.dim / SMOOTHED_RATIO);
        let edge = config.kernel / 2;
        let padding = Padding { top: edge, left: edge, bottom: edge, right: edge };
        let shape = ConvShape { kernel: (config.kernel, config.kernel), stride: (1, 1), padding };
        let squeeze_excite = |dim: usize, name: &str| {
            let gate = Gate::ResidualHardSigmoid;
            layers::squeeze_excite::<L>(dim, dim / SQUEEZE_RATIO, gate, &scope.below(name))
        };
        Ok(Level {
            lateral: layers::linear_without_bias::<L>(in_dim, dim, &scope.below("lateral"))?,
            weigh: squeeze_excite(dim, "lateral_se")?,
            smooth: layers::conv::<L>(ConvConfig::depthwise(dim, shape), &scope.below("smooth"))?,
            reduce: layers::linear_without_bias::<L>(dim, smoothed, &scope.below("reduce"))?,
            weigh_reduced: squeeze_excite(smoothed, "reduce_se")?,
        })
    }
}

impl<L: Layers> Detector<L> {
    /// Builds the network from its parameters.
    pub(crate) fn new(config: &DetectorConfig, parameters: &Scope<L::Parameter>) -> Result<Self> {
        config.validate()?;
        let encoder = RepVit::new(&config.encoder, &parameters.below("encoder"))?;
        let neck = parameters.below("neck");
        let levels = config.level_dims().into_iter().enumerate();
        let levels = levels.map(|(level, dim)| Level::new(dim, config, &neck.below(level)));
        let levels = levels.collect::<Result<Vec<_>>>()?;
        let dim = config.dim / SMOOTHED_RATIO;
        let mix = ConvConfig::dense(LEVELS * dim, dim, ConvShape::new_3x3((1, 1)));
        let head = parameters.below("head");
        Ok(Detector {
            encoder,
            levels,
            mix: layers::conv::<L>(mix, &head.below("mix"))?,
            up: [
                layers::linear::<L>(dim, 4 * dim, &head.below("up.0"))?,
                layers::linear::<L>(dim, 4, &head.below("up.1"))?,
            ],
        })
    }

    /// The logit of every pixel, of images `[batch * grid.positions(), 3]` whose sides are multiples of
    /// [`DetectorConfig::STEP`]: a token of the features on a quarter of the sides after the other, and of each
    /// its 4 x 4 pixels: two by two quarters of two by two pixels, `[tokens * 4, 4]`.
    pub(crate) fn forward<O: MapOps<Layers = L>>(
        &self,
        ops: &O,
        images: O::Tensor,
        grid: Grid,
    ) -> Result<O::Tensor> {
        let features = self.encoder.pyramid(ops, images, grid)?;
        let mut smoothed = Vec::with_capacity(LEVELS);
        let mut above: Option<O::Tensor> = None;
        let mut finest = grid;
        // From the coarsest to the finest.
        for (level, (tokens, grid)) in self.levels.iter().zip(features).rev() {
            let x = ops.linear(&level.lateral, &tokens, Epilogue::Store)?;
            drop(tokens);
            let x = ops.squeeze_excite(&level.weigh, x, grid)?;
            let x = match &above {
                Some(coarse) => ops.add_upsampled(x, coarse, grid, 2)?,
                None => x,
            };
            let y = ops.conv(&level.smooth, &x, grid, Epilogue::Store)?;
            let y = ops.linear(&level.reduce, &y, Epilogue::Store)?;
            smoothed.push(ops.squeeze_excite(&level.weigh_reduced, y, grid)?);
            (above, finest) = (Some(x), grid);
        }
        drop(above);
        let factors = (0..smoothed.len()).rev().map(|level| 1 << level);
        let maps: Vec<(&O::Tensor, usize)> = smoothed.iter().zip(factors).collect();
        let x = ops.concat_upsampled(&maps, finest)?;
        let relu = || Epilogue::Activate(Activation::Relu);
        let x = ops.conv(&self.mix, &x, finest, relu())?;
        let [first, second] = &self.up;
        let x = ops.split_rows(ops.linear(first, &x, relu())?, 4)?;
        ops.linear(second, &x, Epilogue::Store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_field() {
        DetectorConfig::pp_ocr_v6_small().validate().unwrap();
        type Spoil<'a> = &'a dyn Fn(&mut DetectorConfig);
        let cases: [(&str, Spoil); 9] = [
            ("dim", &|c| c.dim = 0),
            ("dim", &|c| c.dim = 24),
            ("kernel", &|c| c.kernel = 4),
            ("kernel", &|c| c.kernel = 9),
            ("column_stride", &|c| c.encoder.blocks[2].column_stride = 1),
            ("row_stride", &|c| c.encoder.blocks.truncate(3)),
            ("stem_dim", &|c| {
                c.encoder.stem_dim = 258;
                c.encoder.blocks[0].squeeze_excite = false;
            }),
            ("dim", &|c| c.dim = 512),
            ("dim", &|c| c.encoder.blocks[12].dim = 2049),
        ];
        for (field, spoil) in cases {
            let mut config = DetectorConfig::pp_ocr_v6_small();
            spoil(&mut config);
            match config.validate() {
                Err(crate::Error::Config(error)) => assert_eq!(error.field, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
