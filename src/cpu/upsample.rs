//! Maps of tokens repeated to finer grids: every token stands for a square of `factor` x `factor` tokens.

use super::parts::{Chunks, for_each_part};

/// Adds to tokens in rows of `width` those of a grid that is coarser by `factor`.
///
/// # Panics
/// If the grids do not fit.
pub(crate) fn add_upsampled(
    fine: &mut [f32],
    coarse: &[f32],
    width: usize,
    channels: usize,
    factor: usize,
) {
    assert_eq!(coarse.len() * factor * factor, fine.len(), "a token for each square of tokens");
    let coarse_len = width / factor * channels;
    for_each_part(Chunks::new(fine, width * channels), &|row, fine| {
        let coarse = &coarse[row / factor * coarse_len..][..coarse_len];
        let squares = fine.chunks_exact_mut(factor * channels).zip(coarse.chunks_exact(channels));
        for (tokens, coarse) in squares {
            for token in tokens.chunks_exact_mut(channels) {
                token.iter_mut().zip(coarse).for_each(|(x, y)| *x += y);
            }
        }
    });
}

/// The channels of maps side by side: of each its values, its channels, and by how much its grid is coarser
/// than that of the `rows` tokens, in lines of `width`, which they are repeated to.
///
/// # Panics
/// If the grids do not fit.
pub(crate) fn concat_upsampled(
    maps: &[(&[f32], usize, usize)],
    rows: usize,
    width: usize,
) -> Vec<f32> {
    let channels: usize = maps.iter().map(|(_, channels, _)| channels).sum();
    for (values, channels, factor) in maps {
        assert_eq!(values.len() * factor * factor, rows * channels, "a map of another size");
    }
    let mut joined = vec![0.0; rows * channels];
    for_each_part(Chunks::new(&mut joined, width * channels), &|line, tokens| {
        let mut start = 0;
        for &(values, count, factor) in maps {
            let line_len = width / factor * count;
            let values = &values[line / factor * line_len..][..line_len];
            let squares =
                tokens.chunks_exact_mut(factor * channels).zip(values.chunks_exact(count));
            for (square, value) in squares {
                for token in square.chunks_exact_mut(channels) {
                    token[start..start + count].copy_from_slice(value);
                }
            }
            start += count;
        }
    });
    joined
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::noise;
    use super::*;

    /// The value of a channel at a place of a map.
    fn at(map: &[f32], width: usize, channels: usize, (y, x, c): (usize, usize, usize)) -> f32 {
        map[(y * width + x) * channels + c]
    }

    #[test]
    fn tokens_stand_for_squares() {
        let (images, height, width) = (2, 8, 24);
        for (channels, factor) in [(1, 1), (3, 2), (24, 4), (5, 8)] {
            let coarse_len = images * height * width * channels / (factor * factor);
            let (fine, coarse) =
                (noise(1, images * height * width * channels), noise(2, coarse_len));
            let mut sums = fine.clone();
            add_upsampled(&mut sums, &coarse, width, channels, factor);
            let other = noise(3, images * height * width * 2);
            let maps = [(&coarse[..], channels, factor), (&other[..], 2, 1)];
            let joined = concat_upsampled(&maps, images * height * width, width);
            // Rows of all images follow each other, and their number is a multiple of the factor.
            for y in 0..images * height {
                for x in 0..width {
                    for c in 0..channels {
                        let repeated =
                            at(&coarse, width / factor, channels, (y / factor, x / factor, c));
                        let place = (y, x, c);
                        let sum = at(&fine, width, channels, place) + repeated;
                        assert_eq!(at(&sums, width, channels, place), sum);
                        assert_eq!(at(&joined, width, channels + 2, place), repeated);
                    }
                    for c in 0..2 {
                        let found = at(&joined, width, channels + 2, (y, x, channels + c));
                        assert_eq!(found, at(&other, width, 2, (y, x, c)));
                    }
                }
            }
        }
    }
}
