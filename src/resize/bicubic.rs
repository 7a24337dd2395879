//! Pillow's antialiased bicubic resampler on 8-bit RGB, to the byte.

use std::borrow::Cow;

use super::coefficients::filter;
use super::reduce::{factor, reduce};
use crate::cpu::resample;
use crate::crop::Crop;
use crate::error::{ImageError, Result};

/// Resizes a crop to exactly `width` x `height`, the aspect ratio not kept.
///
/// The result is bit-identical to `PIL.Image.resize((width, height), BICUBIC)` of Pillow up to
/// version 12: a cubic kernel (a = -0.5), widened by the scale when shrinking, weights in fixed
/// point with 22 fractional bits, horizontal pass first, each pass rounded to 8 bits.
///
/// That holds for sides of up to 32 768 pixels, and longer ones that shrink to no less than an eighth.
/// Longer ones are first shrunk by a whole factor, to the mean of their pixels, so that memory and time
/// are proportional to the crop's pixels whatever its shape.
///
/// ```
/// use svtrv2::{Crop, PixelFormat, resize::resize_bicubic};
///
/// let crop = Crop::from_raw(PixelFormat::Grey8, 2, 1, 2, &[0, 255])?;
/// let resized = resize_bicubic(&crop, 4, 1)?;
/// assert_eq!(resized.rgb()[..3], [0, 0, 0]);
/// assert_eq!(resized.rgb()[9..], [255, 255, 255]);
/// # Ok::<(), svtrv2::Error>(())
/// ```
///
/// # Errors
/// [`ImageError::Empty`] if `width` or `height` is 0.
pub fn resize_bicubic(crop: &Crop, width: u32, height: u32) -> Result<Crop<'static>> {
    Crop::checked(width, height, Cow::Owned(resize_rgb(crop, width, height)?))
}

/// [`resize_bicubic`] to a plain buffer of RGB rows.
pub(crate) fn resize_rgb(crop: &Crop, width: u32, height: u32) -> Result<Vec<u8>> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height }.into());
    }
    let (in_width, in_height) = (crop.width() as usize, crop.height() as usize);
    let (out_width, out_height) = (width as usize, height as usize);

    let factors = (factor(in_width, out_width), factor(in_height, out_height));
    if factors != (1, 1) {
        let (reduced, in_width) = reduce(crop.rgb(), in_width, factors);
        return Ok(passes(&reduced, in_width, (out_width, out_height)));
    }
    Ok(passes(crop.rgb(), in_width, (out_width, out_height)))
}

/// Both passes over rows of `in_width` RGB pixels.
fn passes(rgb: &[u8], in_width: usize, (out_width, out_height): (usize, usize)) -> Vec<u8> {
    let in_height = rgb.len() / (3 * in_width);
    let horizontal = (in_width != out_width).then(|| filter(in_width, out_width));
    let vertical = (in_height != out_height).then(|| filter(in_height, out_height));
    resample(rgb, in_width, horizontal.as_deref(), vertical.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::PRECISION_BITS;
    use crate::crop::PixelFormat;
    use proptest::prelude::*;

    /// The definition in plain f64 for one axis, before rounding.
    ///
    /// Written from the mathematics (a cubic kernel stretched by the scale, normalised), not from
    /// the fixed-point code: it shares nothing with it.
    fn oracle(samples: &[f64], out_size: usize) -> Vec<f64> {
        if samples.len() == out_size {
            return samples.to_vec();
        }
        let kernel = |x: f64| match x.abs() {
            x if x < 1.0 => 1.5 * x * x * x - 2.5 * x * x + 1.0,
            x if x < 2.0 => -0.5 * x * x * x + 2.5 * x * x - 4.0 * x + 2.0,
            _ => 0.0,
        };
        let scale = samples.len() as f64 / out_size as f64;
        let stretch = scale.max(1.0);
        (0..out_size)
            .map(|output| {
                let center = (output as f64 + 0.5) * scale;
                let weights: Vec<f64> = (0..samples.len())
                    .map(|x| kernel((x as f64 + 0.5 - center) / stretch))
                    .collect();
                let total: f64 = weights.iter().sum();
                samples.iter().zip(&weights).map(|(s, w)| s * w).sum::<f64>() / total
            })
            .collect()
    }

    /// Checks that `found` is `exact` rounded and clipped; a fixed-point weight is off by half of
    /// its last bit at most, so only ties may go either way.
    fn check_rounding(found: u8, exact: f64, taps: usize, row: &str) {
        let slack = taps as f64 * 255.0 / f64::from(1 << (PRECISION_BITS + 1));
        let distance = (f64::from(found) - exact.clamp(0.0, 255.0)).abs();
        assert!(distance <= 0.5 + slack, "{row}: {found} for {exact}");
    }

    /// Each pass by itself against the plain version, and both together against the two in turn.
    fn check(pixels: &[u8], in_size: (u32, u32), out_size: (u32, u32)) {
        let (in_width, in_height) = (in_size.0 as usize, in_size.1 as usize);
        let (width, height) = (out_size.0 as usize, out_size.1 as usize);
        let crop = |pixels, width: usize, height: usize| {
            Crop::from_raw(PixelFormat::Rgb8, width as u32, height as u32, width * 3, pixels)
                .unwrap()
        };
        let source = crop(pixels, in_width, in_height);
        let across = resize_rgb(&source, out_size.0, in_size.1).unwrap();
        let down = resize_rgb(&crop(&across, width, in_height), out_size.0, out_size.1).unwrap();
        assert_eq!(resize_rgb(&source, out_size.0, out_size.1).unwrap(), down);

        let row = format!("{in_size:?} -> {out_size:?}");
        for channel in 0..3 {
            for y in 0..in_height {
                let sample = |x: usize| f64::from(pixels[(y * in_width + x) * 3 + channel]);
                let samples: Vec<f64> = (0..in_width).map(sample).collect();
                for (x, exact) in oracle(&samples, width).into_iter().enumerate() {
                    let found = across[(y * width + x) * 3 + channel];
                    check_rounding(found, exact, in_width, &row);
                }
            }
            for x in 0..width {
                let sample = |y: usize| f64::from(across[(y * width + x) * 3 + channel]);
                let samples: Vec<f64> = (0..in_height).map(sample).collect();
                for (y, exact) in oracle(&samples, height).into_iter().enumerate() {
                    let found = down[(y * width + x) * 3 + channel];
                    check_rounding(found, exact, in_height, &row);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]
        #[test]
        fn equals_the_plain_version(
            in_width in 1u32..90, in_height in 1u32..40,
            out_width in 1u32..70, out_height in 1u32..40,
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let pixels: Vec<u8> = (0..in_width * in_height * 3)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    // Extremes are frequent: overshoot and clipping must be exercised.
                    match state % 4 { 0 => 0, 1 => 255, _ => (state >> 32) as u8 }
                })
                .collect();
            check(&pixels, (in_width, in_height), (out_width, out_height));
        }
    }

    #[test]
    fn extreme_shapes() {
        let wide: Vec<u8> = (0..20_000 * 3).map(|i: u32| (i * 37 % 256) as u8).collect();
        check(&wide, (20_000, 1), (128, 2));
        check(&wide, (1, 20_000), (2, 64));
        check(&[7, 8, 9], (1, 1), (64, 64));
    }

    #[test]
    fn very_long_sides_are_reduced_first() {
        // Dark, then light: the edge lies in the middle of the result.
        let long: Vec<u8> =
            (0..3 * 1_000_000).map(|i| if i < 1_500_000 { 40 } else { 200 }).collect();
        for (size, out) in [((1_000_000, 1), (64, 4)), ((1, 1_000_000), (4, 64))] {
            let crop =
                Crop::from_raw(PixelFormat::Rgb8, size.0, size.1, size.0 as usize * 3, &long);
            let resized = resize_rgb(&crop.unwrap(), out.0, out.1).unwrap();
            for (at, pixel) in resized.as_chunks::<3>().0.iter().enumerate() {
                let place = if out.0 == 64 { at % 64 } else { at / 4 };
                match place {
                    0..30 => assert_eq!(pixel, &[40; 3], "{place}"),
                    34..64 => assert_eq!(pixel, &[200; 3], "{place}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn same_size_is_a_copy() {
        let pixels: Vec<u8> = (0..5 * 4 * 3).collect();
        let crop = Crop::from_raw(PixelFormat::Rgb8, 5, 4, 15, &pixels).unwrap();
        assert_eq!(resize_rgb(&crop, 5, 4).unwrap(), pixels);
        assert!(resize_rgb(&crop, 0, 4).is_err());
    }
}
