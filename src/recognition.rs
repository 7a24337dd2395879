//! The result of recognition: the text, its confidence, and where its characters lie.

use std::ops::Range;

use crate::charset::{Charset, compose, composed};
use crate::crop::Rotation;
use crate::decode::{Calibrated, Decoder, ForwardBackward, align, text_log_probability};
use crate::emissions::Emissions;
use crate::error::Result;
use crate::geometry::{Point, Quad, Rect};
use crate::locate::{Evidence, locate};
use crate::resize::{ResizedCrop, TargetSize};

/// The result of recognition.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Recognition {
    /// The text, in Unicode's composed form (NFC); it may be empty.
    pub text: String,
    /// The reference implementation's score, 0..=1: the mean probability of the characters at
    /// their first frames; 0 for an empty text.
    pub score: f32,
    /// The natural-log probability of the text, summed over all of its alignments; `-inf` if the
    /// decoder found no text that fits (then the text is empty). The empty text has the probability
    /// that all frames are blank.
    #[cfg_attr(feature = "serde", serde(with = "minus_infinity"))]
    pub log_prob: f64,
    /// The probability (0..=1) that the text is right: its probability at the weights' temperature
    /// ([`Decoder::confidence`](crate::decode::Decoder::confidence)). Calibrated if the weights are.
    /// Where symbols are forbidden, [`Decoder::renormalize`](crate::decode::Decoder::renormalize)
    /// says among which texts.
    pub confidence: f32,
    /// The characters, in reading order; their symbols together are the text.
    pub chars: Vec<Character>,
    /// The texts that the decoder ranks next, best first; none after greedy decoding.
    pub alternatives: Vec<Alternative>,
    /// The size that the crop was resized to.
    pub size: TargetSize,
    /// How the crop was turned before recognition.
    pub rotation: Rotation,
    /// Whether the crop shows two lines of text or more, one above the other: the text is then of
    /// no use. Cut such a crop into its lines.
    #[cfg_attr(feature = "serde", serde(default))]
    pub several_lines: bool,
}

/// Another text that the decoder found.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Alternative {
    /// The text.
    pub text: String,
    /// The natural-log probability of the text in the beam
    /// ([`Hypothesis::log_prob`](crate::decode::Hypothesis::log_prob)).
    pub log_prob: f64,
    /// What the texts are ranked by ([`Hypothesis::score`](crate::decode::Hypothesis::score)).
    pub score: f64,
}

/// A character of a [`Recognition`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Character {
    /// The charset's entry, of one or more code points; where the text composes several (a letter and
    /// an accent), these as one character in NFC, with the smallest of their scores and confidences.
    pub symbol: String,
    /// Its probability (0..=1) at the first of its frames.
    pub score: f32,
    /// The probability (0..=1) that the character is right: that of the text among all texts with
    /// any other character, or none, in its place ([`ForwardBackward::posterior`]), at the weights'
    /// temperature. Calibrated if the weights are.
    pub confidence: f32,
    /// Its frames in the most probable alignment; never empty.
    pub frames: Range<usize>,
    /// The upright rectangle around it, in pixels of the crop as it was given (resizing and
    /// rotation undone): around the ink where the crop shows two colours, the gap for a space,
    /// estimated from the network's output elsewhere (textures). It is never empty.
    pub bounds: Rect,
    /// The same along the line of text, for text that is slanted or curved; the first corner is
    /// the character's own upper left. It equals `bounds` where the text is level. Along the line,
    /// the left edges of a text's characters ascend, and so do the right ones.
    pub quad: Quad,
}

/// Characters whose symbols together are the text in NFC: those that compose become one.
fn in_composed_form(chars: Vec<Character>) -> Vec<Character> {
    let symbols: Vec<&str> = chars.iter().map(|character| character.symbol.as_str()).collect();
    let characters = compose(&symbols);
    let mut chars = chars.into_iter();
    let join = |(symbol, places): (String, Range<usize>)| {
        let parts = chars.by_ref().take(places.len());
        let joined = parts.reduce(|a, b| Character {
            symbol: String::new(),
            score: a.score.min(b.score),
            confidence: a.confidence.min(b.confidence),
            frames: a.frames.start..b.frames.end,
            bounds: Rect::new(
                a.bounds.x0.min(b.bounds.x0),
                a.bounds.y0.min(b.bounds.y0),
                a.bounds.x1.max(b.bounds.x1),
                a.bounds.y1.max(b.bounds.y1),
            ),
            quad: Quad([a.quad.0[0], b.quad.0[1], b.quad.0[2], a.quad.0[3]]),
        });
        joined.map(|joined| Character { symbol, ..joined })
    };
    characters.into_iter().filter_map(join).collect()
}

/// A point of a turned crop in pixels of the crop as it was given, whose size is `source`.
fn turned_back(point: Point, rotation: Rotation, source: (f32, f32)) -> Point {
    match rotation {
        Rotation::None => point,
        // The turned crop's left edge was on top, its upper edge on the right.
        Rotation::CounterClockwise => Point::new(source.0 - point.y, point.x),
        // The turned crop's left edge was at the bottom, its upper edge on the left.
        Rotation::Clockwise => Point::new(point.y, source.1 - point.x),
        Rotation::HalfTurn => Point::new(source.0 - point.x, source.1 - point.y),
    }
}

impl Recognition {
    pub(crate) fn new(
        crop: &ResizedCrop,
        emissions: &Emissions,
        decoder: &Decoder,
        charset: &Charset,
        temperature: f32,
    ) -> Result<Self> {
        charset.check_classes(emissions.log_probs.classes())?;
        let log_probs = decoder.restrict(&emissions.log_probs)?;
        let spell = |text: &[usize]| -> String {
            composed(text.iter().filter_map(|&class| charset.symbol(class)).collect())
        };
        let mut found = decoder.decode_restricted(&log_probs)?.into_iter();
        let best = found.next();
        let text = best.as_ref().map(|best| best.text.as_slice()).unwrap_or_default();
        let mut recognition = Recognition {
            text: spell(text),
            score: 0.0,
            log_prob: f64::NEG_INFINITY,
            confidence: 0.0,
            chars: Vec::new(),
            alternatives: found
                .map(|next| Alternative {
                    text: spell(&next.text),
                    log_prob: next.log_prob,
                    score: next.score,
                })
                .collect(),
            size: crop.size,
            rotation: crop.rotation,
            several_lines: false,
        };
        let alignment = best.as_ref().and_then(|_| align(&log_probs, text));
        let calibrated = Calibrated::new(log_probs.clone(), temperature)?;
        let (Some(frames), Some(sums)) = (alignment, ForwardBackward::calibrated(calibrated, text))
        else {
            return Ok(recognition);
        };
        recognition.log_prob = text_log_probability(&log_probs, text);
        recognition.confidence = (sums.log_probability().exp() as f32).clamp(0.0, 1.0);
        let source = (crop.source_size.0 as f32, crop.source_size.1 as f32);
        let turned = match crop.rotation {
            Rotation::None | Rotation::HalfTurn => source,
            Rotation::CounterClockwise | Rotation::Clockwise => (source.1, source.0),
        };
        let symbols: Vec<&str> =
            text.iter().map(|&class| charset.symbol(class).unwrap_or_default()).collect();
        let evidence = Evidence {
            symbols: &symbols,
            frames: &frames,
            frame_count: emissions.log_probs.frames(),
            attention: Some(&emissions.attention),
        };
        let places = locate(evidence, crop, turned);
        let back = |quad: Quad| Quad(quad.0.map(|p| turned_back(p, crop.rotation, source)));
        let chars = text.iter().zip(frames).zip(places).enumerate();
        recognition.chars = chars
            .map(|(index, ((&class, frames), place))| Character {
                symbol: charset.symbol(class).unwrap_or_default().to_owned(),
                score: log_probs.probability(frames.start, class),
                confidence: sums.posterior(index).unwrap_or(0.0) as f32,
                frames,
                bounds: back(place.bounds.into()).bounding_rect(),
                quad: back(place.quad),
            })
            .collect();
        if !recognition.chars.is_empty() {
            let sum: f32 = recognition.chars.iter().map(|c| c.score).sum();
            recognition.score = sum / recognition.chars.len() as f32;
        }
        recognition.chars = in_composed_form(recognition.chars);
        Ok(recognition)
    }

    /// The same result in other coordinates: every point goes through `map`, for example from a
    /// crop to the page that it was cut from.
    ///
    /// The corners of [`Character::quad`] are mapped. [`Character::bounds`] becomes the upright
    /// rectangle around the mapped character.
    pub fn map_points(mut self, mut map: impl FnMut(Point) -> Point) -> Self {
        for character in &mut self.chars {
            let around = Quad(Quad::from(character.bounds).0.map(&mut map)).bounding_rect();
            character.quad = Quad(character.quad.0.map(&mut map));
            let along = character.quad.bounding_rect();
            // Both hold the character: so does what they share.
            let shared = Rect::new(
                around.x0.max(along.x0),
                around.y0.max(along.y0),
                around.x1.min(along.x1),
                around.y1.min(along.y1),
            );
            let empty = shared.width() <= 0.0 || shared.height() <= 0.0;
            character.bounds = if empty { around } else { shared };
        }
        self
    }
}

/// JSON has no infinities: a log-probability of `-inf` is written as nothing.
#[cfg(feature = "serde")]
mod minus_infinity {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*value).filter(|value| value.is_finite()).serialize(serializer)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NEG_INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::{Crop, PixelFormat};

    #[test]
    fn points_are_turned_back() {
        let mut pixels = [0; 3 * 3 * 5];
        pixels[3 * (3 + 2)..][..3].fill(255);
        let crop = Crop::from_raw(PixelFormat::Rgb8, 3, 5, 3 * 3, &pixels).unwrap();
        for rotation in Rotation::ALL {
            let turned = crop.rotated(rotation);
            let at = turned.rgb().iter().position(|&sample| sample == 255).unwrap() as u32 / 3;
            let (x, y) = ((at % turned.width()) as f32, (at / turned.width()) as f32);
            let middle = turned_back(Point::new(x + 0.5, y + 0.5), rotation, (3.0, 5.0));
            assert_eq!(middle, Point::new(2.5, 1.5), "{rotation:?}");
        }
    }

    fn recognition() -> Recognition {
        let bounds = Rect::new(1.0, 2.0, 5.0, 10.0);
        let character = Character {
            symbol: "é".into(),
            score: 0.5,
            confidence: 0.75,
            frames: 3..5,
            bounds,
            quad: bounds.into(),
        };
        Recognition {
            text: "é".into(),
            score: 0.5,
            log_prob: -0.25,
            confidence: 0.8,
            chars: vec![character],
            alternatives: vec![Alternative { text: "e".into(), log_prob: -2.0, score: -1.5 }],
            size: TargetSize { height: 32, width: 128 },
            rotation: Rotation::Clockwise,
            several_lines: false,
        }
    }

    #[test]
    fn letters_and_accents_are_one_character() {
        let at = |symbol: &str, frame: usize, confidence: f32| {
            let bounds = Rect::new(frame as f32, 0.0, frame as f32 + 1.0, 8.0);
            let quad = bounds.into();
            let frames = frame..frame + 1;
            Character { symbol: symbol.into(), score: 0.5, confidence, frames, bounds, quad }
        };
        let chars = vec![at("c", 0, 0.9), at("e", 1, 0.8), at("\u{301}", 2, 0.7), at("s", 3, 0.6)];
        let found = in_composed_form(chars.clone());
        let symbols: Vec<&str> = found.iter().map(|c| c.symbol.as_str()).collect();
        assert_eq!(symbols, ["c", "é", "s"]);
        assert_eq!((&found[0], &found[2]), (&chars[0], &chars[3]));
        assert_eq!((found[1].frames.clone(), found[1].confidence), (1..3, 0.7));
        assert_eq!(found[1].bounds, Rect::new(1.0, 0.0, 3.0, 8.0));
        assert_eq!(found[1].quad, found[1].bounds.into());
    }

    #[test]
    fn points_are_mapped() {
        let moved = recognition().map_points(|p| Point::new(p.x + 10.0, 2.0 * p.y));
        assert_eq!(moved.chars[0].bounds, Rect::new(11.0, 4.0, 15.0, 20.0));
        assert_eq!(moved.chars[0].quad, Rect::new(11.0, 4.0, 15.0, 20.0).into());
        // A quarter turn: the first corner stays the character's own.
        let turned = recognition().map_points(|p| Point::new(-p.y, p.x));
        assert_eq!(turned.chars[0].bounds, Rect::new(-10.0, 1.0, -2.0, 5.0));
        assert_eq!(turned.chars[0].quad.0[0], Point::new(-2.0, 1.0));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn results_survive_serde() {
        let mut nothing = recognition();
        (nothing.text, nothing.chars) = (String::new(), Vec::new());
        for result in [recognition(), nothing] {
            let json = serde_json::to_string(&result).unwrap();
            assert_eq!(serde_json::from_str::<Recognition>(&json).unwrap(), result);
        }
        // Without any text that fits, the log-probability is -inf, which JSON cannot hold.
        let impossible = Recognition { log_prob: f64::NEG_INFINITY, ..recognition() };
        let json = serde_json::to_string(&impossible).unwrap();
        assert!(json.contains("\"log_prob\":null"));
        assert_eq!(serde_json::from_str::<Recognition>(&json).unwrap(), impossible);
    }
}
