//! PNG files: checked chunk by chunk, then decoded.
//!
//! The decoder sees a file of four kinds of chunks, which is written anew: header, palette,
//! transparency, and all pixels in one run. What it would assume about them is checked here first, and
//! nothing else reaches it (PNG specification, third edition, sections 5, 11 and 13).

use std::io::Cursor;

use png::{BitDepth, ColorType, Limits, Transformations};

use super::convert::{self, Conversion};
use super::decoded::{DecodeOptions, Decoded, check_size, damaged, guarded};
use crate::error::ImageError;

/// What a PNG file begins with.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The longest chunk.
const MAX_CHUNK: usize = (1 << 31) - 1;
/// Deflate takes at least two bits for a run of 258 bytes.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// A chunk of a file.
struct Chunk<'a> {
    kind: [u8; 4],
    /// What there is of its data.
    data: &'a [u8],
    /// Whether data and checksum are there, and agree.
    is_sound: bool,
}

/// The chunks behind the signature, until the bytes end.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        let &[a, b, c, d, kind @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let data = &rest[..length.min(rest.len())];
        let after = rest.get(length..).unwrap_or_default();
        let is_sound = after.first_chunk::<4>().is_some_and(|sum| {
            let mut found = crc32fast::Hasher::new();
            found.update(&kind);
            found.update(data);
            found.finalize() == u32::from_be_bytes(*sum)
        });
        self.0 = after.get(4..).unwrap_or_default();
        Some(Chunk { kind, data, is_sound })
    }
}

/// What is known of a file before its pixels are decoded.
struct Checked<'a> {
    header: &'a [u8; 13],
    palette: Option<&'a [u8]>,
    transparency: Option<&'a [u8]>,
    pixels: Vec<&'a [u8]>,
    /// Whether all pixels have right checksums.
    is_sound: bool,
    exif: Option<&'a [u8]>,
}

/// The header's numbers.
#[derive(Clone, Copy)]
struct Header {
    width: u32,
    height: u32,
    depth: u8,
    color: u8,
    interlaced: bool,
}

const GREY: u8 = 0;
const RGB: u8 = 2;
const INDEXED: u8 = 3;
const GREY_ALPHA: u8 = 4;
const RGBA: u8 = 6;

impl Header {
    fn read(bytes: &[u8; 13]) -> Result<Self, ImageError> {
        let &[a, b, c, d, e, f, g, h, depth, color, compression, filter, interlace] = bytes;
        let (width, height) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { width, height });
        }
        let depths: &[u8] = match color {
            GREY => &[1, 2, 4, 8, 16],
            INDEXED => &[1, 2, 4, 8],
            RGB | GREY_ALPHA | RGBA => &[8, 16],
            _ => &[],
        };
        if !depths.contains(&depth) {
            return Err(damaged(format!("PNG pixels of colour type {color} with {depth} bits")));
        }
        if (compression, filter) != (0, 0) || interlace > 1 {
            let methods = format!("{compression}, {filter}, {interlace}");
            return Err(damaged(format!("PNG methods {methods}, not 0, 0 and 0 or 1")));
        }
        Ok(Header { width, height, depth, color, interlaced: interlace == 1 })
    }

    fn channels(self) -> u64 {
        match self.color {
            GREY | INDEXED => 1,
            GREY_ALPHA => 2,
            RGB => 3,
            _ => 4,
        }
    }

    /// Bytes of all rows with their filters, before compression.
    fn raw_bytes(self) -> u64 {
        let bits = u64::from(self.depth) * self.channels();
        let of = |width: u64, height: u64| match width {
            0 => 0,
            _ => height.saturating_mul(1 + width.saturating_mul(bits).div_ceil(8)),
        };
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        if !self.interlaced {
            return of(width, height);
        }
        // First column and row of a pass, and the steps from one to the next.
        let passes: [(u64, u64, u64, u64); 7] = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ];
        let count =
            |length: u64, first: u64, step: u64| length.saturating_sub(first).div_ceil(step);
        let pass = |&(x, y, dx, dy): &_| of(count(width, x, dx), count(height, y, dy));
        passes.iter().map(pass).sum()
    }
}

impl<'a> Checked<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut chunks = Chunks(bytes.get(SIGNATURE.len()..).unwrap_or_default());
        let header = chunks.next().filter(|chunk| chunk.kind == *b"IHDR" && chunk.is_sound);
        let header = header.and_then(|chunk| <&[u8; 13]>::try_from(chunk.data).ok());
        let header = header.ok_or_else(|| damaged("the PNG file has no sound header"))?;
        let (mut palette, mut transparency, mut exif) = (None, None, None);
        let (mut pixels, mut is_sound, mut are_over) = (Vec::new(), true, false);
        for chunk in chunks {
            are_over |= !pixels.is_empty() && chunk.kind != *b"IDAT";
            match &chunk.kind {
                b"IDAT" if !are_over => {
                    is_sound &= chunk.is_sound;
                    pixels.push(chunk.data);
                }
                // What follows the pixels does not change them.
                b"PLTE" | b"tRNS" if are_over => {}
                b"PLTE" | b"tRNS" if !chunk.is_sound => {
                    return Err(damaged("the PNG file's colours are damaged"));
                }
                b"PLTE" if palette.is_some() => {
                    return Err(damaged("the PNG file has two palettes"));
                }
                b"PLTE" => palette = Some(chunk.data),
                b"tRNS" => transparency = transparency.or(Some(chunk.data)),
                b"eXIf" if chunk.is_sound => exif = exif.or(Some(chunk.data)),
                b"IEND" => break,
                _ => {}
            }
        }
        Ok(Checked { header, palette, transparency, pixels, is_sound, exif })
    }

    /// Leaves palette and transparency where the decoder may rely on them.
    fn check_colours(&mut self, header: Header, conversion: Conversion) -> Result<(), ImageError> {
        if header.color == INDEXED {
            let palette = self.palette.unwrap_or_default();
            if palette.is_empty() || !palette.len().is_multiple_of(3) || palette.len() > 256 * 3 {
                let found = palette.len();
                return Err(damaged(format!("a PNG palette of {found} bytes")));
            }
            // More colours than numbers are never used.
            let most = 3 << header.depth.min(8);
            self.palette = Some(&palette[..palette.len().min(most)]);
        } else {
            self.palette = None;
        }
        let colours = self.palette.map_or(0, |palette| palette.len() / 3);
        self.transparency = self.transparency.filter(|found| match header.color {
            _ if conversion == Conversion::Reference => false,
            GREY => found.len() == 2,
            RGB => found.len() == 6,
            INDEXED => (1..=colours).contains(&found.len()),
            _ => false,
        });
        Ok(())
    }

    /// The file that the decoder sees. Checksums are left at 0: they were checked.
    fn rewritten(&self) -> Result<Vec<u8>, ImageError> {
        let length: usize = self.pixels.iter().map(|data| data.len()).sum();
        if length > MAX_CHUNK {
            return Err(damaged(format!("{length} bytes of compressed PNG pixels")));
        }
        let mut file = Vec::with_capacity(SIGNATURE.len() + 2048 + length);
        file.extend_from_slice(SIGNATURE);
        let mut chunk = |kind: &[u8; 4], parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            file.extend_from_slice(&(length as u32).to_be_bytes());
            file.extend_from_slice(kind);
            parts.iter().for_each(|part| file.extend_from_slice(part));
            file.extend_from_slice(&[0; 4]);
        };
        chunk(b"IHDR", &[self.header]);
        if let Some(palette) = self.palette {
            chunk(b"PLTE", &[palette]);
        }
        if let Some(transparency) = self.transparency {
            chunk(b"tRNS", &[transparency]);
        }
        chunk(b"IDAT", &self.pixels);
        chunk(b"IEND", &[]);
        Ok(file)
    }
}

/// Decodes a file to RGB; also gives its EXIF metadata.
///
/// A missing end, unknown chunks, and wrong checksums of pixels whose own sum (Adler-32) is right do no
/// harm. Missing pixels are an error.
pub(super) fn decode_png(
    bytes: &[u8],
    options: DecodeOptions,
) -> Result<(Decoded, Option<&[u8]>), ImageError> {
    let mut checked = Checked::read(bytes)?;
    let header = Header::read(checked.header)?;
    check_size(header.width.into(), header.height.into(), options)?;
    let compressed: usize = checked.pixels.iter().map(|data| data.len()).sum();
    let needed = header.raw_bytes();
    if (compressed as u64).saturating_mul(MAX_DEFLATE_RATIO) < needed {
        return Err(damaged(format!(
            "the PNG file is truncated: {compressed} bytes cannot hold {needed} bytes of pixels"
        )));
    }
    checked.check_colours(header, options.conversion)?;
    let file = checked.rewritten()?;
    let rgb = guarded("PNG", || pixels(&file, header, checked.is_sound, options.conversion))??;
    Ok((Decoded { width: header.width, height: header.height, rgb }, checked.exif))
}

/// The pixels of a file that was checked.
fn pixels(
    file: &[u8],
    header: Header,
    is_sound: bool,
    conversion: Conversion,
) -> Result<Vec<u8>, ImageError> {
    let mut settings = png::DecodeOptions::default();
    settings.set_ignore_crc(true);
    settings.set_ignore_adler32(is_sound);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(file), settings);
    // The size was checked: a row may be the whole image.
    decoder.set_limits(Limits { bytes: usize::MAX });
    // Palettes become colours, fewer than 8 bits become 8. Grey of 16 bits stays: which of its bits
    // matter depends on all pixels.
    let mut transformations = Transformations::EXPAND;
    if header.color != GREY {
        transformations |= Transformations::STRIP_16;
    }
    decoder.set_transformations(transformations);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().ok_or_else(|| damaged("the size overflows"))?;
    let mut samples = vec![0; size];
    reader.next_frame(&mut samples).map_err(damaged)?;
    let kind = reader.output_color_type();
    drop(reader);
    Ok(match kind {
        (ColorType::Rgb, BitDepth::Eight) => samples,
        (ColorType::Rgba, BitDepth::Eight) => convert::colour_alpha(&samples, conversion),
        (ColorType::Grayscale, BitDepth::Eight) => convert::grey(&samples, 1, |sample| sample),
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => convert::grey_alpha(&samples, conversion),
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            let (pairs, _) = samples.as_chunks::<2>();
            convert::grey_16(pairs, 1, |&pair| u16::from_be_bytes(pair), conversion)
        }
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => {
            let (pairs, _) = samples.as_chunks::<2>();
            convert::grey_alpha_16(pairs, |&pair| u16::from_be_bytes(pair), conversion)
        }
        (color, depth) => return Err(damaged(format!("{color:?} pixels of {depth:?} bits"))),
    })
}
