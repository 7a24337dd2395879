//! The input: a crop of an image, as 8-bit RGB.
//!
//! A page's regions become crops in `page.rs`: `region.rs` checks them, `warp.rs` maps them,
//! `rectify.rs` resamples them. Encoded files are read in `decode.rs`.
//!
//! Every other kind of image is converted to what is seen of it: grey is replicated, 16-bit colour keeps
//! its high byte, 16-bit grey its highest used bits, and transparent images lie on white or black
//! ([`Conversion::Visible`]). The reference implementation drops alpha and clips 16-bit grey
//! ([`Conversion::Reference`]); images of other kinds have the same pixels either way.

mod convert;
mod decode;
mod decoded;
mod exif;
mod format;
mod jpeg;
mod page;
mod png_file;
mod rectify;
mod region;
mod warp;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

#[cfg(feature = "image")]
use image::{DynamicImage, RgbImage};

use crate::error::{ImageError, Result};

#[cfg(feature = "image")]
use convert::to_rgb;
pub use convert::{Conversion, PixelFormat};
pub use decoded::DecodeOptions;
pub use page::{Page, PageCrop, Placement};
pub use region::Region;

/// An image crop that holds a word or a line: 8-bit RGB, row after row, borrowed where possible.
///
/// A crop has at least one pixel. It is made from an [`image::DynamicImage`] or
/// [`image::RgbImage`] (borrowed without a copy if it is 8-bit RGB already), from an encoded file
/// ([`Crop::open`], [`Crop::decode`]) or from raw pixels ([`Crop::from_raw`]).
///
/// ```
/// use svtrv2::{Crop, PixelFormat};
///
/// // Two rows of two grey pixels, cut out of a wider image: rows lie 5 bytes apart.
/// let pixels = [10, 20, 0, 0, 0, 30, 40];
/// let crop = Crop::from_raw(PixelFormat::Grey8, 2, 2, 5, &pixels)?;
/// assert_eq!(crop.rgb(), [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crop<'a> {
    width: u32,
    height: u32,
    rgb: Cow<'a, [u8]>,
}

impl<'a> Crop<'a> {
    pub(crate) fn checked(width: u32, height: u32, rgb: Cow<'a, [u8]>) -> Result<Self> {
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { width, height }.into());
        }
        Ok(Crop { width, height, rgb })
    }

    /// Converts an image to what is seen of it ([`Conversion::Visible`]); 8-bit RGB is borrowed.
    ///
    /// # Errors
    /// [`ImageError::Empty`].
    #[cfg(feature = "image")]
    pub fn from_image(image: &'a DynamicImage) -> Result<Self> {
        Self::from_image_with(image, Conversion::default())
    }

    /// Converts an image; 8-bit RGB is borrowed.
    ///
    /// # Errors
    /// [`ImageError::Empty`].
    #[cfg(feature = "image")]
    pub fn from_image_with(image: &'a DynamicImage, conversion: Conversion) -> Result<Self> {
        let (width, height) = (image.width(), image.height());
        let rgb = match image {
            DynamicImage::ImageRgb8(image) => Cow::Borrowed(image.as_raw().as_slice()),
            other => Cow::Owned(to_rgb(other, conversion)),
        };
        Self::checked(width, height, rgb)
    }

    /// Borrows an 8-bit RGB image.
    ///
    /// # Errors
    /// [`ImageError::Empty`].
    #[cfg(feature = "image")]
    pub fn from_rgb(image: &'a RgbImage) -> Result<Self> {
        Self::checked(image.width(), image.height(), Cow::Borrowed(image.as_raw().as_slice()))
    }

    /// Takes raw pixels with `stride` bytes from the start of one row to the start of the next.
    ///
    /// The last row needs no bytes behind its last pixel. 8-bit RGB without gaps is borrowed.
    ///
    /// # Errors
    /// [`ImageError::Empty`]; [`ImageError::RawSize`] if a row does not fit the stride or `pixels`
    /// is too short.
    pub fn from_raw(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        pixels: &'a [u8],
    ) -> Result<Self> {
        let needed = check_raw(format, width, height, stride, pixels)?;
        let bytes = format.bytes_per_pixel();
        let row_bytes = width as usize * bytes;
        if format == PixelFormat::Rgb8 && stride == row_bytes {
            return Ok(Crop { width, height, rgb: Cow::Borrowed(&pixels[..needed]) });
        }
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for row in pixels.chunks(stride).take(height as usize) {
            let row = row[..row_bytes].chunks_exact(bytes);
            rgb.extend(row.flat_map(|pixel| format.rgb(pixel)));
        }
        Ok(Crop { width, height, rgb: Cow::Owned(rgb) })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: red, green, blue, row after row without gaps.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The pixels, as of [`Crop::rgb`], without a copy if the crop owns them.
    #[cfg(feature = "train")]
    pub(crate) fn into_rgb(self) -> Vec<u8> {
        self.rgb.into_owned()
    }

    /// The same crop, borrowed.
    fn borrowed(&self) -> Crop<'_> {
        Crop { width: self.width, height: self.height, rgb: Cow::Borrowed(&self.rgb) }
    }

    /// This crop turned by `rotation`, borrowed if that leaves it as it is.
    pub fn rotated(&self, rotation: Rotation) -> Crop<'_> {
        let (w, h) = (self.width as usize, self.height as usize);
        let pixel = |x: usize, y: usize| {
            let at = (y * w + x) * 3;
            [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
        };
        let mut rgb = Vec::with_capacity(self.rgb.len());
        match rotation {
            Rotation::None => {
                return self.borrowed();
            }
            Rotation::CounterClockwise => {
                for y in 0..w {
                    rgb.extend((0..h).flat_map(|x| pixel(w - 1 - y, x)));
                }
            }
            Rotation::Clockwise => {
                for y in 0..w {
                    rgb.extend((0..h).flat_map(|x| pixel(y, h - 1 - x)));
                }
            }
            Rotation::HalfTurn => {
                let (pixels, _) = self.rgb.as_chunks::<3>();
                rgb.extend(pixels.iter().rev().flatten());
                return Crop { width: self.width, height: self.height, rgb: Cow::Owned(rgb) };
            }
        }
        Crop { width: self.height, height: self.width, rgb: Cow::Owned(rgb) }
    }
}

impl Crop<'static> {
    /// Decodes an image file's bytes, with default options: the image is turned as its EXIF
    /// orientation says, and transparent ones lie on white or black, unlike in the reference
    /// implementation.
    ///
    /// # Errors
    /// As [`Crop::decode_with`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_with(bytes, DecodeOptions::default())
    }

    /// Decodes an image file's bytes: PNG and JPEG, and with the feature `image` what the codecs that
    /// the program has switched on in the crate `image` read.
    ///
    /// A missing end (PNG's `IEND`, JPEG's end marker) and missing Huffman tables do no harm if all
    /// pixels are there.
    ///
    /// # Errors
    /// [`ImageError::Decode`] if the bytes are damaged, truncated or no image;
    /// [`ImageError::Format`] for an image of a format that is not read; [`ImageError::TooLarge`];
    /// [`ImageError::Empty`].
    pub fn decode_with(bytes: &[u8], options: DecodeOptions) -> Result<Self> {
        let decoded::Decoded { width, height, rgb } = decode::decode(bytes, options)?;
        Self::checked(width, height, Cow::Owned(rgb))
    }

    /// Reads and decodes an image file, as [`Crop::decode`]. The format is told from the bytes,
    /// not from the name.
    ///
    /// # Errors
    /// [`ImageError::Io`]; [`ImageError::NotAFile`]; and as [`Crop::decode_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, DecodeOptions::default())
    }

    /// Reads and decodes an image file.
    ///
    /// # Errors
    /// As [`Crop::open`].
    pub fn open_with(path: impl AsRef<Path>, options: DecodeOptions) -> Result<Self> {
        Self::decode_with(&decode::read_file(path.as_ref())?, options)
    }
}

#[cfg(feature = "image")]
impl<'a> TryFrom<&'a DynamicImage> for Crop<'a> {
    type Error = crate::Error;

    fn try_from(image: &'a DynamicImage) -> Result<Self> {
        Crop::from_image(image)
    }
}

#[cfg(feature = "image")]
impl<'a> TryFrom<&'a RgbImage> for Crop<'a> {
    type Error = crate::Error;

    fn try_from(image: &'a RgbImage) -> Result<Self> {
        Crop::from_rgb(image)
    }
}

impl<'a> TryFrom<&'a Crop<'_>> for Crop<'a> {
    type Error = crate::Error;

    fn try_from(crop: &'a Crop<'_>) -> Result<Self> {
        Ok(crop.borrowed())
    }
}

/// The image file of a path; see [`Crop::open`].
impl TryFrom<PathBuf> for Crop<'_> {
    type Error = crate::Error;

    fn try_from(path: PathBuf) -> Result<Self> {
        Crop::open(path)
    }
}

/// The image file of a path; see [`Crop::open`].
impl TryFrom<&Path> for Crop<'_> {
    type Error = crate::Error;

    fn try_from(path: &Path) -> Result<Self> {
        Crop::open(path)
    }
}

/// The bytes that raw pixels need, if they are there.
fn check_raw(
    format: PixelFormat,
    width: u32,
    height: u32,
    stride: usize,
    pixels: &[u8],
) -> Result<usize> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height }.into());
    }
    let row_bytes = (width as usize).saturating_mul(format.bytes_per_pixel());
    let needed = (height as usize - 1).saturating_mul(stride).saturating_add(row_bytes);
    if stride < row_bytes || pixels.len() < needed {
        let found = pixels.len();
        return Err(ImageError::RawSize { width, height, row_bytes, stride, needed, found }.into());
    }
    Ok(needed)
}

/// A turn by quarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Rotation {
    /// As it is.
    #[default]
    None,
    /// By 90 degrees against the clock: what was the right edge is on top.
    CounterClockwise,
    /// By 90 degrees with the clock: what was the left edge is on top.
    Clockwise,
    /// By 180 degrees: what was the lower edge is on top.
    HalfTurn,
}

impl Rotation {
    /// All of them.
    pub const ALL: [Rotation; 4] =
        [Rotation::None, Rotation::CounterClockwise, Rotation::Clockwise, Rotation::HalfTurn];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn raw_pixels() {
        let bgra = [1, 2, 3, 4, 5, 6, 7, 8, 99, 9, 10, 11, 12, 13, 14, 15, 16];
        let crop = Crop::from_raw(PixelFormat::Bgra8, 2, 2, 9, &bgra).unwrap();
        assert_eq!(crop.rgb(), [3, 2, 1, 7, 6, 5, 11, 10, 9, 15, 14, 13]);

        let cases = [
            ("too short", 2, 2, 6, 11),
            ("stride below the row", 2, 1, 5, 100),
            ("overflowing", u32::MAX, u32::MAX, usize::MAX, 100),
        ];
        for (name, width, height, stride, len) in cases {
            let pixels = vec![0; len];
            let result = Crop::from_raw(PixelFormat::Rgb8, width, height, stride, &pixels);
            assert!(
                matches!(result, Err(Error::Image(ImageError::RawSize { .. }))),
                "{name}: {result:?}"
            );
        }
        assert!(matches!(
            Crop::from_raw(PixelFormat::Rgb8, 0, 5, 0, &[]),
            Err(Error::Image(ImageError::Empty { width: 0, height: 5 }))
        ));
    }

    #[test]
    fn rotations() {
        // 1 2 3
        // 4 5 6
        let pixels = [1, 2, 3, 4, 5, 6];
        let crop = Crop::from_raw(PixelFormat::Grey8, 3, 2, 3, &pixels).unwrap();
        let reds = |crop: &Crop| crop.rgb().iter().step_by(3).copied().collect::<Vec<_>>();
        let turned = crop.rotated(Rotation::CounterClockwise);
        assert_eq!((turned.width(), turned.height()), (2, 3));
        assert_eq!(reds(&turned), [3, 6, 2, 5, 1, 4]);
        assert_eq!(turned.rotated(Rotation::Clockwise), crop);
        assert_eq!(reds(&crop.rotated(Rotation::Clockwise)), [4, 1, 5, 2, 6, 3]);
        let same = crop.rotated(Rotation::None);
        assert_eq!(same, crop);
        assert_eq!(same.rgb().as_ptr(), crop.rgb().as_ptr(), "not a copy");
    }
}
