//! Formats beside PNG and JPEG: told from the first bytes, and decoded by the crate `image` where its
//! codecs are part of the program.

use super::decoded::{DecodeOptions, Decoded};
use crate::error::ImageError;

/// The name of the format that a file's first bytes show, of those that are known.
pub(super) fn of(bytes: &[u8]) -> Option<&'static str> {
    let begins = |start: &[u8]| bytes.starts_with(start);
    let at =
        |place: usize, mark: &[u8]| bytes.get(place..).is_some_and(|rest| rest.starts_with(mark));
    // The brands of ISO base media files.
    let brand = bytes.get(8..12).filter(|_| at(4, b"ftyp"));
    Some(match brand {
        Some(b"avif" | b"avis") => "AVIF",
        Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1") => "HEIF",
        Some(b"crx ") => "CR3",
        _ if begins(b"RIFF") && at(8, b"WEBP") => "WebP",
        _ if begins(b"GIF87a") || begins(b"GIF89a") => "GIF",
        _ if begins(b"II\x2a\0") || begins(b"MM\0\x2a") => "TIFF",
        _ if begins(b"II\x2b\0") || begins(b"MM\0\x2b") => "BigTIFF",
        _ if begins(b"BM") && bytes.len() >= 26 => "BMP",
        _ if begins(b"\0\0\x01\0") => "ICO",
        _ if begins(b"\xff\x0a") || begins(b"\0\0\0\x0cJXL \r\n\x87\n") => "JPEG XL",
        _ if begins(b"\0\0\0\x0cjP  \r\n\x87\n") || begins(b"\xff\x4f\xff\x51") => "JPEG 2000",
        _ if begins(b"qoif") => "QOI",
        _ if begins(b"8BPS") => "PSD",
        _ if begins(b"DDS ") => "DDS",
        _ if begins(b"farbfeld") => "Farbfeld",
        _ if begins(b"#?RADIANCE") => "Radiance HDR",
        _ if begins(b"\x76\x2f\x31\x01") => "OpenEXR",
        _ if begins(b"\x8aMNG\r\n\x1a\n") => "MNG",
        _ if begins(b"%PDF-") => "PDF",
        _ if begins(b"%!PS") => "PostScript",
        _ if begins(b"<svg") || begins(b"<?xml") => "SVG or XML",
        _ if begins(b"AT&TFORM") => "DjVu",
        _ if is_netpbm(bytes) => "Netpbm",
        _ => return None,
    })
}

/// `P1` to `P7`, then white space.
fn is_netpbm(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace())
}

/// Decodes a file of this format, if that is possible.
#[cfg(not(feature = "image"))]
pub(super) fn decode(
    format: &'static str,
    _: &[u8],
    _: DecodeOptions,
) -> Result<Decoded, ImageError> {
    Err(ImageError::Format { found: format })
}

/// Decodes a file of this format, if the crate `image` has its codec.
///
/// The codec is not ours, and its input is not checked before it; a panic in it becomes an error.
#[cfg(feature = "image")]
pub(super) fn decode(
    format: &'static str,
    bytes: &[u8],
    options: DecodeOptions,
) -> Result<Decoded, ImageError> {
    use super::decoded::guarded;
    use image::ImageFormat;

    let codec = match format {
        "AVIF" => ImageFormat::Avif,
        "BMP" => ImageFormat::Bmp,
        "DDS" => ImageFormat::Dds,
        "Farbfeld" => ImageFormat::Farbfeld,
        "GIF" => ImageFormat::Gif,
        "ICO" => ImageFormat::Ico,
        "Netpbm" => ImageFormat::Pnm,
        "OpenEXR" => ImageFormat::OpenExr,
        "QOI" => ImageFormat::Qoi,
        "Radiance HDR" => ImageFormat::Hdr,
        "TIFF" => ImageFormat::Tiff,
        "WebP" => ImageFormat::WebP,
        _ => return Err(ImageError::Format { found: format }),
    };
    if !codec.reading_enabled() {
        return Err(ImageError::Format { found: format });
    }
    guarded(format, || decode_by(codec, bytes, options))?
}

#[cfg(feature = "image")]
fn decode_by(
    codec: image::ImageFormat,
    bytes: &[u8],
    options: DecodeOptions,
) -> Result<Decoded, ImageError> {
    use super::convert::to_rgb;
    use super::decoded::{check_size, damaged, upright};
    use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

    /// Bytes a pixel that a codec may allocate.
    const PIXEL_BYTES: u64 = 16;

    let mut limits = Limits::default();
    limits.max_alloc = Some(options.max_pixels.saturating_mul(PIXEL_BYTES).saturating_add(1 << 20));
    let mut reader = ImageReader::with_format(std::io::Cursor::new(bytes), codec);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    check_size(width.into(), height.into(), options)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let (width, height) = (image.width(), image.height());
    let image = Decoded { width, height, rgb: to_rgb(&image, options.conversion) };
    Ok(upright(image, exif.as_deref(), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases: [(&[u8], Option<&str>); 9] = [
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("WebP")),
            (b"\0\0\0\x1cftypavif\0\0\0\0", Some("AVIF")),
            (b"\0\0\0\x18ftypheic\0\0\0\0", Some("HEIF")),
            (b"GIF89a\x01\0", Some("GIF")),
            (b"MM\0\x2a\0\0\0\x08", Some("TIFF")),
            (b"P6\n1 1\n255\nabc", Some("Netpbm")),
            (b"P6x", None),
            (b"BM", None),
            (b"", None),
        ];
        for (bytes, name) in cases {
            assert_eq!(of(bytes), name, "{bytes:?}");
        }
    }
}
