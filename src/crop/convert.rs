//! From any kind of pixels to 8-bit RGB.

#[cfg(feature = "image")]
use image::DynamicImage;

/// The layout of raw pixels; see [`Crop::from_raw`](crate::Crop::from_raw).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PixelFormat {
    /// One byte a pixel.
    Grey8,
    /// Three bytes a pixel: red, green, blue.
    Rgb8,
    /// Three bytes a pixel: blue, green, red.
    Bgr8,
    /// Four bytes a pixel: red, green, blue, alpha; alpha is dropped.
    Rgba8,
    /// Four bytes a pixel: blue, green, red, alpha; alpha is dropped.
    Bgra8,
}

impl PixelFormat {
    /// Bytes a pixel.
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            PixelFormat::Grey8 => 1,
            PixelFormat::Rgb8 | PixelFormat::Bgr8 => 3,
            PixelFormat::Rgba8 | PixelFormat::Bgra8 => 4,
        }
    }

    /// Where red, green and blue lie in a pixel.
    pub(crate) fn offsets(self) -> [usize; 3] {
        match self {
            PixelFormat::Grey8 => [0; 3],
            PixelFormat::Rgb8 | PixelFormat::Rgba8 => [0, 1, 2],
            PixelFormat::Bgr8 | PixelFormat::Bgra8 => [2, 1, 0],
        }
    }

    pub(crate) fn rgb(self, pixel: &[u8]) -> [u8; 3] {
        self.offsets().map(|offset| pixel[offset])
    }
}

/// What becomes of transparency and of 16-bit grey, which 8-bit RGB cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Conversion {
    /// As it is seen. Transparent images lie on white, or on black where their visible pixels are
    /// light (mean luma, weighted by alpha, above one half). 16-bit grey keeps the eight highest bits
    /// that any of the pixels uses.
    #[default]
    Visible,
    /// As the reference implementation, which is Pillow's `convert("RGB")` (up to version 12): alpha is
    /// dropped, 16-bit grey is clipped at 255.
    Reference,
}

/// RGB of grey samples with `channels` samples a pixel, the first of which counts.
pub(crate) fn grey<T: Copy>(samples: &[T], channels: usize, to_u8: impl Fn(T) -> u8) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(samples.len() / channels * 3);
    rgb.extend(samples.chunks_exact(channels).flat_map(|pixel| [to_u8(pixel[0]); 3]));
    rgb
}

/// RGB of colour samples with `channels` samples a pixel, the first three of which count.
pub(crate) fn colour<T: Copy>(samples: &[T], channels: usize, to_u8: impl Fn(T) -> u8) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(samples.len() / channels * 3);
    let pixels = samples.chunks_exact(channels);
    rgb.extend(pixels.flat_map(|pixel| [to_u8(pixel[0]), to_u8(pixel[1]), to_u8(pixel[2])]));
    rgb
}

/// RGB of 8-bit grey with alpha.
pub(crate) fn grey_alpha(samples: &[u8], conversion: Conversion) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<2>();
    match conversion {
        Conversion::Reference => grey(samples, 2, |sample| sample),
        Conversion::Visible => composite(pixels, |&[grey, alpha]| ([grey; 3], alpha)),
    }
}

/// RGB of 8-bit RGBA.
pub(crate) fn colour_alpha(samples: &[u8], conversion: Conversion) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<4>();
    match conversion {
        Conversion::Reference => colour(samples, 4, |sample| sample),
        Conversion::Visible => composite(pixels, |&[r, g, b, alpha]| ([r, g, b], alpha)),
    }
}

/// RGB of 16-bit grey, every `channels`-th sample.
pub(crate) fn grey_16<T>(
    samples: &[T],
    channels: usize,
    sample: impl Fn(&T) -> u16,
    conversion: Conversion,
) -> Vec<u8> {
    let to_u8 = to_8_bits(samples.iter().step_by(channels).map(&sample), conversion);
    let mut rgb = Vec::with_capacity(samples.len() / channels * 3);
    rgb.extend(samples.iter().step_by(channels).flat_map(|value| [to_u8(sample(value)); 3]));
    rgb
}

/// RGB of 16-bit grey with alpha of 16 bits, on a background where the conversion wants that.
pub(crate) fn grey_alpha_16<T>(
    samples: &[T],
    sample: impl Fn(&T) -> u16,
    conversion: Conversion,
) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<2>();
    let to_u8 = to_8_bits(pixels.iter().map(|[grey, _]| sample(grey)), conversion);
    composite(pixels, |[grey, alpha]| ([to_u8(sample(grey)); 3], high_byte(sample(alpha))))
}

/// From 16 to 8 bits of grey, of which these are the samples.
fn to_8_bits(samples: impl Iterator<Item = u16>, conversion: Conversion) -> impl Fn(u16) -> u8 {
    let shift = match conversion {
        Conversion::Reference => 0,
        Conversion::Visible => {
            let used = samples.fold(0, |bits, sample| bits | sample);
            (u16::BITS - used.leading_zeros()).saturating_sub(u8::BITS)
        }
    };
    move |sample| (sample >> shift).min(255) as u8
}

/// Pillow's way from 16 to 8 bits, except for mode `I;16`.
pub(crate) fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

/// Lays pixels with alpha on white, or on black if those that are seen are light.
fn composite<T>(pixels: &[T], split: impl Fn(&T) -> ([u8; 3], u8)) -> Vec<u8> {
    let (mut luma, mut visible, mut is_opaque) = (0, 0, true);
    for pixel in pixels {
        let ([r, g, b], alpha) = split(pixel);
        // Rec. 601, in thousandths.
        let own = 299 * u64::from(r) + 587 * u64::from(g) + 114 * u64::from(b);
        luma += own * u64::from(alpha);
        visible += u64::from(alpha);
        is_opaque &= alpha == 255;
    }
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    if is_opaque {
        rgb.extend(pixels.iter().flat_map(|pixel| split(pixel).0));
        return rgb;
    }
    let background: u32 = if luma > visible * 1000 * 255 / 2 { 0 } else { 255 };
    rgb.extend(pixels.iter().flat_map(|pixel| {
        let (colour, alpha) = split(pixel);
        let alpha = u32::from(alpha);
        colour.map(|own| ((u32::from(own) * alpha + background * (255 - alpha) + 127) / 255) as u8)
    }));
    rgb
}

/// RGB of every kind of image that the `image` crate decodes to.
#[cfg(feature = "image")]
pub(crate) fn to_rgb(image: &DynamicImage, conversion: Conversion) -> Vec<u8> {
    let same = |sample: u8| sample;
    match image {
        DynamicImage::ImageLuma8(image) => grey(image, 1, same),
        DynamicImage::ImageLumaA8(image) => grey_alpha(image, conversion),
        DynamicImage::ImageRgb8(image) => image.as_raw().clone(),
        DynamicImage::ImageRgba8(image) => colour_alpha(image, conversion),
        DynamicImage::ImageLuma16(image) => grey_16(image, 1, |&sample| sample, conversion),
        DynamicImage::ImageRgb16(image) => colour(image, 3, high_byte),
        // 16-bit grey with alpha is read as 8-bit `LA`.
        DynamicImage::ImageLumaA16(image) if conversion == Conversion::Reference => {
            grey(image, 2, high_byte)
        }
        DynamicImage::ImageLumaA16(image) => {
            let (pixels, _) = image.as_chunks::<2>();
            composite(pixels, |&[grey, alpha]| ([high_byte(grey); 3], high_byte(alpha)))
        }
        DynamicImage::ImageRgba16(image) if conversion == Conversion::Reference => {
            colour(image, 4, high_byte)
        }
        DynamicImage::ImageRgba16(image) => {
            let (pixels, _) = image.as_chunks::<4>();
            composite(pixels, |&[r, g, b, alpha]| ([r, g, b].map(high_byte), high_byte(alpha)))
        }
        // Floating-point images have no counterpart in Pillow's RGB conversion.
        DynamicImage::ImageRgba32F(_) => colour_alpha(&image.to_rgba8(), conversion),
        other => other.to_rgb8().into_raw(),
    }
}

#[cfg(all(test, feature = "image"))]
mod tests {
    use super::*;
    use crate::crop::Crop;
    use image::ImageBuffer;

    #[test]
    fn conversions() {
        let grey16 = |samples: Vec<u16>| {
            DynamicImage::ImageLuma16(
                ImageBuffer::from_raw(samples.len() as u32, 1, samples).unwrap(),
            )
        };
        let rgb16 = ImageBuffer::from_raw(1, 1, vec![255u16, 256, 65535]).unwrap();
        let rgba16 = ImageBuffer::from_raw(1, 1, vec![0x1234u16, 0x80ff, 0xff00, 7]).unwrap();
        let grey_alpha16 = ImageBuffer::from_raw(1, 1, vec![0x1234u16, 0]).unwrap();
        let grey_alpha = ImageBuffer::from_raw(1, 1, vec![9u8, 0]).unwrap();
        let rgba = |samples: Vec<u8>| {
            let width = samples.len() as u32 / 4;
            DynamicImage::ImageRgba8(ImageBuffer::from_raw(width, 1, samples).unwrap())
        };
        let cases: [(&str, DynamicImage, &[u8], &[u8]); 12] = [
            (
                "grey of 16 bits",
                grey16(vec![0, 255, 256, 65535]),
                &[0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255],
                &[0, 0, 0, 0, 0, 0, 1, 1, 1, 255, 255, 255],
            ),
            (
                "grey of 12 bits",
                grey16(vec![4095, 128]),
                &[255, 255, 255, 128, 128, 128],
                &[255, 255, 255, 8, 8, 8],
            ),
            (
                "grey of 8 bits",
                grey16(vec![200, 3]),
                &[200, 200, 200, 3, 3, 3],
                &[200, 200, 200, 3, 3, 3],
            ),
            ("colour 16", DynamicImage::ImageRgb16(rgb16), &[0, 1, 255], &[0, 1, 255]),
            ("colour 16 alpha", DynamicImage::ImageRgba16(rgba16), &[0x12, 0x80, 0xff], &[255; 3]),
            ("grey 16 alpha", DynamicImage::ImageLumaA16(grey_alpha16), &[0x12; 3], &[255; 3]),
            ("grey alpha", DynamicImage::ImageLumaA8(grey_alpha), &[9, 9, 9], &[255; 3]),
            ("nothing is seen", rgba(vec![1, 2, 3, 0]), &[1, 2, 3], &[255; 3]),
            ("opaque", rgba(vec![1, 2, 3, 255]), &[1, 2, 3], &[1, 2, 3]),
            (
                "black text",
                rgba(vec![0, 0, 0, 255, 0, 0, 0, 0]),
                &[0; 6],
                &[0, 0, 0, 255, 255, 255],
            ),
            (
                "white text",
                rgba(vec![255, 255, 255, 255, 255, 255, 255, 0]),
                &[255; 6],
                &[255, 255, 255, 0, 0, 0],
            ),
            ("half seen", rgba(vec![100, 0, 200, 128]), &[100, 0, 200], &[177, 127, 227]),
        ];
        for (name, image, reference, visible) in cases {
            for (conversion, expected) in
                [(Conversion::Reference, reference), (Conversion::Visible, visible)]
            {
                let crop = Crop::from_image_with(&image, conversion).unwrap();
                assert_eq!(crop.rgb(), expected, "{name}, {conversion:?}");
            }
            assert_eq!(Crop::from_image(&image).unwrap().rgb(), visible, "{name}");
        }
    }
}
