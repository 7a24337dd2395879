//! Encoded files: PNG and JPEG to 8-bit RGB.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::convert::{colour, grey, high_byte};
use super::exif::{Exif, Orientation};
use super::jpeg_markers::has_end;
use crate::error::{ImageError, Result};
use crate::files;

/// The longest image file in bytes.
const MAX_FILE: u64 = 1 << 30;

/// How encoded files are decoded; see [`Crop::decode_with`](crate::Crop::decode_with).
///
/// ```
/// use svtrv2::DecodeOptions;
///
/// // As the reference implementation: an EXIF orientation is ignored.
/// let options = DecodeOptions { exif: false, ..DecodeOptions::default() };
/// assert_eq!(options.max_pixels, 64_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Turns the image as its EXIF orientation says (JPEG's APP1 segment, PNG's `eXIf` chunk); on
    /// by default. The reference implementation ignores it.
    pub exif: bool,
    /// The most pixels of an image, 64 million by default. A larger one is refused before memory
    /// is allocated for it. Decoding takes up to 9 bytes a pixel.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions { exif: true, max_pixels: 64_000_000 }
    }
}

/// An image as 8-bit RGB.
pub(crate) struct Decoded {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rgb: Vec<u8>,
}

/// The bytes of a regular file. Devices and pipes may be endless, so they are refused.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| ImageError::Io { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ImageError::NotAFile { path: path.to_owned() }.into());
    }
    Ok(files::read(path, MAX_FILE).map_err(failed)?)
}

/// Decodes a file; its format is told from its first bytes.
pub(crate) fn decode(bytes: &[u8], options: DecodeOptions) -> Result<Decoded> {
    let (image, exif) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        decode_png(bytes, options)?
    } else if bytes.starts_with(b"\xff\xd8") {
        decode_jpeg(bytes, options)?
    } else {
        return Err(damaged("neither a PNG nor a JPEG file").into());
    };
    let orientation = exif.filter(|_| options.exif).and_then(|exif| Exif(&exif).orientation());
    Ok(match orientation {
        Some(orientation) => turned(&image, orientation),
        None => image,
    })
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    ImageError::Decode(error.into())
}

fn check_size(width: usize, height: usize, options: DecodeOptions) -> Result<(), ImageError> {
    let (width, height) = (width as u64, height as u64);
    let most = options.max_pixels;
    if width.saturating_mul(height) > most {
        return Err(ImageError::TooLarge { width, height, most });
    }
    Ok(())
}

fn decode_png(
    bytes: &[u8],
    options: DecodeOptions,
) -> Result<(Decoded, Option<Vec<u8>>), ImageError> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes become colours, fewer than 8 bits become 8; 16 bits stay.
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(damaged)?;
    let (width, height) = header.size();
    check_size(width as usize, height as usize, options)?;
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().ok_or_else(|| damaged("the size overflows"))?;
    let mut samples = vec![0; size];
    reader.next_frame(&mut samples).map_err(damaged)?;
    if options.exif && reader.info().exif_metadata.is_none() {
        // The chunk may follow the pixels. They are complete: faults behind them do no harm.
        let _ = reader.finish();
    }
    let exif = reader.info().exif_metadata.as_ref().map(|exif| exif.to_vec());
    let (color, depth) = reader.output_color_type();
    let channels = color.samples();
    let rgb = match (color, depth) {
        (ColorType::Rgb, BitDepth::Eight) => samples,
        (ColorType::Rgba, BitDepth::Eight) => colour(&samples, channels, |sample| sample),
        (ColorType::Grayscale | ColorType::GrayscaleAlpha, BitDepth::Eight) => {
            grey(&samples, channels, |sample| sample)
        }
        (_, BitDepth::Sixteen) => {
            let (pairs, _) = samples.as_chunks::<2>();
            let samples: Vec<u16> = pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect();
            match color {
                ColorType::Grayscale => grey(&samples, channels, |sample| sample.min(255) as u8),
                ColorType::GrayscaleAlpha => grey(&samples, channels, high_byte),
                _ => colour(&samples, channels, high_byte),
            }
        }
        _ => return Err(damaged(format!("{color:?} pixels of {depth:?} bits"))),
    };
    Ok((Decoded { width, height, rgb }, exif))
}

fn decode_jpeg(
    bytes: &[u8],
    options: DecodeOptions,
) -> Result<(Decoded, Option<Vec<u8>>), ImageError> {
    let settings = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), settings);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged("no frame"))?;
    check_size(width, height, options)?;
    // The decoder fills what is missing with grey; libjpeg, as Pillow calls it, refuses such files.
    if !has_end(bytes) {
        return Err(damaged("the JPEG file is truncated: it has no end marker"));
    }
    let input = decoder.input_colorspace().ok_or_else(|| damaged("no scan"))?;
    // Inks are taken for Adobe's, which are stored as their complements; Pillow does so as well.
    let is_grey = input == ColorSpace::Luma;
    let output = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(settings.jpeg_set_out_colorspace(output));
    let samples = decoder.decode().map_err(damaged)?;
    let exif = decoder.exif().cloned();
    let rgb = if is_grey { grey(&samples, 1, |sample| sample) } else { samples };
    if rgb.len() != width * height * 3 {
        return Err(damaged("the decoder gave pixels of another kind"));
    }
    Ok((Decoded { width: width as u32, height: height as u32, rgb }, exif))
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
