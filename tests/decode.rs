//! Encoded files: Pillow's pixels, EXIF orientation, limits, damage.

mod support;

use support::fixture;
use svtrv2::{Conversion, Crop, DecodeOptions, Error, ImageError};

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(fixture("decode").join(name)).unwrap()
}

/// `tests/reference/make_decode.py` writes the files, and what Pillow reads in them: as they are
/// ("plain"), and after `ImageOps.exif_transpose` ("turned").
#[test]
fn the_pixels_are_pillows() {
    let lines = std::fs::read_to_string(fixture("decode/expected.tsv")).unwrap();
    let mut files = 0;
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, kind, width, height, hex] = fields[..] else { panic!("{line:?}") };
        let conversion = Conversion::Reference;
        let options =
            DecodeOptions { exif: kind == "turned", conversion, ..DecodeOptions::default() };
        let crop = Crop::decode_with(&bytes_of(name), options).unwrap();
        let size = (crop.width().to_string(), crop.height().to_string());
        assert_eq!((size.0.as_str(), size.1.as_str()), (width, height), "{name}, {kind}");
        let digits = hex.as_bytes().as_chunks::<2>().0;
        let expected = digits
            .iter()
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        let worst = crop.rgb().iter().zip(expected).map(|(&a, b)| a.abs_diff(b)).max().unwrap();
        // JPEG decoders differ in the rounding of the transform and of the colours, and more in
        // the interpolation of colours that are stored at half the resolution.
        let most = match name {
            "subsampled.jpg" => 9,
            name if name.ends_with(".jpg") => 3,
            _ => 0,
        };
        assert!(worst <= most, "{name}, {kind}: {worst} levels");
        files += 1;
    }
    assert_eq!(files, 2 * 26);
}

#[test]
fn a_file_that_ends_early_is_refused() {
    for name in ["orientation_1.jpg", "progressive.jpg", "grey.jpg", "rgb.png", "interlaced.png"] {
        let bytes = bytes_of(name);
        // The last chunk of a PNG, 12 bytes, carries nothing; the end marker of a JPEG has two bytes.
        let tail = if name.ends_with(".png") { 12 } else { 2 };
        // Nor do the checksums of a PNG's pixels and of their chunk, and the end of the compressed stream:
        // whether they are missed is up to the decoder.
        let checksums = if name.ends_with(".png") { 12 } else { 0 };
        let complete = bytes.len() - tail;
        for cut in 0..complete - checksums {
            let result = Crop::decode(&bytes[..cut]);
            assert!(
                matches!(result, Err(Error::Image(ImageError::Decode(_)))),
                "{name}, {cut} of {} bytes: {result:?}",
                bytes.len()
            );
        }
        let whole = Crop::decode(&bytes).unwrap();
        for cut in complete - checksums..bytes.len() {
            let found = match Crop::decode(&bytes[..cut]) {
                Ok(found) => found,
                Err(Error::Image(ImageError::Decode(_))) if cut < complete => continue,
                Err(error) => panic!("{name}, {cut} bytes: {error}"),
            };
            let pairs = found.rgb().iter().zip(whole.rgb());
            assert!(pairs.map(|(a, b)| a.abs_diff(*b)).max() <= Some(3), "{name}, {cut} bytes");
        }
    }
}

/// Flipped bytes: an image or an error, never a panic.
#[test]
fn damaged_bytes() {
    let files = std::fs::read_dir(fixture("decode")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    for name in names.filter(|name| !name.ends_with(".tsv")) {
        let bytes = bytes_of(&name);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let options = DecodeOptions { max_pixels: 1_000_000, ..DecodeOptions::default() };
                if let Ok(crop) = Crop::decode_with(&damaged, options) {
                    assert_eq!(crop.rgb().len() as u32, crop.width() * crop.height() * 3, "{name}");
                }
            }
        }
    }
}

#[test]
fn too_many_pixels() {
    let mut jpeg = bytes_of("grey.jpg");
    // The frame header: marker, length, precision, height, width.
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x4e, 0x20, 0x4e, 0x20]);
    let result = Crop::decode(&jpeg);
    assert!(
        matches!(
            result,
            Err(Error::Image(ImageError::TooLarge {
                width: 20_000,
                height: 20_000,
                most: 64_000_000
            }))
        ),
        "{result:?}"
    );
    let png = bytes_of("rgb.png");
    let allowed = |max_pixels| DecodeOptions { max_pixels, ..DecodeOptions::default() };
    assert!(Crop::decode_with(&png, allowed(84)).is_ok());
    let result = Crop::decode_with(&png, allowed(83));
    assert!(matches!(result, Err(Error::Image(ImageError::TooLarge { .. }))), "{result:?}");
}

#[test]
fn only_regular_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let result = Crop::open(folder.path());
    assert!(matches!(result, Err(Error::Image(ImageError::NotAFile { .. }))), "{result:?}");
    if cfg!(unix) {
        let result = Crop::open("/dev/zero");
        assert!(matches!(result, Err(Error::Image(ImageError::NotAFile { .. }))), "{result:?}");
        let pipe = folder.path().join("pipe.png");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let result = Crop::open(&pipe);
        assert!(matches!(result, Err(Error::Image(ImageError::NotAFile { .. }))), "{result:?}");
    }
}
