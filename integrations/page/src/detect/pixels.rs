//! The page's pixels at the size and in the form that the network takes.

use svtrv2::resize::resize_bilinear;
use svtrv2::{Crop, Page, PixelFormat, Rect};

use super::in_parallel;
use super::plan::Plan;
use super::tiles::Area;
use crate::error::Result;

/// Pages that shrink by more than this are first averaged over squares of whole pixels, because bilinear
/// interpolation would skip pixels.
const MAX_SHRINK: f64 = 2.0;
/// The most pixels of a part of the page that is cut at once; the page then gives its own pixels.
const PART: usize = 1 << 24;

/// Pixels that tiles are taken from.
pub(super) struct Source<'a> {
    pixels: Pixels<'a>,
    /// Where the pixels lie in the map: left and upper edge.
    left: u32,
    upper: u32,
}

enum Pixels<'a> {
    /// The page itself; beyond its edges its nearest pixels.
    Own(&'a Page<'a>),
    Resized(Crop<'static>),
}

impl<'a> Source<'a> {
    pub(super) fn new(page: &'a Page<'a>, plan: &Plan) -> Result<Self> {
        let [left, upper, width, height] = plan.image;
        if plan.own_pixels {
            return Ok(Source { pixels: Pixels::Own(page), left, upper });
        }
        let shrink = (f64::from(page.width()) / f64::from(width))
            .min(f64::from(page.height()) / f64::from(height));
        let factor = if shrink >= MAX_SHRINK { shrink.floor() as u32 } else { 1 };
        let resized = if factor == 1 && page.width() as usize * page.height() as usize <= PART {
            let all = Rect::new(0.0, 0.0, page.width() as f32, page.height() as f32);
            resize_bilinear(page.crop(all)?.crop(), width, height)?
        } else {
            let (across, down) = (page.width().div_ceil(factor), page.height().div_ceil(factor));
            let rgb = reduced(page, factor)?;
            let stride = 3 * across as usize;
            let whole = Crop::from_raw(PixelFormat::Rgb8, across, down, stride, &rgb)?;
            resize_bilinear(&whole, width, height)?
        };
        Ok(Source { pixels: Pixels::Resized(resized), left, upper })
    }

    /// The network's input for an area of the map: `[height, width, 3]`, blue, green, red, from -1 to 1;
    /// -1 (black) beyond the page.
    pub(super) fn input(&self, area: Area) -> Vec<f32> {
        let (width, height) = (area.width as usize, area.height as usize);
        let mut input = vec![-1.0; 3 * width * height];
        let part = match &self.pixels {
            Pixels::Own(page) => own_pixels(page, area),
            Pixels::Resized(_) => None,
        };
        // Pixels, and where the area's left upper corner lies in them.
        let (crop, x, y) = match (&self.pixels, &part) {
            (Pixels::Own(_), Some(part)) => (part, 0, 0),
            (Pixels::Own(_), None) => return input,
            (Pixels::Resized(crop), _) => {
                let at = |start: u32, margin: u32| i64::from(start) - i64::from(margin);
                (crop, at(area.x, self.left), at(area.y, self.upper))
            }
        };
        let (crop_width, crop_height) = (i64::from(crop.width()), i64::from(crop.height()));
        // The columns and rows of the area that the pixels cover.
        let covered = |start: i64, length: usize, found: i64| {
            let first = (-start).clamp(0, length as i64);
            let end = (found - start).clamp(first, length as i64);
            (first as usize, end as usize)
        };
        let (first_column, end_column) = covered(x, width, crop_width);
        let (first_row, end_row) = covered(y, height, crop_height);
        let values: Vec<f32> = (0..=255).map(|level| (level as f32 / 255.0 - 0.5) / 0.5).collect();
        let rgb = crop.rgb();
        for row in first_row..end_row {
            let from = (y + row as i64) as usize * crop_width as usize;
            let from = 3 * (from + (x + first_column as i64) as usize);
            let pixels = &rgb[from..from + 3 * (end_column - first_column)];
            let start = 3 * (row * width + first_column);
            let to = &mut input[start..start + pixels.len()];
            for (to, [red, green, blue]) in
                to.as_chunks_mut::<3>().0.iter_mut().zip(pixels.as_chunks::<3>().0)
            {
                *to = [*blue, *green, *red].map(|level| values[usize::from(level)]);
            }
        }
        input
    }
}

/// The page's own pixels of an area; nothing where the area has none.
fn own_pixels<'a>(page: &'a Page, area: Area) -> Option<Crop<'a>> {
    let (left, upper) = (area.x as f32, area.y as f32);
    let right = left + area.width as f32;
    let lower = upper + area.height as f32;
    Some(page.crop(Rect::new(left, upper, right, lower)).ok()?.into())
}

/// The page's own pixels, RGB row after row.
#[cfg(feature = "documents")]
pub(crate) fn rgb(page: &Page) -> Result<Vec<u8>> {
    reduced(page, 1)
}

/// The page with squares of `factor` x `factor` pixels averaged to one; those at the right and lower edge
/// may have fewer pixels.
fn reduced(page: &Page, factor: u32) -> Result<Vec<u8>> {
    let (width, height) = (page.width(), page.height());
    let (out_width, out_height) = (width.div_ceil(factor), height.div_ceil(factor));
    // Parts of the page: as wide as it where rows are short.
    let across = out_width.min((PART as u32 / factor / factor).max(1));
    let rows = (PART / (across * factor * factor) as usize).clamp(1, out_height as usize) as u32;
    let mut rgb = vec![0; 3 * out_width as usize * out_height as usize];
    let (mut x, mut y) = (0, 0);
    while y < out_height {
        let (end_x, end_y) = ((x + across).min(out_width), (y + rows).min(out_height));
        let edge = |at: u32, length: u32| (at * factor).min(length) as f32;
        let (left, upper) = (edge(x, width), edge(y, height));
        let part = Rect::new(left, upper, edge(end_x, width), edge(end_y, height));
        let part = Crop::from(page.crop(part)?);
        let averaged = averages(&part, factor);
        for (row, pixels) in averaged.chunks_exact(3 * (end_x - x) as usize).enumerate() {
            let to = 3 * ((y as usize + row) * out_width as usize + x as usize);
            rgb[to..to + pixels.len()].copy_from_slice(pixels);
        }
        (x, y) = if end_x == out_width { (0, end_y) } else { (end_x, y) };
    }
    Ok(rgb)
}

/// The rounded means of squares of pixels, RGB row after row.
fn averages(crop: &Crop, factor: u32) -> Vec<u8> {
    let (width, factor) = (crop.width() as usize, factor as usize);
    let rows: Vec<&[u8]> = crop.rgb().chunks_exact(3 * width).collect();
    let bands: Vec<&[&[u8]]> = rows.chunks(factor).collect();
    let averaged = in_parallel(bands.len(), |band| {
        let band = bands[band];
        let mut sums = vec![0u32; 3 * width.div_ceil(factor)];
        for row in band {
            for (square, sums) in row.chunks(3 * factor).zip(sums.as_chunks_mut::<3>().0) {
                for pixel in square.as_chunks::<3>().0 {
                    (0..3).for_each(|channel| sums[channel] += u32::from(pixel[channel]));
                }
            }
        }
        let count = |square: usize| (factor.min(width - square * factor) * band.len()) as u32;
        let mean = |(at, sum): (usize, u32)| ((sum + count(at / 3) / 2) / count(at / 3)) as u8;
        sums.into_iter().enumerate().map(mean).collect::<Vec<u8>>()
    });
    averaged.concat()
}
