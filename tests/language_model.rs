//! N-gram models score as KenLM does.

use std::path::Path;

use svtrv2::Charset;
use svtrv2::decode::{LanguageModel, Ngram, SymbolLm, lm_log_probability};

/// Absolute, on log10 probabilities of texts: KenLM adds them up in f32.
const TOLERANCE: f64 = 2e-5;

#[test]
fn scores_of_kenlm() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let ngram = Ngram::open(fixtures.join("words.arpa")).unwrap();
    let charset = Charset::english();
    let model = SymbolLm::new(ngram.clone().into(), &charset, false);
    let expected = std::fs::read_to_string(fixtures.join("words_kenlm.tsv")).unwrap();
    assert_eq!(expected.lines().count(), 16);
    for line in expected.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [text, whole, begun] = fields[..] else { panic!("{line:?}") };
        let (whole, begun): (f64, f64) = (whole.parse().unwrap(), begun.parse().unwrap());
        let classes = charset.encode(text).unwrap();
        let found = lm_log_probability(&model, &classes) / std::f64::consts::LN_10;
        assert!((found - whole).abs() < TOLERANCE, "{text:?}: {found}, {whole}");
        let symbols: Vec<&str> = classes.iter().filter_map(|&c| charset.symbol(c)).collect();
        let found = ngram.score(&symbols) / std::f64::consts::LN_10;
        assert!((found - whole).abs() < TOLERANCE, "{text:?}: {found}, {whole}");
        let mut state = model.start();
        let mut sum = 0.0;
        for class in classes {
            let (log_prob, next) = model.advance(state, class);
            sum += log_prob / std::f64::consts::LN_10;
            state = next;
        }
        assert!((sum - begun).abs() < TOLERANCE, "{text:?}: {sum}, {begun}");
    }
}

/// The model in the fixtures is the one that is estimated today.
#[test]
fn estimate_is_unchanged() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let list = std::fs::read_to_string(fixtures.join("words.txt")).unwrap();
    let words: Vec<(&str, u64)> = list
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(word, count)| (word, count.parse().unwrap()))
        .collect();
    let estimated = Ngram::from_words(&Charset::english(), &words, 4).unwrap();
    let stored = Ngram::open(fixtures.join("words.arpa")).unwrap();
    for (word, _) in words {
        let symbols: Vec<String> = word.chars().map(String::from).collect();
        assert_eq!(estimated.score(&symbols), stored.score(&symbols), "{word}");
    }
}
