//! Recognises one crop: `cargo run --release --example one_crop -- examples/crops/harbour.png`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = std::env::args().nth(1).ok_or("usage: one_crop IMAGE")?;
    let recognizer = svtrv2::Recognizer::embedded()?;
    let recognition = recognizer.recognize(svtrv2::Crop::open(image)?)?;
    println!("{} ({:.2})", recognition.text, recognition.confidence);
    for c in &recognition.chars {
        println!("{} {:.2} {:?}", c.symbol, c.confidence, c.bounds);
    }
    Ok(())
}
