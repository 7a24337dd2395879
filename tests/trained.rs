//! The trained SVTRv2-B gives the reference implementation's probabilities and texts.

mod support;

use support::{Reference, max_difference, reference_folder, trained_weights};
use svtrv2::weights::Weights;
use svtrv2::{Lines, Options, Recognizer};

/// Absolute, on probabilities.
const TOLERANCE: f32 = 1e-4;

#[test]
#[ignore = "needs the trained weights and the reference: SVTRV2_WEIGHTS, SVTRV2_REFERENCE"]
fn reference_probabilities_and_texts() {
    let folder = reference_folder();
    let probabilities = Reference::open(folder.join("svtrv2_b_probs.safetensors"));
    let json = std::fs::read_to_string(folder.join("crops_expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&json).unwrap();
    let weights = Weights::open(trained_weights()).unwrap();
    let (max_ratio, lines) = (Some(12), Lines::Squeeze);
    let options = Options { max_ratio, lines, trim_margins: false, ..Options::default() };
    let recognizer = Recognizer::new(&weights, options).unwrap();

    let names = probabilities.names();
    assert_eq!(names.len(), 39);
    let mut largest = 0.0f32;
    for name in names {
        let crop = support::reference_crop(&name);
        let resized = recognizer.resize(&crop).unwrap();
        let all_scores = &recognizer.emissions(&resized).unwrap()[0];
        let emissions = &all_scores.log_probs;
        let found: Vec<f32> = emissions.as_slice().iter().map(|p| p.exp()).collect();
        let (shape, reference) = probabilities.f32(&name);
        assert_eq!(shape, [emissions.frames(), emissions.classes()], "{name}");
        let difference = max_difference(&found, &reference);
        assert!(difference <= TOLERANCE, "{name}: probabilities differ by {difference}");
        largest = largest.max(difference);

        let recognition = recognizer.decode(&resized[0], all_scores).unwrap();
        let expected = &expected[&name];
        assert_eq!(recognition.text, expected["text"].as_str().unwrap(), "{name}");
        let score = expected["confidence"].as_f64().unwrap() as f32;
        assert!(
            (recognition.score - score).abs() <= TOLERANCE,
            "{name}: score {}",
            recognition.score
        );
        let size = [recognition.size.height, recognition.size.width].map(u64::from);
        for (found, expected) in size.iter().zip(expected["target_hw"].as_array().unwrap()) {
            assert_eq!(Some(*found), expected.as_u64(), "{name}");
        }
    }
    println!("probabilities differ by {largest:.1e} at most");
}

/// Word accuracy on real crops by the published protocol, at the published ratio limit.
#[cfg(feature = "data")]
#[test]
#[ignore = "needs the trained weights and labelled crops: SVTRV2_WEIGHTS, SVTRV2_DATA"]
fn word_accuracy() {
    use std::time::Duration;

    use svtrv2::Crop;
    use svtrv2::data::{Dataset, Sample};
    use svtrv2::evaluation::{Accumulator, Correctness};

    let data = support::outside("SVTRV2_DATA");
    let weights = Weights::open(trained_weights()).unwrap();
    let options = Options { max_ratio: Some(4), ..Options::default() };
    let recognizer = Recognizer::new(&weights, options).unwrap();
    for (name, words, right) in [("cute80_288", 288, 271), ("iiit5k_train_2000", 2000, 1715)] {
        let set = Dataset::open(data.join(name)).unwrap();
        let samples: Vec<Sample> = (0..set.len()).map(|i| set.sample(i).unwrap()).collect();
        let crops: Vec<Crop> = samples.iter().map(|s| Crop::decode(&s.image).unwrap()).collect();
        let recognitions = recognizer.recognize_batch(&crops);
        let mut accumulator = Accumulator::new(Correctness::Protocol);
        let mut rows = String::new();
        for (sample, recognition) in samples.iter().zip(recognitions) {
            let recognition = recognition.unwrap();
            accumulator.add(
                &sample.label,
                &recognition.text,
                recognition.confidence,
                Duration::ZERO,
            );
            let path = data.join(name).join(&sample.name);
            rows += &format!("{}\t{}\n", path.display(), recognition.text);
        }
        if let Some(predictions) = std::env::var_os("SVTRV2_PREDICTIONS") {
            let file = std::path::Path::new(&predictions).join(format!("{name}.tsv"));
            std::fs::write(file, rows).unwrap();
        }
        let metrics = accumulator.metrics();
        let found = (metrics.word_accuracy * metrics.words as f64).round() as usize;
        println!("{name}: {found} of {} words", metrics.words);
        assert_eq!((metrics.words, found), (words, right), "{name}");
    }
}
