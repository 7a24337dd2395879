//! Convolutions over tokens `[position, channel]`, as matrix products whose left rows are
//! found tap by tap: nothing is copied.

mod shape;
mod taps;

use super::buffer::Scratch;
use super::dispatch::{Int8Isa, Isa};
use super::gemm::{
    Epilogue, Int8Matrix, Int8Rows, Matrix, Origin, PackedMatrix, RowScale, RowScales, block_rows,
};
use super::linear::task_panels;
use super::rounding::Int8Input;
use super::simd::MAX_NUMBERS;
use super::tile::Grid;
use taps::TapRows;

pub(super) use shape::MAX_KERNEL;
pub(crate) use shape::{ConvShape, Padding};
#[cfg(feature = "train")]
pub(super) use taps::OUTSIDE;
pub(super) use taps::Taps;

/// Of what the channels of a group must be a multiple for products of int8: they make whole words with
/// every instruction set.
pub(crate) const INT8_CHANNELS: usize = MAX_NUMBERS;

/// A convolution, packed.
#[allow(private_bounds, reason = "matrices are named inside this folder alone")]
#[derive(Debug, Clone)]
pub(crate) struct PackedConv<M: Matrix = PackedMatrix> {
    /// A matrix `[taps * in / groups, out / groups]` a group.
    groups: Vec<M>,
    /// Elements of a position, numbers or words of several.
    in_dim: usize,
    out_dim: usize,
    shape: ConvShape,
}

impl PackedConv {
    /// Packs the weight `[out, in / groups, rows, columns]` and bias `[out]`.
    ///
    /// # Panics
    /// If the weight has another size, or the shape is beyond [`MAX_KERNEL`].
    pub(crate) fn new(
        weight: &[f32],
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        shape: ConvShape,
    ) -> Self {
        Self::new_for(Isa::best(), weight, bias, in_dim, groups, shape)
    }

    pub(super) fn new_for(
        isa: Isa,
        weight: &[f32],
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        shape: ConvShape,
    ) -> Self {
        shape.check();
        let (out_dim, taps) = (bias.len(), shape.taps());
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        assert_eq!(weight.len(), out_dim * group_in * taps, "the weight has another size");
        let pack = |group: usize| {
            let element = |k: usize, n: usize| {
                let (tap, channel) = (k / group_in, k % group_in);
                weight[((group * group_out + n) * group_in + channel) * taps + tap]
            };
            let bias = &bias[group * group_out..][..group_out];
            PackedMatrix::new(isa, taps * group_in, group_out, element, Some(bias))
        };
        Self::from_groups((0..groups).map(pack).collect(), in_dim, shape)
    }
}

#[allow(private_bounds, reason = "as above")]
impl<M: Matrix> PackedConv<M> {
    /// From a matrix `[taps * in / groups, out / groups]` a group, for positions of `in_dim` elements.
    pub(super) fn from_groups(groups: Vec<M>, in_dim: usize, shape: ConvShape) -> Self {
        let (group_in, group_out) = (in_dim / groups.len(), groups[0].n());
        assert_eq!(in_dim, group_in * groups.len(), "groups of different sizes");
        for group in &groups {
            let same = (group.k(), group.n(), group.panel_width());
            assert_eq!(
                same,
                (shape.taps() * group_in, group_out, groups[0].panel_width()),
                "groups differ"
            );
        }
        let out_dim = groups.len() * group_out;
        PackedConv { groups, in_dim, out_dim, shape }
    }
}

/// `epilogue(conv(x) + b)` for images of `height * width` tokens, to images of the output's tokens.
pub(crate) fn conv(
    x: &[f32],
    height: usize,
    width: usize,
    layer: &PackedConv,
    epilogue: Epilogue,
) -> Vec<f32> {
    let taps = Taps::of_output(height, width, layer.in_dim, layer.shape);
    gather(x, None, &taps, layer, epilogue)
}

/// `epilogue(.. + b)` of what lies under the taps in every image, times the matrices of `layer`. Only
/// integers have scales, one an image.
pub(super) fn gather<M: Matrix>(
    x: &[M::Left],
    scales: Option<&[RowScale]>,
    taps: &Taps,
    layer: &PackedConv<M>,
    epilogue: Epilogue,
) -> Vec<f32> {
    let images = x.len().checked_div(taps.image_len()).unwrap_or(0);
    assert_eq!(x.len(), images * taps.image_len(), "the input has no whole images");
    assert_eq!(taps.channels(), layer.in_dim, "taps of other channels");
    let positions = taps.positions();
    if let Epilogue::Add(other) = epilogue {
        assert_eq!(other.len(), images * positions * layer.out_dim, "residual of another size");
    }

    let groups = layer.groups.len();
    let (group_in, group_out) = (layer.in_dim / groups, layer.out_dim / groups);
    let width = layer.groups[0].panel_width();
    // Several groups are tasks enough.
    let panels =
        if groups == 1 { task_panels(group_out, width) } else { group_out.div_ceil(width) };
    let grid = Grid {
        segments: images,
        segment_rows: positions,
        block_rows: block_rows(positions),
        columns: layer.out_dim,
        block_columns: group_out.min(panels * width),
    };
    // SAFETY: a tile has columns of one group, and the product writes them.
    unsafe {
        grid.filled(&|place, out| {
            let group = place.columns.start / group_out;
            let matrix = &layer.groups[group];
            let image = &x[place.segment * taps.image_len()..][..taps.image_len()];
            let scale = scales.map_or(RowScale::NONE, |scales| scales[place.segment]);
            // What lies outside the input.
            let mut zeros = Scratch::new(group_in);
            zeros.fill(matrix.zero(scale));
            let rows = TapRows::new(image, &zeros, taps, group * group_in);
            let first_panel = place.columns.start % group_out / width;
            let origin = Origin { first_row: place.rows.start, first_panel };
            matrix.multiply(&rows, origin, RowScales::All(scale), epilogue, out);
        })
    }
}

/// A convolution whose products are of int8, packed.
#[derive(Debug, Clone)]
pub(crate) struct Int8Conv {
    packed: PackedConv<Int8Matrix>,
    isa: Int8Isa,
    /// Channels of the input.
    in_dim: usize,
    input: Int8Input,
}

impl Int8Conv {
    /// Packs the weight `scales[o] * levels[o, ..]`, `[out, in / groups, rows, columns]`, and bias
    /// `[out]`.
    ///
    /// # Panics
    /// If the weight has another size, the shape is beyond [`MAX_KERNEL`], the channels of a group are no multiple of [`INT8_CHANNELS`], or more than sums have room for.
    pub(crate) fn new(
        (levels, scales): (&[i8], &[f32]),
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        shape: ConvShape,
        input: Int8Input,
    ) -> Self {
        let isa = Int8Isa::best().for_weights(levels, shape.taps());
        Self::new_for(isa, (levels, scales), bias, in_dim, groups, shape, input)
    }

    fn new_for(
        isa: Int8Isa,
        (levels, scales): (&[i8], &[f32]),
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        shape: ConvShape,
        input: Int8Input,
    ) -> Self {
        shape.check();
        let isa = isa.for_input(input.bits);
        let (out_dim, taps) = (bias.len(), shape.taps());
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        assert_eq!(levels.len(), out_dim * group_in * taps, "the weight has another size");
        assert_eq!(scales.len(), out_dim, "a scale for each output channel");
        let fits = input.factors.as_ref().is_none_or(|factors| factors.len() == in_dim);
        assert!(fits, "a factor for each channel");
        assert!(group_in.is_multiple_of(INT8_CHANNELS), "channels that make no whole words");
        assert!(taps * group_in <= input.bits.most_products(), "sums of more products than fit");
        let pack = |group: usize| {
            let element = |k: usize, n: usize| {
                let (tap, channel) = (k / group_in, k % group_in);
                levels[((group * group_out + n) * group_in + channel) * taps + tap]
            };
            let of_group = |values: &[f32]| values[group * group_out..][..group_out].to_vec();
            let (scales, bias) = (of_group(scales), of_group(bias));
            Int8Matrix::new(isa, taps * group_in, taps * group_in, element, &scales, Some(&bias))
        };
        let groups = (0..groups).map(pack).collect();
        let packed = PackedConv::from_groups(groups, in_dim / isa.words().numbers(), shape);
        Int8Conv { packed, isa, in_dim, input }
    }
}

/// [`conv`] with products of int8: `x` is rounded image by image.
pub(crate) fn conv_int8(
    x: &[f32],
    height: usize,
    width: usize,
    layer: &Int8Conv,
    epilogue: Epilogue,
) -> Vec<f32> {
    let Int8Conv { packed, isa, in_dim, input } = layer;
    let image = height * width * in_dim;
    let x = Int8Rows::new(*isa, x, image, image, input);
    let taps = Taps::of_output(height, width, packed.in_dim, packed.shape);
    gather(&x.words, Some(&x.scales), &taps, packed, epilogue)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::super::rounding::ActivationBits;
    use super::*;

    struct Case {
        images: usize,
        height: usize,
        width: usize,
        in_dim: usize,
        out_dim: usize,
        groups: usize,
        shape: ConvShape,
    }

    /// [`conv_int8`] with an instruction set, without a bias.
    pub(in crate::cpu) fn int8_conv_for(
        isa: Int8Isa,
        x: &[f32],
        (height, width): (usize, usize),
        weight: (&[i8], &[f32]),
        groups: usize,
        shape: ConvShape,
        bits: ActivationBits,
    ) -> Vec<f32> {
        let (levels, scales) = weight;
        let in_dim = levels.len() / (scales.len() * shape.taps()) * groups;
        let bias = vec![0.0; scales.len()];
        let input = Int8Input { factors: None, bits };
        let layer = Int8Conv::new_for(isa, weight, &bias, in_dim, groups, shape, input);
        conv_int8(x, height, width, &layer, Epilogue::Store)
    }

    /// Images are rounded to 255 or 4095 steps.
    #[test]
    fn int8_is_close() {
        let (images, height, width, in_dim, out_dim, groups) = (2, 6, 9, 16, 24, 2);
        let shape = ConvShape::new_3x3((2, 1));
        let case = Case { images, height, width, in_dim, out_dim, groups, shape };
        let x = noise(1, images * height * width * in_dim);
        let levels: Vec<i8> = noise(2, out_dim * in_dim / groups * shape.taps())
            .iter()
            .map(|x| (x * 127.0) as i8)
            .collect();
        let scales: Vec<f32> = noise(3, out_dim).iter().map(|x| 0.01 * (1.5 + x)).collect();
        let weight: Vec<f32> = (levels.iter().enumerate())
            .map(|(i, &level)| f32::from(level) * scales[i / (in_dim / groups * shape.taps())])
            .collect();
        let expected = plain(&case, &x, &weight, &vec![0.0; out_dim]);
        for isa in Int8Isa::all() {
            for (bits, error) in [(ActivationBits::Eight, 0.2), (ActivationBits::Twelve, 0.015)] {
                let run = |x: &[f32]| {
                    let grid = (height, width);
                    int8_conv_for(isa, x, grid, (&levels, &scales), groups, shape, bits)
                };
                let found = run(&x);
                assert_close(&found, &expected, error, &format!("{isa:?}, {bits:?}"));
                let alone = run(&x[..x.len() / 2]);
                assert!(alone == found[..alone.len()], "{isa:?}, {bits:?}");
            }
        }
    }

    #[test]
    fn int8_factors_multiply_the_input() {
        let (height, width, in_dim, groups) = (3, 5, 24, 2);
        let x = noise(1, 2 * height * width * in_dim);
        let factors: Vec<f32> = noise(2, in_dim).iter().map(|x| 1.5 + x).collect();
        let products: Vec<f32> =
            x.iter().zip(factors.iter().cycle()).map(|(x, factor)| x * factor).collect();
        let levels: Vec<i8> =
            noise(3, 8 * in_dim / groups * 9).iter().map(|x| (x * 127.0) as i8).collect();
        let weight = (&levels[..], &[0.01; 8][..]);
        for isa in Int8Isa::all() {
            let shape = ConvShape::new_3x3((1, 1));
            let layer = |factors| {
                let input = Int8Input { factors, bits: ActivationBits::Eight };
                Int8Conv::new_for(isa, weight, &[0.5; 8], in_dim, groups, shape, input)
            };
            let run = |x: &[f32], layer| conv_int8(x, height, width, &layer, Epilogue::Store);
            let found = run(&x, layer(Some(factors.clone())));
            assert!(found == run(&products, layer(None)), "{isa:?}");
        }
    }

    /// The definition, in f64.
    fn plain(case: &Case, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let Case { images, height, width, in_dim, out_dim, groups, shape } = *case;
        let ConvShape { kernel, stride, padding } = shape;
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        let last = |size: usize, before: usize, after: usize, kernel: usize| {
            (size + before + after + 1).saturating_sub(kernel)
        };
        let mut out = Vec::new();
        for image in 0..images {
            for top in (0..last(height, padding.top, padding.bottom, kernel.0)).step_by(stride.0) {
                let columns = last(width, padding.left, padding.right, kernel.1);
                for left in (0..columns).step_by(stride.1) {
                    for (o, &bias) in bias.iter().enumerate().take(out_dim) {
                        let mut sum = f64::from(bias);
                        for tap in 0..kernel.0 * kernel.1 {
                            let row = (top + tap / kernel.1).wrapping_sub(padding.top);
                            let column = (left + tap % kernel.1).wrapping_sub(padding.left);
                            if row >= height || column >= width {
                                continue;
                            }
                            for c in 0..group_in {
                                let channel = o / group_out * group_in + c;
                                let at = ((image * height + row) * width + column) * in_dim;
                                let at_weight = (o * group_in + c) * kernel.0 * kernel.1 + tap;
                                sum += f64::from(x[at + channel]) * f64::from(weight[at_weight]);
                            }
                        }
                        out.push(sum);
                    }
                }
            }
        }
        out
    }

    /// 2x2 padded by one at the right and the bottom.
    const SQUARE: ConvShape = ConvShape {
        kernel: (2, 2),
        stride: (1, 1),
        padding: Padding { top: 0, left: 0, bottom: 1, right: 1 },
    };

    #[test]
    fn equals_the_plain_version() {
        let case = |images, height, width, in_dim, out_dim, groups, shape| Case {
            images,
            height,
            width,
            in_dim,
            out_dim,
            groups,
            shape,
        };
        let unpadded = Padding { top: 0, left: 0, bottom: 0, right: 0 };
        let cases = [
            case(1, 1, 1, 1, 1, 1, ConvShape::new_3x3((1, 1))),
            case(1, 8, 9, 3, 20, 1, ConvShape::new_3x3((2, 2))),
            case(2, 7, 5, 64, 64, 2, ConvShape::new_3x3((1, 1))),
            case(1, 8, 32, 128, 128, 4, ConvShape::new_3x3((1, 1))),
            case(2, 5, 28, 48, 40, 1, ConvShape::new_3x3((2, 1))),
            case(1, 3, 4, 12, 18, 3, ConvShape::new_3x3((1, 1))),
            case(1, 16, 12, 96, 24, 1, ConvShape::new_3x3((1, 2))),
            case(1, 6, 20, 64, 64, 2, ConvShape::centred((5, 5), (1, 1))),
            case(2, 1, 21, 40, 12, 1, ConvShape::centred((1, 3), (1, 1))),
            case(2, 5, 7, 8, 24, 1, SQUARE),
            case(1, 9, 1, 24, 8, 1, SQUARE),
            case(1, 4, 5, 3, 5, 1, ConvShape::centred((7, 7), (3, 2))),
            case(2, 5, 6, 4, 4, 2, ConvShape { kernel: (2, 3), stride: (2, 3), padding: unpadded }),
        ];
        for isa in Isa::all() {
            for case in &cases {
                let Case { images, height, width, in_dim, out_dim, groups, shape } = *case;
                let row = format!(
                    "{isa:?}, {images} x {height} x {width}, {in_dim} -> {out_dim} in {groups}, \
                     {shape:?}"
                );
                let x = noise(1, images * height * width * in_dim);
                let weight = noise(2, out_dim * in_dim / groups * shape.taps());
                let bias = noise(3, out_dim);
                let expected = plain(case, &x, &weight, &bias);
                let tolerance = 1e-6 * (in_dim / groups * shape.taps()) as f64 + 1e-6;
                let layer = PackedConv::new_for(isa, &weight, &bias, in_dim, groups, shape);
                let found = conv(&x, height, width, &layer, Epilogue::Store);
                assert_close(&found, &expected, tolerance, &row);

                let other = noise(4, found.len());
                let sum: Vec<f64> =
                    expected.iter().zip(&other).map(|(a, b)| a + f64::from(*b)).collect();
                let found = conv(&x, height, width, &layer, Epilogue::Add(&other));
                assert_close(&found, &sum, tolerance, &row);
            }
        }
    }

    #[test]
    fn no_positions() {
        let padding = Padding { top: 0, left: 0, bottom: 0, right: 0 };
        let shape = ConvShape { kernel: (3, 3), stride: (1, 1), padding };
        let layer = PackedConv::new(&[1.0; 18], &[0.0; 2], 1, 1, shape);
        assert!(conv(&noise(1, 4), 2, 2, &layer, Epilogue::Store).is_empty());
        assert!(conv(&[], 3, 3, &layer, Epilogue::Store).is_empty());
    }
}
