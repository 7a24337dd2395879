//! The models that are part of the crate.

use std::path::Path;

use svtrv2::decode::Decoder;
use svtrv2::weights::Weights;
use svtrv2::{Charset, Crop, Precision, Recognizer};

fn file(name: &str) -> u64 {
    std::fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name))
        .unwrap()
        .len()
}

#[test]
fn models_are_small() {
    assert!(file("english.safetensors") <= 8_000_000);
    assert!(file("english.ngram") <= 1_000_000);
}

#[test]
fn the_model_is_quantised_calibrated_and_english() {
    let weights = Weights::embedded().unwrap();
    assert!(weights.is_quantized());
    assert_eq!(weights.precision(), Precision::Int8);
    assert_eq!(weights.charset(), Some(&Charset::english()));
    assert!(weights.temperature() != 1.0, "confidences are not calibrated");
}

#[test]
fn the_sample_crops_are_recognised() {
    let greedy = Recognizer::embedded().unwrap();
    let english = greedy.with_decoder(Decoder::english(greedy.charset()).unwrap()).unwrap();
    for (name, expected) in [
        ("bakery.jpg", "Bakery"),
        ("harbour.png", "Harbour"),
        ("international.png", "International"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/crops").join(name);
        for recognizer in [&greedy, &english] {
            let text = recognizer.recognize(&Crop::open(&path).unwrap()).unwrap().text;
            assert_eq!(text.to_lowercase(), expected.to_lowercase(), "{name}");
        }
    }
}
