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
        let height = values.len() / width;
        let (mut dark_edge, mut edge, mut dark) = (0usize, 0usize, 0usize);
        for (y, row) in values.chunks_exact(width).enumerate() {
            for (x, &value) in row.iter().enumerate() {
                let is_dark = bin(value) <= split.last_low;
                dark += usize::from(is_dark);
                if y == 0 || x == 0 || y + 1 == height || x + 1 == width {
                    edge += 1;
                    dark_edge += usize::from(is_dark);
                }
            }
        }
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
        let (left, top) = (floor(x), floor(y));
        let at = |dx: f32, dy: f32| {
            let (x, y) = (left + dx, top + dy);
            if x < 0.0 || y < 0.0 { 0.0 } else { self.at(x as usize, y as usize) }
        };
        let (right, lower) = (x - left, y - top);
        let upper = (1.0 - right) * at(0.0, 0.0) + right * at(1.0, 0.0);
        let under = (1.0 - right) * at(0.0, 1.0) + right * at(1.0, 1.0);
        (1.0 - lower) * upper + lower * under
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
    #[test]
    fn floor_is_that_of_the_standard_library() {
        for x in [-2.0, -1.5, -1.0, -0.25, 0.0, 0.25, 1.0, 1.75, 8191.5, 8192.0f32] {
            assert_eq!(super::floor(x), x.floor(), "{x}");
        }
    }
}
