//! The English model and language model.

use std::path::Path;

use svtrv2::decode::{ClassMask, Decoder};
use svtrv2::weights::Weights;
use svtrv2::{Charset, Crop, Precision, Recognizer};

#[test]
fn models_are_small() {
    assert!(svtrv2_english::WEIGHTS.len() <= 8_000_000);
    assert!(svtrv2_english::NGRAM.len() <= 1_000_000);
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

#[test]
fn confidence_falls_by_what_a_mask_removes() {
    let recognizer = Recognizer::embedded().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/crops/international.png");
    let crop = Crop::open(path).unwrap();
    let read = |symbols: &str, renormalize| {
        let mut decoder = Decoder::greedy();
        let symbols = symbols.chars().map(String::from);
        decoder.classes = Some(ClassMask::allow(recognizer.charset(), symbols).unwrap());
        decoder.renormalize = renormalize;
        recognizer.with_decoder(decoder).unwrap().recognize(&crop).unwrap()
    };
    // No digit is there. Among texts of digits one is likely; among all texts none is.
    let (shared, missing) = (read("0123456789", true), read("0123456789", false));
    assert!(shared.confidence > 1e-3, "{shared:?}");
    assert!(missing.confidence < 1e-6, "{missing:?}");
    // A mask that permits what is there changes nothing.
    let free = recognizer.recognize(&crop).unwrap();
    let letters = read("INTERAOLinteraol", false);
    assert_eq!((&letters.text, letters.confidence), (&free.text, free.confidence));
    assert!(read("INTERAOLinteraol", true).confidence >= free.confidence);
}
