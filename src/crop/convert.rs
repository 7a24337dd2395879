//! From any kind of pixels to 8-bit RGB, as Pillow's `convert("RGB")` does it.

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

/// RGB of grey samples with `channels` samples a pixel, the first of which counts.
pub(crate) fn grey<T: Copy>(samples: &[T], channels: usize, to_u8: impl Fn(T) -> u8) -> Vec<u8> {
    samples.chunks_exact(channels).flat_map(|pixel| [to_u8(pixel[0]); 3]).collect()
}

/// RGB of colour samples with `channels` samples a pixel, the first three of which count.
pub(crate) fn colour<T: Copy>(samples: &[T], channels: usize, to_u8: impl Fn(T) -> u8) -> Vec<u8> {
    samples
        .chunks_exact(channels)
        .flat_map(|pixel| [to_u8(pixel[0]), to_u8(pixel[1]), to_u8(pixel[2])])
        .collect()
}

/// Pillow's way from 16 to 8 bits, except for mode `I;16`.
pub(crate) fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

/// Pillow's `convert("RGB")` for every kind of image that the `image` crate decodes to.
#[cfg(feature = "image")]
pub(crate) fn to_rgb(image: &DynamicImage) -> Vec<u8> {
    let same = |sample: u8| sample;
    match image {
        DynamicImage::ImageLuma8(image) => grey(image, 1, same),
        DynamicImage::ImageLumaA8(image) => grey(image, 2, same),
        DynamicImage::ImageRgb8(image) => image.as_raw().clone(),
        DynamicImage::ImageRgba8(image) => colour(image, 4, same),
        // Mode `I;16` is clipped, not scaled; 16-bit grey with alpha is read as 8-bit `LA`.
        DynamicImage::ImageLuma16(image) => grey(image, 1, |sample| sample.min(255) as u8),
        DynamicImage::ImageLumaA16(image) => grey(image, 2, high_byte),
        DynamicImage::ImageRgb16(image) => colour(image, 3, high_byte),
        DynamicImage::ImageRgba16(image) => colour(image, 4, high_byte),
        // Floating-point images have no counterpart in Pillow's RGB conversion.
        other => other.to_rgb8().into_raw(),
    }
}

#[cfg(all(test, feature = "image"))]
mod tests {
    use super::*;
    use crate::crop::Crop;
    use image::ImageBuffer;

    #[test]
    fn conversions_follow_pillow() {
        let grey16 = ImageBuffer::from_raw(4, 1, vec![0u16, 255, 256, 65535]).unwrap();
        let rgb16 = ImageBuffer::from_raw(1, 1, vec![255u16, 256, 65535]).unwrap();
        let rgba16 = ImageBuffer::from_raw(1, 1, vec![0x1234u16, 0x80ff, 0xff00, 7]).unwrap();
        let grey_alpha16 = ImageBuffer::from_raw(1, 1, vec![0x1234u16, 0]).unwrap();
        let grey_alpha = ImageBuffer::from_raw(1, 1, vec![9u8, 0]).unwrap();
        let rgba = ImageBuffer::from_raw(1, 1, vec![1u8, 2, 3, 0]).unwrap();
        let cases: [(&str, DynamicImage, &[u8]); 6] = [
            (
                "grey 16 is clipped",
                DynamicImage::ImageLuma16(grey16),
                &[0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255],
            ),
            ("colour 16", DynamicImage::ImageRgb16(rgb16), &[0, 1, 255]),
            ("colour 16 alpha", DynamicImage::ImageRgba16(rgba16), &[0x12, 0x80, 0xff]),
            ("grey 16 alpha", DynamicImage::ImageLumaA16(grey_alpha16), &[0x12; 3]),
            ("grey alpha", DynamicImage::ImageLumaA8(grey_alpha), &[9, 9, 9]),
            ("alpha is dropped", DynamicImage::ImageRgba8(rgba), &[1, 2, 3]),
        ];
        for (name, image, expected) in cases {
            assert_eq!(Crop::from_image(&image).unwrap().rgb(), expected, "{name}");
        }
    }
}
