//! Colours: background, text, outline and shadow.

use image::RgbImage;
use rand::{Rng, RngExt};

use super::SynthOptions;
use super::degrade::blur_plane;
use super::glyphs::Mask;

/// Red, green and blue, 0..=1.
type Colour = [f32; 3];

/// A picture in the making.
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<Colour>,
}

fn brightness(colour: Colour) -> f32 {
    0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
}

fn any_colour(rng: &mut impl Rng) -> Colour {
    // A third of the world's signs is grey, black or white.
    if rng.random_bool(0.35) {
        [rng.random::<f32>(); 3]
    } else {
        std::array::from_fn(|_| rng.random())
    }
}

fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)
}

/// Paints text on a background.
pub(super) fn paint(
    mask: &Mask,
    size: f32,
    backgrounds: &[RgbImage],
    options: &SynthOptions,
    rng: &mut impl Rng,
) -> Picture {
    let Mask { width, height, .. } = *mask;
    let mut picture = background(width, height, backgrounds, options, rng);
    let mean = picture.pixels.iter().map(|&pixel| brightness(pixel)).sum::<f32>()
        / picture.pixels.len().max(1) as f32;
    let mut text = any_colour(rng);
    for _ in 0..20 {
        if (brightness(text) - mean).abs() >= options.contrast {
            break;
        }
        text = any_colour(rng);
    }
    if (brightness(text) - mean).abs() < options.contrast {
        text = if mean > 0.5 { [0.0; 3] } else { [1.0; 3] };
    }
    if rng.random_bool(options.shadowed.into()) {
        let reach = (0.12 * size).max(1.0);
        let mut offset = || rng.random_range(-reach..=reach).round() as isize;
        let (dx, dy) = (offset(), offset());
        let mut shadow = shifted(mask, dx, dy);
        blur_plane(&mut shadow, width, height, rng.random_range(0.0..=0.08) * size);
        let dark = [rng.random_range(0.0..0.3); 3];
        let strength = rng.random_range(0.3..0.9);
        for (pixel, cover) in picture.pixels.iter_mut().zip(&shadow) {
            *pixel = mix(*pixel, dark, cover * strength);
        }
    }
    if rng.random_bool(options.outlined.into()) {
        let radius = rng.random_range(0.02..0.08) * size;
        let colour = any_colour(rng);
        // An outline in the text's own colour makes it bold.
        for (pixel, cover) in picture.pixels.iter_mut().zip(dilated(mask, radius)) {
            *pixel = mix(*pixel, colour, cover);
        }
    }
    let end = mix(text, any_colour(rng), if rng.random_bool(0.2) { 0.4 } else { 0.0 });
    let opacity = if rng.random_bool(0.2) { rng.random_range(0.6..1.0) } else { 1.0 };
    for (index, (pixel, cover)) in picture.pixels.iter_mut().zip(&mask.coverage).enumerate() {
        let along = (index % width) as f32 / width as f32;
        *pixel = mix(*pixel, mix(text, end, along), cover * opacity);
    }
    picture
}

fn background(
    width: usize,
    height: usize,
    backgrounds: &[RgbImage],
    options: &SynthOptions,
    rng: &mut impl Rng,
) -> Picture {
    let mut pixels = Vec::with_capacity(width * height);
    if !backgrounds.is_empty() && rng.random_bool(options.pictured.into()) {
        let source = &backgrounds[rng.random_range(0..backgrounds.len())];
        let (x0, y0) = (rng.random_range(0..source.width()), rng.random_range(0..source.height()));
        for y in 0..height as u32 {
            for x in 0..width as u32 {
                // Mirrored at its borders, a small picture covers any crop.
                let (x, y) = (mirrored(x0 + x, source.width()), mirrored(y0 + y, source.height()));
                pixels.push(source.get_pixel(x, y).0.map(|v| f32::from(v) / 255.0));
            }
        }
        return Picture { width, height, pixels };
    }
    let colour = any_colour(rng);
    let other = if rng.random_bool(options.gradient.into()) { any_colour(rng) } else { colour };
    let other = mix(colour, other, 0.6);
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let reach = (width as f32 * cos.abs() + height as f32 * sin.abs()).max(1.0);
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x as f32 - width as f32 / 2.0, y as f32 - height as f32 / 2.0);
            pixels.push(mix(colour, other, 0.5 + (x * cos + y * sin) / reach));
        }
    }
    if rng.random_bool(options.textured.into()) {
        let strength = rng.random_range(0.03..0.2);
        let cell = rng.random_range(1.5f32..12.0);
        let texture = value_noise(width, height, cell, rng);
        for (pixel, noise) in pixels.iter_mut().zip(texture) {
            *pixel = pixel.map(|v| (v + strength * noise).clamp(0.0, 1.0));
        }
    }
    Picture { width, height, pixels }
}

fn mirrored(at: u32, size: u32) -> u32 {
    let at = at % (2 * size);
    if at < size { at } else { 2 * size - 1 - at }
}

/// Smooth noise, -1..=1, whose features are about `cell` pixels wide.
fn value_noise(width: usize, height: usize, cell: f32, rng: &mut impl Rng) -> Vec<f32> {
    let (columns, rows) = ((width as f32 / cell) as usize + 2, (height as f32 / cell) as usize + 2);
    let nodes: Vec<f32> = (0..columns * rows).map(|_| rng.random_range(-1.0..=1.0)).collect();
    let mut noise = Vec::with_capacity(width * height);
    for y in 0..height {
        let y = y as f32 / cell;
        let (row, down) = (y as usize, y.fract());
        for x in 0..width {
            let x = x as f32 / cell;
            let (column, along) = (x as usize, x.fract());
            let at = |r: usize, c: usize| nodes[r * columns + c];
            let top = at(row, column) + (at(row, column + 1) - at(row, column)) * along;
            let bottom =
                at(row + 1, column) + (at(row + 1, column + 1) - at(row + 1, column)) * along;
            noise.push(top + (bottom - top) * down);
        }
    }
    noise
}

fn shifted(mask: &Mask, dx: isize, dy: isize) -> Vec<f32> {
    let Mask { width, height, coverage } = mask;
    let mut shifted = vec![0.0; coverage.len()];
    for y in 0..*height {
        for x in 0..*width {
            let (Some(from_x), Some(from_y)) =
                (x.checked_add_signed(-dx), y.checked_add_signed(-dy))
            else {
                continue;
            };
            if from_x < *width && from_y < *height {
                shifted[y * width + x] = coverage[from_y * width + from_x];
            }
        }
    }
    shifted
}

/// The largest coverage within a radius.
fn dilated(mask: &Mask, radius: f32) -> Vec<f32> {
    let Mask { width, height, coverage } = mask;
    let reach = radius.ceil().max(1.0) as isize;
    let mut offsets = Vec::new();
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let distance = ((dx * dx + dy * dy) as f32).sqrt();
            let weight = (radius + 1.0 - distance).clamp(0.0, 1.0);
            if weight > 0.0 {
                offsets.push((dx, dy, weight));
            }
        }
    }
    let mut grown = coverage.clone();
    for y in 0..*height {
        for x in 0..*width {
            let cover = coverage[y * width + x];
            if cover == 0.0 {
                continue;
            }
            for &(dx, dy, weight) in &offsets {
                let (Some(x), Some(y)) = (x.checked_add_signed(dx), y.checked_add_signed(dy))
                else {
                    continue;
                };
                if x < *width && y < *height {
                    let value = &mut grown[y * width + x];
                    *value = value.max(cover * weight);
                }
            }
        }
    }
    grown
}
