//! What every decoder of files shares: options, limits, the image that it gives.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::convert::Conversion;
use super::exif::{Exif, Orientation};
use crate::error::ImageError;

/// How encoded files are decoded; see [`Crop::decode_with`](crate::Crop::decode_with).
///
/// ```
/// use svtrv2::DecodeOptions;
///
/// // As the reference implementation: EXIF orientation and alpha are ignored.
/// let conversion = svtrv2::Conversion::Reference;
/// let options = DecodeOptions { exif: false, conversion, ..DecodeOptions::default() };
/// assert_eq!(options.max_pixels, 64_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Turns the image as its EXIF orientation says (JPEG's APP1 segment, PNG's `eXIf` chunk); on
    /// by default. The reference implementation ignores it.
    pub exif: bool,
    /// The most pixels of an image, 64 million by default. A larger one is refused before memory
    /// is allocated for it. Decoding takes up to 12 bytes a pixel.
    pub max_pixels: u64,
    /// What becomes of transparency and of 16-bit grey: by default an image is converted as it is
    /// seen. The reference implementation drops alpha and clips 16-bit grey.
    pub conversion: Conversion,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions { exif: true, max_pixels: 64_000_000, conversion: Conversion::Visible }
    }
}

/// An image as 8-bit RGB.
pub(crate) struct Decoded {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rgb: Vec<u8>,
}

/// The image as its metadata say that it is to be seen.
pub(super) fn upright(image: Decoded, exif: Option<&[u8]>, options: DecodeOptions) -> Decoded {
    let orientation = exif.filter(|_| options.exif).and_then(|exif| Exif(exif).orientation());
    match orientation {
        Some(orientation) => turned(&image, orientation),
        None => image,
    }
}

pub(super) fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    ImageError::Decode(error.into())
}

pub(super) fn check_size(
    width: u64,
    height: u64,
    options: DecodeOptions,
) -> Result<(), ImageError> {
    let most = options.max_pixels;
    if width.saturating_mul(height) > most {
        return Err(ImageError::TooLarge { width, height, most });
    }
    Ok(())
}

/// Runs a decoder of others', and makes an error of a panic in it.
///
/// What such decoders assume is checked before, so that programs which abort on panics are safe as well;
/// this is the second line.
pub(super) fn guarded<T>(format: &str, decode: impl FnOnce() -> T) -> Result<T, ImageError> {
    // Nothing that the decoder changes outlives a panic.
    catch_unwind(AssertUnwindSafe(decode))
        .map_err(|_| damaged(format!("the {format} decoder panicked")))
}

/// The image as it is to be seen.
fn turned(image: &Decoded, orientation: Orientation) -> Decoded {
    let (width, height) = (image.width as usize, image.height as usize);
    let Orientation { transpose, mirror_x, mirror_y } = orientation;
    let (new_width, new_height) = if transpose { (height, width) } else { (width, height) };
    let mut rgb = Vec::with_capacity(image.rgb.len());
    for y in 0..new_height {
        for x in 0..new_width {
            let (x, y) = if transpose { (y, x) } else { (x, y) };
            let x = if mirror_x { width - 1 - x } else { x };
            let y = if mirror_y { height - 1 - y } else { y };
            let at = (y * width + x) * 3;
            rgb.extend_from_slice(&image.rgb[at..at + 3]);
        }
    }
    Decoded { width: new_width as u32, height: new_height as u32, rgb }
}
