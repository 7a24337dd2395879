//! Prints the pixels of image files as the reference implementation converts them: width, height and RGB
//! in hexadecimal digits, a line a file. `tests/reference/compare_images.py` compares them with Pillow's.
//!
//!     cargo run --release --example pixels -- a.png b.jpg

use std::fmt::Write;

use svtrv2::{Conversion, Crop, DecodeOptions};

fn main() {
    let conversion = Conversion::Reference;
    let options = DecodeOptions { exif: false, conversion, ..DecodeOptions::default() };
    for path in std::env::args_os().skip(1) {
        match Crop::open_with(&path, options) {
            Ok(crop) => {
                let mut line = format!("{} {} ", crop.width(), crop.height());
                for byte in crop.rgb() {
                    let _ = write!(line, "{byte:02x}");
                }
                println!("{line}");
            }
            Err(error) => println!("error {}", error.report()),
        }
    }
}
