//! Recognises numbers that are known beforehand, such as house numbers or seat numbers:
//! `cargo run --release --example digits -- examples/crops/hours.png 7 24`.
//!
//! A class mask leaves digits only; a lexicon leaves the listed numbers only.

use std::sync::Arc;

use svtrv2::decode::{BeamSearch, ClassMask, Decoder, Lexicon};
use svtrv2::{Crop, Recognizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, numbers @ ..] = &arguments[..] else {
        return Err("usage: digits IMAGE NUMBER...".into());
    };
    let recognizer = Recognizer::embedded()?;
    let charset = recognizer.charset();
    let mut search = BeamSearch { n_best: 3, ..BeamSearch::default() };
    if !numbers.is_empty() {
        search.lexicon = Some(Arc::new(Lexicon::closed(charset, numbers)));
    }
    let mut decoder = Decoder::beam(search);
    decoder.classes = Some(ClassMask::allow(charset, ('0'..='9').map(String::from))?);
    let recognizer = recognizer.with_decoder(decoder)?;

    let recognition = recognizer.recognize(Crop::open(image)?)?;
    if recognition.log_prob == f64::NEG_INFINITY {
        println!("none of the numbers");
        return Ok(());
    }
    println!("{} (log-probability {:.2})", recognition.text, recognition.log_prob);
    for next in &recognition.alternatives {
        println!("{} (log-probability {:.2})", next.text, next.log_prob);
    }
    Ok(())
}
