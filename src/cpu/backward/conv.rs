//! Gradients of the convolutions over tokens.

use super::super::conv::{ConvShape, OUTSIDE, PackedConv, Taps, gather};
use super::super::dispatch::Isa;
use super::super::gemm::{Bf16Matrix, Epilogue, PackedMatrix, bf16_rows};
use super::products::{Kind, Products};
use super::transposed_product::{Pieces, outer_products};

/// What a convolution is of: `in_dim` channels in `groups`, from an input of `height * width` tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvDims {
    pub in_dim: usize,
    pub out_dim: usize,
    pub groups: usize,
    pub shape: ConvShape,
    pub height: usize,
    pub width: usize,
}

/// `epilogue(conv(x) + b)` in training: the weight `[out, in / groups, rows, columns]` is packed anew.
pub(crate) fn conv_forward(
    products: Products,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    dims: ConvDims,
    epilogue: Epilogue,
) -> Vec<f32> {
    let ConvDims { in_dim, out_dim, groups, shape, height, width } = dims;
    shape.check();
    let (group_in, group_out, taps) = (in_dim / groups, out_dim / groups, shape.taps());
    assert_eq!(weight.len(), out_dim * group_in * taps, "the weight has another size");
    assert_eq!(bias.len(), out_dim, "the bias has another size");
    let tap_weight = |group: usize, tap: usize, channel: usize, n: usize| {
        weight[((group * group_out + n) * group_in + channel) * taps + tap]
    };
    let matrices = Matrices { groups, group_in, group_out, tap_weight, bias: Some(bias), shape };
    let taps = |channels: usize| Taps::of_output(height, width, channels, shape);
    matrices.gather(products, x, taps, epilogue)
}

/// The gradient for the input from that for the output and the weight `[out, in / groups, rows, columns]`,
/// plus `other` if there is one.
pub(crate) fn conv_input_gradient(
    products: Products,
    dy: &[f32],
    weight: &[f32],
    dims: ConvDims,
    other: Option<&[f32]>,
) -> Vec<f32> {
    let ConvDims { in_dim, out_dim, groups, shape, .. } = dims;
    shape.check();
    let (group_in, group_out, taps) = (in_dim / groups, out_dim / groups, shape.taps());
    assert_eq!(weight.len(), out_dim * group_in * taps, "the weight has another size");
    // From output channels to input channels.
    let tap_weight = |group: usize, tap: usize, channel: usize, n: usize| {
        weight[((group * group_out + channel) * group_in + n) * taps + tap]
    };
    let matrices = Matrices {
        groups,
        group_in: group_out,
        group_out: group_in,
        tap_weight,
        bias: None,
        shape,
    };
    let taps = |channels: usize| reverse_taps(dims, channels);
    matrices.gather(products, dy, taps, other.map_or(Epilogue::Store, Epilogue::Add))
}

/// What the positions under the taps are multiplied with.
struct Matrices<'a, W> {
    groups: usize,
    /// Channels of a group: of what is multiplied, and of the result.
    group_in: usize,
    group_out: usize,
    /// The weight of a group and a tap, from a channel to another.
    tap_weight: W,
    bias: Option<&'a [f32]>,
    shape: ConvShape,
}

impl<W: Fn(usize, usize, usize, usize) -> f32> Matrices<'_, W> {
    /// The products; `taps` gives where they lie for positions of that many elements.
    fn gather(
        &self,
        products: Products,
        x: &[f32],
        taps: impl Fn(usize) -> Taps,
        epilogue: Epilogue,
    ) -> Vec<f32> {
        let Matrices { groups, group_in, group_out, shape, .. } = *self;
        let channels = groups * group_in;
        let element = |group: usize| {
            move |k: usize, n: usize| (self.tap_weight)(group, k / group_in, k % group_in, n)
        };
        let bias = |group: usize| self.bias.map(|bias| &bias[group * group_out..][..group_out]);
        let k = shape.taps() * group_in;
        match products.0 {
            // A word holds two channels of a tap.
            Kind::Bf16(isa) if group_in.is_multiple_of(2) => {
                let pack = |group| Bf16Matrix::new(isa, k, group_out, element(group), bias(group));
                let packed = (0..groups).map(pack).collect();
                let layer = PackedConv::from_groups(packed, channels / 2, shape);
                gather(&bf16_rows(isa, x, channels), None, &taps(channels / 2), &layer, epilogue)
            }
            kind => {
                let isa = match kind {
                    Kind::F32(isa) => isa,
                    Kind::Bf16(_) => Isa::best(),
                };
                let pack =
                    |group| PackedMatrix::new(isa, k, group_out, element(group), bias(group));
                let packed = (0..groups).map(pack).collect();
                let layer = PackedConv::from_groups(packed, channels, shape);
                gather(x, None, &taps(channels), &layer, epilogue)
            }
        }
    }
}

/// For every input position and tap, where the output position that it went to through that tap
/// has its `channels` in an image.
fn reverse_taps(dims: ConvDims, channels: usize) -> Taps {
    let ConvDims { shape, height, width, .. } = dims;
    let ConvShape { kernel, stride, padding } = shape;
    let out = shape.output_grid(height, width);
    // Of an axis: the step whose window has this position under this part of the kernel.
    let step = |position: usize, part: usize, before: usize, stride: usize, steps: usize| {
        let start = (position + before).checked_sub(part)?;
        let step = start / stride;
        (start % stride == 0 && step < steps).then_some(step)
    };
    let mut offsets = Vec::with_capacity(shape.taps() * height * width);
    for tap in 0..shape.taps() {
        let (row_part, column_part) = (tap / kernel.1, tap % kernel.1);
        for y in 0..height {
            let row = step(y, row_part, padding.top, stride.0, out.0);
            offsets.extend((0..width).map(|x| {
                let column = step(x, column_part, padding.left, stride.1, out.1);
                let position = row.zip(column).map(|(row, column)| row * out.1 + column);
                position.map_or(OUTSIDE, |position| position * channels)
            }));
        }
    }
    Taps::new(offsets, (shape.taps(), height * width), out.0 * out.1, channels)
}

/// The gradient for the weight, `[out, in / groups, rows, columns]`, from the input and the gradient for the
/// output.
pub(crate) fn conv_weight_gradient(
    products: Products,
    x: &[f32],
    dy: &[f32],
    dims: ConvDims,
) -> Vec<f32> {
    let ConvDims { in_dim, out_dim, groups, shape, height, width } = dims;
    let (group_in, group_out, count) = (in_dim / groups, out_dim / groups, shape.taps());
    let taps = &Taps::of_output(height, width, in_dim, shape);
    let (image_len, positions) = (taps.image_len(), taps.positions());
    let images = x.len().checked_div(image_len).unwrap_or(0);
    assert_eq!(dy.len(), images * positions * out_dim, "the gradient has another size");
    let zeros = vec![0.0; group_in];
    let mut gradient = vec![0.0; out_dim * group_in * count];
    for group in 0..groups {
        // [out / groups, tap, in / groups]
        let sums =
            outer_products(products, group_out, count * group_in, images, positions, |image| {
                let a = &dy[image * positions * out_dim + group * group_out..];
                let b = TapPieces {
                    image: &x[image * image_len + group * group_in..(image + 1) * image_len],
                    zeros: &zeros,
                    taps,
                    group_in,
                };
                (a, out_dim, b)
            });
        let own = &mut gradient[group * group_out * group_in * count..];
        for (out, sums) in
            own.chunks_exact_mut(group_in * count).zip(sums.chunks_exact(count * group_in))
        {
            for (tap, sums) in sums.chunks_exact(group_in).enumerate() {
                for (channel, sum) in sums.iter().enumerate() {
                    out[channel * count + tap] = *sum;
                }
            }
        }
    }
    gradient
}

/// The channels of a group under the taps of every output position of an image.
struct TapPieces<'a> {
    /// From the group's first channel of the first position on.
    image: &'a [f32],
    zeros: &'a [f32],
    taps: &'a Taps,
    group_in: usize,
}

impl Pieces for TapPieces<'_> {
    #[inline(always)]
    fn piece(&self, row: usize, column: usize) -> &[f32] {
        let (tap, channel) = (column / self.group_in, column % self.group_in);
        let channels = match self.taps.offset(row, tap) {
            OUTSIDE => &self.zeros[..self.group_in],
            offset => &self.image[offset..offset + self.group_in],
        };
        &channels[channel..]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::conv::Padding;
    use super::super::super::linear::tests::{assert_close, noise};
    use super::super::linear::tests::tolerance;
    use super::*;

    /// Calls back with (input element, weight element, output element) of every product.
    fn products(dims: ConvDims, images: usize, mut product: impl FnMut(usize, usize, usize)) {
        let ConvDims { in_dim, out_dim, groups, shape, height, width } = dims;
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        let ConvShape { kernel, stride, padding } = shape;
        let (out_height, out_width) = shape.output_grid(height, width);
        for image in 0..images {
            for (y, x) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
                for tap in 0..shape.taps() {
                    let row = (y * stride.0 + tap / kernel.1).wrapping_sub(padding.top);
                    let column = (x * stride.1 + tap % kernel.1).wrapping_sub(padding.left);
                    if row >= height || column >= width {
                        continue;
                    }
                    let from = (image * height + row) * width + column;
                    let to = (image * out_height + y) * out_width + x;
                    for out in 0..out_dim {
                        for channel in 0..group_in {
                            let input = from * in_dim + out / group_out * group_in + channel;
                            let weight = (out * group_in + channel) * shape.taps() + tap;
                            product(input, weight, to * out_dim + out);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn equals_the_plain_version() {
        let square = Padding { top: 0, left: 0, bottom: 1, right: 1 };
        let square = ConvShape { kernel: (2, 2), stride: (1, 1), padding: square };
        for (in_dim, out_dim, groups, shape, height, width, images) in [
            (3, 5, 1, ConvShape::new_3x3((2, 2)), 7, 9, 2),
            (8, 8, 2, ConvShape::new_3x3((1, 1)), 4, 6, 3),
            (6, 10, 1, ConvShape::new_3x3((2, 1)), 5, 3, 1),
            (64, 64, 2, ConvShape::new_3x3((1, 1)), 3, 17, 2),
            (4, 4, 1, ConvShape::new_3x3((1, 1)), 1, 1, 1),
            (8, 12, 2, ConvShape::centred((5, 5), (1, 1)), 3, 7, 2),
            (6, 4, 1, ConvShape::centred((1, 3), (1, 1)), 1, 9, 2),
            (4, 6, 1, square, 5, 6, 2),
        ] {
            let dims = ConvDims { in_dim, out_dim, groups, shape, height, width };
            let (out_height, out_width) = shape.output_grid(height, width);
            let x = noise(1, images * height * width * in_dim);
            let dy = noise(2, images * out_height * out_width * out_dim);
            let taps = shape.taps();
            let weight = noise(3, out_dim * in_dim / groups * taps);
            let other = noise(4, x.len());
            let mut of_input: Vec<f64> = other.iter().map(|&x| f64::from(x)).collect();
            let mut of_weight = vec![0.0f64; weight.len()];
            products(dims, images, |input, weight_at, output| {
                of_input[input] += f64::from(dy[output]) * f64::from(weight[weight_at]);
                of_weight[weight_at] += f64::from(dy[output]) * f64::from(x[input]);
            });
            let (bias, residual) = (noise(5, out_dim), noise(6, dy.len()));
            let mut of_output: Vec<f64> = (residual.iter().enumerate())
                .map(|(i, &x)| f64::from(x) + f64::from(bias[i % out_dim]))
                .collect();
            products(dims, images, |input, weight_at, output| {
                of_output[output] += f64::from(x[input]) * f64::from(weight[weight_at]);
            });
            for (products, coarser) in Products::all() {
                let row = format!("{products:?}, {dims:?}");
                let at = |count: usize| tolerance(coarser, count, 1e-4);
                let found = conv_input_gradient(products, &dy, &weight, dims, Some(&other));
                assert_close(&found, &of_input, at(taps * out_dim / groups), &row);
                let found = conv_weight_gradient(products, &x, &dy, dims);
                assert_close(&found, &of_weight, at(images * out_height * out_width), &row);
                let epilogue = Epilogue::Add(&residual);
                let found = conv_forward(products, &x, &weight, &bias, dims, epilogue);
                assert_close(&found, &of_output, at(taps * in_dim / groups), &row);
            }
        }
    }
}
