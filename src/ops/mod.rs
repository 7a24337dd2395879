//! The operations that the network is written in, and what computes them.
//!
//! [`Ops`] has one method an operation, on tensors of its own type; [`Layers`] has one type a kind
//! of layer: its parameters, prepared (packed, folded, quantised). The network in `model` is
//! generic over both and names no implementation:
//!
//! | implementation | computes on | gradients |
//! |---|---|---|
//! | [`native`] | CPU, f32, packed parameters | none |
//! | [`int8`] | CPU, linear layers and convolutions in int8 | none |
//! | [`observed`] | as [`native`], and the inputs of layers are observed | none |
//! | `candle` (feature `candle`) | any device, f32, f16 or bf16 | candle's; the oracle of the others |
//! | `tape` (feature `train`) | CPU, f32 | hand-written |
//!
//! A tensor holds *tokens*: rows of channels, one row a position of an image, image after image
//! and row after row of its [`Grid`]. Linear layers and norms take each row by itself; operations
//! that mix positions are told the grid or the length of a sequence.

#[cfg(feature = "candle")]
pub(crate) mod candle;
pub(crate) mod int8;
pub(crate) mod native;
pub(crate) mod observed;
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "training reads all of it"))]
mod parameters;
pub(crate) mod quantized;
#[cfg(feature = "train")]
pub(crate) mod tape;

use crate::cpu::{self, ActivationBits};
use crate::error::{ComputeError, Result};

pub(crate) use crate::cpu::{Activation, ConvShape, Gate, MAP_REACH, Padding};
pub(crate) use parameters::{
    BatchNormParameters, ConvParameters, Init, LayerNormParameters, Layers, LinearParameters,
    ParameterSource, Scope, SqueezeExciteParameters, VerticalAttentionParameters,
};

/// Columns of an attention map: [`MAP_REACH`] to either side of a token's column, and its own.
pub(crate) const MAP_WIDTH: usize = 2 * MAP_REACH + 1;

/// The rows and columns that the tokens of an image stand on, row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub height: usize,
    pub width: usize,
}

impl Grid {
    /// Tokens of an image.
    pub(crate) fn positions(self) -> usize {
        self.height * self.width
    }

    /// The grid of windows of `window` rows and columns side by side, without what is left over.
    pub(crate) fn pooled(self, window: (usize, usize)) -> Self {
        Grid { height: self.height / window.0, width: self.width / window.1 }
    }

    /// The batch and the grid of `values` values of images `[batch, 3, height, width]`.
    pub(crate) fn from_images(shape: &[usize], values: usize) -> Result<(usize, Self)> {
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if let (&[batch, 3, height, width], 1..) = (shape, values)
            && count == Some(values)
        {
            return Ok((batch, Grid { height, width }));
        }
        Err(ComputeError::Images { shape: shape.to_vec(), values }.into())
    }
}

/// Channels and shape of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvConfig {
    /// Input channels.
    pub in_dim: usize,
    /// Output channels.
    pub out_dim: usize,
    /// Groups that the channels are split into.
    pub groups: usize,
    /// Kernel, stride and padding.
    pub shape: ConvShape,
}

impl ConvConfig {
    /// A convolution of all channels.
    pub(crate) fn dense(in_dim: usize, out_dim: usize, shape: ConvShape) -> Self {
        ConvConfig { in_dim, out_dim, groups: 1, shape }
    }

    /// A convolution of every channel by itself.
    pub(crate) fn depthwise(dim: usize, shape: ConvShape) -> Self {
        ConvConfig { in_dim: dim, out_dim: dim, groups: dim, shape }
    }

    /// Whether every channel is convolved by itself.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_dim && self.groups == self.out_dim
    }

    /// Whether int8 inference computes it in int8: the channels of a group make whole words, and the sums
    /// of their products fit.
    pub(crate) fn fits_int8(&self, input: ActivationBits) -> bool {
        let channels = self.in_dim / self.groups;
        channels.is_multiple_of(cpu::INT8_CHANNELS)
            && channels <= input.most_products() / self.shape.taps()
    }

    /// The shape of the weight, `[out, in / groups, rows, columns]`.
    pub(crate) fn weight_shape(&self) -> [usize; 4] {
        let (rows, columns) = self.shape.kernel;
        [self.out_dim, self.in_dim / self.groups, rows, columns]
    }

    /// The grid of the output for an input on `grid`.
    pub(crate) fn output_grid(&self, grid: Grid) -> Grid {
        let (height, width) = self.shape.output_grid(grid.height, grid.width);
        Grid { height, width }
    }
}

/// What becomes of the result `y` of a linear layer or a convolution.
pub(crate) enum Epilogue<'a, T> {
    /// `y`
    Store,
    /// A function of `y`.
    Activate(Activation),
    /// `residual + y`. In training `y` is subject to stochastic depth.
    Add {
        residual: &'a T,
        /// Where the block stands among all, from 0 (first) to 1 (last): its rate of stochastic
        /// depth is this share of the last block's. 0 turns it off.
        #[cfg_attr(not(feature = "candle"), allow(dead_code, reason = "for training"))]
        depth: f64,
    },
}

impl<'a, T> Epilogue<'a, T> {
    /// Adds what there is to add.
    pub(crate) fn add(residual: Option<&'a T>, depth: f64) -> Self {
        residual.map_or(Epilogue::Store, |residual| Epilogue::Add { residual, depth })
    }
}

/// An implementation of the operations.
///
/// In the shapes below, `rows` are the tokens of all images: `batch * grid.positions()`.
pub(crate) trait Ops {
    /// The prepared parameters that it computes with.
    type Layers: Layers;
    /// Tokens `[rows, channels]`.
    type Tensor: Clone;

    /// `epilogue(x W^T + b)`: `[rows, in]` to `[rows, out]`.
    fn linear(
        &self,
        layer: &<Self::Layers as Layers>::Linear,
        x: &Self::Tensor,
        epilogue: Epilogue<Self::Tensor>,
    ) -> Result<Self::Tensor>;

    /// `fc2(activation(fc1(x)))`, plus `residual` if there is one, all `[rows, channels]`, with
    /// stochastic depth at `depth` as in [`Epilogue::Add`].
    fn mlp(
        &self,
        fc1: &<Self::Layers as Layers>::Linear,
        activation: Activation,
        fc2: &<Self::Layers as Layers>::Linear,
        x: &Self::Tensor,
        residual: Option<&Self::Tensor>,
        depth: f64,
    ) -> Result<Self::Tensor>;

    /// `epilogue(conv(x) + b)`: `[rows, in]` on `grid` to `[rows', out]` on the grid of
    /// [`ConvConfig::output_grid`].
    fn conv(
        &self,
        layer: &<Self::Layers as Layers>::Conv,
        x: &Self::Tensor,
        grid: Grid,
        epilogue: Epilogue<Self::Tensor>,
    ) -> Result<Self::Tensor>;

    /// Multi-head self-attention, `softmax(q k^T / sqrt(d)) v` within sequences of `length`
    /// tokens: queries, keys and values `[rows, 3 * channels]` to `[rows, channels]`.
    fn attention(&self, qkv: &Self::Tensor, heads: usize, length: usize) -> Result<Self::Tensor>;

    /// [`Ops::attention`] within images, and its map: how much the tokens of a column look at the
    /// tokens around that column, `[batch * width * height, MAP_WIDTH]`. Entry `(image, column,
    /// row, offset)` is the weight of the token in `row` and column `column + offset - MAP_REACH`,
    /// the mean over heads and over the tokens of `column`.
    fn attention_with_map(
        &self,
        qkv: &Self::Tensor,
        heads: usize,
        grid: Grid,
    ) -> Result<(Self::Tensor, Self::Tensor)>;

    /// Squeeze-excite: every channel of an image times a gate computed from the means of all its
    /// channels, `gate(fc2(relu(fc1(mean(x)))))`: `[rows, channels]` on `grid` to the same shape.
    fn squeeze_excite(
        &self,
        layer: &<Self::Layers as Layers>::SqueezeExcite,
        x: Self::Tensor,
        grid: Grid,
    ) -> Result<Self::Tensor>;

    /// Means over windows of `window` rows and columns side by side: `[rows, channels]` on `grid` to
    /// the grid of [`Grid::pooled`]. What is left over at the right and the bottom is dropped.
    fn average_pool(
        &self,
        x: &Self::Tensor,
        grid: Grid,
        window: (usize, usize),
    ) -> Result<Self::Tensor>;

    /// The largest values of windows of `window` rows and columns that begin at every position and
    /// end at the image's edge: `[rows, channels]` on `grid` to the same shape.
    fn max_pool(
        &self,
        x: &Self::Tensor,
        grid: Grid,
        window: (usize, usize),
    ) -> Result<Self::Tensor>;

    /// The channels of `a`, then those of `b`: `[rows, a + b]`.
    fn concat(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// The sum of two tensors of one shape.
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;

    /// The mean of `first` and `others`, all of one shape.
    fn mean(&self, first: &Self::Tensor, others: &[Self::Tensor]) -> Result<Self::Tensor>;

    /// `(x - mean) / sqrt(variance + eps) * weight + bias` for every row.
    fn layer_norm(
        &self,
        layer: &<Self::Layers as Layers>::LayerNorm,
        x: &Self::Tensor,
    ) -> Result<Self::Tensor>;

    /// The exact GELU, `x (1 + erf(x / sqrt 2)) / 2`, of batch normalisation over the rows. Only
    /// sources of parameters for training have batch norms: elsewhere they are folded into the
    /// convolution before them, which has [`Epilogue::Activate`].
    fn batch_norm_gelu(
        &self,
        layer: &<Self::Layers as Layers>::BatchNorm,
        x: &Self::Tensor,
    ) -> Result<Self::Tensor>;

    /// Attention over the height by a learned token, then the classifier: `[rows, channels]` to
    /// logits `[batch * width, classes]`.
    fn vertical_attention(
        &self,
        layer: &<Self::Layers as Layers>::VerticalAttention,
        x: &Self::Tensor,
        grid: Grid,
    ) -> Result<Self::Tensor>;
}

/// The operations of networks that give a map of their input, such as detectors of text: features of
/// several sizes are brought together. Such networks are not trained here, and int8 brings them nothing.
pub(crate) trait MapOps: Ops {
    /// Adds the tokens of a grid that is coarser by `factor` to those on `grid` that each of them covers:
    /// `[rows, channels]` and `[rows / factor^2, channels]`.
    fn add_upsampled(
        &self,
        fine: Self::Tensor,
        coarse: &Self::Tensor,
        grid: Grid,
        factor: usize,
    ) -> Result<Self::Tensor>;

    /// The channels of several maps side by side, each on a grid that is coarser than `grid` by its
    /// factor and repeated to it: `[rows, sum of channels]`.
    fn concat_upsampled(&self, maps: &[(&Self::Tensor, usize)], grid: Grid)
    -> Result<Self::Tensor>;

    /// Every row in `parts` rows: `[rows, parts * channels]` to `[rows * parts, channels]`.
    fn split_rows(&self, x: Self::Tensor, parts: usize) -> Result<Self::Tensor>;
}
