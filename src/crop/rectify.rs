//! Upright pixels of a region that is not: resampling with bicubic interpolation.
//!
//! The size of the result is the region's own: one pixel of it is about one of the page. The
//! network's input is 32 to 64 pixels high, so a region much higher than that is first shrunk by a
//! whole factor, by the mean of squares of pixels, to three to six times the input's height; Pillow
//! does so for thumbnails (`reducing_gap`). Where perspective or bends pack the page more densely
//! than that, several samples are averaged.

use std::ops::Range;

use super::warp::{PointF64, Warp, distance};
use crate::geometry::clip_convex;

/// 8-bit pixels, where they lie.
#[derive(Clone, Copy)]
pub(crate) struct Raster<'a> {
    pub(crate) pixels: &'a [u8],
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Bytes from row to row.
    pub(crate) stride: usize,
    /// Bytes from pixel to pixel.
    pub(crate) pixel_bytes: usize,
    /// Where red, green and blue lie in a pixel.
    pub(crate) offsets: [usize; 3],
}

/// The longest side of a rectified crop: twice the widest input of a network.
const MAX: f64 = 8192.0;
/// The spacing of samples, in pixels, above which several are averaged.
const MAX_SPACING: f64 = 1.25;
/// The most samples for a pixel along one axis, and for a crop.
const MAX_SAMPLES: (f64, f64) = (8.0, (1u32 << 24) as f64);

/// The size of a rectified crop, and the whole factor by which the page is shrunk before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) factor: usize,
}

impl Plan {
    /// For a region of `width` x `height` pixels of the page.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let (short, long) = (width.min(height).max(1.0), width.max(height).max(1.0));
        // Three times the height that the multi-size rule gives to a crop of this ratio.
        let kept = match long / short {
            ratio if ratio < 1.5 => 192.0,
            ratio if ratio < 2.5 => 144.0,
            ratio if ratio < 3.5 => 120.0,
            _ => 96.0,
        };
        let factor = (short / kept).floor().max(1.0);
        let side = |length: f64| (length / factor).round().clamp(1.0, MAX) as u32;
        Plan { width: side(width), height: side(height), factor: factor as usize }
    }
}

/// Resamples the region that `warp` maps to.
pub(crate) fn rectify(page: Raster<'_>, warp: &Warp, plan: Plan) -> Vec<u8> {
    let (width, height) = (f64::from(plan.width), f64::from(plan.height));
    let factor = plan.factor as f64;
    let reduced = (plan.factor > 1).then(|| Reduced::new(page, warp, plan));
    let (raster, origin) = match &reduced {
        Some(reduced) => (reduced.raster(), reduced.origin),
        None => (page, (0.0, 0.0)),
    };
    let (columns, rows) = samples(warp, plan);
    let share = 1.0 / (columns * rows) as f32;
    let mut rgb = Vec::with_capacity(plan.width as usize * plan.height as usize * 3);
    for y in 0..plan.height {
        for x in 0..plan.width {
            let mut sum = [0.0f32; 3];
            for row in 0..rows {
                let v = (f64::from(y) + (row as f64 + 0.5) / rows as f64) / height;
                for column in 0..columns {
                    let u = (f64::from(x) + (column as f64 + 0.5) / columns as f64) / width;
                    let (px, py) = warp.map(u, v);
                    let (px, py) = ((px - origin.0) / factor, (py - origin.1) / factor);
                    for (sum, value) in sum.iter_mut().zip(raster.bicubic(px, py)) {
                        *sum += value;
                    }
                }
            }
            rgb.extend(sum.map(|sum| (sum * share + 0.5).clamp(0.0, 255.0) as u8));
        }
    }
    rgb
}

/// How many samples a pixel of the crop is the mean of, along its rows and its columns.
fn samples(warp: &Warp, plan: Plan) -> (usize, usize) {
    const GRID: (u32, u32) = (32, 8);
    let (width, height) = (f64::from(plan.width), f64::from(plan.height));
    let (mut along, mut across) = (0.0f64, 0.0f64);
    for row in 0..=GRID.1 {
        for column in 0..=GRID.0 {
            let u = f64::from(column) / f64::from(GRID.0) * (1.0 - 1.0 / width);
            let v = f64::from(row) / f64::from(GRID.1) * (1.0 - 1.0 / height);
            let place = warp.map(u, v);
            let spacing = |next: (f64, f64)| distance(place, next);
            along = along.max(spacing(warp.map(u + 1.0 / width, v)));
            across = across.max(spacing(warp.map(u, v + 1.0 / height)));
        }
    }
    let count = |spacing: f64| {
        let wanted = spacing / plan.factor as f64 / MAX_SPACING;
        wanted.ceil().clamp(1.0, MAX_SAMPLES.0)
    };
    let (columns, rows) = (count(along), count(across));
    if width * height * columns * rows > MAX_SAMPLES.1 {
        return (1, 1);
    }
    (columns as usize, rows as usize)
}

impl Raster<'_> {
    /// The colour at a place, by bicubic interpolation (Keys' kernel with a = -0.5, Pillow's and
    /// the resizer's). Beyond the edges lies the nearest pixel.
    fn bicubic(&self, x: f64, y: f64) -> [f32; 3] {
        let (columns, across) = self.taps(x, self.width);
        let (rows, down) = self.taps(y, self.height);
        let mut sum = [0.0f32; 3];
        for (row, down) in rows.into_iter().zip(down) {
            let row = &self.pixels[row * self.stride..];
            for (column, across) in columns.into_iter().zip(across) {
                let weight = down * across;
                let at = column * self.pixel_bytes;
                for (sum, offset) in sum.iter_mut().zip(self.offsets) {
                    *sum += weight * f32::from(row[at + offset]);
                }
            }
        }
        sum
    }

    /// The four pixels around a place of an axis, and their weights.
    fn taps(&self, place: f64, length: usize) -> ([usize; 4], [f32; 4]) {
        // Pixel centres lie at 0.5; farther out than this, all taps are the same pixel.
        let place = (place - 0.5).clamp(-3.0, length as f64 + 2.0);
        let first = place.floor();
        let t = (place - first) as f32;
        let last = length.saturating_sub(1) as i64;
        let taps = [-1, 0, 1, 2].map(|step| (first as i64 + step).clamp(0, last) as usize);
        let (t2, t3) = (t * t, t * t * t);
        let weights = [
            -0.5 * t3 + t2 - 0.5 * t,
            1.5 * t3 - 2.5 * t2 + 1.0,
            -1.5 * t3 + 2.0 * t2 + 0.5 * t,
            0.5 * t3 - 0.5 * t2,
        ];
        (taps, weights)
    }
}

/// The part of a page around a region, shrunk by a whole factor: each pixel is the mean of a
/// square of the page.
struct Reduced {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
    /// Its left upper corner in the page.
    origin: (f64, f64),
}

impl Reduced {
    fn new(page: Raster<'_>, warp: &Warp, plan: Plan) -> Self {
        let factor = plan.factor;
        let (columns, rows) = bounds(page, warp, factor);
        let (width, height) = (columns.len(), rows.len());
        // Pixels that the region does not reach stay black and are not looked at.
        let mut rgb = vec![0; width * height * 3];
        let mut sums: Vec<[u32; 3]> = Vec::new();
        for (row, line) in rows.clone().zip(rgb.chunks_exact_mut(width * 3)) {
            let span = span(warp, factor, row, (&columns, &rows));
            sums.clear();
            sums.resize(span.len(), [0; 3]);
            let left = span.start * factor;
            let right = (span.end * factor).min(page.width);
            let lines = row * factor..((row + 1) * factor).min(page.height);
            for y in lines.clone() {
                let start = y * page.stride;
                let bytes = start + left * page.pixel_bytes..start + right * page.pixel_bytes;
                let squares = page.pixels[bytes].chunks(factor * page.pixel_bytes);
                for (sum, square) in sums.iter_mut().zip(squares) {
                    for pixel in square.chunks_exact(page.pixel_bytes) {
                        for (sum, offset) in sum.iter_mut().zip(page.offsets) {
                            *sum += u32::from(pixel[offset]);
                        }
                    }
                }
            }
            let start = (span.start - columns.start) * 3;
            let pixels = line[start..].chunks_exact_mut(3);
            for ((pixel, sum), column) in pixels.zip(&sums).zip(span) {
                let across = ((column + 1) * factor).min(page.width) - column * factor;
                let count = (across * lines.len()).max(1) as u32;
                for (value, sum) in pixel.iter_mut().zip(sum) {
                    *value = ((sum + count / 2) / count) as u8;
                }
            }
        }
        let origin = ((columns.start * factor) as f64, (rows.start * factor) as f64);
        Reduced { rgb, width, height, origin }
    }

    fn raster(&self) -> Raster<'_> {
        Raster {
            pixels: &self.rgb,
            width: self.width,
            height: self.height,
            stride: self.width * 3,
            pixel_bytes: 3,
            offsets: [0, 1, 2],
        }
    }
}

/// Pixels of the shrunk page around a region: what bicubic interpolation reaches, and what a curve
/// may swing out between the places that are looked at.
const MARGIN: f64 = 4.0;

/// The columns of a row of the shrunk page that a region needs, at least one, out of the columns
/// and rows of which any is needed.
fn span(
    warp: &Warp,
    factor: usize,
    row: usize,
    (columns, rows): (&Range<usize>, &Range<usize>),
) -> Range<usize> {
    let Warp::Homography(_) = warp else { return columns.clone() };
    let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)].map(|(u, v)| {
        let (x, y) = warp.map(u, v);
        (x / factor as f64, y / factor as f64)
    });
    let least = |of: fn(&PointF64) -> f64| corners.iter().map(of).fold(f64::MAX, f64::min);
    let most = |of: fn(&PointF64) -> f64| corners.iter().map(of).fold(f64::MIN, f64::max);
    // The first and the last row stand for what lies beyond the page as well.
    let upper = if row == rows.start { least(|p| p.1) } else { row as f64 };
    let lower = if row + 1 == rows.end { most(|p| p.1) } else { row as f64 + 1.0 };
    let (upper, lower) = (upper.min(row as f64) - MARGIN, lower.max(row as f64) + MARGIN);
    let (left, right) = (least(|p| p.0) - MARGIN, most(|p| p.0) + MARGIN);
    let band = [(left, upper), (right, upper), (right, lower), (left, lower)];
    let places = clip_convex(&corners, &band);
    let low = places.iter().map(|place| place.0).fold(f64::MAX, f64::min);
    let high = places.iter().map(|place| place.0).fold(f64::MIN, f64::max);
    let index = |place: f64| (place.max(0.0) as usize).clamp(columns.start, columns.end);
    let first = index((low - MARGIN).floor()).min(columns.end - 1);
    first..index((high + MARGIN).ceil()).max(first + 1)
}

/// Columns and rows of the shrunk page that a region needs; at least one of each.
fn bounds(page: Raster<'_>, warp: &Warp, factor: usize) -> (Range<usize>, Range<usize>) {
    const GRID: u32 = 256;
    let (mut low, mut high) = ((f64::MAX, f64::MAX), (f64::MIN, f64::MIN));
    for step in 0..=GRID {
        for v in [0.0, 1.0] {
            let (x, y) = warp.map(f64::from(step) / f64::from(GRID), v);
            low = (low.0.min(x), low.1.min(y));
            high = (high.0.max(x), high.1.max(y));
        }
    }
    let range = |low: f64, high: f64, length: usize| {
        let count = length.div_ceil(factor);
        let index = |place: f64| place.clamp(0.0, count as f64) as usize;
        let first = index((low / factor as f64).floor() - MARGIN).min(count - 1);
        first..index((high / factor as f64).ceil() + MARGIN).max(first + 1)
    };
    (range(low.0, high.0, page.width), range(low.1, high.1, page.height))
}
