//! Image files: any bytes to a crop.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2::{Crop, DecodeOptions, Rotation};
use svtrv2_fuzz::{MB, within};

/// Pixels that are decoded; up to 9 bytes each, and some for tables. Few, so that images are many.
const PIXELS: usize = 10_000;

fuzz_target!(|bytes: &[u8]| {
    let options = DecodeOptions { max_pixels: PIXELS as u64, ..DecodeOptions::default() };
    within(12 * PIXELS + 8 * MB + 8 * bytes.len(), || {
        if let Ok(crop) = Crop::decode_with(bytes, options) {
            assert_eq!(crop.rgb().len(), 3 * crop.width() as usize * crop.height() as usize);
            let turned = crop.rotated(Rotation::Clockwise);
            assert_eq!((turned.width(), turned.height()), (crop.height(), crop.width()));
        }
    });
});
