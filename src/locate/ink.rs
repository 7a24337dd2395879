//! Which pixels of a crop are ink: two colours, told apart along the axis of the largest contrast.

/// How much of every pixel of a crop is ink.
#[derive(Debug, Clone)]
pub(super) struct Ink {
    /// Pixels in a row.
    width: usize,
    /// Row after row: 0 is the colour of the background, 1 that of the text.
    coverage: Vec<f32>,
}

/// The smallest contrast in steps of an 8-bit sample, as a standard deviation of the pixels: less
/// is noise.
const MIN_CONTRAST: f64 = 4.0;

/// Of the crop's variance, the share between the two colours: less is a texture, not text.
const MIN_SEPARATION: f64 = 0.5;

/// Bins of the histogram that the two colours are told apart in.
const BINS: usize = 64;

impl Ink {
    /// From 8-bit RGB pixels, row after row; `None` if there are no two colours.
    ///
    /// Pixels are projected onto the first principal component of their colours. Otsu's threshold
    /// ("A threshold selection method from gray-level histograms", 1979) separates two colours.
    /// The background is the one that prevails along the border and in the crop as a whole.
    pub(super) fn new(rgb: &[u8], width: usize) -> Option<Self> {
        let (pixels, _) = rgb.as_chunks::<3>();
        if width == 0 || pixels.is_empty() {
            return None;
        }
        let (axis, contrast) = principal_axis(pixels);
        if contrast < MIN_CONTRAST {
            return None;
        }
        let mut values: Vec<f32> = pixels
            .iter()
            .map(|p| axis.iter().zip(p).map(|(axis, &sample)| axis * f32::from(sample)).sum())
            .collect();
        let (low, high) = values
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
        let scale = BINS as f32 / (high - low);
        if !scale.is_finite() {
            return None;
        }
        let bin = |value: f32| (((value - low) * scale) as usize).min(BINS - 1);
        let mut histogram = [0u32; BINS];
        values.iter().for_each(|&value| histogram[bin(value)] += 1);
        let split = otsu(&histogram)?;
        let dark: u32 = histogram[..=split.last_low].iter().sum();
        let height = values.len() / width;
        // All of the first and of the last row, the ends of the others.
        let border = values.chunks_exact(width).enumerate().flat_map(|(y, row)| {
            let whole = y == 0 || y + 1 == height;
            row.iter().step_by(if whole { 1 } else { (width - 1).max(1) })
        });
        let edge = border.clone().count();
        let dark_edge = border.filter(|&&value| bin(value) <= split.last_low).count();
        let dark_share = 2.0 * dark_edge as f32 / edge as f32 + dark as f32 / values.len() as f32;
        let at = |bins: f64| low + (bins as f32 + 0.5) / scale;
        let (background, text) = if dark_share > 1.5 {
            (at(split.low_mean), at(split.high_mean))
        } else {
            (at(split.high_mean), at(split.low_mean))
        };
        let factor = (text - background).recip();
        values
            .iter_mut()
            .for_each(|value| *value = ((*value - background) * factor).clamp(0.0, 1.0));
        Some(Ink { width, coverage: values })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.coverage.len() / self.width
    }

    /// The coverage of a pixel, 0 beyond the edges.
    pub(super) fn at(&self, x: usize, y: usize) -> f32 {
        let inside = x < self.width;
        inside.then(|| self.coverage.get(y * self.width + x)).flatten().copied().unwrap_or(0.0)
    }

    /// The coverage between the middles of pixels, in pixels from the left upper corner.
    pub(super) fn sample(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - 0.5, y - 0.5);
        // Beyond the edges and half a pixel more there is none.
        let beyond = |at: f32, count: usize| !(at > -1.0 && at < count as f32);
        if beyond(x, self.width) || beyond(y, self.height()) {
            return 0.0;
        }
        let (left, top) = (floor(x), floor(y));
        let (right, lower) = (x - left, y - top);
        let mix = |[[a, b], [c, d]]: [[f32; 2]; 2]| {
            let upper = (1.0 - right) * a + right * b;
            let under = (1.0 - right) * c + right * d;
            (1.0 - lower) * upper + lower * under
        };
        let (column, row) = (left as i32, top as i32);
        if let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row))
            && column + 1 < self.width
            && let Some(two) = self.coverage.get(row * self.width + column..)
            && let (Some(upper), Some(lower)) = (two.get(..2), two.get(self.width..self.width + 2))
        {
            return mix([[upper[0], upper[1]], [lower[0], lower[1]]]);
        }
        let at = |dx: i32, dy: i32| match (usize::try_from(column + dx), usize::try_from(row + dy))
        {
            (Ok(x), Ok(y)) => self.at(x, y),
            _ => 0.0,
        };
        mix([[at(0, 0), at(1, 0)], [at(0, 1), at(1, 1)]])
    }
}

/// The largest whole number up to `x`, which lies within those of 32 bits. (Without SSE 4.1 the standard one is a
/// call of a function.)
fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// The direction of the largest variance of colours, a unit vector, and the standard deviation
/// along it.
fn principal_axis(pixels: &[[u8; 3]]) -> ([f32; 3], f64) {
    let mut sums = [0u64; 3];
    let mut products = [[0u64; 3]; 3];
    for pixel in pixels {
        let p = pixel.map(u64::from);
        for i in 0..3 {
            sums[i] += p[i];
            for j in i..3 {
                products[i][j] += p[i] * p[j];
            }
        }
    }
    let count = pixels.len() as f64;
    let mean = sums.map(|sum| sum as f64 / count);
    let covariance = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        products[i][j] as f64 / count - mean[i] * mean[j]
    };
    // Power iteration, from the channel that varies most.
    let mut axis = [0.0; 3];
    let most = (0..3).max_by(|&a, &b| covariance(a, a).total_cmp(&covariance(b, b)));
    axis[most.unwrap_or(0)] = 1.0;
    let mut variance = 0.0;
    for _ in 0..16 {
        let next: [f64; 3] =
            std::array::from_fn(|i| (0..3).map(|j| covariance(i, j) * axis[j]).sum());
        variance = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if variance <= 0.0 {
            return ([0.0; 3], 0.0);
        }
        axis = next.map(|x| x / variance);
    }
    (axis.map(|x| x as f32), variance.sqrt())
}

/// A histogram cut in two.
struct Split {
    /// The last bin of the lower part.
    last_low: usize,
    /// The mean bins of the parts.
    low_mean: f64,
    high_mean: f64,
}

/// The cut with the largest variance between its two parts; `None` if they hardly differ.
fn otsu(histogram: &[u32; BINS]) -> Option<Split> {
    let count: f64 = histogram.iter().map(|&n| f64::from(n)).sum();
    let (mut sum, mut squares) = (0.0, 0.0);
    for (bin, &n) in histogram.iter().enumerate() {
        sum += f64::from(n) * bin as f64;
        squares += f64::from(n) * (bin * bin) as f64;
    }
    let variance = squares / count - (sum / count).powi(2);
    let mut best: Option<(f64, Split)> = None;
    let (mut low_count, mut low_sum) = (0.0, 0.0);
    for (bin, &n) in histogram.iter().enumerate().take(BINS - 1) {
        low_count += f64::from(n);
        low_sum += f64::from(n) * bin as f64;
        let high_count = count - low_count;
        if low_count == 0.0 || high_count == 0.0 {
            continue;
        }
        let (low_mean, high_mean) = (low_sum / low_count, (sum - low_sum) / high_count);
        let between = low_count * high_count * ((high_mean - low_mean) / count).powi(2);
        if best.as_ref().is_none_or(|(most, _)| between > *most) {
            best = Some((between, Split { last_low: bin, low_mean, high_mean }));
        }
    }
    best.filter(|(between, _)| *between > MIN_SEPARATION * variance).map(|(_, split)| split)
}

#[cfg(test)]
mod tests {
    use super::Ink;

    #[test]
    fn samples_are_bilinear() {
        let (width, height) = (4, 3);
        let coverage: Vec<f32> = (0..12).map(|at| (at * 7 % 12) as f32 / 12.0).collect();
        let ink = Ink { width, coverage };
        for (x, y) in
            (-8..=24).flat_map(|x| (-8..=20).map(move |y| (x as f32 / 4.0, y as f32 / 4.0)))
        {
            let weight = |at: f32, of: usize| (1.0 - (at - 0.5 - of as f32).abs()).max(0.0);
            let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
            let expected: f32 = pixels
                .map(|(column, row)| weight(x, column) * weight(y, row) * ink.at(column, row))
                .sum();
            assert!((ink.sample(x, y) - expected).abs() < 1e-6, "{x} {y}");
        }
        assert_eq!(ink.sample(f32::NAN, 1.0), 0.0);
        assert_eq!(ink.sample(f32::INFINITY, f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn floor_is_that_of_the_standard_library() {
        for x in [-2.0, -1.5, -1.0, -0.25, 0.0, 0.25, 1.0, 1.75, 8191.5, 8192.0f32] {
            assert_eq!(super::floor(x), x.floor(), "{x}");
        }
    }
}
