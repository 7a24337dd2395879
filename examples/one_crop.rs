//! Recognises one crop: `cargo run --release --example one_crop -- WEIGHTS IMAGE`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args().skip(1);
    let (Some(weights), Some(image)) = (paths.next(), paths.next()) else {
        return Err("usage: one_crop WEIGHTS IMAGE".into());
    };
    let recognizer = svtrv2::Recognizer::open(weights)?;
    let recognition = recognizer.recognize(svtrv2::Crop::open(image)?)?;
    println!("{} ({:.2})", recognition.text, recognition.confidence);
    for c in &recognition.chars {
        println!("{} {:.2} {:?}", c.symbol, c.confidence, c.bounds);
    }
    Ok(())
}
