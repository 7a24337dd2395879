//! The resizer gives Pillow's bytes.

mod support;

use support::{Reference, fixture};
use svtrv2::Crop;
use svtrv2::resize::{line_size, resize_bicubic, resize_bilinear, target_size};

/// The ratio limit that the reference sizes were made with.
const MAX_RATIO: u32 = 12;

#[test]
#[ignore = "needs the reference crops: SVTRV2_REFERENCE"]
fn reference_crops_to_the_byte() {
    let folder = support::reference_folder();
    let expected = Reference::open(folder.join("resize_expected.safetensors"));
    let names = expected.names();
    assert_eq!(names.len(), 39);
    for name in names {
        let crop = support::reference_crop(&name);
        let size = target_size(crop.width(), crop.height(), MAX_RATIO).unwrap();
        let resized = resize_bicubic(&crop, size.width, size.height).unwrap();
        let (shape, expected) = expected.u8(&name);
        assert_eq!(shape, [size.height as usize, size.width as usize, 3], "{name}");
        let differing = resized.rgb().iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: {differing} bytes differ");
    }
}

/// Lines of height 48, as OpenCV resizes them.
#[test]
#[ignore = "needs the reference crops: SVTRV2_REFERENCE"]
fn reference_lines_to_the_byte() {
    let folder = support::reference_folder();
    let expected = Reference::open(folder.join("bilinear48_expected.safetensors"));
    let names = expected.names();
    assert_eq!(names.len(), 39);
    for name in names {
        let crop = support::reference_crop(&name);
        let (shape, expected) = expected.u8(&name);
        let size = line_size(crop.width(), crop.height(), 48, 320, 128).unwrap();
        // The reference has no limit on the ratio.
        let width = match crop.width() > 128 * crop.height() {
            true => shape[1],
            false => size.width as usize,
        };
        assert_eq!(shape, [48, width, 3], "{name}");
        let resized = resize_bilinear(&crop, width as u32, 48).unwrap();
        let differing = resized.rgb().iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: {differing} bytes differ");
    }
}

/// Images that a formula gives, resized by Pillow 10.4; see `tests/reference/make_fixtures.py`.
#[test]
fn generated_images_to_the_byte() {
    let expected = Reference::open(fixture("resize.safetensors"));
    let names = expected.names();
    assert!(names.len() >= 30, "{} fixtures", names.len());
    for name in names {
        // INxIN->OUTxOUT, width first.
        let numbers: Vec<u32> =
            name.split(['x', '-', '>']).filter_map(|part| part.parse().ok()).collect();
        let [in_width, in_height, width, height] = numbers[..] else {
            panic!("{name}");
        };
        let image = image::RgbImage::from_fn(in_width, in_height, |x, y| {
            image::Rgb([0, 1, 2].map(|channel| formula(x, y, channel)))
        });
        let crop = Crop::from_rgb(&image).unwrap();
        let resized = resize_bicubic(&crop, width, height).unwrap();
        let differing =
            resized.rgb().iter().zip(&expected.u8(&name).1).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: {differing} bytes differ");
    }
}

/// The sample at `(x, y)` of a generated image: noise with long runs of the extremes.
fn formula(x: u32, y: u32, channel: u32) -> u8 {
    let mixed = (x.wrapping_mul(2_654_435_761))
        ^ (y.wrapping_mul(2_246_822_519))
        ^ (channel.wrapping_mul(3_266_489_917));
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    match (x / 3 + y / 2 + channel) % 4 {
        0 => 255,
        1 => 0,
        _ => (mixed >> 24) as u8,
    }
}
