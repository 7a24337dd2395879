//! Encoded files: the format is told, and its decoder chosen.

use std::fs;
use std::path::Path;

use super::decoded::{DecodeOptions, Decoded, damaged, upright};
use super::{format, jpeg, png_file};
use crate::error::{ImageError, Result};
use crate::files;

/// The longest image file in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The bytes of a regular file. Devices and pipes may be endless, so they are refused.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| ImageError::Io { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ImageError::NotAFile { path: path.to_owned() }.into());
    }
    Ok(files::read(path, MAX_FILE).map_err(failed)?)
}

/// Stray bytes that may precede a JPEG file.
const MAX_STRAY: usize = 32;

/// Decodes a file; its format is told from its first bytes.
pub(crate) fn decode(bytes: &[u8], options: DecodeOptions) -> Result<Decoded> {
    let (image, exif) = if bytes.starts_with(png_file::SIGNATURE) {
        png_file::decode_png(bytes, options)?
    } else if bytes.starts_with(jpeg::SIGNATURE) {
        jpeg::decode_jpeg(bytes, options)?
    } else if let Some(format) = format::of(bytes) {
        return Ok(format::decode(format, bytes, options)?);
    } else {
        let mut starts = bytes.windows(jpeg::SIGNATURE.len()).take(MAX_STRAY);
        let Some(start) = starts.position(|start| start == jpeg::SIGNATURE) else {
            return Err(damaged("the bytes begin as no known image format does").into());
        };
        jpeg::decode_jpeg(&bytes[start..], options)?
    };
    Ok(upright(image, exif, options))
}
