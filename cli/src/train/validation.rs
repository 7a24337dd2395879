//! Metrics of a network in training on labelled crops.

use std::time::Duration;

use indicatif::ProgressBar;
use rayon::prelude::*;
use svtrv2::data::Dataset;
use svtrv2::evaluation::{Accumulator, Correctness, Metrics};
use svtrv2::weights::Weights;
use svtrv2::{Crop, Options, Recognizer};

use super::note;
use crate::failure::Result;

/// The metrics of every validation set, by the published protocol.
pub fn validate(weights: &Weights, sets: &[Dataset], bar: &ProgressBar) -> Result<Vec<Metrics>> {
    let recognizer = Recognizer::new(weights, Options::default())?;
    let mut all = Vec::new();
    for set in sets {
        let found = metrics_of(&recognizer, set);
        bar.suspend(|| {
            note(format!(
                "  {}: word accuracy {:.2} % of {}, exact {:.2} %",
                set.name(),
                100.0 * found.word_accuracy,
                found.words,
                100.0 * found.exact_accuracy,
            ));
        });
        all.push(found);
    }
    Ok(all)
}

fn metrics_of(recognizer: &Recognizer, set: &Dataset) -> Metrics {
    let recognize = |index: usize| {
        let sample = set.sample(index).ok()?;
        let recognition = Crop::decode(&sample.image).and_then(|crop| recognizer.recognize(&crop));
        // A damaged image counts as an empty text.
        let (text, confidence) = recognition
            .map_or((String::new(), 0.0), |recognition| (recognition.text, recognition.confidence));
        Some((sample.label, text, confidence))
    };
    let recognitions: Vec<_> = (0..set.len()).into_par_iter().filter_map(recognize).collect();
    let mut accumulator = Accumulator::new(Correctness::Protocol);
    for (label, text, confidence) in &recognitions {
        accumulator.add(label, text, *confidence, Duration::ZERO);
    }
    accumulator.metrics()
}
