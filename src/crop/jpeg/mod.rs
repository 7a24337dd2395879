//! JPEG files: checked from marker to marker, then decoded by one of two decoders.
//!
//! `header.rs` goes through a file and refuses what no decoder should see. Ordinary files are decoded
//! by zune-jpeg, which is fast; it sees a file that is written anew with nothing but checked tables,
//! the frame and its scans. What it reads wrongly, or in part, is left to a decoder of our own, which is
//! slower and exact: rare sampling factors, components in scans of their own without progression, and
//! files without an end marker, of which every pixel must be there (`coefficients.rs`, `render.rs`).

mod bits;
mod coefficients;
mod header;
mod render;
mod segments;
mod tables;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::convert::grey;
use super::decoded::{DecodeOptions, Decoded, check_size, damaged, guarded};
use crate::error::ImageError;
use header::{Colours, Frame, Header, Step};

/// What a JPEG file begins with: start of image, and the next marker.
pub(super) const SIGNATURE: &[u8] = b"\xff\xd8\xff";

/// Decodes a file to RGB; also gives its EXIF metadata.
pub(super) fn decode_jpeg(
    bytes: &[u8],
    options: DecodeOptions,
) -> Result<(Decoded, Option<&[u8]>), ImageError> {
    let header =
        Header::read(bytes, |width, height| check_size(width as u64, height as u64, options))?;
    let Frame { width, height, .. } = header.frame;
    let rgb = if is_ordinary(&header) {
        let file = rewritten(&header);
        guarded("JPEG", || decode_fast(&file, &header))??
    } else {
        decode_exact(&header)?
    };
    Ok((Decoded { width: width as u32, height: height as u32, rgb }, header.exif))
}

/// Decodes any file that was checked, as libjpeg does.
fn decode_exact(header: &Header) -> Result<Vec<u8>, ImageError> {
    let parts = coefficients::decode_scans(header)?;
    Ok(render::render(&header.frame, header.colours, parts))
}

/// Whether zune-jpeg 0.5 decodes a file fast and right.
fn is_ordinary(header: &Header) -> bool {
    let frame = &header.frame;
    let sampling: Vec<(usize, usize)> = frame.components.iter().map(|c| c.sampling).collect();
    let is_common = match sampling.as_slice() {
        [luma, (1, 1), (1, 1)] => luma.0 <= 2 && luma.1 <= 2,
        others => others.iter().all(|&factors| factors == (1, 1)),
    };
    let scans: Vec<_> = header.scans().collect();
    let all: Vec<usize> = (0..frame.components.len()).collect();
    let in_order =
        |scan: &&header::Scan| scan.components.iter().map(|c| c.0).eq(all.iter().copied());
    let is_whole = frame.progressive || (scans.len() == 1 && scans.iter().all(in_order));
    // It takes the tables of quantisation that stand before the first scan.
    let first = header.steps.iter().position(|step| matches!(step, Step::Scan(_)));
    let is_fixed = header.steps.iter().skip(first.unwrap_or(0));
    let is_fixed = is_fixed.into_iter().all(|step| !matches!(step, Step::Quantization(_)));
    header.has_end && is_common && is_whole && is_fixed
}

/// The file that zune-jpeg sees: components are numbered from 1, and what they are is said by Adobe's
/// segment alone.
fn rewritten(header: &Header) -> Vec<u8> {
    let coded: usize = header.scans().map(|scan| scan.coded.len()).sum();
    let mut file = Vec::with_capacity(coded + 4096);
    file.extend_from_slice(b"\xff\xd8");
    let transform = match header.colours {
        Colours::Grey | Colours::Ycc => None,
        Colours::Rgb | Colours::Cmyk => Some(0),
        Colours::Ycck => Some(2),
    };
    if let Some(transform) = transform {
        segment(&mut file, 0xee, &[&b"Adobe\0\x64\0\0\0\0"[..], &[transform]].concat());
    }
    let frame = &header.frame;
    let mut payload = vec![8];
    payload.extend((frame.height as u16).to_be_bytes());
    payload.extend((frame.width as u16).to_be_bytes());
    payload.push(frame.components.len() as u8);
    for (number, component) in (1u8..).zip(&frame.components) {
        let (h, v) = component.sampling;
        payload.extend([number, (h << 4 | v) as u8, component.quantization as u8]);
    }
    segment(&mut file, if frame.progressive { 0xc2 } else { 0xc0 }, &payload);
    if header.needs_standard {
        segment(&mut file, 0xc4, tables::STANDARD);
    }
    for step in &header.steps {
        match step {
            Step::Quantization(payload) => segment(&mut file, 0xdb, payload),
            Step::Huffman(payload) => segment(&mut file, 0xc4, payload),
            Step::Restart(units) => segment(&mut file, 0xdd, &units.to_be_bytes()),
            Step::Scan(scan) => {
                let mut payload = vec![scan.components.len() as u8];
                for &(index, dc, ac) in &scan.components {
                    payload.extend([index as u8 + 1, (dc << 4 | ac) as u8]);
                }
                payload.extend([scan.start as u8, scan.end as u8, scan.high << 4 | scan.low]);
                segment(&mut file, 0xda, &payload);
                file.extend_from_slice(scan.coded);
            }
        }
    }
    file.extend_from_slice(b"\xff\xd9");
    file
}

/// Appends a segment. Payloads are those of segments, or of some hundred bytes.
fn segment(file: &mut Vec<u8>, code: u8, payload: &[u8]) {
    file.extend_from_slice(&[0xff, code]);
    file.extend_from_slice(&(payload.len() as u16 + 2).to_be_bytes());
    file.extend_from_slice(payload);
}

/// The pixels of an ordinary file, by zune-jpeg.
fn decode_fast(file: &[u8], header: &Header) -> Result<Vec<u8>, ImageError> {
    let is_grey = header.colours == Colours::Grey;
    // Inks are taken for Adobe's, which are stored as their complements; Pillow does so as well.
    let output = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    let settings = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(output);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), settings);
    let samples = decoder.decode().map_err(damaged)?;
    let rgb = if is_grey { grey(&samples, 1, |sample| sample) } else { samples };
    if rgb.len() != header.frame.width * header.frame.height * 3 {
        return Err(damaged("the JPEG decoder gave pixels of another kind"));
    }
    Ok(rgb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorReport;
    use crate::support::pictures::{Jpeg, Segments, jpeg, jpeg_segments};

    fn header(bytes: &[u8]) -> Header<'_> {
        Header::read(bytes, |_, _| Ok(())).unwrap()
    }

    fn exact(bytes: &[u8]) -> Vec<u8> {
        decode_exact(&header(bytes)).unwrap()
    }

    /// A picture whose coefficients depend on nothing but its size and sampling.
    fn picture(spec: &Jpeg) -> Vec<u8> {
        let mut state = 1u32;
        let mut source = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        jpeg(&jpeg_segments(spec, &mut source))
    }

    fn spec(sampling: &[(u8, u8)]) -> Jpeg {
        Jpeg {
            width: 37,
            height: 29,
            sampling: sampling.to_vec(),
            progressive: false,
            interleaved: true,
            restart: 0,
            adobe: None,
        }
    }

    /// `tests/reference/make_decode.py` writes the files and their pixels.
    #[test]
    fn the_exact_decoder_gives_pillows_pixels() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/decode/");
        let lines = std::fs::read_to_string(format!("{folder}expected.tsv")).unwrap();
        let mut files = 0;
        for line in lines.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, "plain", _, _, hex] = fields[..] else { continue };
            if !name.ends_with(".jpg") {
                continue;
            }
            let found = exact(&std::fs::read(format!("{folder}{name}")).unwrap());
            let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, hex, "{name}");
            files += 1;
        }
        assert_eq!(files, 13);
    }

    const SAMPLINGS: [&[(u8, u8)]; 20] = [
        &[(1, 1)],
        &[(2, 2)],
        &[(4, 3)],
        &[(1, 1), (1, 1), (1, 1)],
        &[(2, 1), (1, 1), (1, 1)],
        &[(1, 2), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1)],
        &[(4, 1), (1, 1), (1, 1)],
        &[(1, 4), (1, 1), (1, 1)],
        &[(4, 2), (1, 1), (1, 1)],
        &[(2, 4), (1, 1), (1, 1)],
        &[(3, 1), (1, 1), (1, 1)],
        &[(1, 3), (1, 1), (1, 1)],
        &[(2, 2), (2, 1), (2, 1)],
        &[(2, 2), (1, 2), (1, 2)],
        &[(2, 2), (2, 1), (1, 2)],
        &[(1, 1), (2, 2), (2, 2)],
        &[(2, 1), (2, 1), (2, 1)],
        &[(1, 1), (1, 1), (1, 1), (1, 1)],
        &[(2, 2), (1, 1), (1, 1), (2, 2)],
    ];

    #[test]
    fn one_picture_coded_in_every_way() {
        for sampling in SAMPLINGS {
            let plain = exact(&picture(&spec(sampling)));
            assert_eq!(plain.len(), 37 * 29 * 3);
            for (progressive, interleaved, restart) in [
                (false, true, 2),
                (false, false, 0),
                (false, false, 3),
                (true, true, 0),
                (true, false, 1),
            ] {
                let spec = Jpeg { progressive, interleaved, restart, ..spec(sampling) };
                assert_eq!(exact(&picture(&spec)), plain, "{spec:?}");
            }
        }
    }

    #[test]
    fn ordinary_files_have_the_same_pixels_by_either_decoder() {
        let mut ordinary = 0;
        for sampling in SAMPLINGS {
            for (progressive, adobe) in
                [(false, None), (true, None), (false, Some(0)), (true, Some(2))]
            {
                let spec = Jpeg { progressive, adobe, ..spec(sampling) };
                let bytes = picture(&spec);
                let header = header(&bytes);
                if !is_ordinary(&header) {
                    continue;
                }
                ordinary += 1;
                let found = decode_fast(&rewritten(&header), &header).unwrap();
                let exact = decode_exact(&header).unwrap();
                let worst = found.iter().zip(&exact).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                // Noise of full contrast at the edges of halved samples.
                let most = if spec.sampling[0] == (1, 1) { 2 } else { 12 };
                assert!(worst <= most, "{worst} levels: {spec:?}");
            }
        }
        assert_eq!(ordinary, 24);
    }

    #[test]
    fn sizes_from_one_pixel_on() {
        for sampling in SAMPLINGS {
            for (width, height) in [(1, 1), (1, 40), (40, 1), (2, 3), (8, 8), (17, 16)] {
                for progressive in [false, true] {
                    let spec = Jpeg { width, height, progressive, ..spec(sampling) };
                    let bytes = picture(&spec);
                    let (image, _) = decode_jpeg(&bytes, DecodeOptions::default()).unwrap();
                    assert_eq!((image.width, image.height), (width.into(), height.into()));
                    assert_eq!(image.rgb.len(), exact(&bytes).len(), "{spec:?}");
                }
            }
        }
    }

    #[test]
    fn files_without_an_end_need_all_pixels() {
        for (progressive, interleaved) in [(false, true), (false, false), (true, true)] {
            let spec = Jpeg { progressive, interleaved, ..spec(&[(2, 2), (1, 1), (1, 1)]) };
            let bytes = picture(&spec);
            let whole = decode_jpeg(&bytes[..bytes.len() - 2], DecodeOptions::default()).unwrap().0;
            assert_eq!(whole.rgb, exact(&bytes));
            for cut in 0..bytes.len() - 2 {
                let result = decode_jpeg(&bytes[..cut], DecodeOptions::default());
                assert!(matches!(result, Err(ImageError::Decode(_))), "{cut} bytes of {spec:?}");
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let good = spec(&[(2, 2), (1, 1), (1, 1)]);
        let with = |change: &dyn Fn(&mut Segments)| {
            let mut source = || 7;
            let mut segments = jpeg_segments(&good, &mut source);
            change(&mut segments);
            jpeg(&segments)
        };
        type Change<'a> = &'a dyn Fn(&mut Segments);
        let cases: [(&str, Change); 12] = [
            ("do not divide", &|s| s[1].1[10] = 0x31),
            ("0 x 1, not 1 to 4", &|s| s[1].1[10] = 0x01),
            ("quantisation table 9", &|s| s[1].1[8] = 9),
            ("no JPEG quantisation table 1", &|s| s[1].1[8] = 1),
            ("two JPEG components 1", &|s| s[1].1[9] = 1),
            ("samples of 12 bits", &|s| s[1].1[0] = 12),
            ("2 JPEG components", &|s| s[1].1[5] = 2),
            ("arithmetic", &|s| s[1].0 = 0xc9),
            ("no JPEG component 9", &|s| s[3].1[1] = 9),
            ("scan without a frame", &|s| drop(s.remove(1))),
            ("truncated: it has no pixels", &|s| s.truncate(3)),
            ("truncated: 16 bits cannot hold", &|s| s[3].2.truncate(2)),
        ];
        for (message, change) in cases {
            let error =
                decode_jpeg(&with(change), DecodeOptions::default()).map(|_| ()).unwrap_err();
            let error = ErrorReport::new(&error).to_string();
            assert!(error.contains(message), "{message}: {error}");
        }
        let many = with(&|s| (0..100).for_each(|_| s.push(s[3].clone())));
        let error = decode_jpeg(&many, DecodeOptions::default()).map(|_| ()).unwrap_err();
        let error = ErrorReport::new(&error).to_string();
        assert!(error.contains("more than 100 scans"), "{error}");
    }
}
