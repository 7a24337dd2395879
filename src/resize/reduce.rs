//! Very long sides are shrunk by a whole factor before they are resampled.
//!
//! The resampler's windows grow with the side, and its first pass keeps every row: an image of one
//! pixel by millions would take a hundred times its own memory. Images with sides of up to
//! [`MAX_SIDE`] pixels are not touched, nor are sides that shrink by less than [`MIN_SCALE`].

/// The longest side that is resampled as it is.
const MAX_SIDE: usize = 1 << 15;
/// What is left for the resampler to shrink a reduced side by, at least.
const MIN_SCALE: usize = 8;

/// The whole factor by which a side is reduced before it is resampled from `from` to `to` pixels; 1
/// for none.
pub(super) fn factor(from: usize, to: usize) -> usize {
    from.div_ceil(MAX_SIDE.max(to.saturating_mul(MIN_SCALE))).max(1)
}

/// The mean, rounded half up, of boxes of `factors` (across, down) pixels of rows of `width` RGB pixels;
/// those at the right and the lower edge may be smaller. Returns the new rows, and their pixels.
pub(super) fn reduce(rgb: &[u8], width: usize, factors: (usize, usize)) -> (Vec<u8>, usize) {
    let new_width = width.div_ceil(factors.0);
    let (rows, _) = rgb.as_chunks::<3>();
    let height = rows.len() / width;
    let mut reduced = Vec::with_capacity(new_width * height.div_ceil(factors.1) * 3);
    let mut sums = vec![[0u64; 3]; new_width];
    for band in rows.chunks(width * factors.1) {
        sums.fill([0; 3]);
        for row in band.chunks_exact(width) {
            for (sum, pixels) in sums.iter_mut().zip(row.chunks(factors.0)) {
                for pixel in pixels {
                    for (sum, &sample) in sum.iter_mut().zip(pixel) {
                        *sum += u64::from(sample);
                    }
                }
            }
        }
        let lines = band.len() / width;
        for (x, sum) in sums.iter().enumerate() {
            let columns = factors.0.min(width - x * factors.0);
            let count = (columns * lines) as u64;
            reduced.extend(sum.map(|sum| ((sum + count / 2) / count) as u8));
        }
    }
    (reduced, new_width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_sides_stay() {
        for (from, to) in [(1, 1), (1, 64), (20_000, 64), (32_768, 1), (200_000, 32_000)] {
            assert_eq!(factor(from, to), 1, "{from} to {to}");
        }
        assert_eq!(factor(32_769, 64), 2);
        assert_eq!(factor(1 << 24, 64), 512);
        assert_eq!(factor(1 << 24, 32_000), 66);
    }

    #[test]
    fn means_of_boxes() {
        // Five pixels across, three down: red counts columns, green rows, blue is noise.
        let rgb: Vec<u8> = (0..15u8).flat_map(|i| [i % 5 * 10, i / 5 * 10, i * 17]).collect();
        let (reduced, width) = reduce(&rgb, 5, (2, 2));
        let plain = |x: usize, y: usize, channel: usize| {
            let columns = 2 * x..(2 * x + 2).min(5);
            let lines = 2 * y..(2 * y + 2).min(3);
            let values: Vec<f64> = lines
                .flat_map(|y| columns.clone().map(move |x| (y * 5 + x) * 3 + channel))
                .map(|at| f64::from(rgb[at]))
                .collect();
            (values.iter().sum::<f64>() / values.len() as f64 + 0.5).floor() as u8
        };
        assert_eq!((width, reduced.len()), (3, 3 * 2 * 3));
        for (at, &found) in reduced.iter().enumerate() {
            assert_eq!(found, plain(at / 3 % 3, at / 9, at % 3), "{at}");
        }
        assert_eq!(reduce(&rgb, 5, (1, 1)).0, rgb);
    }
}
