//! Blank ends of a crop: they make a word look like a line.

use std::ops::Range;

use crate::crop::Crop;

/// A blank end is trimmed if it is wider than the crop is high, times this. Ink is at most as high as
/// the crop, so that no gap between words is as wide.
const MIN_BLANK: f32 = 1.0;

/// What remains of a trimmed end, in heights of the crop.
const KEPT: f32 = 0.25;

/// Columns at an end, in heights of the crop, that tell how much a blank end varies.
const SAMPLE: f32 = 0.25;

/// How much more than the sample, in steps of an 8-bit sample, the rest of a blank end may vary.
const TOLERANCE: u8 = 4;

/// The largest range of the samples of a blank end: more is texture.
const MAX_RANGE: u8 = 48;

/// How many times as much a crop must vary as a blank end of it: where all of it varies as little, what
/// looks blank may be faint text.
const CONTRAST: u8 = 3;

/// The largest range of the samples of a crop that is blank as a whole: noise.
const NOISE: u8 = 16;

/// The columns of a crop without its wide blank ends; `None` if all of them are blank.
pub(super) fn content(crop: &Crop) -> Option<Range<u32>> {
    let (width, height) = (crop.width(), crop.height());
    let heights = |count: f32| (count * height as f32).ceil() as u32;
    let all = 0..width;
    if width <= heights(MIN_BLANK) {
        return Some(all);
    }
    // The width of a blank end, and how much it varies.
    let blank = |at: &dyn Fn(u32) -> u32| {
        let mut range = Samples::default();
        let sample = heights(SAMPLE).clamp(1, width);
        (0..sample).for_each(|x| range.add_column(crop, at(x)));
        let varies = range.range();
        if varies > MAX_RANGE {
            return (0, varies);
        }
        let allowed = range.widened();
        let end = (sample..width).find(|&x| !allowed.hold_column(crop, at(x)));
        (end.unwrap_or(width), varies)
    };
    let cut = |blank: u32| if blank > heights(MIN_BLANK) { blank - heights(KEPT) } else { 0 };
    let (left, left_varies) = blank(&|x| x);
    let (right, right_varies) = blank(&|x| width - 1 - x);
    if cut(left) == 0 && cut(right) == 0 {
        return Some(all);
    }
    let mut range = Samples::default();
    (0..width).for_each(|x| range.add_column(crop, x));
    if range.range() <= NOISE {
        return None;
    }
    let enough = |varies: u8| range.range() >= varies.saturating_mul(CONTRAST);
    let left = if enough(left_varies) { cut(left) } else { 0 };
    let right = if enough(right_varies) { cut(right) } else { 0 };
    // What looks blank from both ends is all that there is.
    Some(if left + right < width { left..width - right } else { all })
}

/// The least and the largest sample of each channel.
struct Samples {
    least: [u8; 3],
    largest: [u8; 3],
}

impl Default for Samples {
    fn default() -> Self {
        Samples { least: [u8::MAX; 3], largest: [0; 3] }
    }
}

impl Samples {
    fn add_column(&mut self, crop: &Crop, x: u32) {
        for pixel in column(crop, x) {
            for ((least, largest), &sample) in
                self.least.iter_mut().zip(&mut self.largest).zip(pixel)
            {
                *least = sample.min(*least);
                *largest = sample.max(*largest);
            }
        }
    }

    /// The range of the channel that varies most.
    fn range(&self) -> u8 {
        let ranges = self.largest.iter().zip(&self.least);
        ranges.map(|(largest, least)| largest.saturating_sub(*least)).max().unwrap_or(0)
    }

    fn widened(&self) -> Self {
        Samples {
            least: self.least.map(|sample| sample.saturating_sub(TOLERANCE)),
            largest: self.largest.map(|sample| sample.saturating_add(TOLERANCE)),
        }
    }

    fn hold_column(&self, crop: &Crop, x: u32) -> bool {
        let inside = |pixel: &[u8]| {
            let mut samples = pixel.iter().zip(self.least.iter().zip(&self.largest));
            samples.all(|(sample, (least, largest))| (least..=largest).contains(&sample))
        };
        column(crop, x).all(inside)
    }
}

/// The pixels of a column.
fn column<'a>(crop: &'a Crop, x: u32) -> impl Iterator<Item = &'a [u8]> {
    let (x, stride) = (3 * x as usize, 3 * crop.width() as usize);
    crop.rgb().chunks_exact(stride).map(move |row| &row[x..x + 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::PixelFormat;

    /// The content of a grey crop.
    fn content_of(width: u32, height: u32, grey: impl Fn(u32, u32) -> u8) -> Option<Range<u32>> {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let rgb: Vec<u8> = pixels.flat_map(|(x, y)| [grey(x, y); 3]).collect();
        content(
            &Crop::from_raw(PixelFormat::Rgb8, width, height, 3 * width as usize, &rgb).unwrap(),
        )
    }

    /// Strokes in every fourth and fifth column.
    fn stroke(x: u32, y: u32) -> bool {
        x % 8 < 4 && (4..16).contains(&y)
    }

    #[test]
    fn wide_blank_ends_are_left_out() {
        let found = content_of(300, 20, |x, y| {
            if (100..180).contains(&x) && stroke(x, y) { 30 } else { 200 + (x * y % 7) as u8 }
        });
        assert_eq!(found, Some(99..185));
        // Narrow ones stay.
        let narrow =
            content_of(
                120,
                20,
                |x, y| {
                    if (16..104).contains(&x) && stroke(x, y) { 30 } else { 200 }
                },
            );
        assert_eq!(narrow, Some(0..120));
    }

    #[test]
    fn blank_crops_have_no_content() {
        assert_eq!(content_of(200, 20, |x, y| 90 + (x * y % 11) as u8), None);
        assert_eq!(content_of(200, 20, |_, _| 255), None);
    }

    /// Faint text looks like the texture of a blank end.
    #[test]
    fn faint_text_is_content() {
        for contrast in 17..80 {
            // Of one contrast throughout, and fading towards either end.
            let even = |x, y| 60 + if stroke(x, y) { contrast } else { 0 };
            let fading = |x: u32, y| {
                let faded = u32::from(contrast) * (260 + x) / 660;
                60 + if stroke(x, y) { faded as u8 } else { 0 }
            };
            assert_eq!(content_of(400, 20, even), Some(0..400), "{contrast}");
            for turned in [false, true] {
                let side = |x: u32| if turned { 399 - x } else { x };
                let found = content_of(400, 20, |x, y| fading(side(x), y));
                let faint = u32::from(contrast) * 659 / 660 <= u32::from(NOISE);
                assert_eq!(found, if faint { None } else { Some(0..400) }, "{contrast} {turned}");
            }
        }
    }

    proptest::proptest! {
        /// Whatever the pixels are, some columns are left, or none are asked for.
        #[test]
        fn content_is_never_empty(
            width in 1u32..200, height in 1u32..12, seed in 0u32..1000, range in 0u32..256, edge in 0u32..200,
        ) {
            let found = content_of(width, height, |x, y| {
                let noise = (x.wrapping_mul(31) ^ y.wrapping_mul(17) ^ seed).wrapping_mul(2_654_435_761) >> 24;
                (noise * range / 256 + if x < edge { 0 } else { 20 }).min(255) as u8
            });
            if let Some(found) = found {
                proptest::prop_assert!(found.start < found.end && found.end <= width);
            }
        }
    }
}
