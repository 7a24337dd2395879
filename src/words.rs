//! The words of a line: runs of characters between spaces, or between wide gaps.

use std::ops::Range;

use crate::geometry::{Point, Quad, Rect};
use crate::recognition::{Character, Recognition};

/// A word of a [`Recognition`].
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Word {
    /// The text, without spaces; never empty.
    pub text: String,
    /// The probability (0..=1) that the word is right: the product of its characters'
    /// [`confidence`](Character::confidence); that of the whole text if it is the only word.
    pub confidence: f32,
    /// The upright rectangle around its characters, in the same pixels as
    /// [`Character::bounds`].
    pub bounds: Rect,
    /// The same along the line of text; the first corner is the word's own upper left.
    pub quad: Quad,
    /// Which of [`Recognition::chars`] it consists of; never empty.
    pub chars: Range<usize>,
    /// False if a space, or the start of the text, comes before it. True if there is only a gap,
    /// which [`Recognition::words_by_gaps`] took for one.
    pub follows_gap: bool,
}

impl Recognition {
    /// The gap that separates words in [`Recognition::words_by_gaps`], in median advances: the value
    /// with the most words right on rendered lines.
    pub const WORD_GAP: f32 = 0.4;

    /// The words of the text, in reading order: runs of characters between spaces (any white space).
    ///
    /// A network without a space symbol gives one word; see [`Recognition::words_by_gaps`].
    ///
    /// ```no_run
    /// # let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
    /// for word in recognizer.recognize(svtrv2::Crop::open("line.png")?)?.words() {
    ///     println!("{} {:.2} {:?}", word.text, word.confidence, word.bounds);
    /// }
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    pub fn words(&self) -> Vec<Word> {
        self.split(|_| false)
    }

    /// The words of the text, separated by spaces and also by gaps between characters that are at
    /// least `min_gap` times as wide as the line's median advance (from the middle of a character to
    /// that of the next); [`Recognition::WORD_GAP`] fits printed text. For networks without a space
    /// symbol: an estimate, marked by [`Word::follows_gap`]. A `min_gap` that is NaN separates
    /// nothing.
    pub fn words_by_gaps(&self, min_gap: f32) -> Vec<Word> {
        let Some(axis) = Axis::of(&self.chars) else { return Vec::new() };
        let mut advances: Vec<f32> =
            self.chars.windows(2).map(|pair| axis.advance(&pair[0], &pair[1])).collect();
        advances.sort_by(f32::total_cmp);
        let median = advances.get(advances.len() / 2).copied().unwrap_or(0.0);
        self.split(|index| {
            let pair = index.checked_sub(1).map(|before| (&self.chars[before], &self.chars[index]));
            pair.is_some_and(|(before, next)| axis.gap(before, next) >= min_gap * median)
        })
    }

    /// Words that end before spaces, and before the characters of which `is_gap` says that a gap is
    /// before them.
    fn split(&self, is_gap: impl Fn(usize) -> bool) -> Vec<Word> {
        let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
        for (index, character) in self.chars.iter().enumerate() {
            if character.is_space() {
                continue;
            }
            let continued = runs.last_mut().filter(|(run, _)| run.end == index);
            match continued {
                Some((run, _)) if !is_gap(index) => run.end += 1,
                Some(_) => runs.push((index..index + 1, true)),
                None => runs.push((index..index + 1, false)),
            }
        }
        let is_only = runs.len() == 1;
        let word = |(run, follows_gap): (Range<usize>, bool)| {
            let own = &self.chars[run.clone()];
            let product: f32 = own.iter().map(|character| character.confidence).product();
            Word {
                text: own.iter().map(|character| character.symbol.as_str()).collect(),
                confidence: if is_only { self.confidence } else { product },
                bounds: around(own),
                quad: along(own),
                chars: run,
                follows_gap,
            }
        };
        runs.into_iter().map(word).collect()
    }
}

impl Character {
    /// True if the symbol is white space.
    pub fn is_space(&self) -> bool {
        !self.symbol.is_empty() && self.symbol.chars().all(char::is_whitespace)
    }
}

/// The direction of a text.
#[derive(Debug, Clone, Copy)]
struct Axis {
    dx: f32,
    dy: f32,
}

impl Axis {
    /// The mean direction of the upper edges of some characters; `None` without characters.
    fn of(chars: &[Character]) -> Option<Self> {
        let edges = chars.iter().map(|character| {
            let [left, right, lower_right, lower_left] = character.quad.0;
            (
                right.x - left.x + lower_right.x - lower_left.x,
                right.y - left.y + lower_right.y - lower_left.y,
            )
        });
        let (dx, dy) = edges.reduce(|sum, edge| (sum.0 + edge.0, sum.1 + edge.1))?;
        let length = dx.hypot(dy);
        let has_direction = length > 0.0 && length.is_finite();
        Some(if has_direction {
            Axis { dx: dx / length, dy: dy / length }
        } else {
            Axis { dx: 1.0, dy: 0.0 }
        })
    }

    /// Coordinates along the direction and across it, positive below.
    fn place(self, point: Point) -> (f32, f32) {
        (point.x * self.dx + point.y * self.dy, point.y * self.dx - point.x * self.dy)
    }

    /// From the middle of a character to that of the next.
    fn advance(self, before: &Character, next: &Character) -> f32 {
        before.quad.center().distance(next.quad.center())
    }

    /// From the right edge of a character to the left one of the next, along the direction from one
    /// to the other; negative where they overlap.
    fn gap(self, before: &Character, next: &Character) -> f32 {
        let (from, to) = (before.quad.center(), next.quad.center());
        let length = from.distance(to);
        let axis = if length > 0.0 {
            Axis { dx: (to.x - from.x) / length, dy: (to.y - from.y) / length }
        } else {
            self
        };
        let last = before
            .quad
            .0
            .map(|corner| axis.place(corner).0)
            .into_iter()
            .fold(f32::NEG_INFINITY, f32::max);
        let first = next
            .quad
            .0
            .map(|corner| axis.place(corner).0)
            .into_iter()
            .fold(f32::INFINITY, f32::min);
        first - last
    }
}

/// The upright rectangle around characters.
fn around(chars: &[Character]) -> Rect {
    let bounds = chars.iter().map(|character| character.bounds);
    bounds.reduce(|a, b| a.union(&b)).unwrap_or_default()
}

/// The rectangle along the direction of characters, around all of them.
fn along(chars: &[Character]) -> Quad {
    let Some(axis) = Axis::of(chars) else { return Quad::default() };
    let corners =
        chars.iter().flat_map(|character| character.quad.0).map(|corner| axis.place(corner));
    let around =
        corners.map(|(u, v)| Rect::new(u, v, u, v)).reduce(|a, b| a.union(&b)).unwrap_or_default();
    let back = |p: Point| Point::new(p.x * axis.dx - p.y * axis.dy, p.x * axis.dy + p.y * axis.dx);
    Quad(Quad::from(around).0.map(back))
}
