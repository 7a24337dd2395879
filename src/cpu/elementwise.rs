//! Sums and products of values, element by element.

use super::parts::{Chunks, for_each_part};

/// Values of a task.
const BLOCK: usize = 1 << 15;

/// `sums += values`
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    assert_eq!(sums.len(), values.len(), "operands of different sizes");
    for_each_part(Chunks::new(sums, BLOCK), &|index, sums| {
        let values = &values[index * BLOCK..];
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    });
}

/// `values *= factor`
pub(crate) fn scale(values: &mut [f32], factor: f32) {
    for_each_part(Chunks::new(values, BLOCK), &|_, values| {
        values.iter_mut().for_each(|value| *value *= factor);
    });
}

/// Adds the probabilities of `next`, weighted by the share of their row, to those of `sums`. Both are
/// log-probabilities in rows of `width`; a row with a share of 1 is copied to the bit.
pub(crate) fn add_probabilities(sums: &mut [f32], next: &[f32], width: usize, shares: &[f32]) {
    assert_eq!(sums.len(), next.len(), "operands of different sizes");
    assert_eq!(sums.len(), width * shares.len(), "a share for every row");
    let rows = (BLOCK / width.max(1)).max(1);
    for_each_part(Chunks::new(sums, rows * width), &|index, sums| {
        let start = index * rows;
        let next = next[start * width..].chunks(width.max(1));
        for ((sums, next), &share) in sums.chunks_mut(width.max(1)).zip(next).zip(&shares[start..])
        {
            if share == 1.0 {
                sums.copy_from_slice(next);
                continue;
            }
            let log_share = f64::from(share).ln();
            for (sum, &next) in sums.iter_mut().zip(next) {
                let (a, b) = (f64::from(*sum), f64::from(next) + log_share);
                let (high, low) = if a > b { (a, b) } else { (b, a) };
                // Both are -inf where neither has a probability.
                if high > f64::NEG_INFINITY {
                    *sum = (high + (low - high).exp().ln_1p()) as f32;
                }
            }
        }
    });
}

/// `x + factor * branch` for samples of equal sizes, with a factor each.
#[cfg(feature = "train")]
pub(crate) fn add_scaled_samples(x: &[f32], branch: &[f32], factors: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), branch.len(), "operands of different sizes");
    let sample = sample_len(x, factors);
    let mut sums = x.to_vec();
    for_each_part(Chunks::new(&mut sums, sample), &|index, sums| {
        let (branch, factor) = (&branch[index * sample..], factors[index]);
        sums.iter_mut().zip(branch).for_each(|(sum, value)| *sum += factor * value);
    });
    sums
}

/// `factor * x` for samples of equal sizes, with a factor each.
#[cfg(feature = "train")]
pub(crate) fn scale_samples(x: &[f32], factors: &[f32]) -> Vec<f32> {
    let sample = sample_len(x, factors);
    let mut scaled = x.to_vec();
    for_each_part(Chunks::new(&mut scaled, sample), &|index, values| {
        values.iter_mut().for_each(|value| *value *= factors[index]);
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

    #[test]
    fn probabilities() {
        let width = BLOCK / 2 - 5;
        let value = |i: usize| if i.is_multiple_of(7) { 0.0 } else { (i % 97) as f32 / 97.0 };
        let shares = [0.25, 1.0, 0.5, 0.75, 0.0];
        let next: Vec<f32> = (0..5 * width).map(|i| value(3 * i + 1)).collect();
        let sums: Vec<f32> = (0..5 * width).map(value).collect();
        let ln = |values: &[f32]| values.iter().map(|p| p.ln()).collect::<Vec<f32>>();
        let mut found = ln(&sums);
        add_probabilities(&mut found, &ln(&next), width, &shares);
        for (i, found) in found.iter().enumerate() {
            let share = shares[i / width];
            let expected = if share == 1.0 { next[i] } else { sums[i] + share * next[i] };
            assert!((found.exp() - expected).abs() < 1e-6, "{i}: {found} for {expected}");
        }
        assert_eq!(found[width..2 * width], ln(&next)[width..2 * width]);
    }

    #[cfg(feature = "train")]
    #[test]
    fn factors_of_samples() {
        let (x, branch, factors) = ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0], [0.0, 1.5]);
        assert_eq!(add_scaled_samples(&x, &branch, &factors), [1.0, 2.0, 6.0, 7.0]);
        assert_eq!(scale_samples(&x, &factors), [0.0, 0.0, 4.5, 6.0]);
    }
}
