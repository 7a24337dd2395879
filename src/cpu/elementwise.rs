//! Sums and products of values, element by element.

use rayon::prelude::*;

/// Values of a task.
const BLOCK: usize = 1 << 15;

/// `sums += values`
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    assert_eq!(sums.len(), values.len(), "operands of different sizes");
    sums.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK)).for_each(|(sums, values)| {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    });
}

/// `values *= factor`
pub(crate) fn scale(values: &mut [f32], factor: f32) {
    values.par_chunks_mut(BLOCK).for_each(|values| {
        values.iter_mut().for_each(|value| *value *= factor);
    });
}

/// `x + factor * branch` for samples of equal sizes, with a factor each.
#[cfg(feature = "train")]
pub(crate) fn add_scaled_samples(x: &[f32], branch: &[f32], factors: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), branch.len(), "operands of different sizes");
    let sample = sample_len(x, factors);
    let mut sums = x.to_vec();
    let samples = sums.par_chunks_mut(sample).zip(branch.par_chunks(sample));
    samples.zip(factors).for_each(|((sums, branch), factor)| {
        sums.iter_mut().zip(branch).for_each(|(sum, value)| *sum += factor * value);
    });
    sums
}

/// `factor * x` for samples of equal sizes, with a factor each.
#[cfg(feature = "train")]
pub(crate) fn scale_samples(x: &[f32], factors: &[f32]) -> Vec<f32> {
    let sample = sample_len(x, factors);
    let mut scaled = x.to_vec();
    scaled.par_chunks_mut(sample).zip(factors).for_each(|(values, factor)| {
        values.iter_mut().for_each(|value| *value *= factor);
    });
    scaled
}

#[cfg(feature = "train")]
fn sample_len(x: &[f32], factors: &[f32]) -> usize {
    assert!(x.len().is_multiple_of(factors.len().max(1)), "samples of different sizes");
    (x.len() / factors.len().max(1)).max(1)
}

/// Images `[batch, 3, positions]` to tokens `[batch * positions, 3]`.
pub(crate) fn channels_last(images: &[f32], positions: usize) -> Vec<f32> {
    let mut tokens = Vec::with_capacity(images.len());
    for image in images.chunks_exact((3 * positions).max(1)) {
        let (red, rest) = image.split_at(positions);
        let (green, blue) = rest.split_at(positions);
        for ((red, green), blue) in red.iter().zip(green).zip(blue) {
            tokens.extend_from_slice(&[*red, *green, *blue]);
        }
    }
    tokens
}

/// Tokens `[batch * positions, channels]` to `[batch, channels, positions]`.
pub(crate) fn channels_first(tokens: &[f32], positions: usize, channels: usize) -> Vec<f32> {
    let mut planes = Vec::with_capacity(tokens.len());
    for image in tokens.chunks_exact((positions * channels).max(1)) {
        for channel in 0..channels {
            planes.extend(image.iter().skip(channel).step_by(channels));
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let planes: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let tokens = channels_last(&planes, 2);
        assert_eq!(tokens, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0]);
        assert_eq!(channels_first(&tokens, 2, 3), planes);
    }

    #[test]
    fn sums_and_factors() {
        let mut sums = vec![1.0; 2 * BLOCK + 3];
        let values: Vec<f32> = (0..sums.len()).map(|i| i as f32).collect();
        add(&mut sums, &values);
        scale(&mut sums, 0.5);
        assert!(sums.iter().enumerate().all(|(i, sum)| *sum == (i as f32 + 1.0) / 2.0));
    }

    #[cfg(feature = "train")]
    #[test]
    fn factors_of_samples() {
        let (x, branch, factors) = ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0], [0.0, 1.5]);
        assert_eq!(add_scaled_samples(&x, &branch, &factors), [1.0, 2.0, 6.0, 7.0]);
        assert_eq!(scale_samples(&x, &factors), [0.0, 0.0, 4.5, 6.0]);
    }
}
