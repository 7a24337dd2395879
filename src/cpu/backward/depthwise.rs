//! Gradients of the depthwise convolutions over tokens.

use super::super::conv::ConvShape;
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::parts::{Chunks, for_each_part};
use super::super::simd::Simd;

/// What a depthwise convolution is of: `channels` from an input of `height * width` tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DepthwiseDims {
    pub channels: usize,
    pub shape: ConvShape,
    pub height: usize,
    pub width: usize,
}

impl DepthwiseDims {
    /// The grid of the output.
    fn out_grid(self) -> (usize, usize) {
        self.shape.output_grid(self.height, self.width)
    }

    /// Elements of an input image and of an output image.
    fn lens(self) -> (usize, usize) {
        let out = self.out_grid();
        (self.height * self.width * self.channels, out.0 * out.1 * self.channels)
    }

    /// For an output position, calls back with every tap that is inside and its input position.
    #[inline(always)]
    fn for_each_tap(self, (y, x): (usize, usize), mut found: impl FnMut(usize, usize)) {
        let (rows, columns) = self.shape.kernel;
        for row_part in 0..rows {
            let Some(row) = self.shape.row_under(y, row_part, self.height) else {
                continue;
            };
            for column_part in 0..columns {
                if let Some(column) = self.shape.column_under(x, column_part, self.width) {
                    found(row_part * columns + column_part, row * self.width + column);
                }
            }
        }
    }

    /// Images of the input and the output.
    fn images(self, dy: &[f32]) -> usize {
        let (_, out_len) = self.lens();
        let images = dy.len().checked_div(out_len).unwrap_or(0);
        assert_eq!(dy.len(), images * out_len, "the gradient has no whole images");
        images
    }
}

/// The gradient for the input from that for the output and the weight `[channels, 1, rows, columns]`, plus
/// `other` if there is one. Where the output has no positions, there are no images.
pub(crate) fn depthwise_input_gradient(
    dy: &[f32],
    weight: &[f32],
    dims: DepthwiseDims,
    other: Option<&[f32]>,
) -> Vec<f32> {
    depthwise_input_gradient_for(Isa::best(), dy, weight, dims, other)
}

fn depthwise_input_gradient_for(
    isa: Isa,
    dy: &[f32],
    weight: &[f32],
    dims: DepthwiseDims,
    other: Option<&[f32]>,
) -> Vec<f32> {
    let (images, (len, out_len)) = (dims.images(dy), dims.lens());
    assert_eq!(weight.len(), dims.channels * dims.shape.taps(), "the weight has another size");
    let mut gradient = other.map_or_else(|| vec![0.0; images * len], <[f32]>::to_vec);
    assert_eq!(gradient.len(), images * len, "the other gradient has another size");
    let weight = transposed(weight, dims.channels);
    for_each_part(Chunks::equal(&mut gradient, images), &|image, gradient| {
        let dy = &dy[image * out_len..][..out_len];
        dispatch(isa, InputGradient { dy, weight: &weight, dims, gradient });
    });
    gradient
}

/// The gradient for the weight, `[channels, 1, rows, columns]`, from the input and the gradient for the
/// output.
pub(crate) fn depthwise_weight_gradient(x: &[f32], dy: &[f32], dims: DepthwiseDims) -> Vec<f32> {
    depthwise_weight_gradient_for(Isa::best(), x, dy, dims)
}

fn depthwise_weight_gradient_for(isa: Isa, x: &[f32], dy: &[f32], dims: DepthwiseDims) -> Vec<f32> {
    let (images, (len, out_len)) = (dims.images(dy), dims.lens());
    assert_eq!(x.len(), images * len, "input and gradient differ in images");
    let size = dims.shape.taps() * dims.channels;
    // A sum for each image, added in their order: the same for any number of threads.
    let mut partial = vec![0.0; images * size];
    for_each_part(Chunks::equal(&mut partial, images), &|image, gradient| {
        let (x, dy) = (&x[image * len..][..len], &dy[image * out_len..][..out_len]);
        dispatch(isa, WeightGradient { x, dy, dims, gradient });
    });
    let mut sums = vec![0.0; size];
    for partial in partial.chunks_exact(size.max(1)) {
        sums.iter_mut().zip(partial).for_each(|(sum, value)| *sum += value);
    }
    transposed(&sums, dims.shape.taps())
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(x: &[f32], rows: usize) -> Vec<f32> {
    let columns = x.len().checked_div(rows).unwrap_or(0);
    (0..columns).flat_map(|column| x.iter().skip(column).step_by(columns).copied()).collect()
}

/// Adds the gradient for an image. Compiled for the instruction set, the loop over channels is vectors.
struct InputGradient<'a> {
    dy: &'a [f32],
    /// `[taps, channels]`
    weight: &'a [f32],
    dims: DepthwiseDims,
    gradient: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) {
        let InputGradient { dy, weight, dims, gradient } = self;
        let (channels, out) = (dims.channels, dims.out_grid());
        for (position, dy) in dy.chunks_exact(channels).enumerate() {
            dims.for_each_tap((position / out.1, position % out.1), |tap, input| {
                let weight = &weight[tap * channels..][..channels];
                let gradient = &mut gradient[input * channels..][..channels];
                for ((gradient, dy), weight) in gradient.iter_mut().zip(dy).zip(weight) {
                    *gradient += dy * weight;
                }
            });
        }
    }
}

/// Adds the gradient of an image. Compiled for the instruction set, the loop over channels is vectors.
struct WeightGradient<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dims: DepthwiseDims,
    /// `[taps, channels]`
    gradient: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) {
        let WeightGradient { x, dy, dims, gradient } = self;
        let (channels, out) = (dims.channels, dims.out_grid());
        for (position, dy) in dy.chunks_exact(channels).enumerate() {
            dims.for_each_tap((position / out.1, position % out.1), |tap, input| {
                let x = &x[input * channels..][..channels];
                let gradient = &mut gradient[tap * channels..][..channels];
                for ((gradient, dy), x) in gradient.iter_mut().zip(dy).zip(x) {
                    *gradient += dy * x;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::depthwise::tests::plain;
    use super::super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// The value is linear in the input and in the weight, so that a difference is the gradient.
    #[test]
    fn equals_the_differences_of_the_plain_version() {
        for (images, height, width, channels, shape) in [
            (1, 1, 1, 1, ConvShape::new_3x3((1, 1))),
            (2, 4, 5, 3, ConvShape::new_3x3((1, 1))),
            (2, 5, 4, 2, ConvShape::new_3x3((2, 1))),
            (1, 1, 9, 3, ConvShape::centred((1, 7), (1, 1))),
            (1, 5, 6, 2, ConvShape::centred((3, 5), (3, 2))),
        ] {
            let dims = DepthwiseDims { channels, shape, height, width };
            let x = noise(1, images * height * width * channels);
            let weight = noise(2, channels * shape.taps());
            let grid = (height, width);
            let zeros = vec![0.0; channels];
            let dy = noise(3, plain(&x, grid, &weight, &zeros, shape).len());
            let value = |x: &[f32], weight: &[f32]| -> f64 {
                let y = plain(x, grid, weight, &zeros, shape);
                y.iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
            };
            let slopes = |len: usize, value: &dyn Fn(&[f32]) -> f64| -> Vec<f64> {
                let unit = |i: usize| {
                    let mut unit = vec![0.0; len];
                    unit[i] = 1.0;
                    value(&unit)
                };
                (0..len).map(unit).collect()
            };
            let other = noise(4, x.len());
            let of_weight = slopes(weight.len(), &|weight| value(&x, weight));
            let of_x = slopes(x.len(), &|x| value(x, &weight));
            let sum: Vec<f64> = of_x.iter().zip(&other).map(|(a, b)| a + f64::from(*b)).collect();
            for isa in Isa::all() {
                let row = format!("{isa:?}, {images} images, {dims:?}");
                let found = depthwise_weight_gradient_for(isa, &x, &dy, dims);
                assert_close(&found, &of_weight, 1e-5, &row);
                let found = depthwise_input_gradient_for(isa, &dy, &weight, dims, None);
                assert_close(&found, &of_x, 1e-5, &row);
                let found = depthwise_input_gradient_for(isa, &dy, &weight, dims, Some(&other));
                assert_close(&found, &sum, 1e-5, &row);
            }
        }
    }

    #[test]
    fn no_images() {
        let shape = ConvShape::new_3x3((1, 1));
        let dims = DepthwiseDims { channels: 2, shape, height: 3, width: 3 };
        assert_eq!(depthwise_weight_gradient(&[], &[], dims), [0.0; 18]);
        assert!(depthwise_input_gradient(&[], &[1.0; 18], dims, None).is_empty());
    }
}
