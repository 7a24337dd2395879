//! PP-OCRv6 small gives ONNX Runtime's probabilities and texts.

mod support;

use support::{Reference, outside, reference_folder};
use svtrv2::weights::Weights;
use svtrv2::{Lines, Options, Recognizer};

/// Absolute, on probabilities.
const TOLERANCE: f32 = 1e-4;
/// Best classes of each frame in the reference.
const BEST: usize = 5;

#[test]
#[ignore = "needs the weights and the reference: SVTRV2_PPOCRV6, SVTRV2_REFERENCE"]
fn reference_probabilities_and_texts() {
    let folder = reference_folder();
    let best = Reference::open(folder.join("ppocrv6_small.safetensors"));
    let json = std::fs::read_to_string(folder.join("ppocrv6_small.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&json).unwrap();
    let weights = Weights::open(outside("SVTRV2_PPOCRV6")).unwrap();
    assert_eq!(weights.config().variant(), Some("PP-OCRv6 small"));
    // The reference has no limit.
    let max_ratio = Some(256);
    let lines = Lines::Squeeze;
    let options = Options { max_ratio, lines, trim_margins: false, ..Options::default() };
    let recognizer = Recognizer::new(&weights, options).unwrap();

    let crops = expected["crops"].as_object().unwrap();
    assert_eq!(crops.len(), 39);
    let mut largest = (0.0f32, "");
    for (name, expected) in crops {
        let crop = support::reference_crop(name);
        let resized = recognizer.resize(&crop).unwrap();
        let number = |field: &str| expected[field].as_u64().unwrap();
        assert_eq!(u64::from(resized[0].width), number("resized_width"), "{name}");
        assert_eq!(u64::from(resized[0].size.width), number("input_width"), "{name}");
        let emissions = &recognizer.emissions(&resized).unwrap()[0];
        let log_probs = &emissions.log_probs;
        assert_eq!(log_probs.frames() as u64, number("frames"), "{name}");
        let (_, classes) = best.i64(&format!("{name}/top5_index"));
        let (_, probabilities) = best.f32(&format!("{name}/top5_probability"));
        for (frame, (classes, probabilities)) in
            classes.chunks_exact(BEST).zip(probabilities.chunks_exact(BEST)).enumerate()
        {
            for (&class, probability) in classes.iter().zip(probabilities) {
                let found = log_probs.frame(frame).unwrap()[class as usize].exp();
                let difference = (found - probability).abs();
                assert!(
                    difference <= TOLERANCE,
                    "{name}, frame {frame}, class {class}: {found} instead of {probability}"
                );
                if difference > largest.0 {
                    largest = (difference, name);
                }
            }
        }
        let recognition = recognizer.decode(&resized[0], emissions).unwrap();
        assert_eq!(recognition.text, expected["text"].as_str().unwrap(), "{name}");
        let score = expected["score"].as_f64().unwrap() as f32;
        assert!((recognition.score - score).abs() <= TOLERANCE, "{name}: {}", recognition.score);
    }
    println!("probabilities differ by {:.1e} at most, in {}", largest.0, largest.1);
}
