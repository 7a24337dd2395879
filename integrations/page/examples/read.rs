//! The text of a page, line by line: `cargo run --release --example read -- page.jpg`.

use svtrv2_page::svtrv2::{Page, Recognizer};
use svtrv2_page::{Detector, Reader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = std::env::args().nth(1).ok_or("usage: read IMAGE")?;
    let detector = Detector::open("weights/ppocrv6_det_small.onnx")?;
    let recognizer = Recognizer::open("weights/ppocrv6_small.safetensors")?;
    let text = Reader::new(detector, recognizer).read(&Page::open(image)?)?;
    for line in &text.lines {
        println!("{:.2} {} {:?}", line.score, line.text, line.quad.bounding_rect());
    }
    Ok(())
}
