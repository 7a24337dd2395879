//! What JavaScript gets, as JSON.

use std::ops::Range;

use serde::Serialize;
use svtrv2::{Alternative, Character, Point, Quad, Recognition, Rect, Rotation, Word};

/// The result of recognition.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recognized {
    text: String,
    confidence: f32,
    score: f32,
    /// Nothing if no text fits.
    log_prob: Option<f64>,
    characters: Vec<Letter>,
    words: Vec<PlacedWord>,
    alternatives: Vec<Other>,
    /// By how many degrees the crop was turned clockwise before recognition: 0, 90, -90 or 180.
    turned: i32,
}

#[derive(Serialize)]
struct Letter {
    symbol: String,
    confidence: f32,
    score: f32,
    bounds: Bounds,
    quad: [[f32; 2]; 4],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlacedWord {
    text: String,
    confidence: f32,
    bounds: Bounds,
    quad: [[f32; 2]; 4],
    /// The first of the characters, and the one after the last.
    characters: [usize; 2],
    follows_gap: bool,
}

#[derive(Serialize)]
struct Bounds {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Other {
    text: String,
    log_prob: f64,
    score: f64,
}

/// A line that the detector found.
#[derive(Serialize)]
pub(crate) struct FoundLine {
    quad: [[f32; 2]; 4],
    outline: Vec<[f32; 2]>,
    score: f32,
}

impl From<svtrv2_page::TextBox> for FoundLine {
    fn from(found: svtrv2_page::TextBox) -> Self {
        let outline = found.outline.iter().map(|&Point { x, y }| [x, y]).collect();
        FoundLine { quad: corners(found.quad), outline, score: found.score }
    }
}

/// The result for a region, or why there is none.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Recognized(Box<Recognized>),
    Failed { error: String },
}

impl Recognized {
    pub(crate) fn new(found: Recognition, words_by_gaps: bool) -> Self {
        let words = match words_by_gaps {
            true => found.words_by_gaps(Recognition::WORD_GAP),
            false => found.words(),
        };
        Recognized {
            words: words.into_iter().map(PlacedWord::from).collect(),
            text: found.text,
            confidence: found.confidence,
            score: found.score,
            log_prob: Some(found.log_prob).filter(|log_prob| log_prob.is_finite()),
            characters: found.chars.into_iter().map(Letter::from).collect(),
            alternatives: found.alternatives.into_iter().map(Other::from).collect(),
            turned: match found.rotation {
                Rotation::Clockwise => 90,
                Rotation::CounterClockwise => -90,
                Rotation::HalfTurn => 180,
                Rotation::None => 0,
            },
        }
    }
}

impl From<Character> for Letter {
    fn from(found: Character) -> Self {
        Letter {
            symbol: found.symbol,
            confidence: found.confidence,
            score: found.score,
            bounds: found.bounds.into(),
            quad: corners(found.quad),
        }
    }
}

impl From<Word> for PlacedWord {
    fn from(found: Word) -> Self {
        let Range { start, end } = found.chars;
        PlacedWord {
            text: found.text,
            confidence: found.confidence,
            bounds: found.bounds.into(),
            quad: corners(found.quad),
            characters: [start, end],
            follows_gap: found.follows_gap,
        }
    }
}

impl From<Rect> for Bounds {
    fn from(bounds: Rect) -> Self {
        Bounds { x: bounds.x0, y: bounds.y0, width: bounds.width(), height: bounds.height() }
    }
}

fn corners(quad: Quad) -> [[f32; 2]; 4] {
    quad.0.map(|Point { x, y }| [x, y])
}

impl From<Alternative> for Other {
    fn from(found: Alternative) -> Self {
        Other { text: found.text, log_prob: found.log_prob, score: found.score }
    }
}

impl Outcome {
    pub(crate) fn new(result: svtrv2::Result<Recognition>, words_by_gaps: bool) -> Self {
        match result {
            Ok(found) => Outcome::Recognized(Box::new(Recognized::new(found, words_by_gaps))),
            Err(error) => Outcome::Failed { error: error.report().to_string() },
        }
    }
}
