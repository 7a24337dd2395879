//! Pools over tokens `[position, channel]`.

use super::dispatch::{Isa, Kernel, dispatch};
use super::parts::{Chunks, for_each_part};
use super::simd::Simd;

/// Values of a row whose maxima are taken together, so that they stay in the first-level cache.
const PIECE: usize = 1024;

/// Means over `kernel` rows and columns, side by side: images of `height * width` tokens become images of
/// `height / kernel.0 * (width / kernel.1)`. What is left over at the bottom and at the right is dropped.
///
/// # Panics
/// If a side of the kernel is 0, or the input has no whole images.
pub(crate) fn average_pool(
    x: &[f32],
    height: usize,
    width: usize,
    channels: usize,
    kernel: (usize, usize),
) -> Vec<f32> {
    pool_for(Isa::best(), Pool::Average, x, Sizes { height, width, channels, kernel })
}

/// The largest values over `kernel` rows and columns from every position on, as many positions as the input
/// has: beyond its right and bottom there is nothing.
///
/// # Panics
/// If a side of the kernel is 0, or the input has no whole images.
pub(crate) fn max_pool(
    x: &[f32],
    height: usize,
    width: usize,
    channels: usize,
    kernel: (usize, usize),
) -> Vec<f32> {
    pool_for(Isa::best(), Pool::Max, x, Sizes { height, width, channels, kernel })
}

/// What a sum is multiplied with.
pub(super) fn mean_factor(kernel: (usize, usize)) -> f32 {
    1.0 / (kernel.0 * kernel.1) as f32
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Average,
    Max,
}

/// The sizes of an image and of the kernel.
#[derive(Clone, Copy)]
struct Sizes {
    height: usize,
    width: usize,
    channels: usize,
    kernel: (usize, usize),
}

fn pool_for(isa: Isa, pool: Pool, x: &[f32], sizes: Sizes) -> Vec<f32> {
    let Sizes { height, width, channels, kernel } = sizes;
    assert!(kernel.0 > 0 && kernel.1 > 0, "a kernel of 0");
    let out = match pool {
        Pool::Average => (height / kernel.0, width / kernel.1),
        Pool::Max => (height, width),
    };
    let image_len = height * width * channels;
    let images = x.len().checked_div(image_len).unwrap_or(0);
    assert_eq!(x.len(), images * image_len, "the input has no whole images");
    let row_len = out.1 * channels;
    let mut pooled = vec![0.0; images * out.0 * row_len];
    for_each_part(Chunks::new(&mut pooled, row_len), &|row, pooled| {
        let image = &x[row / out.0 * image_len..][..image_len];
        let row = row % out.0;
        match pool {
            Pool::Average => dispatch(isa, AverageRow(Row { image, sizes, row, pooled })),
            Pool::Max => dispatch(isa, MaxRow(Row { image, sizes, row, pooled })),
        }
    });
    pooled
}

/// A row of the output, which is 0 before, and the image that it is of.
struct Row<'a> {
    image: &'a [f32],
    sizes: Sizes,
    row: usize,
    pooled: &'a mut [f32],
}

/// A row of means. Compiled for the instruction set, the loop over channels is vectors.
struct AverageRow<'a>(Row<'a>);

impl Kernel for AverageRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) {
        let Row { image, sizes, row, pooled } = self.0;
        let Sizes { width, channels, kernel, .. } = sizes;
        let factor = mean_factor(kernel);
        for row in row * kernel.0..(row + 1) * kernel.0 {
            let windows = image[row * width * channels..].chunks_exact(kernel.1 * channels);
            for (sums, window) in pooled.chunks_exact_mut(channels).zip(windows) {
                for values in window.chunks_exact(channels) {
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        pooled.iter_mut().for_each(|sum| *sum *= factor);
    }
}

/// A row of the largest values. A row shifted by a column is one slice with all its positions.
struct MaxRow<'a>(Row<'a>);

impl Kernel for MaxRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) {
        let Row { image, sizes, row, pooled } = self.0;
        let Sizes { height, width, channels, kernel } = sizes;
        let len = width * channels;
        let rows = &image[row * len..height.min(row + kernel.0) * len];
        for (piece, pooled) in pooled.chunks_mut(PIECE).enumerate() {
            let start = piece * PIECE;
            pooled.copy_from_slice(&rows[start..start + pooled.len()]);
            for row in rows.chunks_exact(len) {
                for column in 0..kernel.1.min(width) {
                    let values = &row[len.min(start + column * channels)..];
                    let values = &values[..values.len().min(pooled.len())];
                    let (vectors, rest) = S::split_mut(&mut pooled[..values.len()]);
                    let (values, values_rest) = S::split(values);
                    for (largest, value) in vectors.iter_mut().zip(values) {
                        simd.store(simd.max(simd.load(largest), simd.load(value)), largest);
                    }
                    for (largest, value) in rest.iter_mut().zip(values_rest) {
                        *largest = largest.max(*value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// Every (height, width, channels, kernel).
    const CASES: [(usize, usize, usize, (usize, usize)); 7] = [
        (1, 1, 1, (1, 1)),
        (3, 8, 40, (3, 2)),
        (1, 9, 19, (1, 2)),
        (7, 5, 3, (2, 2)),
        (4, 6, 16, (3, 4)),
        (2, 2, 5, (3, 1)),
        (2, 70, 33, (2, 2)),
    ];

    /// For every output element what lies under its window, which ends with the image.
    fn windows(
        x: &[f32],
        (height, width, channels): (usize, usize, usize),
        kernel: (usize, usize),
        stride: (usize, usize),
        out: (usize, usize),
    ) -> Vec<Vec<f64>> {
        let mut all = Vec::new();
        for image in x.chunks_exact(height * width * channels) {
            for at in 0..out.0 * out.1 * channels {
                let (position, channel) = (at / channels, at % channels);
                let (top, left) = (position / out.1 * stride.0, position % out.1 * stride.1);
                let rows = top..height.min(top + kernel.0);
                let cells = rows.flat_map(|row| {
                    (left..width.min(left + kernel.1)).map(move |column| (row, column))
                });
                let value = |(row, column): (usize, usize)| {
                    f64::from(image[(row * width + column) * channels + channel])
                };
                all.push(cells.map(value).collect());
            }
        }
        all
    }

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for (height, width, channels, kernel) in CASES {
                let row = format!("{isa:?}, {height} x {width} x {channels}, {kernel:?}");
                let x = noise(1, 2 * height * width * channels);
                let size = (height, width, channels);
                let out = (height / kernel.0, width / kernel.1);
                let mean = |window: Vec<f64>| window.iter().sum::<f64>() / window.len() as f64;
                let expected = windows(&x, size, kernel, kernel, out).into_iter().map(mean);
                let sizes = Sizes { height, width, channels, kernel };
                let found = pool_for(isa, Pool::Average, &x, sizes);
                assert_close(&found, &expected.collect::<Vec<_>>(), 1e-6, &row);
                if isa == Isa::best() {
                    assert!(found == average_pool(&x, height, width, channels, kernel), "{row}");
                }

                let largest = |window: Vec<f64>| window.into_iter().fold(f64::MIN, f64::max);
                let all = windows(&x, size, kernel, (1, 1), (height, width));
                let expected: Vec<f64> = all.into_iter().map(largest).collect();
                let found = pool_for(isa, Pool::Max, &x, sizes);
                assert_close(&found, &expected, 0.0, &row);
                if isa == Isa::best() {
                    assert!(found == max_pool(&x, height, width, channels, kernel), "{row}");
                }
            }
        }
    }

    #[test]
    fn no_positions() {
        assert!(average_pool(&noise(1, 12), 2, 3, 2, (3, 2)).is_empty());
        assert!(average_pool(&[], 3, 2, 4, (3, 2)).is_empty());
        assert!(max_pool(&[], 0, 0, 4, (2, 2)).is_empty());
    }
}
