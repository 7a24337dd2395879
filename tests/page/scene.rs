//! Pages that look like photographs, with text placed on them by known mappings.

use image::{Rgb, RgbImage};
use svtrv2::{Point, Quad};

pub type Exact = (f64, f64);

/// Random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// In `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (high - low) * ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Gradients, soft waves and noise.
pub fn photo(random: &mut Random, width: u32, height: u32) -> RgbImage {
    let mut waves = Vec::new();
    for _ in 0..12 {
        let (fx, fy) = (random.between(-0.03, 0.03), random.between(-0.03, 0.03));
        waves.push((fx, fy, random.between(0.0, 6.3), random.between(8.0, 25.0)));
    }
    let mut image = RgbImage::new(width, height);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        for channel in 0..3 {
            let light = |&(fx, fy, phase, depth): &(f64, f64, f64, f64)| {
                depth * (fx * f64::from(x) + fy * f64::from(y) + phase).sin()
            };
            let value: f64 = waves[channel * 4..channel * 4 + 4].iter().map(light).sum();
            pixel[channel] = (120.0 + value + random.between(-12.0, 12.0)).clamp(0.0, 255.0) as u8;
        }
    }
    image
}

/// A projective mapping, from solving its eight equations.
pub struct Projection([f64; 8]);

impl Projection {
    /// The mapping that takes each corner of `from` to that of `to`.
    pub fn new(from: [Exact; 4], to: [Exact; 4]) -> Self {
        let mut rows: Vec<[f64; 9]> = Vec::new();
        for ((x, y), (u, v)) in from.into_iter().zip(to) {
            rows.push([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u]);
            rows.push([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v]);
        }
        for column in 0..8 {
            let size = |row: &usize| rows[*row][column].abs();
            let pivot = (column..8).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap();
            rows.swap(column, pivot);
            let pivot = rows[column].map(|value| value / rows[column][column]);
            rows[column] = pivot;
            for (other, row) in rows.iter_mut().enumerate() {
                if other != column {
                    let times = row[column];
                    row.iter_mut().zip(pivot).for_each(|(value, pivot)| *value -= times * pivot);
                }
            }
        }
        Projection(std::array::from_fn(|row| rows[row][8]))
    }

    pub fn map(&self, (x, y): Exact) -> Exact {
        let [a, b, c, d, e, f, g, h] = self.0;
        let w = g * x + h * y + 1.0;
        ((a * x + b * y + c) / w, (d * x + e * y + f) / w)
    }
}

/// The corners of an image, clockwise from the left upper one.
pub fn corners(width: f64, height: f64) -> [Exact; 4] {
    [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
}

pub fn quad(corners: [Exact; 4]) -> Quad {
    Quad(corners.map(point))
}

pub fn point((x, y): Exact) -> Point {
    Point::new(x as f32, y as f32)
}

/// A quadrilateral around a place: a rectangle that is turned, with corners pushed about.
pub fn random_quad(random: &mut Random, center: Exact, width: f64, height: f64) -> [Exact; 4] {
    let angle = random.between(-40.0, 40.0).to_radians();
    corners(width, height).map(|(x, y)| {
        let x = x - width / 2.0 + width * random.between(-0.06, 0.06);
        let y = y - height / 2.0 + height * random.between(-0.12, 0.12);
        let (sin, cos) = angle.sin_cos();
        (center.0 + x * cos - y * sin, center.1 + x * sin + y * cos)
    })
}

/// Paints a word onto a page: `back` tells where a place of the page lies in the word's image.
/// Every pixel of `bounds` (left, upper, right, lower) is the mean of 16 bilinear samples.
pub fn place(
    page: &mut RgbImage,
    word: &RgbImage,
    bounds: [f64; 4],
    back: impl Fn(Exact) -> Option<Exact>,
) {
    let [left, upper, right, lower] = bounds.map(|edge| edge.floor().max(0.0) as u32);
    for y in upper..(lower + 2).min(page.height()) {
        for x in left..(right + 2).min(page.width()) {
            let (mut sum, mut count) = ([0.0; 3], 0.0);
            for sample in 0..16 {
                let dx = (f64::from(sample % 4) + 0.5) / 4.0;
                let dy = (f64::from(sample / 4) + 0.5) / 4.0;
                let Some((u, v)) = back((f64::from(x) + dx, f64::from(y) + dy)) else { continue };
                let inside = 0.0 <= u && u < f64::from(word.width());
                if inside && 0.0 <= v && v < f64::from(word.height()) {
                    let color = bilinear(word, u, v);
                    (0..3).for_each(|channel| sum[channel] += color[channel]);
                    count += 1.0;
                }
            }
            let Rgb(old) = *page.get_pixel(x, y);
            let mixed = |channel: usize| sum[channel] + (16.0 - count) * f64::from(old[channel]);
            let pixel = [0, 1, 2].map(|channel| (mixed(channel) / 16.0).round() as u8);
            page.put_pixel(x, y, Rgb(pixel));
        }
    }
}

fn bilinear(image: &RgbImage, x: f64, y: f64) -> [f64; 3] {
    let near = |place: f64, length: u32| {
        let first = (place - 0.5).floor();
        let index = |step: f64| (first + step).clamp(0.0, f64::from(length) - 1.0) as u32;
        ([index(0.0), index(1.0)], place - 0.5 - first)
    };
    let (columns, across) = near(x, image.width());
    let (rows, down) = near(y, image.height());
    [0, 1, 2].map(|channel| {
        let at = |row: u32, column: u32| f64::from(image.get_pixel(column, row)[channel]);
        let line = |row: u32| at(row, columns[0]) * (1.0 - across) + at(row, columns[1]) * across;
        line(rows[0]) * (1.0 - down) + line(rows[1]) * down
    })
}
