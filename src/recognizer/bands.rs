//! Whether a crop shows several lines of text, one above the other.
//!
//! Connected pieces of ink lie above or below a horizontal cut, but for a few that cross it. If such a
//! cut exists, and on either side of it several pieces as high as their side make up most of the ink,
//! and both sides lie above each other over most of their width, they are lines of text. Dots,
//! accents, underlines, signs such as `=` and curved words are not. A side with little ink has to look
//! like one word: letters beside each other, nearly as high as those of the other side.

use std::ops::Range;

use crate::crop::Rotation;
use crate::resize::ResizedCrop;

/// The smallest contrast, in steps of an 8-bit sample.
const MIN_CONTRAST: u8 = 32;

/// Pixels of the smallest piece of ink: less is noise.
const MIN_PIXELS: usize = 3;

/// Ink that hangs together with the crop's edges, as a share of all, at most: more is a border.
const MAX_EDGE: f32 = 0.3;

/// A piece at the upper or the lower edge that is wider than this times its height is no letter.
const EDGE_ASPECT: f32 = 1.5;

/// Where the cut may lie, as a share of the crop's height.
const CUT: Range<f32> = 0.3..0.7;

/// A piece crosses the cut if this share of its height or more lies on either side.
const CROSSING: f32 = 0.25;

/// The share of the ink that crosses the cut, at most.
const MAX_CROSSING: f32 = 0.25;

/// The share of the ink on either side, at least.
const MIN_SIDE: f32 = 0.25;

/// The same for a side that is one short word: less is noise, or marks above or below letters.
const MIN_WORD: f32 = 0.04;

/// The ink that crosses the cut beside a short word, as a share of all, at most.
const MAX_WORD_CROSSING: f32 = 0.05;

/// The letters of the line above or below a short word, at least.
const MIN_OTHER_LETTERS: usize = 3;

/// A short word's height and its columns over those of the other side.
const MIN_WORD_HEIGHT: f32 = 0.6;
const MAX_WORD_COLUMNS: f32 = 0.8;

/// The share of a short word's ink in letters, at least.
const MIN_WORD_LETTER_INK: f32 = 0.85;

/// The widest gap between the letters of a short word, in heights.
const MAX_WORD_GAP: f32 = 0.6;

/// The height of a letter over that of its side, at least.
const MIN_LETTER: f32 = 0.5;

/// Width over height of a letter, or of several that touch, at most.
const MAX_LETTER_ASPECT: f32 = 2.5;

/// The same where the crop was squeezed at least this much, so that the letters of a word touch, for a
/// piece inside the crop that fills less than this share of its bounding box, as no stroke does. It
/// stands for two letters.
const MIN_SQUEEZE: f32 = 1.2;
const MAX_WORD_ASPECT: f32 = 10.0;
const MAX_WORD_FILL: f32 = 0.65;

/// Letters of a side, at least, and the share of its ink that they make up.
const MIN_LETTERS: usize = 2;
const MIN_LETTER_INK: f32 = 0.7;

/// Width over height of a side, at least.
const MIN_ASPECT: f32 = 1.2;

/// The lower side's height over the higher one's, at least.
const MIN_EQUAL: f32 = 0.5;

/// Columns with ink on both sides over those of the side that has fewer, at least.
const MIN_SHARED: f32 = 0.6;

/// Whether a resized crop shows several lines of text.
pub(super) fn shows_several_lines(crop: &ResizedCrop) -> bool {
    let Some(ink) = Ink::new(crop) else {
        return false;
    };
    let pieces = ink.pieces();
    let total = count(&pieces);
    let edge: usize =
        pieces.iter().filter(|piece| ink.is_at_edge(piece)).map(|piece| piece.pixels).sum();
    if edge as f32 > MAX_EDGE * total as f32 {
        return false;
    }
    let height = ink.height as f32;
    let cuts = (CUT.start * height) as usize..=(CUT.end * height) as usize;
    let Some(cut) = cuts.map(|row| Cut::new(row, &pieces)).min_by_key(|cut| cut.crossing) else {
        return false;
    };
    if cut.crossing as f32 > MAX_CROSSING * total as f32 {
        return false;
    }
    let (Some(above), Some(below)) = (ink.line(&cut.above), ink.line(&cut.below)) else {
        return false;
    };
    let columns = |line: &Line| line.columns.iter().filter(|&&filled| filled).count() as f32;
    let shared = above.columns.iter().zip(&below.columns).filter(|(a, b)| **a && **b).count();
    let (weak, strong) =
        if above.pixels < below.pixels { (&above, &below) } else { (&below, &above) };
    let weight = weak.pixels as f32 / total as f32;
    let is_line = weight >= MIN_SIDE;
    let is_word = weight >= MIN_WORD
        && cut.crossing as f32 <= MAX_WORD_CROSSING * total as f32
        && weak.height as f32 >= MIN_WORD_HEIGHT * strong.height as f32
        && strong.letters >= MIN_OTHER_LETTERS
        && columns(weak) <= MAX_WORD_COLUMNS * columns(strong)
        && weak.letter_pixels as f32 >= MIN_WORD_LETTER_INK * weak.pixels as f32
        && weak.widest_gap <= MAX_WORD_GAP;
    let (lower, higher) =
        (above.height.min(below.height) as f32, above.height.max(below.height) as f32);
    let fewer = columns(&above).min(columns(&below));
    (is_line || is_word) && lower >= MIN_EQUAL * higher && shared as f32 >= MIN_SHARED * fewer
}

/// Ink that hangs together, with its bounding box.
#[derive(Debug, Clone)]
struct Piece {
    rows: Range<usize>,
    columns: Range<usize>,
    pixels: usize,
}

fn count<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> usize {
    pieces.into_iter().map(|piece| piece.pixels).sum()
}

/// The pieces on either side of a row.
struct Cut<'a> {
    above: Vec<&'a Piece>,
    below: Vec<&'a Piece>,
    /// Pixels of those that lie on both.
    crossing: usize,
}

impl<'a> Cut<'a> {
    fn new(row: usize, pieces: &'a [Piece]) -> Self {
        let mut cut = Cut { above: Vec::new(), below: Vec::new(), crossing: 0 };
        for piece in pieces {
            let (above, below) =
                (row.saturating_sub(piece.rows.start), piece.rows.end.saturating_sub(row));
            if above.min(below) as f32 > CROSSING * piece.rows.len() as f32 {
                cut.crossing += piece.pixels;
            } else if above >= below {
                cut.above.push(piece);
            } else {
                cut.below.push(piece);
            }
        }
        cut
    }
}

/// One side of a cut that is a line of text.
struct Line {
    height: usize,
    letters: usize,
    /// Its ink, and that of its letters.
    pixels: usize,
    letter_pixels: usize,
    /// The widest gap between two of its letters, in heights.
    widest_gap: f32,
    /// Which columns of the crop it has ink in.
    columns: Vec<bool>,
}

/// Which pixels of a crop are ink.
struct Ink {
    width: usize,
    height: usize,
    /// The width of a pixel over its height, in the crop as it was given.
    aspect: f32,
    /// Row after row.
    ink: Vec<bool>,
}

impl Ink {
    /// Pixels on the rarer side of the middle between dark and light; `None` without contrast.
    fn new(crop: &ResizedCrop) -> Option<Self> {
        let (pixels, _) = crop.rgb.as_chunks::<3>();
        let grey: Vec<u8> = pixels
            .iter()
            .map(|&[r, g, b]| {
                ((77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b)) >> 8) as u8
            })
            .collect();
        let mut counts = [0usize; 256];
        grey.iter().for_each(|&value| counts[usize::from(value)] += 1);
        let (dark, light) = (quantile(&counts, 0.02)?, quantile(&counts, 0.98)?);
        if light - dark < MIN_CONTRAST {
            return None;
        }
        let middle = dark + (light - dark) / 2;
        let dark_count = grey.iter().filter(|&&value| value <= middle).count();
        let ink_is_dark = 2 * dark_count <= grey.len();
        let ink = grey.into_iter().map(|value| (value <= middle) == ink_is_dark).collect();
        let (width, height) = (crop.width as usize, crop.size.height as usize);
        let (across, down) = match crop.rotation {
            Rotation::None | Rotation::HalfTurn => crop.source_size,
            Rotation::CounterClockwise | Rotation::Clockwise => {
                (crop.source_size.1, crop.source_size.0)
            }
        };
        let aspect = (across as f32 / width as f32) / (down.max(1) as f32 / height as f32);
        Some(Ink { width, height, aspect, ink })
    }

    /// The connected pieces, each pixel with its eight neighbours.
    fn pieces(&self) -> Vec<Piece> {
        let mut pending = Vec::new();
        let mut left = self.ink.clone();
        let mut pieces = Vec::new();
        for seed in 0..left.len() {
            if !left[seed] {
                continue;
            }
            left[seed] = false;
            let (x, y) = (seed % self.width, seed / self.width);
            pending.push((x, y));
            let mut piece = Piece { rows: y..y + 1, columns: x..x + 1, pixels: 0 };
            while let Some((x, y)) = pending.pop() {
                piece.pixels += 1;
                piece.rows = piece.rows.start.min(y)..piece.rows.end.max(y + 1);
                piece.columns = piece.columns.start.min(x)..piece.columns.end.max(x + 1);
                for y in y.saturating_sub(1)..(y + 2).min(self.height) {
                    for x in x.saturating_sub(1)..(x + 2).min(self.width) {
                        let next = y * self.width + x;
                        if std::mem::take(&mut left[next]) {
                            pending.push((x, y));
                        }
                    }
                }
            }
            if piece.pixels >= MIN_PIXELS {
                pieces.push(piece);
            }
        }
        pieces
    }

    /// Width over height.
    fn aspect_of(&self, columns: usize, rows: usize) -> f32 {
        columns as f32 * self.aspect / rows.max(1) as f32
    }

    fn is_at_edge(&self, piece: &Piece) -> bool {
        let wide = self.aspect_of(piece.columns.len(), piece.rows.len()) > EDGE_ASPECT;
        piece.columns.start == 0
            || piece.columns.end == self.width
            || wide && (piece.rows.start == 0 || piece.rows.end == self.height)
    }

    /// How many letters a piece stands for, by its shape.
    fn letters(&self, piece: &Piece) -> usize {
        let (columns, rows) = (piece.columns.len(), piece.rows.len());
        let aspect = self.aspect_of(columns, rows);
        let fill = piece.pixels as f32 / (columns * rows) as f32;
        let is_inside = piece.rows.start > 0 && piece.rows.end < self.height;
        if aspect <= MAX_LETTER_ASPECT {
            1
        } else if self.aspect >= MIN_SQUEEZE
            && is_inside
            && aspect <= MAX_WORD_ASPECT
            && fill < MAX_WORD_FILL
        {
            2
        } else {
            0
        }
    }

    /// A side of a cut, if it looks like a line of text.
    fn line(&self, pieces: &[&Piece]) -> Option<Line> {
        let pixels = count(pieces.iter().copied());
        let top = pieces.iter().map(|piece| piece.rows.start).min()?;
        let bottom = pieces.iter().map(|piece| piece.rows.end).max()?;
        let start = pieces.iter().map(|piece| piece.columns.start).min()?;
        let end = pieces.iter().map(|piece| piece.columns.end).max()?;
        let height = bottom - top;
        let high =
            pieces.iter().filter(|piece| piece.rows.len() as f32 >= MIN_LETTER * height as f32);
        let is_letter = |piece: &&&Piece| self.letters(piece) > 0;
        let mut letters: Vec<&Piece> = high.filter(is_letter).copied().collect();
        let letter_pixels = count(letters.iter().copied());
        let letter_count = letters.iter().map(|piece| self.letters(piece)).sum();
        if letter_count < MIN_LETTERS
            || (letter_pixels as f32) < MIN_LETTER_INK * pixels as f32
            || self.aspect_of(end - start, height) < MIN_ASPECT
        {
            return None;
        }
        let mut columns = vec![false; self.width];
        pieces.iter().for_each(|piece| columns[piece.columns.clone()].fill(true));
        letters.sort_by_key(|letter| letter.columns.start);
        let gap = |pair: &[&Piece]| pair[1].columns.start.saturating_sub(pair[0].columns.end);
        let widest_gap = letters.windows(2).map(gap).max().unwrap_or(0);
        let widest_gap = self.aspect_of(widest_gap, height);
        Some(Line { height, letters: letter_count, pixels, letter_pixels, widest_gap, columns })
    }
}

/// The smallest value that at least this share of the counted values does not exceed.
fn quantile(counts: &[usize; 256], share: f64) -> Option<u8> {
    let total: usize = counts.iter().sum();
    let wanted = (share * total as f64) as usize;
    let mut sum = 0;
    let found = counts.iter().position(|&count| {
        sum += count;
        sum > wanted
    });
    found.and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resize::TargetSize;

    /// A crop of 48 x 96 pixels, ink where a character is not a space: each stands for 4 x 4 pixels.
    fn crop(rows: [&str; 12], inverted: bool) -> ResizedCrop {
        let mut rgb = Vec::new();
        for y in 0..48 {
            let row = rows[y / 4].as_bytes();
            for x in 0..96 {
                let ink = row.get(x / 4).is_some_and(|c| *c != b' ');
                rgb.extend([if ink == inverted { 230u8 } else { 20 }; 3]);
            }
        }
        let size = TargetSize { height: 48, width: 96 };
        let rotation = Rotation::None;
        ResizedCrop {
            size,
            width: size.width,
            rgb,
            rotation,
            source_size: (96, 48),
            offset: (0, 0),
        }
    }

    #[test]
    fn lines_of_text() {
        let text = " ## # ### ## # ## ### ";
        let dots = "  #    #        #     ";
        let hook = "     #                ";
        let stroke = " #################### ";
        let (short, apart) = (" ## # #               ", " ##      #          #  ");
        let (letter, part) = (" ##                   ", " ########             ");
        let (upper, lower) = (" ## # ##              ", "            ## ## ### ");
        let none = "";
        let cases = [
            (
                "a word",
                [none, none, none, text, text, text, text, text, none, none, none, none],
                false,
            ),
            (
                "two lines",
                [none, text, text, text, text, none, none, text, text, text, text, none],
                true,
            ),
            (
                "with a descender between",
                [none, text, text, text, text, hook, none, text, text, text, text, none],
                true,
            ),
            (
                "dots above letters",
                [none, dots, dots, none, text, text, text, text, text, text, none, none],
                false,
            ),
            (
                "underlined",
                [none, text, text, text, text, text, none, stroke, none, none, none, none],
                false,
            ),
            (
                "an equals sign",
                [
                    none, none, stroke, stroke, stroke, none, stroke, stroke, stroke, none, none,
                    none,
                ],
                false,
            ),
            (
                "a short word below",
                [none, text, text, text, text, none, short, short, short, short, none, none],
                true,
            ),
            (
                "a short word above",
                [none, short, short, short, short, none, none, text, text, text, text, none],
                true,
            ),
            (
                "a short word below that is too small",
                [none, text, text, text, text, text, none, none, short, short, none, none],
                false,
            ),
            (
                "a letter below",
                [none, text, text, text, text, none, letter, letter, letter, letter, none, none],
                false,
            ),
            (
                "marks below that lie apart",
                [none, text, text, text, text, none, apart, apart, apart, apart, none, none],
                false,
            ),
            (
                "a bar below",
                [none, text, text, text, text, none, none, part, part, none, none, none],
                false,
            ),
            (
                "a word that falls",
                [none, upper, upper, upper, upper, none, lower, lower, lower, lower, none, none],
                false,
            ),
            ("nothing", [none; 12], false),
        ];
        for (name, rows, expected) in cases {
            for inverted in [false, true] {
                let found = shows_several_lines(&crop(rows, inverted));
                assert_eq!(found, expected, "{name}, inverted: {inverted}");
            }
        }
    }
}
