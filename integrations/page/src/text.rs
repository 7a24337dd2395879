//! The text of a page: lines in reading order, with their words.

use serde::{Deserialize, Serialize};
use svtrv2::{Quad, Rect};

/// The text of a page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PageText {
    /// The page's width in pixels.
    pub width: u32,
    /// The page's height in pixels.
    pub height: u32,
    /// The direction of most of the text in degrees, clockwise, -180 to 180: 0 for an upright page, 90 for
    /// text that runs downwards, 180 for a page that stands on its head.
    pub angle: f32,
    /// The lines in reading order: columns one after the other, from the left; inside a column row by row.
    pub lines: Vec<Line>,
    /// How many boxes of the detector gave no line: without text, of a score below
    /// [`ReaderOptions::min_score`](crate::ReaderOptions::min_score), or of a shape that cannot be cropped.
    pub dropped: usize,
}

/// A line of text, or a part of one: what stands without wide gaps in one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// The text; never empty.
    pub text: String,
    /// The probability (0..=1) that all of the text is right, as of
    /// [`Recognition::confidence`](svtrv2::Recognition::confidence).
    pub confidence: f32,
    /// The mean probability (0..=1) of its characters.
    pub score: f32,
    /// The rectangle around the line in pixels of the page; the first corner is the text's own upper left.
    pub quad: Quad,
    /// The block that the line belongs to, from 0, ascending: lines of a column without a wide gap above
    /// them.
    pub block: usize,
    /// The row of the block that the line stands in, from 0, ascending: several lines, from the left, in
    /// tables and forms.
    pub row: usize,
    /// The words; they make the text, apart from the spaces.
    pub words: Vec<Word>,
}

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Word {
    /// The text, without spaces; never empty.
    pub text: String,
    /// The probability (0..=1) that the word is right.
    pub confidence: f32,
    /// The upright rectangle around it in pixels of the page.
    pub bounds: Rect,
    /// The same along the line; the first corner is the word's own upper left.
    pub quad: Quad,
}

impl PageText {
    /// The text: a row a line, parts of a row separated by tabs, blocks by empty lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut before: Option<&Line> = None;
        for line in &self.lines {
            match before {
                Some(before) if before.block != line.block => text.push_str("\n\n"),
                Some(before) if before.row != line.row => text.push('\n'),
                Some(_) => text.push('\t'),
                None => {}
            }
            text.push_str(&line.text);
            before = Some(line);
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    /// The lines of each block, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &[Line]> {
        self.lines.chunk_by(|a, b| a.block == b.block)
    }
}

impl Line {
    /// The smallest upright rectangle around the words: `quad`, which the detector grows by a margin, reaches into
    /// neighbouring lines of dense print.
    pub fn bounds(&self) -> Rect {
        let words = self.words.iter().map(|word| word.bounds);
        words.reduce(|a, b| a.union(&b)).unwrap_or_else(|| self.quad.bounding_rect())
    }
}

/// The upright rectangle around rectangles; empty without any.
#[cfg(feature = "documents")]
pub(crate) fn around(bounds: impl IntoIterator<Item = Rect>) -> Rect {
    bounds.into_iter().reduce(|a, b| a.union(&b)).unwrap_or_default()
}
