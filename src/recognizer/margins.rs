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

/// The columns of a crop without its wide blank ends; `None` if all of them are blank.
pub(super) fn content(crop: &Crop) -> Option<Range<u32>> {
    let (width, height) = (crop.width(), crop.height());
    let heights = |count: f32| (count * height as f32).ceil() as u32;
    let all = 0..width;
    if width <= heights(MIN_BLANK) {
        return Some(all);
    }
    let blank = |at: &dyn Fn(u32) -> u32| {
        let mut range = Samples::default();
        let sample = heights(SAMPLE).clamp(1, width);
        (0..sample).for_each(|x| range.add_column(crop, at(x)));
        if !range.are_even() {
            return 0;
        }
        let allowed = range.widened();
        let end = (sample..width).find(|&x| !allowed.hold_column(crop, at(x)));
        end.unwrap_or(width)
    };
    let left = blank(&|x| x);
    if left == width {
        return None;
    }
    let right = blank(&|x| width - 1 - x);
    let cut = |blank: u32| if blank > heights(MIN_BLANK) { blank - heights(KEPT) } else { 0 };
    Some(cut(left)..width - cut(right))
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

    fn are_even(&self) -> bool {
        let ranges = self.largest.iter().zip(&self.least);
        ranges.into_iter().all(|(largest, least)| largest.saturating_sub(*least) <= MAX_RANGE)
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
