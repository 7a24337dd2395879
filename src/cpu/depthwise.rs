//! Depthwise convolutions over tokens `[position, channel]`: every channel has a kernel of its own.
//!
//! Vectors run along the channels. A block of neighbouring output columns is computed at a time, so that
//! an input vector is loaded once for all of them that it lies under, and a weight once for all of them.

use std::ops::Range;

use super::buffer::Scratch;
use super::conv::{ConvShape, MAX_KERNEL};
use super::dispatch::{Isa, Kernel, dispatch};
use super::gemm::{Epilogue, block_rows};
use super::simd::Simd;
use super::tile::{Grid, Tile, load_columns};

/// Input columns under a block at most.
const BLOCK_INPUTS: usize = 12;
/// Output columns whose sums lie near before what follows is done to them: whole blocks of every kernel.
const NEAR_COLUMNS: usize = 48;

/// A depthwise convolution, its weight laid out for vectors along the channels.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseConv {
    isa: Isa,
    shape: ConvShape,
    /// `[taps, channels]`
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl DepthwiseConv {
    /// From the weight `[channels, 1, rows, columns]` and bias `[channels]`.
    ///
    /// # Panics
    /// If the weight has another size, or the shape is beyond [`MAX_KERNEL`].
    pub(crate) fn new(weight: &[f32], bias: &[f32], shape: ConvShape) -> Self {
        Self::new_for(Isa::best(), weight, bias, shape)
    }

    pub(super) fn new_for(isa: Isa, weight: &[f32], bias: &[f32], shape: ConvShape) -> Self {
        shape.check();
        let (channels, taps) = (bias.len(), shape.taps());
        assert_eq!(weight.len(), channels * taps, "the weight has another size");
        let of_tap = |tap: usize| weight.iter().skip(tap).step_by(taps).copied();
        let weight = (0..taps).flat_map(of_tap).collect();
        DepthwiseConv { isa, shape, weight, bias: bias.to_vec() }
    }

    /// Channels of the input and the output.
    pub(crate) fn channels(&self) -> usize {
        self.bias.len()
    }
}

/// `epilogue(conv(x) + b)` for images of `height * width` tokens, to images of the output's tokens.
pub(crate) fn depthwise_conv(
    x: &[f32],
    height: usize,
    width: usize,
    layer: &DepthwiseConv,
    epilogue: Epilogue,
) -> Vec<f32> {
    let channels = layer.channels();
    let image_len = height * width * channels;
    let images = x.len().checked_div(image_len).unwrap_or(0);
    assert_eq!(x.len(), images * image_len, "the input has no whole images");
    let out_grid = layer.shape.output_grid(height, width);
    let positions = out_grid.0 * out_grid.1;
    match epilogue {
        Epilogue::Add(other) => {
            assert_eq!(other.len(), images * positions * channels, "residual of another size");
        }
        Epilogue::Scale(factors) => {
            assert_eq!(factors.len(), images * positions, "a factor for each position");
        }
        Epilogue::Store | Epilogue::Activate(_) => {}
    }
    let grid = Grid {
        segments: images,
        segment_rows: positions,
        block_rows: block_rows(positions),
        columns: channels,
        block_columns: channels,
    };
    // SAFETY: a `Block` writes every channel of the positions of its tile.
    unsafe {
        grid.filled(&|place, out| {
            let image = &x[place.segment * image_len..][..image_len];
            let mut zeros = Scratch::new(channels);
            zeros.fill(0.0);
            let (first, zeros) = (place.rows.start, &zeros[..]);
            let input = Input { image, zeros, height, width };
            dispatch(layer.isa, Positions { input, layer, out_grid, first, epilogue, out });
        })
    }
}

/// An image of tokens, and what lies outside it.
struct Input<'a> {
    /// `[height * width, channels]`
    image: &'a [f32],
    /// `[channels]`
    zeros: &'a [f32],
    height: usize,
    width: usize,
}

/// Some output positions of an image, one after the other.
struct Positions<'a> {
    input: Input<'a>,
    layer: &'a DepthwiseConv,
    out_grid: (usize, usize),
    /// The position of the tile's first row.
    first: usize,
    epilogue: Epilogue<'a>,
    /// `[positions, channels]`
    out: Tile<'a>,
}

impl Kernel for Positions<'_> {
    type Output = ();

    /// Writes the whole tile.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(mut self, simd: S) {
        let channels = self.layer.channels();
        let Input { image, zeros, height, width } = self.input;
        assert_eq!(image.len(), height * width * channels, "an image of another size");
        assert_eq!(zeros.len(), channels, "zeros for each channel");
        assert_eq!(self.out.columns(), channels, "an output of other channels");
        let end = self.first + self.out.rows();
        assert!(end <= self.out_grid.0 * self.out_grid.1, "positions beyond the output");
        let mut position = self.first;
        while position < end {
            let (y, x) = (position / self.out_grid.1, position % self.out_grid.1);
            let remaining = (self.out_grid.1 - x).min(end - position);
            // What is left over is no part of its own: few columns make no block.
            let count = if remaining < 2 * NEAR_COLUMNS { remaining } else { NEAR_COLUMNS };
            let row = position - self.first;
            let ConvShape { kernel, stride, .. } = self.layer.shape;
            // SAFETY: row `row` of the tile and the `count - 1` behind it are positions from (y, x) on,
            // all of one row of the output.
            unsafe {
                match (kernel.1, stride.1) {
                    (3, 1) => self.columns::<S, 3, 8>(simd, (y, x), count, row),
                    (5, 1) => self.columns::<S, 5, 6>(simd, (y, x), count, row),
                    (7, 1) => self.columns::<S, 7, 6>(simd, (y, x), count, row),
                    _ => (0..count).for_each(|i| self.any_position(simd, (y, x + i), row + i)),
                }
                self.finish(simd, row..row + count);
            }
            position += count;
        }
    }
}

impl Positions<'_> {
    /// `count` positions of an output row for a kernel of `KW` columns and a stride of 1 from column to
    /// column, in blocks of `XB` columns.
    ///
    /// # Safety
    /// The positions are the tile's rows from `row` on; the kernel and the stride are the layer's.
    #[inline(always)]
    unsafe fn columns<S: Simd, const KW: usize, const XB: usize>(
        &mut self,
        simd: S,
        (y, x): (usize, usize),
        count: usize,
        row: usize,
    ) {
        let mut inputs = [[self.input.zeros.as_ptr(); BLOCK_INPUTS]; MAX_KERNEL];
        // SAFETY: the columns are some of the `count`. Where they make no whole blocks, the last block
        // computes columns of the one before it again.
        unsafe {
            if count < XB {
                for i in 0..count {
                    self.block::<S, KW, 1>(simd, (y, x + i), row + i, &mut inputs);
                }
            } else {
                for start in (0..count).step_by(XB) {
                    let start = start.min(count - XB);
                    self.block::<S, KW, XB>(simd, (y, x + start), row + start, &mut inputs);
                }
            }
        }
    }

    /// A block of `XB` columns. `inputs` has room for where the input columns under it are, for every row of
    /// the kernel that is inside.
    ///
    /// # Safety
    /// As for [`columns`](Self::columns).
    #[inline(always)]
    unsafe fn block<S: Simd, const KW: usize, const XB: usize>(
        &mut self,
        simd: S,
        (y, x): (usize, usize),
        row: usize,
        inputs: &mut [[*const f32; BLOCK_INPUTS]; MAX_KERNEL],
    ) {
        const { assert!(XB + KW - 1 <= BLOCK_INPUTS) };
        let DepthwiseConv { shape, .. } = *self.layer;
        let (mut first_part, mut rows) = (0, 0);
        for part in 0..shape.kernel.0 {
            let Some(input_row) = shape.row_under(y, part, self.input.height) else {
                continue;
            };
            if rows == 0 {
                first_part = part;
            }
            for (i, input) in inputs[rows][..XB + KW - 1].iter_mut().enumerate() {
                let column = shape.column_under(x, i, self.input.width);
                let zeros = self.input.zeros.as_ptr();
                *input = column.map_or(zeros, |column| self.input.at(input_row, column));
            }
            rows += 1;
        }
        let inputs = &inputs[..rows];
        let channels = self.layer.channels();
        // SAFETY: behind every input are as many elements as there are channels, and the vectors end
        // with them. Where they make no whole vectors, the last one computes channels of the one before it
        // again. The caller says the rest.
        unsafe {
            if channels < S::LANES {
                self.vector::<S, KW, XB, true>(simd, inputs, first_part, row, 0);
            } else {
                for channel in (0..channels).step_by(S::LANES) {
                    let channel = channel.min(channels - S::LANES);
                    self.vector::<S, KW, XB, false>(simd, inputs, first_part, row, channel);
                }
            }
        }
    }

    /// A vector of channels of a block, or all of them if they are `PART` of a vector.
    ///
    /// # Safety
    /// The inputs are followed by the channels; a whole vector of channels starts at `channel`, or they are
    /// `PART` of one; the tile has `XB` rows from `row` on.
    #[inline(always)]
    unsafe fn vector<S: Simd, const KW: usize, const XB: usize, const PART: bool>(
        &mut self,
        simd: S,
        inputs: &[[*const f32; BLOCK_INPUTS]],
        first_part: usize,
        row: usize,
        channel: usize,
    ) {
        let DepthwiseConv { weight, bias, .. } = self.layer;
        let channels = bias.len();
        let valid = if PART { channels } else { S::LANES };
        let weight = &weight[first_part * KW * channels..][..inputs.len() * KW * channels];
        // SAFETY: the caller says what is behind the inputs; the weight has a row of channels for each column of
        // the kernel and each row that has inputs, and the bias has one.
        unsafe {
            let bias = load::<S, PART>(simd, bias.as_ptr().add(channel), valid);
            let mut sums = [bias; XB];
            let mut at = weight.as_ptr().add(channel);
            for inputs in inputs {
                let mut weights = [bias; KW];
                for weights in &mut weights {
                    *weights = load::<S, PART>(simd, at, valid);
                    at = at.wrapping_add(channels);
                }
                for (i, input) in inputs[..XB + KW - 1].iter().enumerate() {
                    let x = load::<S, PART>(simd, input.add(channel), valid);
                    for part in 0..KW {
                        if i >= part && i - part < XB {
                            sums[i - part] = simd.mul_add(x, weights[part], sums[i - part]);
                        }
                    }
                }
            }
            for (i, &sum) in sums.iter().enumerate() {
                self.out.store(simd, row + i, channel, valid, &[sum]);
            }
        }
    }

    /// A position with any kernel and stride.
    ///
    /// # Safety
    /// The position is the tile's row `row`.
    #[inline(always)]
    unsafe fn any_position<S: Simd>(&mut self, simd: S, (y, x): (usize, usize), row: usize) {
        let DepthwiseConv { shape, weight, bias, .. } = self.layer;
        let channels = bias.len();
        for channel in (0..channels).step_by(S::LANES) {
            let valid = S::LANES.min(channels - channel);
            // SAFETY: `valid` channels are behind each of the pointers, and are the tile's.
            unsafe {
                let mut sum = load::<S, true>(simd, bias.as_ptr().add(channel), valid);
                for (tap, weights) in weight.chunks_exact(channels).enumerate() {
                    let (row_part, column_part) = (tap / shape.kernel.1, tap % shape.kernel.1);
                    let input_row = shape.row_under(y, row_part, self.input.height);
                    let column = shape.column_under(x, column_part, self.input.width);
                    if let (Some(input_row), Some(column)) = (input_row, column) {
                        let input = self.input.at(input_row, column);
                        let x = load::<S, true>(simd, input.add(channel), valid);
                        let w = load::<S, true>(simd, weights.as_ptr().add(channel), valid);
                        sum = simd.mul_add(x, w, sum);
                    }
                }
                self.out.store(simd, row, channel, valid, &[sum]);
            }
        }
    }

    /// Does to sums what follows. It is no part of a block, whose code there is for every kernel.
    ///
    /// # Safety
    /// The rows are the tile's, and hold sums.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&mut self, simd: S, rows: Range<usize>) {
        if let Epilogue::Store = self.epilogue {
            return;
        }
        let channels = self.layer.channels();
        for row in rows {
            for channel in (0..channels).step_by(S::LANES) {
                let valid = S::LANES.min(channels - channel);
                let index = self.out.index(row, channel);
                // SAFETY: the row and `valid` channels from `channel` on are the tile's, and hold sums.
                let [sum] = unsafe { self.out.load::<S, 1>(simd, row, channel, valid) };
                let y = match self.epilogue {
                    Epilogue::Store => sum,
                    Epilogue::Activate(activation) => activation.of(simd, sum),
                    Epilogue::Scale(factors) => {
                        simd.mul(sum, simd.splat(factors[index / channels]))
                    }
                    Epilogue::Add(other) => {
                        let other = &other[index..][..valid];
                        // SAFETY: the slice has `valid` elements.
                        let [other] = unsafe { load_columns::<S, 1>(simd, other.as_ptr(), valid) };
                        simd.add(sum, other)
                    }
                };
                // SAFETY: as above.
                unsafe { self.out.store(simd, row, channel, valid, &[y]) };
            }
        }
    }
}

impl Input<'_> {
    /// Where the channels of a position are.
    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> *const f32 {
        let channels = self.zeros.len();
        self.image[(row * self.width + column) * channels..][..channels].as_ptr()
    }
}

/// A vector; `PART` of one is followed by zeros.
///
/// # Safety
/// `valid` elements behind `from` are readable, as many as a vector has unless it is `PART` of one.
#[inline(always)]
unsafe fn load<S: Simd, const PART: bool>(simd: S, from: *const f32, valid: usize) -> S::V {
    // SAFETY: the caller says so.
    unsafe {
        if PART {
            let [x] = load_columns::<S, 1>(simd, from, valid);
            x
        } else {
            simd.load_from(from)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::conv::Padding;
    use super::super::gemm::Activation;
    use super::super::linear::tests::{assert_close, noise};
    use super::super::math::tests::{gelu, swish};
    use super::*;

    /// The definition, in f64.
    pub(in crate::cpu) fn plain(
        x: &[f32],
        (height, width): (usize, usize),
        weight: &[f32],
        bias: &[f32],
        shape: ConvShape,
    ) -> Vec<f64> {
        let (channels, taps) = (bias.len(), shape.taps());
        let (out_height, out_width) = shape.output_grid(height, width);
        let mut out = Vec::new();
        for image in x.chunks_exact(height * width * channels) {
            for at in 0..out_height * out_width * channels {
                let (position, channel) = (at / channels, at % channels);
                let (top, left) =
                    (position / out_width * shape.stride.0, position % out_width * shape.stride.1);
                let mut sum = f64::from(bias[channel]);
                for tap in 0..taps {
                    let row = (top + tap / shape.kernel.1).wrapping_sub(shape.padding.top);
                    let column = (left + tap % shape.kernel.1).wrapping_sub(shape.padding.left);
                    if row < height && column < width {
                        let x = image[(row * width + column) * channels + channel];
                        sum += f64::from(x) * f64::from(weight[channel * taps + tap]);
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    #[test]
    fn equals_the_plain_version() {
        let lopsided = Padding { top: 0, left: 2, bottom: 3, right: 0 };
        let lopsided = ConvShape { kernel: (2, 5), stride: (1, 1), padding: lopsided };
        for (images, height, width, channels, shape) in [
            (1, 1, 1, 1, ConvShape::new_3x3((1, 1))),
            (2, 3, 5, 3, ConvShape::new_3x3((1, 1))),
            (1, 12, 31, 24, ConvShape::new_3x3((1, 1))),
            (2, 7, 13, 19, ConvShape::new_3x3((2, 1))),
            (1, 6, 8, 40, ConvShape::new_3x3((2, 2))),
            (1, 2, 300, 16, ConvShape::new_3x3((1, 1))),
            (2, 1, 29, 120, ConvShape::centred((1, 7), (1, 1))),
            (1, 4, 9, 12, ConvShape::centred((5, 5), (1, 1))),
            (1, 4, 9, 33, ConvShape::centred((7, 4), (3, 2))),
            (2, 5, 10, 18, lopsided),
        ] {
            let x = noise(1, images * height * width * channels);
            let weight = noise(2, channels * shape.taps());
            let bias = noise(3, channels);
            let expected = plain(&x, (height, width), &weight, &bias, shape);
            let other = noise(4, expected.len());
            for isa in Isa::all() {
                let row = format!("{isa:?}, {images} x {height} x {width} x {channels}, {shape:?}");
                let layer = DepthwiseConv::new_for(isa, &weight, &bias, shape);
                let run = |epilogue| depthwise_conv(&x, height, width, &layer, epilogue);
                let tolerance = 1e-6 * shape.taps() as f64 + 1e-6;
                assert_close(&run(Epilogue::Store), &expected, tolerance, &row);
                let of = |function: &dyn Fn(f64) -> f64| -> Vec<f64> {
                    expected.iter().map(|&x| function(x)).collect()
                };
                assert_close(&run(Activation::Relu.into()), &of(&|x| x.max(0.0)), tolerance, &row);
                assert_close(&run(Activation::Gelu.into()), &of(&gelu), 2.0 * tolerance, &row);
                assert_close(&run(Activation::Swish.into()), &of(&swish), 2.0 * tolerance, &row);
                let sum: Vec<f64> =
                    expected.iter().zip(&other).map(|(a, b)| a + f64::from(*b)).collect();
                assert_close(&run(Epilogue::Add(&other)), &sum, tolerance, &row);
            }
        }
    }

    #[test]
    fn an_image_does_not_depend_on_the_others() {
        let (height, width, channels) = (5, 150, 20);
        let shape = ConvShape::new_3x3((1, 1));
        let layer = DepthwiseConv::new(&noise(1, channels * 9), &noise(2, channels), shape);
        let x = noise(3, 3 * height * width * channels);
        let run = |x: &[f32]| depthwise_conv(x, height, width, &layer, Epilogue::Store);
        let alone: Vec<f32> = x.chunks(height * width * channels).flat_map(run).collect();
        assert!(alone == run(&x));
        assert!(run(&[]).is_empty());
    }
}
