//! OpenCV's bilinear interpolation on 8-bit RGB, to the byte.
//!
//! Pixels are squares: the centre of output pixel `i` lies at `(i + 0.5) * scale - 0.5` among the input's
//! centres. There is no antialiasing: each output pixel is made of four input pixels, however much the
//! image shrinks. Weights have 11 fractional bits; between the two passes 4 bits of the sums are dropped,
//! behind the second 16 of each product and, rounded, the last 2.

use std::borrow::Cow;

use crate::crop::Crop;
use crate::error::{ImageError, Result};

/// Fractional bits of the weights.
const WEIGHT_BITS: u32 = 11;
/// The weight of one.
const ONE: f32 = (1 << WEIGHT_BITS) as f32;
/// Bits of the horizontal pass's sums that are dropped: what is left fits 16 bits with a sign.
const DROPPED_BITS: u32 = 4;
/// Bits of the vertical pass's products that are dropped before they are added.
const PRODUCT_BITS: u32 = 16;
/// Bits that are left to drop behind the sum.
const LAST_BITS: u32 = 2 * WEIGHT_BITS - DROPPED_BITS - PRODUCT_BITS;

/// The most pixels of a result: those of the largest image file that is decoded by default.
const MAX_PIXELS: u64 = 64_000_000;

/// Resizes a crop to exactly `width` x `height`, the aspect ratio not kept.
///
/// The result is bit-identical to `cv2.resize(image, (width, height))` of OpenCV 4 and 5 on 8-bit images
/// (`INTER_LINEAR`).
///
/// ```
/// use svtrv2::{Crop, PixelFormat, resize::resize_bilinear};
///
/// let crop = Crop::from_raw(PixelFormat::Grey8, 2, 1, 2, &[0, 200])?;
/// let resized = resize_bilinear(&crop, 4, 1)?;
/// let red: Vec<u8> = resized.rgb().iter().step_by(3).copied().collect();
/// assert_eq!(red, [0, 50, 150, 200]);
/// # Ok::<(), svtrv2::Error>(())
/// ```
///
/// # Errors
/// [`ImageError::Empty`] if `width` or `height` is 0, [`ImageError::TooLarge`] if the result has more
/// than 64 million pixels.
pub fn resize_bilinear(crop: &Crop, width: u32, height: u32) -> Result<Crop<'static>> {
    Crop::checked(width, height, Cow::Owned(resize_rgb_bilinear(crop, width, height)?))
}

/// [`resize_bilinear`] to a plain buffer of RGB rows.
pub(super) fn resize_rgb_bilinear(crop: &Crop, width: u32, height: u32) -> Result<Vec<u8>> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height }.into());
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let (width, height, most) = (u64::from(width), u64::from(height), MAX_PIXELS);
        return Err(ImageError::TooLarge { width, height, most }.into());
    }
    let (in_width, in_height) = (crop.width() as usize, crop.height() as usize);
    let (out_width, out_height) = (width as usize, height as usize);
    if (in_width, in_height) == (out_width, out_height) {
        return Ok(crop.rgb().to_vec());
    }
    let columns: Vec<Tap> = (0..out_width).map(|x| Tap::column(x, in_width, out_width)).collect();
    let samples = 3 * out_width;
    let mut resized = Vec::with_capacity(samples * out_height);
    // The two rows that an output row lies between; going down, one often stays.
    let (mut upper, mut lower) = (Row::new(samples), Row::new(samples));
    for y in 0..out_height {
        let tap = Tap::row(y, in_height, out_height);
        if lower.source == Some(tap.first) {
            std::mem::swap(&mut upper, &mut lower);
        }
        upper.fill(tap.first, crop.rgb(), in_width, &columns);
        lower.fill(tap.second, crop.rgb(), in_width, &columns);
        let [above, below] = tap.weights;
        resized.extend(upper.sums.iter().zip(&lower.sums).map(|(&a, &b)| {
            let part = |sum: i16, weight: i16| {
                ((i32::from(sum) * i32::from(weight)) >> PRODUCT_BITS) as i16
            };
            let sum = part(a, above) + part(b, below);
            ((sum + (1 << (LAST_BITS - 1))) >> LAST_BITS).clamp(0, 255) as u8
        }));
    }
    Ok(resized)
}

/// The two input pixels of one axis that an output pixel lies between, and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tap {
    first: usize,
    second: usize,
    weights: [i16; 2],
}

impl Tap {
    /// Of a column: beyond the centre of the outermost pixel that pixel alone counts.
    fn column(output: usize, in_size: usize, out_size: usize) -> Self {
        let (start, share) = place(output, in_size, out_size);
        let last = in_size - 1;
        if start < 0 {
            return Tap { first: 0, second: last.min(1), weights: weights(0.0) };
        }
        let first = start as usize;
        if first >= last {
            return Tap { first: last, second: last, weights: weights(0.0) };
        }
        Tap { first, second: first + 1, weights: weights(share) }
    }

    /// Of a row: beyond the outermost pixel's centre that pixel counts twice, which rounds otherwise than
    /// once.
    fn row(output: usize, in_size: usize, out_size: usize) -> Self {
        let (start, share) = place(output, in_size, out_size);
        let inside = |index: i64| index.clamp(0, in_size as i64 - 1) as usize;
        Tap { first: inside(start), second: inside(start + 1), weights: weights(share) }
    }
}

/// The input pixel before the centre of an output pixel, and how far that lies behind it, 0 to 1.
fn place(output: usize, in_size: usize, out_size: usize) -> (i64, f32) {
    // The scale is the reciprocal of a quotient, and the place is rounded to f32, as in OpenCV.
    let scale = 1.0 / (out_size as f64 / in_size as f64);
    let place = ((output as f64 + 0.5) * scale - 0.5) as f32;
    let start = place.floor();
    (start as i64, place - start)
}

/// The weights of two pixels, of which the second has the given share.
fn weights(share: f32) -> [i16; 2] {
    [1.0 - share, share].map(|weight| (weight * ONE).round_ties_even() as i16)
}

/// An input row, resized in width.
struct Row {
    /// Which row it is.
    source: Option<usize>,
    /// Sums without their last bits.
    sums: Vec<i16>,
}

impl Row {
    fn new(samples: usize) -> Self {
        Row { source: None, sums: vec![0; samples] }
    }

    /// Resizes the row `source` of an image of `width` pixels a row, unless it is there.
    fn fill(&mut self, source: usize, rgb: &[u8], width: usize, columns: &[Tap]) {
        if self.source.replace(source) == Some(source) {
            return;
        }
        let (pixels, _) = rgb[3 * width * source..3 * width * (source + 1)].as_chunks::<3>();
        let (sums, _) = self.sums.as_chunks_mut::<3>();
        for (sums, tap) in sums.iter_mut().zip(columns) {
            let [left, right] = [pixels[tap.first], pixels[tap.second]];
            let [a, b] = tap.weights.map(i32::from);
            for channel in 0..3 {
                let sum = i32::from(left[channel]) * a + i32::from(right[channel]) * b;
                sums[channel] = (sum >> DROPPED_BITS) as i16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::PixelFormat;
    use proptest::prelude::*;

    fn crop(width: u32, height: u32, seed: u64) -> Crop<'static> {
        let mut state = seed | 1;
        let pixels: Vec<u8> = (0..width * height * 3)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                match state % 4 {
                    0 => 0,
                    1 => 255,
                    _ => (state >> 32) as u8,
                }
            })
            .collect();
        Crop::checked(width, height, Cow::Owned(pixels)).unwrap()
    }

    /// The definition in f64: the mean of four pixels, weighted by their distances.
    fn exact(crop: &Crop, size: (u32, u32), x: u32, y: u32, channel: usize) -> f64 {
        let axis = |output: u32, out_size: u32, in_size: u32| {
            let place = (f64::from(output) + 0.5) * f64::from(in_size) / f64::from(out_size) - 0.5;
            let start = place.floor();
            let inside = |index: f64| index.clamp(0.0, f64::from(in_size - 1)) as usize;
            [(inside(start), 1.0 - (place - start)), (inside(start + 1.0), place - start)]
        };
        let mut sum = 0.0;
        for (row, a) in axis(y, size.1, crop.height()) {
            for (column, b) in axis(x, size.0, crop.width()) {
                let at = (row * crop.width() as usize + column) * 3 + channel;
                sum += a * b * f64::from(crop.rgb()[at]);
            }
        }
        sum
    }

    fn check(in_size: (u32, u32), out_size: (u32, u32), seed: u64) {
        let source = crop(in_size.0, in_size.1, seed);
        let resized = resize_bilinear(&source, out_size.0, out_size.1).unwrap();
        for y in 0..out_size.1 {
            for x in 0..out_size.0 {
                for channel in 0..3 {
                    let at = ((y * out_size.0 + x) * 3) as usize + channel;
                    let found = f64::from(resized.rgb()[at]);
                    let exact = exact(&source, out_size, x, y, channel);
                    // Half a level of rounding; each of two products loses up to a quarter of one, each
                    // weight is off by half a bit of 2048.
                    let row = format!("{in_size:?} -> {out_size:?} at {x}, {y}");
                    assert!((found - exact).abs() < 1.25, "{row}: {found} for {exact}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn close_to_the_definition(
            in_width in 1u32..60, in_height in 1u32..40,
            out_width in 1u32..60, out_height in 1u32..40,
            seed in any::<u64>(),
        ) {
            check((in_width, in_height), (out_width, out_height), seed);
        }
    }

    /// Computed with `cv2.resize` of OpenCV 5.0.0: `x * 29 + y * 101 + channel * 67`, modulo 256, resized
    /// from 5x4 to 7x3 and from 3x7 to 2x5; the sums of all bytes, weighted by their place.
    #[test]
    fn bytes_of_opencv() {
        for ((in_width, in_height), (width, height), expected) in
            [((5, 4), (7, 3), 265_128), ((3, 7), (2, 5), 60_455), ((1, 1), (3, 2), 12_261)]
        {
            let pixels: Vec<u8> = (0..in_height)
                .flat_map(|y| (0..in_width).map(move |x| (x, y)))
                .flat_map(|(x, y)| [0, 67, 134].map(|channel| x * 29 + y * 101 + channel))
                .map(|sample: u32| sample as u8)
                .collect();
            let stride = in_width as usize * 3;
            let crop =
                Crop::from_raw(PixelFormat::Rgb8, in_width, in_height, stride, &pixels).unwrap();
            let resized = resize_bilinear(&crop, width, height).unwrap();
            let found: u64 =
                resized.rgb().iter().zip(1..).map(|(&byte, place)| u64::from(byte) * place).sum();
            assert_eq!(found, expected, "{in_width}x{in_height} -> {width}x{height}");
        }
    }

    #[test]
    fn extreme_shapes() {
        check((1, 1), (9, 7), 3);
        check((3000, 1), (100, 2), 4);
        check((1, 3000), (2, 48), 5);
        let source = crop(7, 5, 6);
        assert_eq!(resize_bilinear(&source, 7, 5).unwrap().rgb(), source.rgb());
    }

    #[test]
    fn faults() {
        let source = crop(2, 2, 1);
        assert!(resize_bilinear(&source, 0, 4).is_err());
        let message = resize_bilinear(&source, u32::MAX, 48).unwrap_err().to_string();
        assert!(message.contains("4294967295x48 pixels"), "{message}");
    }
}
