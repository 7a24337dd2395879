//! Images with right checksums and codes: any depth, colour type, sampling and progression, then with
//! changed fields, chunks that are moved, doubled or spliced, and what a user does with the result.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2::resize::resize_bicubic;
use svtrv2::{Conversion, Crop, DecodeOptions, Rotation};
use svtrv2_fuzz::pictures::{Chunks, Jpeg, Segments, jpeg, jpeg_segments, png, png_chunks, zlib};
use svtrv2_fuzz::{Bytes, MB, within};

/// Pixels that are decoded. Few, so that images are many.
const PIXELS: usize = 4096;
/// Bytes of a decoded image, times four, and tables of both decoders.
const BUDGET: usize = 12 * PIXELS + MB;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Bytes(bytes);
    let kind = input.byte();
    let file = match kind % 2 {
        0 => {
            let mut chunks = png_of(&mut input);
            if kind & 2 != 0 {
                let other = png_of(&mut input);
                splice(&mut chunks, other, &mut input);
            }
            change(&mut chunks, &mut input, |chunk| &mut chunk.1);
            png(&chunks)
        }
        _ => {
            let mut segments = jpeg_of(&mut input);
            if kind & 2 != 0 {
                let other = jpeg_of(&mut input);
                splice(&mut segments, other, &mut input);
            }
            if input.byte() & 1 == 1 {
                change(&mut segments, &mut input, |segment| &mut segment.2);
            }
            change(&mut segments, &mut input, |segment| &mut segment.1);
            for (code, payload, _) in &mut segments {
                payload.truncate(65533);
                if input.byte() == 255 {
                    *code = input.byte();
                }
            }
            jpeg(&segments)
        }
    };
    let end = match input.byte() {
        255 => file.len().saturating_sub(input.byte().into()),
        _ => file.len(),
    };
    let file = &file[..end];
    let conversion = if kind & 4 == 0 { Conversion::Visible } else { Conversion::Reference };
    let options = DecodeOptions { exif: kind & 8 == 0, max_pixels: PIXELS as u64, conversion };
    let crop = within(BUDGET + 4 * file.len(), || Crop::decode_with(file, options));
    if let Ok(crop) = crop {
        let (width, height) = (crop.width(), crop.height());
        assert_eq!(crop.rgb().len(), 3 * width as usize * height as usize);
        if kind & 0x70 == 0 {
            within(16 * PIXELS + 16 * MB, || {
                let turned = crop.rotated(Rotation::Clockwise);
                assert_eq!((turned.width(), turned.height()), (height, width));
                assert!(resize_bicubic(&turned, 32, 8).is_ok());
            });
        }
    }
});

/// A size: mostly a few pixels, sometimes what the header may claim.
fn side(input: &mut Bytes) -> u32 {
    match input.byte() {
        small @ 0..240 => 1 + u32::from(small) % 40,
        240..250 => u32::from(input.byte()) << (input.byte() % 24),
        _ => 1 + u32::from(input.byte()),
    }
}

/// The bytes of pictures: those of the input, then noise.
fn source<'a>(input: &'a mut Bytes<'_>) -> impl FnMut() -> u8 + 'a {
    let mut state = u32::from(input.byte());
    move || {
        if !input.is_empty() && state & 1 == 0 {
            return input.byte();
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1;
        (state >> 24) as u8
    }
}

fn png_of(input: &mut Bytes) -> Chunks {
    let (width, height) = (side(input), side(input));
    let color = [0, 2, 3, 4, 6][input.below(5)];
    let depth = match color {
        0 => [1, 2, 4, 8, 16][input.below(5)],
        3 => [1, 2, 4, 8][input.below(4)],
        _ => [8, 16][input.below(2)],
    };
    let (real_width, real_height) = (width.clamp(1, 40), height.clamp(1, 40));
    let interlaced = input.byte() & 1 == 1;
    let extra = input.byte();
    let data: Vec<u8> = input.take(12).to_vec();
    let mut chunks =
        png_chunks((real_width, real_height), depth, color, interlaced, &mut source(input));
    if (width, height) != (real_width, real_height) {
        chunks[0].1[..4].copy_from_slice(&width.to_be_bytes());
        chunks[0].1[4..8].copy_from_slice(&height.to_be_bytes());
    }
    let at = chunks.len() - 2;
    match extra % 16 {
        0 => chunks.insert(at, (*b"tRNS", data)),
        1 => chunks[at].1 = zlib(&data),
        2 => chunks[at].1 = data,
        3 => chunks.insert(at, (*b"eXIf", exif(&data))),
        4 => {
            let half = chunks[at].1.len() / 2;
            let rest = chunks[at].1.split_off(half);
            chunks.insert(at + 1, (*b"IDAT", rest));
        }
        5 if color == 3 => chunks[1].1.truncate(data.len()),
        6 => {
            chunks.pop();
        }
        7 => chunks.insert(at, (*b"acTL", [0, 0, 0, 2, 0, 0, 0, 0].to_vec())),
        8 => chunks.insert(at, (*b"tRNS", vec![0; [2, 6, 1][extra as usize % 3]])),
        _ => {}
    }
    chunks
}

fn exif(data: &[u8]) -> Vec<u8> {
    [b"II\x2a\0\x08\0\0\0\x01\0\x12\x01", data].concat()
}

fn jpeg_of(input: &mut Bytes) -> Segments {
    let (width, height) = (side(input), side(input));
    let factors = |byte: u8| (1 + byte % 4, 1 + byte / 4 % 4);
    let sampling = match input.byte() {
        0..24 => vec![factors(input.byte())],
        24..48 => (0..4).map(|_| factors(input.byte())).collect(),
        48..80 => (0..3).map(|_| factors(input.byte())).collect(),
        80..96 => vec![(1, 1); 4],
        common => {
            let factors = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (1, 4), (2, 4)];
            vec![factors[usize::from(common) % 8], (1, 1), (1, 1)]
        }
    };
    let flags = input.byte();
    let spec = Jpeg {
        width: width.clamp(1, 40) as u16,
        height: height.clamp(1, 40) as u16,
        sampling,
        progressive: flags & 1 == 1,
        interleaved: flags & 6 != 0,
        restart: if flags & 8 == 0 { 0 } else { input.byte().into() },
        adobe: if flags & 16 == 0 { None } else { Some(input.byte() % 4) },
    };
    let mut segments = jpeg_segments(&spec, &mut source(input));
    if width > 40 || height > 40 {
        let frame = segments.iter_mut().find(|segment| matches!(segment.0, 0xc0 | 0xc2));
        if let Some(frame) = frame {
            frame.1[1..3].copy_from_slice(&(height as u16).to_be_bytes());
            frame.1[3..5].copy_from_slice(&(width as u16).to_be_bytes());
        }
    }
    if flags & 32 != 0 {
        let data = exif(input.take(12));
        segments.insert(0, (0xe1, [b"Exif\0\0", data.as_slice()].concat(), Vec::new()));
    }
    if flags & 64 != 0 {
        segments.retain(|segment| segment.0 != 0xc4);
    }
    segments
}

/// Puts parts of another file into this one.
fn splice<T: Clone>(parts: &mut Vec<T>, other: Vec<T>, input: &mut Bytes) {
    let (from, to) = (input.below(parts.len() + 1), input.below(other.len() + 1));
    match input.below(3) {
        0 => {
            parts.truncate(from);
            parts.extend_from_slice(&other[to..]);
        }
        1 => parts.extend(other),
        _ => {
            if let Some(part) = other.get(to) {
                parts.insert(from, part.clone());
            }
        }
    }
}

/// Changes, drops, doubles and swaps parts.
fn change<T: Clone>(parts: &mut Vec<T>, input: &mut Bytes, data: impl Fn(&mut T) -> &mut Vec<u8>) {
    for _ in 0..input.below(5) {
        if parts.is_empty() {
            return;
        }
        let at = input.below(parts.len());
        match input.below(8) {
            0 => drop(parts.remove(at)),
            1 => parts.insert(at, parts[at].clone()),
            2 => {
                let other = input.below(parts.len());
                parts.swap(at, other);
            }
            3 => {
                let data = data(&mut parts[at]);
                let length = usize::from(input.byte());
                data.truncate(length);
            }
            4 => data(&mut parts[at]).extend_from_slice(input.take(16)),
            _ => {
                let data = data(&mut parts[at]);
                let place = usize::from(input.byte()) | usize::from(input.byte() % 4) << 8;
                let length = data.len().max(1);
                if let Some(byte) = data.get_mut(place % length) {
                    *byte = input.byte();
                }
            }
        }
    }
}
