//! Which line a text runs along: what the middles of its characters suggest, refined by the ink.

use super::ink::Ink;
use super::line::Line;

/// How much more concentrated the ink's rows must be along a bent line than along a level one.
const GAIN: f32 = 1.12;

/// The least rise from the first character to the last, or the least sagitta, in half heights: less
/// is level text with ascenders and descenders.
const MIN_BEND: f32 = 0.5;

/// Steps of the refinement, in half heights.
const STEPS: [f32; 5] = [0.6, 0.3, 0.3, 0.15, 0.08];

/// How far the line may lie from the middle of a character, in half heights.
const MAX_OFF: f32 = 0.75;

/// The steepest slope of a line where characters are: frames ascend to the right, and so does the text. It
/// bounds the columns of the straightened line.
const MAX_SLOPE: f32 = 1.5;

/// Pixels of ink, column by column: neighbours in a column lie in different rows of any line, so that sums of
/// rows do not wait for each other.
struct Dots {
    /// Where they lie across in pixels of the crop, and their coverage.
    dots: Vec<(f32, f32)>,
    /// The middles of the columns, in pixels of the crop, and where their dots end.
    columns: Vec<(f32, usize)>,
    /// Height of a row.
    row: f32,
    rows: usize,
}

/// The line through the middles of characters, for text of a given half height: level unless the
/// ink clearly runs along a slant or a curve. `step` is the width and height of a pixel of `ink`.
pub(super) fn fit(ink: &Ink, middles: &[(f32, f32)], half_height: f32, step: (f32, f32)) -> Line {
    let level = Line::level(middles);
    let dots = Dots::new(ink, step);
    let flat = dots.concentration(&level);
    let gentle = |line: &Line| middles.iter().all(|middle| line.slope(middle.0).abs() <= MAX_SLOPE);
    let candidates = [Line::slanted(middles), Line::curved(middles)].into_iter().flatten();
    let concentrations = candidates.filter(gentle).map(|line| (dots.concentration(&line), line));
    let best = concentrations.max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((mut best, mut line)) = best.filter(|(most, _)| *most > flat) else { return level };
    let reach = middles.iter().map(|m| (m.0 - line.origin()).abs()).fold(step.0, f32::max);
    for size in STEPS {
        let by = size * half_height;
        let moves = [(by / reach, 0.0), (-by / reach, 0.0)]
            .into_iter()
            .chain([(0.0, by / reach.powi(2)), (0.0, -by / reach.powi(2))]);
        for (slope, bend) in moves {
            // Curves need characters between the first and the last one.
            if bend != 0.0 && middles.len() < 3 {
                continue;
            }
            let moved = line.bent(slope, bend);
            // Strokes that lean are concentrated along steep lines, too: the line stays near the middles.
            let off = |middle: &(f32, f32)| (moved.at(middle.0).1 - middle.1).abs();
            let far = middles.iter().map(off).fold(0.0, f32::max) > MAX_OFF * half_height;
            if far || !gentle(&moved) {
                continue;
            }
            let concentration = dots.concentration(&moved);
            if concentration > best {
                (best, line) = (concentration, moved);
            }
        }
    }
    let bend = line.rise(reach).max(line.sagitta(reach));
    if best > GAIN * flat && bend > MIN_BEND * half_height { line } else { level }
}

impl Dots {
    fn new(ink: &Ink, step: (f32, f32)) -> Self {
        let (width, height) = (ink.width(), ink.height());
        let (mut dots, mut columns) = (Vec::new(), Vec::with_capacity(width));
        for x in 0..width {
            let column = (0..height).map(|y| ((y as f32 + 0.5) * step.1, ink.at(x, y)));
            dots.extend(column.filter(|dot| dot.1 >= 0.5));
            columns.push(((x as f32 + 0.5) * step.0, dots.len()));
        }
        Dots { dots, columns, row: step.1, rows: height }
    }

    /// The sum of the squares of the shares of ink in rows along a line.
    fn concentration(&self, line: &Line) -> f32 {
        let mut rows = vec![0.0f32; 2 * self.rows + 2];
        let mut total = 0.0;
        let last = rows.len() as f32 - 2.0;
        let mut start = 0;
        for &(x, end) in &self.columns {
            // Rows across the line for a pixel down, and the row of y = 0.
            let rows_a_pixel = line.direction(x).0 / self.row;
            let first = self.rows as f32 - line.at(x).1 * rows_a_pixel;
            for &(y, covered) in &self.dots[start..end] {
                let at = (first + y * rows_a_pixel).clamp(0.0, last);
                let row = at as usize;
                let part = at - row as f32;
                rows[row] += (1.0 - part) * covered;
                rows[row + 1] += part * covered;
                total += covered;
            }
            start = end;
        }
        if total > 0.0 {
            rows.iter().map(|row| row * row).sum::<f32>() / (total * total)
        } else {
            0.0
        }
    }
}
