//! The quality of recognition results: the published word accuracy, lines of any script, edit
//! distances, calibration.
//!
//! The published protocol compares what is left in lower case of 0-9 and a-z, and does not count
//! anything else. [`UnicodeRule`] compares texts of every script.

mod unicode;

use std::time::Duration;

use unicode_normalization::UnicodeNormalization;

pub use unicode::{LineErrors, UnicodeRule};

/// Labels with more characters than this are not counted by the published protocol.
const MAX_LABEL: usize = 25;

/// A label as the published protocol compares it: what is left in lower case of 0-9 and a-z.
/// `None` if the protocol does not count it: it has more than 25 ASCII characters, white space
/// aside and accents taken off (compatibility decomposition), or nothing is left.
///
/// ```
/// use svtrv2::evaluation::protocol_label;
///
/// assert_eq!(protocol_label("Café 24/7").as_deref(), Some("cafe247"));
/// assert_eq!(protocol_label("--"), None);
/// assert_eq!(protocol_label("abcdefghijklmnopqrstuvwxyz"), None);
/// ```
pub fn protocol_label(label: &str) -> Option<String> {
    let ascii: String =
        label.chars().filter(|c| !c.is_whitespace()).nfkd().filter(|c| c.is_ascii()).collect();
    let folded = protocol_text(&ascii);
    (ascii.len() <= MAX_LABEL && !folded.is_empty()).then_some(folded)
}

/// A text as the published protocol compares it: in lower case, accents taken off, and nothing but
/// 0-9 and a-z.
pub fn protocol_text(text: &str) -> String {
    let ascii = text.nfkd().filter(char::is_ascii_alphanumeric);
    ascii.map(|c| c.to_ascii_lowercase()).collect()
}

/// Edit distance over the number of characters of the longer text, 0..=1; 0 for two empty texts.
pub fn normalized_edit_distance(a: &str, b: &str) -> f64 {
    1.0 - strsim::normalized_levenshtein(a, b)
}

/// When a recognition result counts as right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Correctness {
    /// By the published protocol: letter case and everything but 0-9 and a-z aside.
    #[default]
    Protocol,
    /// Only if it is the label.
    Exact,
    /// If a rule makes it equal to the label.
    Unicode(UnicodeRule),
}

impl Correctness {
    /// Whether a text is what the label says; `None` if the label does not count.
    pub fn judge(self, label: &str, text: &str) -> Option<bool> {
        match self {
            Correctness::Exact => Some(label == text),
            Correctness::Unicode(rule) => Some(rule.normalized(label) == rule.normalized(text)),
            Correctness::Protocol => {
                protocol_label(label).map(|label| label == protocol_text(text))
            }
        }
    }
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Bin {
    /// Results in it.
    pub count: usize,
    /// How many of them are right.
    pub right: usize,
    /// The mean of their confidences (0..=1); 0 if there are none.
    pub mean_confidence: f64,
}

impl Bin {
    /// The share of right results (0..=1); 0 if there are none.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right, self.count)
    }
}

/// Sorts results, each with its confidence (0..=1) and whether it is right, into bins of equal
/// width over the confidence.
pub fn reliability(recognitions: &[(f32, bool)], bins: usize) -> Vec<Bin> {
    let mut found = vec![Bin::default(); bins.max(1)];
    for &(confidence, right) in recognitions {
        let at = ((f64::from(confidence) * found.len() as f64) as usize).min(found.len() - 1);
        found[at].count += 1;
        found[at].right += usize::from(right);
        found[at].mean_confidence += f64::from(confidence);
    }
    for bin in &mut found {
        bin.mean_confidence /= bin.count.max(1) as f64;
    }
    found
}

/// Expected calibration error, 0..=1: the mean over the results of |accuracy - mean confidence| of
/// their bin (Guo et al., "On Calibration of Modern Neural Networks", section 2). The published
/// choice is 15 bins.
pub fn expected_calibration_error(recognitions: &[(f32, bool)], bins: usize) -> f64 {
    let gaps = reliability(recognitions, bins)
        .into_iter()
        .map(|bin| bin.count as f64 * (bin.accuracy() - bin.mean_confidence).abs());
    gaps.sum::<f64>() / recognitions.len().max(1) as f64
}

/// Bins of the expected calibration error in [`Metrics`].
pub const CALIBRATION_BINS: usize = 15;

/// Accumulates the results of a data set; [`Accumulator::metrics`] gives the figures.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    correctness: Correctness,
    rule: UnicodeRule,
    images: usize,
    words: usize,
    right_words: usize,
    exact: usize,
    exact_lines: usize,
    /// Summed over the lines.
    errors: LineErrors,
    similarity: f64,
    confidence: f64,
    judged: Vec<(f32, bool)>,
    time: Duration,
}

impl Accumulator {
    /// Without results. Calibration is judged by the given correctness, and lines by its rule, if it
    /// has one, or by the default one.
    pub fn new(correctness: Correctness) -> Self {
        let rule = match correctness {
            Correctness::Unicode(rule) => rule,
            _ => UnicodeRule::default(),
        };
        Accumulator { correctness, rule, ..Accumulator::default() }
    }

    /// The same with another rule for lines.
    pub fn with_rule(self, rule: UnicodeRule) -> Self {
        Accumulator { rule, ..self }
    }

    /// Adds the result of one crop: its label, the text found, the confidence (0..=1), and the time it
    /// took.
    pub fn add(&mut self, label: &str, text: &str, confidence: f32, time: Duration) {
        self.images += 1;
        if let Some(right) = Correctness::Protocol.judge(label, text) {
            self.words += 1;
            self.right_words += usize::from(right);
        }
        self.exact += usize::from(label == text);
        let LineErrors { characters, distance, label_spaces, text_spaces, right_spaces } =
            self.rule.compare(label, text);
        self.exact_lines += usize::from(distance == 0);
        self.errors.characters += characters;
        self.errors.distance += distance;
        self.errors.label_spaces += label_spaces;
        self.errors.text_spaces += text_spaces;
        self.errors.right_spaces += right_spaces;
        self.similarity += 1.0 - normalized_edit_distance(label, text);
        self.confidence += f64::from(confidence);
        if let Some(right) = self.correctness.judge(label, text) {
            self.judged.push((confidence, right));
        }
        self.time += time;
    }

    /// The confidence of every result that counts, and whether it is right.
    pub fn judged(&self) -> &[(f32, bool)] {
        &self.judged
    }

    /// The figures; without results they are 0.
    pub fn metrics(&self) -> Metrics {
        let images = self.images.max(1) as f64;
        let LineErrors { label_spaces, text_spaces, right_spaces, .. } = self.errors;
        let spaces = label_spaces + text_spaces;
        Metrics {
            images: self.images,
            words: self.words,
            word_accuracy: ratio(self.right_words, self.words),
            exact_accuracy: ratio(self.exact, self.images),
            similarity: self.similarity / images,
            mean_confidence: self.confidence / images,
            calibration_error: expected_calibration_error(&self.judged, CALIBRATION_BINS),
            milliseconds: self.time.as_secs_f64() * 1e3 / images,
            line_accuracy: ratio(self.exact_lines, self.images),
            character_error_rate: ratio(self.errors.distance, self.errors.characters),
            space_f1: (spaces > 0).then(|| ratio(2 * right_spaces, spaces)),
        }
    }
}

/// The quality of the results of a data set.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Crops that were recognised.
    pub images: usize,
    /// Those that the published protocol counts.
    pub words: usize,
    /// The share (0..=1) of right words among the latter, by the published protocol.
    pub word_accuracy: f64,
    /// The share (0..=1) of crops whose text equals the label.
    pub exact_accuracy: f64,
    /// 1 minus the normalised edit distance between text and label, mean over the crops.
    pub similarity: f64,
    /// Mean confidence (0..=1) of the crops.
    pub mean_confidence: f64,
    /// Expected calibration error (0..=1).
    pub calibration_error: f64,
    /// Mean time of a crop, in milliseconds.
    pub milliseconds: f64,
    /// The share (0..=1) of crops whose text equals the label by the [`UnicodeRule`].
    #[serde(default)]
    pub line_accuracy: f64,
    /// Edits by the [`UnicodeRule`] over the characters of the labels, both summed over the crops;
    /// above 1 if the texts are far longer.
    #[serde(default)]
    pub character_error_rate: f64,
    /// The harmonic mean (0..=1) of the precision and the recall of spaces
    /// ([`LineErrors::right_spaces`]); `None` if neither labels nor texts have any, or spaces do not
    /// count.
    #[serde(default)]
    pub space_f1: Option<f64>,
}

impl Metrics {
    /// The unweighted mean over data sets, as published averages are; `images` and `words` are
    /// sums, and `space_f1` is that of the sets which have one. `None` if there are no sets.
    pub fn average(sets: &[Metrics]) -> Option<Metrics> {
        let count = sets.len() as f64;
        let mean = |value: fn(&Metrics) -> f64| sets.iter().map(value).sum::<f64>() / count;
        let f1: Vec<f64> = sets.iter().filter_map(|set| set.space_f1).collect();
        (!sets.is_empty()).then(|| Metrics {
            images: sets.iter().map(|set| set.images).sum(),
            words: sets.iter().map(|set| set.words).sum(),
            word_accuracy: mean(|set| set.word_accuracy),
            exact_accuracy: mean(|set| set.exact_accuracy),
            similarity: mean(|set| set.similarity),
            mean_confidence: mean(|set| set.mean_confidence),
            calibration_error: mean(|set| set.calibration_error),
            milliseconds: mean(|set| set.milliseconds),
            line_accuracy: mean(|set| set.line_accuracy),
            character_error_rate: mean(|set| set.character_error_rate),
            space_f1: (!f1.is_empty()).then(|| f1.iter().sum::<f64>() / f1.len() as f64),
        })
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol() {
        for (label, text, expected) in [
            ("Hotel", "HOTEL", Some(true)),
            ("it's", "its", Some(true)),
            ("Café", "cafe", Some(true)),
            ("ﬁne", "fine", Some(true)),
            ("A B", "ab", Some(true)),
            ("24", "25", Some(false)),
            ("ab", "", Some(false)),
            ("!?", "!?", None),
            ("", "", None),
            ("漢字", "漢字", None),
            // 25 characters count, 26 do not; spaces are not counted, punctuation is.
            ("abcdefghijklmnopqrstuvwxy", "abcdefghijklmnopqrstuvwxy", Some(true)),
            ("abcdefghijklm nopqrstuvwxy", "abcdefghijklmnopqrstuvwxy", Some(true)),
            ("abcdefghijklm-nopqrstuvwxy", "abcdefghijklmnopqrstuvwxy", None),
            ("éééééééééééééééééééééééééé", "x", None),
        ] {
            assert_eq!(Correctness::Protocol.judge(label, text), expected, "{label:?} {text:?}");
            assert_eq!(Correctness::Exact.judge(label, text), Some(label == text));
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0.0), ("a", "", 1.0), ("kitten", "sitting", 3.0 / 7.0), ("é", "e", 1.0)]
        {
            assert!((normalized_edit_distance(a, b) - expected).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn calibration() {
        // Ten at 0.8 of which seven are right, ten at 1 of which all are: 0.1 on half of them.
        let recognitions: Vec<(f32, bool)> =
            (0..10).map(|i| (0.8, i < 7)).chain((0..10).map(|_| (1.0, true))).collect();
        assert!((expected_calibration_error(&recognitions, 15) - 0.05).abs() < 1e-6);
        assert_eq!(expected_calibration_error(&[], 15), 0.0);
        let bins = reliability(&recognitions, 10);
        assert_eq!((bins[8].count, bins[8].right, bins[9].count), (10, 7, 10));
    }

    #[test]
    fn lines_of_any_script() {
        let rule = UnicodeRule { fold_punctuation: true, ..UnicodeRule::default() };
        let mut accumulator = Accumulator::new(Correctness::Unicode(rule));
        for (label, text) in
            [("漢字 “ok”", "漢字 \"ok\""), ("Ａ one two", "A onetwo"), ("Straße", "Strase")]
        {
            accumulator.add(label, text, 0.5, Duration::ZERO);
        }
        let metrics = accumulator.metrics();
        assert_eq!(accumulator.judged().iter().filter(|(_, right)| *right).count(), 1);
        assert!((metrics.line_accuracy - 1.0 / 3.0).abs() < 1e-12);
        // One space is lost, and one letter replaced, of 7 + 9 + 6 characters.
        assert!((metrics.character_error_rate - 2.0 / 22.0).abs() < 1e-12, "{metrics:?}");
        // Two of two spaces are right, of three.
        assert_eq!(metrics.space_f1, Some(0.8));
        assert_eq!(Accumulator::default().metrics().space_f1, None);
        let dense = UnicodeRule { spaces: false, ..rule };
        let mut accumulator = Accumulator::new(Correctness::Exact).with_rule(dense);
        accumulator.add("a b", "ab", 0.5, Duration::ZERO);
        let metrics = accumulator.metrics();
        assert_eq!((metrics.line_accuracy, metrics.space_f1), (1.0, None));
        assert_eq!(metrics.exact_accuracy, 0.0);
    }

    #[test]
    fn sums_and_averages() {
        let mut accumulator = Accumulator::new(Correctness::Protocol);
        assert_eq!(accumulator.metrics().word_accuracy, 0.0);
        let time = Duration::from_millis(2);
        accumulator.add("Abc", "abc", 0.5, time);
        accumulator.add("--", "--", 0.75, time);
        let metrics = accumulator.metrics();
        assert_eq!((metrics.images, metrics.words), (2, 1));
        assert_eq!((metrics.word_accuracy, metrics.exact_accuracy), (1.0, 0.5));
        assert!((metrics.similarity - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!((metrics.mean_confidence, metrics.milliseconds), (0.625, 2.0));
        let mean = Metrics::average(&[metrics, Accumulator::default().metrics()]).unwrap();
        assert_eq!((mean.images, mean.word_accuracy, mean.exact_accuracy), (2, 0.5, 0.25));
        assert!(Metrics::average(&[]).is_none());
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(serde_json::from_str::<Metrics>(&json).unwrap(), metrics);
    }
}
