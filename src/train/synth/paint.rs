//! Colours: background, text, outline and shadow.

use image::RgbImage;
use rand::{Rng, RngExt};

use super::glyphs::Mask;
use super::{SynthOptions, chance};
use crate::train::blur::blur_plane;

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

/// Where colours come from.
struct Palette<'a> {
    pictures: &'a [RgbImage],
    /// The share of colours that are some picture's.
    natural: f32,
}

impl Palette<'_> {
    fn colour(&self, rng: &mut impl Rng) -> Colour {
        if self.pictures.is_empty() || !chance(self.natural, rng) {
            return any_colour(rng);
        }
        let picture = &self.pictures[rng.random_range(0..self.pictures.len())];
        let (x, y) = (rng.random_range(0..picture.width()), rng.random_range(0..picture.height()));
        let colour = picture.get_pixel(x, y).0.map(|v| f32::from(v) / 255.0);
        // Paint is lighter or darker than most of what surrounds it.
        match rng.random_range(0..4) {
            0 => mix(colour, [1.0; 3], rng.random_range(0.3..1.0)),
            1 => mix(colour, [0.0; 3], rng.random_range(0.3..1.0)),
            _ => colour,
        }
    }
}

fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)
}

/// What is to be painted.
pub(super) struct Scene<'a> {
    /// The text.
    pub mask: &'a Mask,
    /// Other texts around it.
    pub around: Option<&'a Mask>,
    /// The font's size, in pixels.
    pub size: f32,
}

/// Paints text on a background.
pub(super) fn paint(
    scene: &Scene,
    backgrounds: &[RgbImage],
    options: &SynthOptions,
    rng: &mut impl Rng,
) -> Picture {
    let Scene { mask, around, size } = *scene;
    let Mask { width, height, .. } = *mask;
    let palette = Palette { pictures: backgrounds, natural: options.natural };
    let mut picture = background(width, height, &palette, options, rng);
    if chance(options.plated, rng) {
        plate(&mut picture, size, &palette, rng);
    }
    let mean = picture.pixels.iter().map(|&pixel| brightness(pixel)).sum::<f32>()
        / picture.pixels.len().max(1) as f32;
    let mut text = palette.colour(rng);
    for _ in 0..20 {
        if (brightness(text) - mean).abs() >= options.contrast {
            break;
        }
        text = palette.colour(rng);
    }
    if (brightness(text) - mean).abs() < options.contrast {
        text = if mean > 0.5 { [0.0; 3] } else { [1.0; 3] };
    }
    if chance(options.ruled, rng) {
        rule(&mut picture, text, size, &palette, rng);
    }
    if let Some(around) = around {
        let colour = if rng.random_bool(0.7) { text } else { palette.colour(rng) };
        cover(&mut picture, &around.coverage, colour, 1.0);
    }
    let heavier = chance(options.weighted, rng).then(|| weighted(mask, size, rng));
    let mask = heavier.as_ref().unwrap_or(mask);
    if rng.random_bool(options.shadowed.into()) {
        let reach = (0.12 * size).max(1.0);
        let mut offset = || rng.random_range(-reach..=reach).round() as isize;
        let (dx, dy) = (offset(), offset());
        let mut shadow = shifted(mask, dx, dy);
        blur_plane(&mut shadow, width, height, rng.random_range(0.0..=0.08) * size);
        let dark = [rng.random_range(0.0..0.3); 3];
        let strength = rng.random_range(0.3..0.9);
        cover(&mut picture, &shadow, dark, strength);
    }
    if chance(options.extruded, rng) {
        extrude(&mut picture, mask, text, size, &palette, rng);
    }
    if rng.random_bool(options.outlined.into()) {
        let radius = rng.random_range(0.02..0.08) * size;
        let colour = palette.colour(rng);
        // An outline in the text's own colour makes it bold.
        cover(&mut picture, &dilated(mask, radius), colour, 1.0);
    }
    if chance(options.hollow, rng) {
        let radius = rng.random_range(0.02..0.06) * size;
        let mut ring = dilated(mask, radius.max(0.6));
        for (ring, inside) in ring.iter_mut().zip(&mask.coverage) {
            *ring = (*ring - inside).max(0.0);
        }
        cover(&mut picture, &ring, text, 1.0);
        return picture;
    }
    if chance(options.inked, rng) {
        let ink = ink(width, height, text, mean, &palette, options, rng);
        for ((pixel, cover), ink) in picture.pixels.iter_mut().zip(&mask.coverage).zip(ink) {
            *pixel = mix(*pixel, ink, *cover);
        }
        return picture;
    }
    let end = mix(text, palette.colour(rng), if rng.random_bool(0.2) { 0.4 } else { 0.0 });
    let opacity = if rng.random_bool(0.2) { rng.random_range(0.6..1.0) } else { 1.0 };
    for (index, (pixel, cover)) in picture.pixels.iter_mut().zip(&mask.coverage).enumerate() {
        let along = (index % width) as f32 / width as f32;
        *pixel = mix(*pixel, mix(text, end, along), cover * opacity);
    }
    picture
}

/// Covers a picture with a colour, as far as a plane says.
fn cover(picture: &mut Picture, plane: &[f32], colour: Colour, strength: f32) {
    for (pixel, cover) in picture.pixels.iter_mut().zip(plane) {
        *pixel = mix(*pixel, colour, cover * strength);
    }
}

/// A plate that ends somewhere near the picture's borders, or beyond them, with or without a frame.
fn plate(picture: &mut Picture, size: f32, palette: &Palette, rng: &mut impl Rng) {
    let (width, height) = (picture.width as f32, picture.height as f32);
    let mut inset = || size * rng.random_range(-0.15f32..0.15);
    let (left, top, right, bottom) = (inset(), inset(), width - inset(), height - inset());
    let slant = rng.random_range(-0.06f32..0.06);
    let colour = palette.colour(rng);
    let other = mix(colour, palette.colour(rng), if rng.random_bool(0.3) { 0.3 } else { 0.0 });
    let frame =
        rng.random_bool(0.4).then(|| (palette.colour(rng), size * rng.random_range(0.02..0.08)));
    let gap = size * rng.random_range(0.0..0.06);
    let strength = if rng.random_bool(0.2) { rng.random_range(0.5..0.9) } else { 1.0 };
    for (index, pixel) in picture.pixels.iter_mut().enumerate() {
        let (x, y) = ((index % picture.width) as f32, (index / picture.width) as f32);
        let lift = slant * (x - width / 2.0);
        let inside = (x - left).min(right - x).min(y - top - lift).min(bottom + lift - y);
        let own = mix(colour, other, y / height);
        *pixel = mix(*pixel, own, inside.clamp(0.0, 1.0) * strength);
        if let Some((colour, thickness)) = frame {
            let deep = inside - gap;
            let line = deep.min(thickness.max(1.0) - deep).clamp(0.0, 1.0);
            *pixel = mix(*pixel, colour, line);
        }
    }
}

/// A line along one of the borders.
fn rule(picture: &mut Picture, text: Colour, size: f32, palette: &Palette, rng: &mut impl Rng) {
    let colour = if rng.random_bool(0.6) { text } else { palette.colour(rng) };
    let thickness = (size * rng.random_range(0.02f32..0.1)).max(1.0);
    let upright = rng.random_bool(0.3);
    let reach = if upright { picture.width } else { picture.height } as f32;
    let from_border = rng.random_range(0.0f32..0.1) * reach.min(size);
    let middle = if rng.random_bool(0.5) { from_border } else { reach - from_border };
    let slant = rng.random_range(-0.03f32..0.03);
    for (index, pixel) in picture.pixels.iter_mut().enumerate() {
        let (x, y) = ((index % picture.width) as f32, (index / picture.width) as f32);
        let (along, across) = if upright { (y, x) } else { (x, y) };
        let away = (across - middle - slant * along).abs();
        *pixel = mix(*pixel, colour, (thickness / 2.0 + 0.5 - away).clamp(0.0, 1.0));
    }
}

/// The text with other strokes: thicker, or thinner as long as something of it stays.
fn weighted(mask: &Mask, size: f32, rng: &mut impl Rng) -> Mask {
    let radius = rng.random_range(0.01..0.045) * size;
    let coverage = if rng.random_bool(0.65) {
        dilated(mask, radius)
    } else {
        let Mask { width, height, coverage } = mask;
        let outside = coverage.iter().map(|cover| 1.0 - cover).collect();
        let outside = Mask { width: *width, height: *height, coverage: outside };
        let left: Vec<f32> =
            dilated(&outside, 0.4 * radius).iter().map(|cover| 1.0 - cover).collect();
        let ink = |plane: &[f32]| plane.iter().sum::<f32>();
        if ink(&left) > 0.6 * ink(coverage) { left } else { coverage.clone() }
    };
    Mask { width: mask.width, height: mask.height, coverage }
}

/// The sides of solid letters.
fn extrude(
    picture: &mut Picture,
    mask: &Mask,
    text: Colour,
    size: f32,
    palette: &Palette,
    rng: &mut impl Rng,
) {
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let depth = size * rng.random_range(0.03..0.14);
    let side = if rng.random_bool(0.5) {
        mix(text, [0.0; 3], rng.random_range(0.4..0.9))
    } else {
        palette.colour(rng)
    };
    let mut sides = vec![0.0f32; mask.coverage.len()];
    for step in 1..=depth.ceil() as usize {
        let reach = (step as f32).min(depth);
        let (dx, dy) = ((reach * angle.cos()).round(), (reach * angle.sin()).round());
        for (side, cover) in sides.iter_mut().zip(shifted(mask, dx as isize, dy as isize)) {
            *side = side.max(cover);
        }
    }
    cover(picture, &sides, side, 1.0);
}

/// A picture's or a texture's pixels around the text's colour: as far from the background as it.
fn ink(
    width: usize,
    height: usize,
    text: Colour,
    mean: f32,
    palette: &Palette,
    options: &SynthOptions,
    rng: &mut impl Rng,
) -> Vec<Colour> {
    if rng.random_bool(0.4) {
        // From top to bottom, in one step or gradually.
        let other = mix(text, palette.colour(rng), 0.5);
        let hard = rng.random_bool(0.3);
        let at = |y: usize| {
            let share = y as f32 / height.max(1) as f32;
            if hard { f32::from(u8::from(share > 0.5)) } else { share }
        };
        return (0..width * height).map(|i| mix(text, other, at(i / width))).collect();
    }
    let pattern = background(width, height, palette, options, rng);
    let strength = rng.random_range(0.2..0.6);
    let away = (brightness(text) - mean).signum();
    let painted = pattern.pixels.into_iter().map(|pixel| {
        let pixel = mix(text, pixel, strength);
        let short = 0.15 - away * (brightness(pixel) - mean);
        pixel.map(|v| if short > 0.0 { v + away * short } else { v })
    });
    painted.collect()
}

fn background(
    width: usize,
    height: usize,
    palette: &Palette,
    options: &SynthOptions,
    rng: &mut impl Rng,
) -> Picture {
    let mut pixels = Vec::with_capacity(width * height);
    let backgrounds = palette.pictures;
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
    let colour = palette.colour(rng);
    let other = if rng.random_bool(options.gradient.into()) { palette.colour(rng) } else { colour };
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
