//! What JavaScript gets, as JSON.

use serde::Serialize;
use svtrv2::{Alternative, Character, Point, Recognition, Rotation};

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
    alternatives: Vec<Other>,
    /// By how many degrees the crop was turned clockwise before recognition: 0, 90 or -90.
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

/// The result for a region, or why there is none.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Recognized(Box<Recognized>),
    Failed { error: String },
}

impl From<Recognition> for Recognized {
    fn from(found: Recognition) -> Self {
        Recognized {
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
        let bounds = found.bounds;
        Letter {
            symbol: found.symbol,
            confidence: found.confidence,
            score: found.score,
            bounds: Bounds {
                x: bounds.x0,
                y: bounds.y0,
                width: bounds.width(),
                height: bounds.height(),
            },
            quad: found.quad.0.map(|Point { x, y }| [x, y]),
        }
    }
}

impl From<Alternative> for Other {
    fn from(found: Alternative) -> Self {
        Other { text: found.text, log_prob: found.log_prob, score: found.score }
    }
}

impl From<svtrv2::Result<Recognition>> for Outcome {
    fn from(result: svtrv2::Result<Recognition>) -> Self {
        match result {
            Ok(found) => Outcome::Recognized(Box::new(found.into())),
            Err(error) => Outcome::Failed { error: error.to_string() },
        }
    }
}
