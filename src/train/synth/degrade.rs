//! What a camera and a file format do to a picture.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, ImageFormat, RgbImage};
use rand::{Rng, RngExt};

use super::SynthOptions;
use super::paint::Picture;

/// Blur, low resolution, noise, JPEG: as they come about.
pub(super) fn degrade(picture: Picture, options: &SynthOptions, rng: &mut impl Rng) -> RgbImage {
    let Picture { width, height, mut pixels } = picture;
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
    if rng.random_bool(options.jpeg.into()) {
        image = through_jpeg(&image, rng.random_range(20..=90)).unwrap_or(image);
    }
    image
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

/// A Gaussian blur, the borders continued.
pub(in crate::train) fn blur_plane(plane: &mut [f32], width: usize, height: usize, sigma: f32) {
    if sigma < 0.2 || width == 0 {
        return;
    }
    let reach = (2.5 * sigma).ceil() as usize;
    let weights: Vec<f32> =
        (0..=reach).map(|d| (-0.5 * (d as f32 / sigma).powi(2)).exp()).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    let weights: Vec<f32> = weights.into_iter().map(|weight| weight / sum).collect();
    let mut line = Vec::new();
    let mut pass = |plane: &mut [f32], start: usize, step: usize, count: usize| {
        line.clear();
        line.extend((0..count).map(|i| plane[start + i * step]));
        for i in 0..count {
            let mut value = weights[0] * line[i];
            for (d, weight) in weights.iter().enumerate().skip(1) {
                value += weight * (line[i.saturating_sub(d)] + line[(i + d).min(count - 1)]);
            }
            plane[start + i * step] = value;
        }
    };
    for y in 0..height {
        pass(plane, y * width, 1, width);
    }
    for x in 0..width {
        pass(plane, x, width, height);
    }
}
