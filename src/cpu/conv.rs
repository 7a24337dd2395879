//! 3x3 convolutions over tokens `[position, channel]`, as matrix products whose left rows are
//! found tap by tap: nothing is copied.

use super::buffer::{AlignedBuffer, SharedOut, filled};
use super::dispatch::{Isa, dispatch};
use super::gemm::{BLOCK_ROWS, Epilogue, Gemm, PackedMatrix, Rows};
use super::parallel::parallel;

/// Taps of a kernel.
pub(super) const TAPS: usize = 9;
/// Side of the kernel, and zeros around the input.
pub(super) const SIDE: usize = 3;
pub(super) const PADDING: usize = 1;
/// Marks a tap that lies outside the input.
pub(super) const OUTSIDE: usize = usize::MAX;

/// A 3x3 convolution with padding 1, packed.
#[derive(Debug, Clone)]
pub(crate) struct PackedConv {
    /// A matrix `[taps * in / groups, out / groups]` a group.
    groups: Vec<PackedMatrix>,
    in_dim: usize,
    out_dim: usize,
    /// Rows and columns from one output position to the next.
    stride: (usize, usize),
    /// What lies outside the input.
    zeros: Zeros,
}

#[derive(Clone)]
struct Zeros(AlignedBuffer);

impl std::fmt::Debug for Zeros {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Zeros")
    }
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

    fn new_for(
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
        Self::of_groups((0..groups).map(pack).collect(), in_dim, out_dim, stride)
    }

    /// From a matrix `[taps * in / groups, out / groups]` a group.
    pub(super) fn of_groups(
        groups: Vec<PackedMatrix>,
        in_dim: usize,
        out_dim: usize,
        stride: (usize, usize),
    ) -> Self {
        let zeros = Zeros(AlignedBuffer::zeroed(in_dim / groups.len()));
        PackedConv { groups, in_dim, out_dim, stride, zeros }
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
    let offsets = tap_offsets(height, width, layer.in_dim, layer.stride);
    gather(x, height * width * layer.in_dim, &offsets, layer, epilogue)
}

/// `epilogue(.. + b)` of what lies at `offsets` of every image of `image_len` elements, times the
/// matrices of `layer`.
pub(super) fn gather(
    x: &[f32],
    image_len: usize,
    offsets: &[[usize; TAPS]],
    layer: &PackedConv,
    epilogue: Epilogue,
) -> Vec<f32> {
    let images = x.len().checked_div(image_len).unwrap_or(0);
    let positions = offsets.len();
    if let Epilogue::Add(other) = epilogue {
        assert_eq!(other.len(), images * positions * layer.out_dim, "residual of another size");
    }
    for &offset in offsets.as_flattened() {
        let inside = offset.checked_add(layer.in_dim).is_some_and(|end| end <= image_len);
        assert!(offset == OUTSIDE || inside, "a tap beyond the image");
    }

    let blocks = positions.div_ceil(BLOCK_ROWS);
    let block_rows = positions.div_ceil(blocks.max(1));
    let groups = layer.groups.len();
    let write = |out: *mut f32| {
        let out = SharedOut(out);
        parallel(images * groups * blocks, &|task| {
            let (image, rest) = (task / (groups * blocks), task % (groups * blocks));
            let (block, group) = (rest / groups, rest % groups);
            let matrix = &layer.groups[group];
            let group_in = layer.in_dim / groups;
            let rows = TapRows {
                image: x[image * image_len..][..image_len].as_ptr().wrapping_add(group * group_in),
                zeros: layer.zeros.0.as_slice().as_ptr(),
                offsets,
                chunk: group_in,
            };
            let start = image * positions * layer.out_dim + group * matrix.n();
            let gemm = Gemm {
                rows: &rows,
                matrix: matrix.view(),
                epilogue,
                out: SharedOut(out.at(start)),
                out_stride: layer.out_dim,
                epilogue_start: start,
                row_range: block * block_rows..positions.min((block + 1) * block_rows),
                panel_range: 0..matrix.view().count(),
                accumulate: false,
            };
            dispatch(matrix.isa(), gemm);
        });
    };
    // SAFETY: images, groups and blocks together cover every position and channel.
    unsafe { filled(images * positions * layer.out_dim, write) }
}

/// The grid of the output.
pub(crate) fn output_grid(height: usize, width: usize, stride: (usize, usize)) -> (usize, usize) {
    let steps = |size: usize, stride: usize| (size + 2 * PADDING - SIDE) / stride + 1;
    (steps(height, stride.0), steps(width, stride.1))
}

/// For every output position and tap, where the input position's channels start in an image.
pub(super) fn tap_offsets(
    height: usize,
    width: usize,
    in_dim: usize,
    stride: (usize, usize),
) -> Vec<[usize; TAPS]> {
    let (out_height, out_width) = output_grid(height, width, stride);
    let mut offsets = Vec::with_capacity(out_height * out_width);
    for y in 0..out_height {
        for x in 0..out_width {
            offsets.push(std::array::from_fn(|tap| {
                // One more than the position: 0 is outside.
                let row = y * stride.0 + tap / SIDE;
                let column = x * stride.1 + tap % SIDE;
                let inside = (1..=height).contains(&row) && (1..=width).contains(&column);
                if inside { ((row - PADDING) * width + column - PADDING) * in_dim } else { OUTSIDE }
            }));
        }
    }
    offsets
}

/// The input's positions under a kernel, one chunk a tap.
struct TapRows<'a> {
    /// The first of the group's channels of an image's first position.
    image: *const f32,
    zeros: *const f32,
    offsets: &'a [[usize; TAPS]],
    /// Channels of a group.
    chunk: usize,
}

// SAFETY: it is only read through, while the image is borrowed.
unsafe impl Sync for TapRows<'_> {}

impl Rows for TapRows<'_> {
    #[inline(always)]
    fn chunks(&self) -> usize {
        TAPS
    }

    #[inline(always)]
    fn chunk_len(&self, _: usize) -> usize {
        self.chunk
    }

    #[inline(always)]
    fn pointers<const MR: usize>(&self, row: usize, chunk: usize) -> [*const f32; MR] {
        std::array::from_fn(|i| match self.offsets[row + i][chunk] {
            OUTSIDE => self.zeros,
            offset => self.image.wrapping_add(offset),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::{assert_close, noise};
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
