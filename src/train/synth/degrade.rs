//! What a camera and a file format do to a picture.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType, resize};
use image::{ExtendedColorType, ImageFormat, RgbImage};
use rand::{Rng, RngExt};

use super::paint::Picture;
use super::{SynthOptions, chance};
use crate::train::blur::blur_plane;

/// Options under which a camera does nothing.
const UNDAMAGED: SynthOptions = SynthOptions {
    blur: 0.0,
    noise: 0.0,
    shrunk: 0.0,
    jpeg: 0.0,
    lit: 0.0,
    moved: 0.0,
    faded: 0.0,
    tiny: 0.0,
    sharpened: 0.0,
    ..SynthOptions::DEFAULT
};

/// Blur, low resolution, noise, JPEG: as they come about.
pub(super) fn degrade(picture: Picture, options: &SynthOptions, rng: &mut impl Rng) -> RgbImage {
    let Picture { width, height, mut pixels } = picture;
    let mild;
    let options = if chance(options.clean, rng) {
        mild = SynthOptions { jpeg: options.jpeg, ..UNDAMAGED };
        &mild
    } else {
        options
    };
    if chance(options.lit, rng) {
        light(&mut pixels, width, height, rng);
    }
    if chance(options.faded, rng) {
        fade(&mut pixels, rng);
    }
    if chance(options.moved, rng) {
        move_along(&mut pixels, width, height, rng);
    }
    if options.blur > 0.0 && rng.random_bool(0.5) {
        let sigma = rng.random_range(0.0..=options.blur);
        for channel in 0..3 {
            let mut plane: Vec<f32> = pixels.iter().map(|pixel| pixel[channel]).collect();
            blur_plane(&mut plane, width, height, sigma);
            for (pixel, value) in pixels.iter_mut().zip(plane) {
                pixel[channel] = value;
            }
        }
    }
    if options.noise > 0.0 && rng.random_bool(0.5) {
        let deviation = rng.random_range(0.0..=options.noise);
        for value in pixels.as_flattened_mut() {
            // Of four evenly distributed numbers the sum is nearly normal, with a variance of 1/3.
            let sum: f32 = (0..4).map(|_| rng.random::<f32>()).sum();
            *value += deviation * (sum - 2.0) * 3f32.sqrt();
        }
    }
    let bytes = pixels.as_flattened().iter().map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8);
    let mut image = RgbImage::from_fn(width as u32, height as u32, |_, _| image::Rgb([0; 3]));
    for (byte, value) in image.iter_mut().zip(bytes) {
        *byte = value;
    }
    if rng.random_bool(options.shrunk.into()) {
        let factor = rng.random_range(0.35f32..0.9);
        let small = |size: u32| ((size as f32 * factor) as u32).max(6).min(size);
        let less =
            resize(&image, small(image.width()), small(image.height()), FilterType::Triangle);
        image = resize(&less, image.width(), image.height(), FilterType::Triangle);
    }
    if chance(options.tiny, rng) {
        let high = rng.random_range(12u32..=26).min(image.height());
        let wide = (image.width() * high / image.height().max(1)).max(4);
        let filter =
            if rng.random_bool(0.5) { FilterType::Triangle } else { FilterType::CatmullRom };
        image = resize(&image, wide, high, filter);
    }
    if chance(options.sharpened, rng) {
        image = imageops::unsharpen(&image, rng.random_range(0.6..2.0), 0);
    }
    if rng.random_bool(options.jpeg.into()) {
        image = through_jpeg(&image, rng.random_range(20..=90)).unwrap_or(image);
    }
    image
}

/// Light that grows along a line, and a highlight or a shade somewhere.
fn light(pixels: &mut [[f32; 3]], width: usize, height: usize, rng: &mut impl Rng) {
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let slope = rng.random_range(0.0f32..0.6);
    let (w, h) = (width as f32, height as f32);
    let (x0, y0) = (w * rng.random_range(-0.2..1.2), h * rng.random_range(-0.2..1.2));
    let radius = rng.random_range(0.3..1.2) * h;
    let spot = if rng.random_bool(0.5) { rng.random_range(-0.4f32..0.6) } else { 0.0 };
    for (index, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = ((index % width) as f32, (index / width) as f32);
        let along = cos * (x / w - 0.5) + sin * (y / h - 0.5);
        let near = (-((x - x0).powi(2) + (y - y0).powi(2)) / (2.0 * radius * radius)).exp();
        *pixel = pixel.map(|v| v * (1.0 + 2.0 * slope * along) + spot * near);
    }
}

/// Less contrast, and another brightness.
fn fade(pixels: &mut [[f32; 3]], rng: &mut impl Rng) {
    let factor = rng.random_range(0.2f32..0.6);
    let count = pixels.len().max(1) as f32;
    let mean = pixels.as_flattened().iter().sum::<f32>() / (3.0 * count);
    let other = rng.random_range(0.5 * factor..1.0 - 0.5 * factor);
    for value in pixels.as_flattened_mut() {
        *value = other + (*value - mean) * factor;
    }
}

/// A blur along a line.
fn move_along(pixels: &mut [[f32; 3]], width: usize, height: usize, rng: &mut impl Rng) {
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let length = rng.random_range(0.04f32..0.16) * height as f32;
    let count = (length.ceil() as usize).clamp(2, 12);
    let before = pixels.to_vec();
    let offsets: Vec<(isize, isize)> = (0..count)
        .map(|i| {
            let reach = length * (i as f32 / (count - 1) as f32 - 0.5);
            ((reach * angle.cos()).round() as isize, (reach * angle.sin()).round() as isize)
        })
        .collect();
    for (index, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = ((index % width) as isize, (index / width) as isize);
        let mut sum = [0.0; 3];
        for (dx, dy) in &offsets {
            let x = (x + dx).clamp(0, width as isize - 1) as usize;
            let y = (y + dy).clamp(0, height as isize - 1) as usize;
            for (sum, value) in sum.iter_mut().zip(before[y * width + x]) {
                *sum += value;
            }
        }
        *pixel = sum.map(|v| v / count as f32);
    }
}

/// `None` if the picture is too large for the format.
fn through_jpeg(image: &RgbImage, quality: u8) -> Option<RgbImage> {
    let mut file = Vec::new();
    let (width, height) = image.dimensions();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(image, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(image::load_from_memory_with_format(&file, ImageFormat::Jpeg).ok()?.into_rgb8())
}
