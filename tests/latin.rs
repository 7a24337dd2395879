//! The model for Latin scripts.

use std::path::Path;

use svtrv2::decode::{CasedLm, lm_log_probability};
use svtrv2::inference::Precision;
use svtrv2::weights::Weights;
use svtrv2::{Crop, Recognizer};

/// Sample lines and their texts; `examples/lines/render.py` makes them.
const LINES: [(&str, &str); 3] = [
    ("menu", "Crème brûlée 4,50 €"),
    ("czech", "Těší mě, že jsi přišel včas."),
    (
        "book",
        "“Where is the straße to the café?” he asked – and nobody in the whole town could tell him.",
    ),
];

/// Quotes and dashes are as printed, or as a typewriter has them.
fn folded(text: &str) -> String {
    let fold = |symbol| match symbol {
        '“' | '”' => '"',
        '—' => '–',
        other => other,
    };
    text.chars().map(fold).collect()
}

#[test]
fn reads_lines_with_spaces_and_accents() {
    let recognizer = Recognizer::latin().unwrap();
    for (name, text) in LINES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/lines/{name}.png"));
        let line = recognizer.recognize(&Crop::open(path).unwrap()).unwrap();
        assert_eq!(folded(&line.text), folded(text));
        assert_eq!(line.words().len(), text.split(' ').count(), "{name}");
        assert!(line.chars.iter().all(|c| c.bounds.width() > 0.0 && c.bounds.height() > 0.0));
    }
}

#[test]
fn knows_the_letters_of_latin_scripts_and_computes_in_int8() {
    let weights = Weights::latin().unwrap();
    assert_eq!(weights.precision(), Precision::Int8);
    let charset = weights.charset().unwrap();
    assert_eq!(charset.symbols().len(), 407);
    for text in [
        "Přílišžluťoučký",
        "ĄĘŁŃŚŹŻ",
        "ŞşĞğİı",
        "ÞþÐðÆæ",
        "ŐőŰű",
        "Đặt tiếng",
        "Ģģ Ķķ",
        "Ħħ Ġġ",
        "½ № ™ €",
    ] {
        charset.encode(text).unwrap();
    }
    assert!(svtrv2_latin::WEIGHTS.len() <= 3_500_000);
}

/// One model of words serves all languages and letter cases.
#[test]
fn the_language_model_prefers_words() {
    assert!(svtrv2_latin::NGRAM.len() <= 257_600);
    let charset = Weights::latin().unwrap().charset().unwrap().clone();
    let model = CasedLm::latin(&charset).unwrap();
    let log_prob = |text: &str| lm_log_probability(&model, &charset.encode(text).unwrap());
    for (word, misread) in [
        ("Straße", "Stra6e"),
        ("příliš", "prilíš"),
        ("gràcies", "grácies"),
        ("THANKS", "THANK8"),
        ("người", "ngươi"),
        ("the whole town", "the whoIe town"),
        ("12,50 €", "I2,50 €"),
    ] {
        assert!(log_prob(word) > log_prob(misread) + 1.0, "{word}");
    }
}
