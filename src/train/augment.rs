//! What is done to crops before a network learns from them: the published augmentation, three operations of
//! RandAugment (specification section 7); and a warp, which makes irregular text of straight text.

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::blur::blur_plane;

/// The largest angle of the arc that a crop is bent along, and the largest rotation behind it, in degrees.
const WARP_ARC: f32 = 150.0;
const WARP_ROTATION: f32 = 25.0;
/// The least radius of the arc's inner side, as a share of the height.
const INNER_RADIUS: f32 = 0.3;

/// Operations for a crop, and the probability of each.
const OPERATIONS: usize = 3;
const PROBABILITY: f64 = 0.5;
/// The magnitude, 5 of 10.
const LEVEL: f32 = 0.5;
/// What comes in from outside the crop.
const FILL: Rgb<u8> = Rgb([128; 3]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    Solarize,
    SolarizeAdd,
    Colour,
    Contrast,
    Brightness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    GaussianBlur,
    PoissonNoise,
}

const ALL: [Operation; 16] = [
    Operation::AutoContrast,
    Operation::Equalize,
    Operation::Invert,
    Operation::Rotate,
    Operation::Posterize,
    Operation::Solarize,
    Operation::SolarizeAdd,
    Operation::Colour,
    Operation::Contrast,
    Operation::Brightness,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::GaussianBlur,
    Operation::PoissonNoise,
];

/// The largest rotation in degrees, and shears and shifts as shares of the size.
const ROTATION: f32 = 30.0;
const SHEAR: (f32, f32) = (0.9, 0.2);
const SHIFT: (f32, f32) = (0.1, 0.3);
/// The largest changes of colour, contrast and brightness.
const ENHANCEMENT: f32 = 0.9;
/// The largest radius of the blur, in pixels, and mean of the noise, in levels.
const BLUR: f32 = 4.0;
const POISSON: f32 = 40.0;

/// Three of the operations, none twice, each with a probability of one half. The same for the same
/// seed.
pub(super) fn augment(image: RgbImage, seed: u64) -> RgbImage {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut image = image;
    let mut left = ALL.to_vec();
    for _ in 0..OPERATIONS {
        let operation = left.swap_remove(rng.random_range(0..left.len()));
        if rng.random_bool(PROBABILITY) {
            image = apply(operation, image, &mut rng);
        }
    }
    image
}

/// Bends a crop along an arc, up or down, and turns it. The picture becomes as large as that takes; what comes
/// in from outside are the pixels of the edge. The same for the same seed.
pub(super) fn warp(image: &RgbImage, seed: u64) -> RgbImage {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let arc = rng.random_range(-WARP_ARC..WARP_ARC).to_radians();
    let rotation = rng.random_range(-WARP_ROTATION..WARP_ROTATION).to_radians();
    rotated(&bent(image, arc), rotation, Outside::Edge)
}

/// Lays the middle line of a picture along an arc that covers so many radians, less than half a circle: above
/// 0 its middle is above its ends.
fn bent(image: &RgbImage, arc: f32) -> RgbImage {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let tightest = width / (height * (0.5 + INNER_RADIUS));
    let arc = arc.clamp(-tightest, tightest);
    let half = arc.abs() / 2.0;
    if half < 0.01 {
        return image.clone();
    }
    let radius = width / (2.0 * half);
    let (outer, inner) = (radius + height / 2.0, radius - height / 2.0);
    let (wide, high) = (2.0 * outer * half.sin(), outer - inner * half.cos());
    sampled(image, wide.ceil() as u32, high.ceil() as u32, Outside::Edge, |x, y| {
        let y = if arc > 0.0 { y } else { high - y };
        // From the centre of the circle, up.
        let (x, y) = (x - wide / 2.0, outer - y);
        let (angle, distance) = (x.atan2(y), x.hypot(y));
        let down = outer - distance;
        let down = if arc > 0.0 { down } else { height - down };
        ((angle / (2.0 * half) + 0.5) * width, down)
    })
}

/// Turns a picture; its size grows.
fn rotated(image: &RgbImage, radians: f32, outside: Outside) -> RgbImage {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let (sin, cos) = radians.sin_cos();
    let wide = (width * cos.abs() + height * sin.abs()).ceil();
    let high = (width * sin.abs() + height * cos.abs()).ceil();
    sampled(image, wide as u32, high as u32, outside, |x, y| {
        let (x, y) = (x - wide / 2.0, y - high / 2.0);
        (x * cos + y * sin + width / 2.0, y * cos - x * sin + height / 2.0)
    })
}

fn apply(operation: Operation, mut image: RgbImage, rng: &mut impl Rng) -> RgbImage {
    let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let (width, height) = (image.width() as f32, image.height() as f32);
    match operation {
        Operation::AutoContrast => {
            each_channel(&mut image, |histogram| {
                let low = histogram.iter().position(|&n| n > 0).unwrap_or(0) as f32;
                let high = histogram.iter().rposition(|&n| n > 0).unwrap_or(255) as f32;
                move |v| {
                    if high > low { (f32::from(v) - low) * 255.0 / (high - low) } else { v.into() }
                }
            });
            image
        }
        Operation::Equalize => {
            each_channel(&mut image, |histogram| {
                let total: u32 = histogram.iter().sum();
                let last = histogram.iter().rposition(|&n| n > 0).map_or(0, |i| histogram[i]);
                let step = (total - last) / 255;
                let mut before = step / 2;
                let table: [f32; 256] = std::array::from_fn(|value| {
                    let level = before.checked_div(step).unwrap_or(value as u32);
                    before += histogram[value];
                    level as f32
                });
                move |v| table[usize::from(v)]
            });
            image
        }
        Operation::Invert => each_value(image, |v| 255 - v),
        // As many bits are kept as the magnitude leaves of four.
        Operation::Posterize => each_value(image, |v| v & !(0xff >> (4 - (LEVEL * 4.0) as u32))),
        Operation::Solarize => {
            let threshold = 256.0 * (1.0 - LEVEL);
            each_value(image, |v| if f32::from(v) < threshold { v } else { 255 - v })
        }
        Operation::SolarizeAdd => {
            each_value(image, |v| if v < 128 { v.saturating_add((LEVEL * 110.0) as u8) } else { v })
        }
        Operation::Colour => {
            let factor = 1.0 + sign * LEVEL * ENHANCEMENT;
            for pixel in image.pixels_mut() {
                let grey = luma(*pixel);
                pixel.0 = pixel.0.map(|v| clamp(grey + (f32::from(v) - grey) * factor));
            }
            image
        }
        Operation::Contrast => {
            let factor = 1.0 + sign * LEVEL * ENHANCEMENT;
            let mean = image.pixels().map(|p| luma(*p)).sum::<f32>() / (width * height);
            each_value(image, |v| clamp(mean + (f32::from(v) - mean) * factor))
        }
        Operation::Brightness => {
            let factor = 1.0 + sign * LEVEL * ENHANCEMENT;
            each_value(image, |v| clamp(f32::from(v) * factor))
        }
        Operation::Rotate => rotated(&image, (sign * LEVEL * ROTATION).to_radians(), Outside::Grey),
        Operation::ShearX => {
            let shear = sign * LEVEL * SHEAR.0;
            sampled(&image, image.width(), image.height(), Outside::Grey, |x, y| (x + shear * y, y))
        }
        Operation::ShearY => {
            let shear = sign * LEVEL * SHEAR.1;
            sampled(&image, image.width(), image.height(), Outside::Grey, |x, y| (x, y + shear * x))
        }
        Operation::TranslateX => {
            let shift = sign * LEVEL * SHIFT.0 * width;
            sampled(&image, image.width(), image.height(), Outside::Grey, |x, y| (x + shift, y))
        }
        Operation::TranslateY => {
            let shift = sign * LEVEL * SHIFT.1 * height;
            sampled(&image, image.width(), image.height(), Outside::Grey, |x, y| (x, y + shift))
        }
        Operation::GaussianBlur => {
            let (columns, rows) = (image.width() as usize, image.height() as usize);
            for channel in 0..3 {
                let mut plane: Vec<f32> =
                    image.pixels().map(|pixel| f32::from(pixel.0[channel])).collect();
                blur_plane(&mut plane, columns, rows, LEVEL * BLUR);
                for (pixel, value) in image.pixels_mut().zip(plane) {
                    pixel.0[channel] = clamp(value);
                }
            }
            image
        }
        Operation::PoissonNoise => {
            let mean = LEVEL * POISSON;
            for value in image.iter_mut() {
                *value = clamp(f32::from(*value) + poisson(mean, rng));
            }
            image
        }
    }
}

fn clamp(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn luma(pixel: Rgb<u8>) -> f32 {
    let [r, g, b] = pixel.0.map(f32::from);
    0.299 * r + 0.587 * g + 0.114 * b
}

fn each_value(mut image: RgbImage, map: impl Fn(u8) -> u8) -> RgbImage {
    let table: [u8; 256] = std::array::from_fn(|value| map(value as u8));
    image.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    image
}

/// Maps each channel by what `map` makes of its histogram.
fn each_channel<M: Fn(u8) -> f32>(image: &mut RgbImage, map: impl Fn(&[u32; 256]) -> M) {
    for channel in 0..3 {
        let mut histogram = [0u32; 256];
        image.pixels().for_each(|pixel| histogram[usize::from(pixel.0[channel])] += 1);
        let map = map(&histogram);
        for pixel in image.pixels_mut() {
            pixel.0[channel] = clamp(map(pixel.0[channel]));
        }
    }
}

/// What comes in from outside a crop.
#[derive(Clone, Copy, PartialEq)]
enum Outside {
    /// A grey: the published augmentation.
    Grey,
    /// The nearest pixel.
    Edge,
}

/// A picture whose every pixel comes from where `from` says, in between by bilinear interpolation.
fn sampled(
    image: &RgbImage,
    width: u32,
    height: u32,
    outside: Outside,
    from: impl Fn(f32, f32) -> (f32, f32),
) -> RgbImage {
    let (columns, rows) = (image.width() as i64, image.height() as i64);
    let at = |x: i64, y: i64| {
        let (x, y) = match outside {
            Outside::Grey => (x, y),
            Outside::Edge => (x.clamp(0, columns - 1), y.clamp(0, rows - 1)),
        };
        let inside = (0..columns).contains(&x) && (0..rows).contains(&y);
        let pixel = if inside { *image.get_pixel(x as u32, y as u32) } else { FILL };
        pixel.0.map(f32::from)
    };
    RgbImage::from_fn(width.max(1), height.max(1), |x, y| {
        let (x, y) = from(x as f32 + 0.5, y as f32 + 0.5);
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (along, down) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        let corners = [at(left, top), at(left + 1, top), at(left, top + 1), at(left + 1, top + 1)];
        Rgb(std::array::from_fn(|i| {
            let above = corners[0][i] + (corners[1][i] - corners[0][i]) * along;
            let below = corners[2][i] + (corners[3][i] - corners[2][i]) * along;
            clamp(above + (below - above) * down)
        }))
    })
}

/// A number of the Poisson distribution, by Knuth's way.
fn poisson(mean: f32, rng: &mut impl Rng) -> f32 {
    let limit = (-mean).exp();
    let (mut product, mut count) = (rng.random::<f32>(), 0.0);
    while product > limit {
        product *= rng.random::<f32>();
        count += 1.0;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 37 + y * 11) as u8, (x * 5) as u8, 100 + (y % 50) as u8])
        })
    }

    #[test]
    fn repeats_exactly() {
        let image = picture(60, 20);
        let runs = |seed| augment(image.clone(), seed);
        assert!((0..200).all(|seed| runs(seed) == runs(seed)));
        let changed = (0..200).filter(|&seed| runs(seed) != image).count();
        // Only if none of three operations happens is nothing changed: one in eight.
        assert!((150..200).contains(&changed), "{changed}");
    }

    #[test]
    fn every_operation_on_every_size() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        for operation in ALL {
            for (width, height) in [(1, 1), (1, 9), (40, 1), (64, 32)] {
                let image = picture(width, height);
                let found = apply(operation, image.clone(), &mut rng);
                let kept = found.dimensions() == image.dimensions();
                assert!(kept || operation == Operation::Rotate, "{operation:?}");
                assert!(found.width() >= 1 && found.height() >= 1);
            }
        }
    }

    /// The text's line lies on the arc: a stripe along the middle is where the circle is.
    #[test]
    fn bent_along_an_arc() {
        let stripe = |y: u32| Rgb([if (9..=11).contains(&y) { 255 } else { 0 }; 3]);
        let image = RgbImage::from_fn(100, 21, |_, y| stripe(y));
        for arc in [2.0f32, -2.0] {
            let found = bent(&image, arc);
            let (outer, radius) = (50.0 + 10.5, 50.0f32);
            for angle in [-0.9f32, -0.5, 0.0, 0.5, 0.9] {
                let x = found.width() as f32 / 2.0 + radius * angle.sin();
                let y = outer - radius * angle.cos();
                let y = if arc > 0.0 { y } else { found.height() as f32 - y };
                let pixel = found.get_pixel(x as u32, y as u32);
                assert!(pixel.0[0] > 128, "{arc}, {angle}: {pixel:?}");
            }
            // Above the middle of the arc and below it there is no line.
            let middle = found.width() / 2;
            let lit = (0..found.height()).filter(|&y| found.get_pixel(middle, y).0[0] > 128);
            assert!((1..=5).contains(&lit.count()));
        }
        assert!(bent(&image, 0.0) == image);
    }

    #[test]
    fn warped_in_any_size() {
        for (width, height) in [(1, 1), (1, 60), (300, 2), (64, 32), (400, 30)] {
            let image = picture(width, height);
            for seed in 0..20 {
                let found = warp(&image, seed);
                let longest = 2 * (width + height) + 4;
                assert!(found.width() <= longest && found.height() <= longest, "{width}, {height}");
                assert!(found == warp(&image, seed));
            }
        }
    }

    #[test]
    fn operations_do_what_they_say() {
        let mut rng = Pcg64Mcg::seed_from_u64(2);
        let image = RgbImage::from_fn(4, 1, |x, _| Rgb([50 + 30 * x as u8; 3]));
        let mut run = |operation| -> Vec<u8> {
            apply(operation, image.clone(), &mut rng).pixels().map(|p| p.0[0]).collect()
        };
        assert_eq!(run(Operation::AutoContrast), [0, 85, 170, 255]);
        assert_eq!(run(Operation::Invert), [205, 175, 145, 115]);
        assert_eq!(run(Operation::Posterize), [0, 64, 64, 128]);
        assert_eq!(run(Operation::Solarize), [50, 80, 110, 115]);
        assert_eq!(run(Operation::SolarizeAdd), [105, 135, 165, 140]);
        let flat = picture(50, 50);
        let noise = apply(Operation::PoissonNoise, flat.clone(), &mut rng);
        let mean = noise.iter().zip(flat.iter()).map(|(a, b)| f64::from(*a) - f64::from(*b));
        let mean = mean.sum::<f64>() / 7500.0;
        assert!((10.0..25.0).contains(&mean), "{mean}");
    }
}
