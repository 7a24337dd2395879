//! The trained SVTRv2-B gives the reference implementation's probabilities and texts.

mod support;

use std::path::Path;

use support::{Reference, max_difference, reference_folder, trained_weights};
use svtrv2::weights::Weights;
use svtrv2::{Crop, Options, Recognizer};

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
    let options = Options { max_ratio: Some(12), ..Options::default() };
    let recognizer = Recognizer::new(&weights, options).unwrap();

    let names = probabilities.names();
    assert_eq!(names.len(), 39);
    let mut largest = 0.0f32;
    for name in names {
        let crop = Crop::open(folder.join("crops").join(&name)).unwrap();
        let resized = recognizer.resize(&crop).unwrap();
        let all_scores = &recognizer.scores(&resized).unwrap()[0];
        let scores = &all_scores.log_probs;
        let found: Vec<f32> = scores.as_slice().iter().map(|p| p.exp()).collect();
        let (shape, reference) = probabilities.f32(&name);
        assert_eq!(shape, [scores.steps(), scores.classes()], "{name}");
        let difference = max_difference(&found, &reference);
        assert!(difference <= TOLERANCE, "{name}: probabilities differ by {difference}");
        largest = largest.max(difference);

        let reading = recognizer.decode(&resized[0], all_scores).unwrap();
        let expected = &expected[&name];
        assert_eq!(reading.text, expected["text"].as_str().unwrap(), "{name}");
        let score = expected["confidence"].as_f64().unwrap() as f32;
        assert!((reading.score - score).abs() <= TOLERANCE, "{name}: score {}", reading.score);
        let size = [reading.size.height, reading.size.width].map(u64::from);
        for (found, expected) in size.iter().zip(expected["target_hw"].as_array().unwrap()) {
            assert_eq!(Some(*found), expected.as_u64(), "{name}");
        }
    }
    println!("probabilities differ by {largest:.1e} at the most");
}

/// Word accuracy on real crops by the published protocol, at the published ratio limit.
#[test]
#[ignore = "needs the trained weights and labelled crops: SVTRV2_WEIGHTS, SVTRV2_DATA"]
fn word_accuracy() {
    let data = support::outside("SVTRV2_DATA");
    let weights = Weights::open(trained_weights()).unwrap();
    let options = Options { max_ratio: Some(4), ..Options::default() };
    let recognizer = Recognizer::new(&weights, options).unwrap();
    for (set, at_least) in [("cute80_288", 94.07), ("iiit5k_train_2000", 85.69)] {
        let (correct, counted) = accuracy(&recognizer, &data.join(set));
        let percent = 100.0 * correct as f64 / counted as f64;
        println!("{set}: {correct} of {counted} words, {percent:.2} %");
        assert!(percent >= at_least, "{set}: {percent:.2} %");
    }
}

fn accuracy(recognizer: &Recognizer, folder: &Path) -> (usize, usize) {
    let labels = std::fs::read_to_string(folder.join("labels.tsv")).unwrap();
    let (paths, labels): (Vec<_>, Vec<_>) = labels
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(path, label)| (folder.join(path), label))
        .unzip();
    let crops: Vec<Crop> = paths.iter().map(|path| Crop::open(path).unwrap()).collect();
    let readings = recognizer.recognize_batch(&crops);
    if let Some(predictions) = std::env::var_os("SVTRV2_PREDICTIONS") {
        let rows: String = paths
            .iter()
            .zip(&readings)
            .map(|(path, reading)| {
                format!("{}\t{}\n", path.display(), reading.as_ref().unwrap().text)
            })
            .collect();
        let name = folder.file_name().unwrap().to_str().unwrap();
        std::fs::write(Path::new(&predictions).join(format!("{name}.tsv")), rows).unwrap();
    }
    let (mut correct, mut counted) = (0, 0);
    for (label, reading) in labels.iter().zip(readings) {
        let label_length = label.chars().filter(|c| !c.is_whitespace()).count();
        let label = fold(label);
        if label_length > 25 || label.is_empty() {
            continue;
        }
        counted += 1;
        correct += usize::from(fold(&reading.unwrap().text) == label);
    }
    (correct, counted)
}

/// Lower case, and nothing but 0-9 and a-z.
fn fold(text: &str) -> String {
    text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect()
}
