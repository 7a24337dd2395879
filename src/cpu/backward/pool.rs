//! Gradients of the pools.

use super::super::parts::{Chunks, for_each_part};
use super::super::pool::mean_factor;

/// The gradient for the input of `average_pool(x, height, width, channels, kernel)` from that for its
/// result. What the pool drops has none.
pub(crate) fn average_pool_backward(
    dy: &[f32],
    height: usize,
    width: usize,
    channels: usize,
    kernel: (usize, usize),
) -> Vec<f32> {
    let out = (height / kernel.0, width / kernel.1);
    let out_len = out.0 * out.1 * channels;
    let images = dy.len().checked_div(out_len).unwrap_or(0);
    assert_eq!(dy.len(), images * out_len, "the gradient has no whole images");
    let factor = mean_factor(kernel);
    let mut gradient = vec![0.0; images * height * width * channels];
    for_each_part(Chunks::equal(&mut gradient, images), &|image, gradient| {
        let dy = &dy[image * out_len..][..out_len];
        for (position, gradient) in gradient.chunks_exact_mut(channels).enumerate() {
            let (y, x) = (position / width / kernel.0, position % width / kernel.1);
            if y < out.0 && x < out.1 {
                let dy = &dy[(y * out.1 + x) * channels..][..channels];
                gradient.iter_mut().zip(dy).for_each(|(gradient, dy)| *gradient = dy * factor);
            }
        }
    });
    gradient
}

/// The gradient for the input of `max_pool(x, height, width, channels, kernel)` from that for its result.
/// Of equal values the first one gets it.
pub(crate) fn max_pool_backward(
    x: &[f32],
    dy: &[f32],
    height: usize,
    width: usize,
    channels: usize,
    kernel: (usize, usize),
) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "values and gradients differ in number");
    let len = height * width * channels;
    let images = x.len().checked_div(len).unwrap_or(0);
    assert_eq!(x.len(), images * len, "the input has no whole images");
    let mut gradient = vec![0.0; x.len()];
    for_each_part(Chunks::equal(&mut gradient, images), &|image, gradient| {
        let (x, dy) = (&x[image * len..][..len], &dy[image * len..][..len]);
        for (at, dy) in dy.iter().enumerate() {
            let (position, channel) = (at / channels, at % channels);
            let (top, left) = (position / width, position % width);
            let mut largest = at;
            for row in top..height.min(top + kernel.0) {
                for column in left..width.min(left + kernel.1) {
                    let other = (row * width + column) * channels + channel;
                    if x[other] > x[largest] {
                        largest = other;
                    }
                }
            }
            gradient[largest] += dy;
        }
    });
    gradient
}

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::super::super::{average_pool, max_pool};
    use super::*;

    const CASES: [(usize, usize, usize, (usize, usize)); 5] = [
        (1, 1, 1, (1, 1)),
        (3, 8, 5, (3, 2)),
        (1, 9, 4, (1, 2)),
        (7, 5, 3, (2, 2)),
        (4, 6, 2, (3, 4)),
    ];

    /// The value is linear where the largest values stay the same.
    #[test]
    fn equals_the_differences() {
        const STEP: f32 = 1.0 / 64.0;
        for (height, width, channels, kernel) in CASES {
            let row = format!("{height} x {width} x {channels}, {kernel:?}");
            // Far enough from each other that a step does not change their order.
            let size = 2 * height * width * channels;
            let x: Vec<f32> = (0..size).map(|i| (i * 37 % size) as f32 / 16.0).collect();
            let slopes = |dy: &[f32], pool: &dyn Fn(&[f32]) -> Vec<f32>| -> Vec<f64> {
                let before = pool(&x);
                let slope = |i: usize| {
                    let mut moved = x.clone();
                    moved[i] += STEP;
                    let differences = pool(&moved).into_iter().zip(&before).zip(dy);
                    let sum: f64 = differences
                        .map(|((after, before), dy)| f64::from(after - before) * f64::from(*dy))
                        .sum();
                    sum / f64::from(STEP)
                };
                (0..size).map(slope).collect()
            };
            let average = |x: &[f32]| average_pool(x, height, width, channels, kernel);
            let dy = noise(1, average(&x).len());
            let found = average_pool_backward(&dy, height, width, channels, kernel);
            assert_close(&found, &slopes(&dy, &average), 1e-3, &row);
            let largest = |x: &[f32]| max_pool(x, height, width, channels, kernel);
            let dy = noise(2, size);
            let found = max_pool_backward(&x, &dy, height, width, channels, kernel);
            assert_close(&found, &slopes(&dy, &largest), 1e-5, &row);
        }
    }

    #[test]
    fn the_first_of_equal_values() {
        let found = max_pool_backward(&[1.0, 1.0, 1.0], &[1.0, 2.0, 4.0], 1, 3, 1, (1, 2));
        assert_eq!(found, [1.0, 2.0, 4.0]);
    }
}
