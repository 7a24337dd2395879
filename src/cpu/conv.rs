//! 3x3 convolutions over tokens `[position, channel]`, as matrix products whose left rows are
//! found tap by tap: nothing is copied.

use super::buffer::{Plain, Scratch};
use super::dispatch::{Int8Isa, Isa};
use super::gemm::{
    Epilogue, Int8Matrix, Int8Rows, Matrix, Origin, PackedMatrix, RowScale, RowScales, Rows,
    block_rows,
};
use super::linear::task_panels;
use super::rounding::Int8Input;
use super::simd::MAX_NUMBERS;
use super::tile::Grid;

/// Taps of a kernel.
pub(crate) const TAPS: usize = 9;
/// Of what the channels of a group must be a multiple for products of int8: they make whole words with
/// every instruction set.
pub(crate) const INT8_CHANNELS: usize = MAX_NUMBERS;
/// Side of the kernel, and zeros around the input.
pub(super) const SIDE: usize = 3;
pub(super) const PADDING: usize = 1;
/// Marks a tap that lies outside the input.
pub(super) const OUTSIDE: usize = usize::MAX;

/// A 3x3 convolution with padding 1, packed.
#[allow(private_bounds, reason = "matrices are named inside this folder alone")]
#[derive(Debug, Clone)]
pub(crate) struct PackedConv<M: Matrix = PackedMatrix> {
    /// A matrix `[taps * in / groups, out / groups]` a group.
    groups: Vec<M>,
    /// Elements of a position, numbers or words of several.
    in_dim: usize,
    out_dim: usize,
    /// Rows and columns from one output position to the next.
    stride: (usize, usize),
}

impl PackedConv {
    /// Packs the weight `[out, in / groups, 3, 3]` and bias `[out]`.
    pub(crate) fn new(
        weight: &[f32],
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        stride: (usize, usize),
    ) -> Self {
        Self::new_for(Isa::best(), weight, bias, in_dim, groups, stride)
    }

    pub(super) fn new_for(
        isa: Isa,
        weight: &[f32],
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        stride: (usize, usize),
    ) -> Self {
        let out_dim = bias.len();
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        assert_eq!(weight.len(), out_dim * group_in * TAPS, "the weight has another size");
        let pack = |group: usize| {
            let element = |k: usize, n: usize| {
                let (tap, channel) = (k / group_in, k % group_in);
                weight[((group * group_out + n) * group_in + channel) * TAPS + tap]
            };
            let bias = &bias[group * group_out..][..group_out];
            PackedMatrix::new(isa, TAPS * group_in, group_out, element, Some(bias))
        };
        Self::from_groups((0..groups).map(pack).collect(), in_dim, stride)
    }
}

#[allow(private_bounds, reason = "as above")]
impl<M: Matrix> PackedConv<M> {
    /// From a matrix `[taps * in / groups, out / groups]` a group, for positions of `in_dim` elements.
    pub(super) fn from_groups(groups: Vec<M>, in_dim: usize, stride: (usize, usize)) -> Self {
        let (group_in, group_out) = (in_dim / groups.len(), groups[0].n());
        assert_eq!(in_dim, group_in * groups.len(), "groups of different sizes");
        for group in &groups {
            let same = (group.k(), group.n(), group.panel_width());
            assert_eq!(
                same,
                (TAPS * group_in, group_out, groups[0].panel_width()),
                "groups differ"
            );
        }
        let out_dim = groups.len() * group_out;
        PackedConv { groups, in_dim, out_dim, stride }
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
    let taps = Taps::of_output(height, width, layer.in_dim, layer.stride);
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
    let images = x.len().checked_div(taps.image_len).unwrap_or(0);
    assert_eq!(x.len(), images * taps.image_len, "the input has no whole images");
    assert_eq!(taps.channels, layer.in_dim, "taps of other channels");
    let positions = taps.offsets.len();
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
            let image = &x[place.segment * taps.image_len..][..taps.image_len];
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
    /// Packs the weight `scales[o] * levels[o, ..]`, `[out, in / groups, 3, 3]`, and bias `[out]`.
    ///
    /// # Panics
    /// If the channels of a group are no multiple of [`INT8_CHANNELS`], or more than sums have room for.
    pub(crate) fn new(
        (levels, scales): (&[i8], &[f32]),
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        stride: (usize, usize),
        input: Int8Input,
    ) -> Self {
        let isa = Int8Isa::best().for_weights(levels, TAPS);
        Self::new_for(isa, (levels, scales), bias, in_dim, groups, stride, input)
    }

    fn new_for(
        isa: Int8Isa,
        (levels, scales): (&[i8], &[f32]),
        bias: &[f32],
        in_dim: usize,
        groups: usize,
        stride: (usize, usize),
        input: Int8Input,
    ) -> Self {
        let isa = isa.for_input(input.bits);
        let out_dim = bias.len();
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        assert_eq!(levels.len(), out_dim * group_in * TAPS, "the weight has another size");
        assert_eq!(scales.len(), out_dim, "a scale for each output channel");
        let fits = input.factors.as_ref().is_none_or(|factors| factors.len() == in_dim);
        assert!(fits, "a factor for each channel");
        assert!(group_in.is_multiple_of(INT8_CHANNELS), "channels that make no whole words");
        assert!(TAPS * group_in <= input.bits.most_products(), "sums of more products than fit");
        let pack = |group: usize| {
            let element = |k: usize, n: usize| {
                let (tap, channel) = (k / group_in, k % group_in);
                levels[((group * group_out + n) * group_in + channel) * TAPS + tap]
            };
            let of_group = |values: &[f32]| values[group * group_out..][..group_out].to_vec();
            let (scales, bias) = (of_group(scales), of_group(bias));
            Int8Matrix::new(isa, TAPS * group_in, TAPS * group_in, element, &scales, Some(&bias))
        };
        let groups = (0..groups).map(pack).collect();
        let packed = PackedConv::from_groups(groups, in_dim / isa.words().numbers(), stride);
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
    let taps = Taps::of_output(height, width, packed.in_dim, packed.stride);
    gather(&x.words, Some(&x.scales), &taps, packed, epilogue)
}

/// The grid of the output.
pub(crate) fn output_grid(height: usize, width: usize, stride: (usize, usize)) -> (usize, usize) {
    let steps = |size: usize, stride: usize| (size + 2 * PADDING - SIDE) / stride + 1;
    (steps(height, stride.0), steps(width, stride.1))
}

/// Where the taps of every position lie in an image.
///
/// Invariant: `channels` elements of an image lie behind every offset that is not [`OUTSIDE`].
pub(super) struct Taps {
    offsets: Vec<[usize; TAPS]>,
    /// Elements of an image.
    image_len: usize,
    /// Channels of an image's positions.
    channels: usize,
}

impl Taps {
    /// From offsets in an image of `positions` times `channels` elements.
    ///
    /// # Panics
    /// If an offset is not that of a position.
    pub(super) fn new(offsets: Vec<[usize; TAPS]>, positions: usize, channels: usize) -> Self {
        let image_len = positions * channels;
        for &offset in offsets.as_flattened() {
            let inside = offset.checked_add(channels).is_some_and(|end| end <= image_len);
            assert!(offset == OUTSIDE || inside, "a tap beyond the image");
        }
        Taps { offsets, image_len, channels }
    }

    /// Those of every output position in the input.
    pub(super) fn of_output(
        height: usize,
        width: usize,
        in_dim: usize,
        stride: (usize, usize),
    ) -> Self {
        let (out_height, out_width) = output_grid(height, width, stride);
        let mut offsets = Vec::with_capacity(out_height * out_width);
        for y in 0..out_height {
            for x in 0..out_width {
                offsets.push(std::array::from_fn(|tap| {
                    // One more than the position: 0 is outside.
                    let row = y * stride.0 + tap / SIDE;
                    let column = x * stride.1 + tap % SIDE;
                    let inside = (1..=height).contains(&row) && (1..=width).contains(&column);
                    if inside {
                        ((row - PADDING) * width + column - PADDING) * in_dim
                    } else {
                        OUTSIDE
                    }
                }));
            }
        }
        Self::new(offsets, height * width, in_dim)
    }

    /// The offsets, position by position.
    #[cfg(feature = "train")]
    pub(super) fn offsets(&self) -> &[[usize; TAPS]] {
        &self.offsets
    }

    /// Elements of an image.
    #[cfg(feature = "train")]
    pub(super) fn image_len(&self) -> usize {
        self.image_len
    }
}

/// The input's positions under a kernel, one chunk a tap.
struct TapRows<'a, E> {
    /// An image, from the group's first channel of the first position on.
    image: &'a [E],
    /// What lies outside the image: as many zeros as a group has channels.
    zeros: &'a [E],
    /// Those of the group's first channel, position by position.
    offsets: &'a [[usize; TAPS]],
}

impl<'a, E: Plain> TapRows<'a, E> {
    /// Of the group whose channels start at `channel`.
    fn new(image: &'a [E], zeros: &'a [E], taps: &'a Taps, channel: usize) -> Self {
        assert_eq!(image.len(), taps.image_len, "an image of another size");
        assert!(channel + zeros.len() <= taps.channels, "channels beyond a position's");
        TapRows { image: &image[channel..], zeros, offsets: &taps.offsets }
    }
}

// SAFETY: a chunk has as many elements as `zeros`. All channels of a position lie in the image, as
// `Taps` has seen; the group's are among them, as `new` has.
unsafe impl<E: Plain> Rows for TapRows<'_, E> {
    type Element = E;

    #[inline(always)]
    fn count(&self) -> usize {
        self.offsets.len()
    }

    #[inline(always)]
    fn chunks(&self) -> usize {
        TAPS
    }

    #[inline(always)]
    fn chunk_len(&self, _: usize) -> usize {
        self.zeros.len()
    }

    #[inline(always)]
    unsafe fn pointers<const MR: usize>(&self, row: usize, chunk: usize) -> [*const E; MR] {
        debug_assert!(row + MR <= self.offsets.len() && chunk < TAPS);
        // SAFETY: the caller asks for rows that exist.
        let offsets = unsafe { self.offsets.get_unchecked(row..row + MR) };
        std::array::from_fn(|i| match offsets[i][chunk] {
            OUTSIDE => self.zeros.as_ptr(),
            // SAFETY: as above: a position's channels lie in the image.
            offset => unsafe { self.image.as_ptr().add(offset) },
        })
    }
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
        stride: (usize, usize),
    }

    /// [`conv_int8`] with an instruction set, without a bias.
    pub(in crate::cpu) fn int8_conv_for(
        isa: Int8Isa,
        x: &[f32],
        (height, width): (usize, usize),
        weight: (&[i8], &[f32]),
        groups: usize,
        stride: (usize, usize),
        bits: ActivationBits,
    ) -> Vec<f32> {
        let (levels, scales) = weight;
        let in_dim = levels.len() / (scales.len() * TAPS) * groups;
        let bias = vec![0.0; scales.len()];
        let input = Int8Input { factors: None, bits };
        let layer = Int8Conv::new_for(isa, weight, &bias, in_dim, groups, stride, input);
        conv_int8(x, height, width, &layer, Epilogue::Store)
    }

    /// Images are rounded to 255 or 4095 steps.
    #[test]
    fn int8_is_close() {
        let (images, height, width, in_dim, out_dim, groups) = (2, 6, 9, 16, 24, 2);
        let stride = (2, 1);
        let case = Case { images, height, width, in_dim, out_dim, groups, stride };
        let x = noise(1, images * height * width * in_dim);
        let levels: Vec<i8> =
            noise(2, out_dim * in_dim / groups * TAPS).iter().map(|x| (x * 127.0) as i8).collect();
        let scales: Vec<f32> = noise(3, out_dim).iter().map(|x| 0.01 * (1.5 + x)).collect();
        let weight: Vec<f32> = (levels.iter().enumerate())
            .map(|(i, &level)| f32::from(level) * scales[i / (in_dim / groups * TAPS)])
            .collect();
        let expected = plain(&case, &x, &weight, &vec![0.0; out_dim]);
        for isa in Int8Isa::all() {
            for (bits, error) in [(ActivationBits::Eight, 0.2), (ActivationBits::Twelve, 0.015)] {
                let run = |x: &[f32]| {
                    let grid = (height, width);
                    int8_conv_for(isa, x, grid, (&levels, &scales), groups, stride, bits)
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
            noise(3, 8 * in_dim / groups * TAPS).iter().map(|x| (x * 127.0) as i8).collect();
        let weight = (&levels[..], &[0.01; 8][..]);
        for isa in Int8Isa::all() {
            let layer = |factors| {
                let input = Int8Input { factors, bits: ActivationBits::Eight };
                Int8Conv::new_for(isa, weight, &[0.5; 8], in_dim, groups, (1, 1), input)
            };
            let run = |x: &[f32], layer| conv_int8(x, height, width, &layer, Epilogue::Store);
            let found = run(&x, layer(Some(factors.clone())));
            assert!(found == run(&products, layer(None)), "{isa:?}");
        }
    }

    /// The definition, in f64.
    fn plain(case: &Case, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let Case { images, height, width, in_dim, out_dim, groups, stride } = *case;
        let (group_in, group_out) = (in_dim / groups, out_dim / groups);
        let mut out = Vec::new();
        for image in 0..images {
            for y in (0..height).step_by(stride.0) {
                for x_out in (0..width).step_by(stride.1) {
                    for o in 0..out_dim {
                        let mut sum = f64::from(bias[o]);
                        for tap in 0..TAPS {
                            let row = (y + tap / SIDE).wrapping_sub(PADDING);
                            let column = (x_out + tap % SIDE).wrapping_sub(PADDING);
                            if row >= height || column >= width {
                                continue;
                            }
                            for c in 0..group_in {
                                let channel = o / group_out * group_in + c;
                                let at = ((image * height + row) * width + column) * in_dim;
                                sum += f64::from(x[at + channel])
                                    * f64::from(weight[(o * group_in + c) * TAPS + tap]);
                            }
                        }
                        out.push(sum);
                    }
                }
            }
        }
        out
    }

    #[test]
    fn equals_the_plain_version() {
        let case = |images, height, width, in_dim, out_dim, groups, stride| Case {
            images,
            height,
            width,
            in_dim,
            out_dim,
            groups,
            stride,
        };
        let cases = [
            case(1, 1, 1, 1, 1, 1, (1, 1)),
            case(1, 8, 9, 3, 20, 1, (2, 2)),
            case(2, 7, 5, 64, 64, 2, (1, 1)),
            case(1, 8, 32, 128, 128, 4, (1, 1)),
            case(2, 5, 28, 48, 40, 1, (2, 1)),
            case(1, 3, 4, 12, 18, 3, (1, 1)),
            case(1, 16, 12, 96, 24, 1, (1, 2)),
        ];
        for isa in Isa::all() {
            for case in &cases {
                let Case { images, height, width, in_dim, out_dim, groups, stride } = *case;
                let row = format!(
                    "{isa:?}, {images} x {height} x {width}, {in_dim} -> {out_dim} in {groups}, \
                     {stride:?}"
                );
                let x = noise(1, images * height * width * in_dim);
                let weight = noise(2, out_dim * in_dim / groups * TAPS);
                let bias = noise(3, out_dim);
                let expected = plain(case, &x, &weight, &bias);
                let tolerance = 1e-6 * (in_dim / groups * TAPS) as f64 + 1e-6;
                let layer = PackedConv::new_for(isa, &weight, &bias, in_dim, groups, stride);
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
}
