//! The ink of a line of text, straightened: columns along the line, rows across it.

use super::Point;
use super::ink::Ink;
use super::line::Line;

/// A raster of ink in which the line of text is level: slanted and curved lines are straightened.
#[derive(Debug, Clone)]
pub(super) struct Strip {
    line: Line,
    /// Width of a column and height of a row, in pixels of the crop.
    step: (f32, f32),
    /// Where columns begin along the line (the last one ends), at equal distances of its arc.
    edges: Vec<f32>,
    /// Where row 0 begins across the line.
    top: f32,
    /// Where the middle of each column crosses the line; none for a level line.
    crossings: Vec<Crossing>,
    /// Row after row: 0 is the background, 1 is ink.
    coverage: Vec<f32>,
}

/// Where a place along the line crosses it.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    on: (f32, f32),
    /// That of the line there, a unit vector.
    direction: (f32, f32),
}

impl Crossing {
    /// The point of the crop so far below the line.
    fn point(&self, across: f32) -> Point {
        let (on, (dx, dy)) = (self.on, self.direction);
        Point::new(on.0 - across * dy, on.1 + across * dx)
    }
}

impl Strip {
    /// The ink up to `reach` pixels of the crop from the line, to either side. `step` is the width
    /// and height of a pixel of `ink` in pixels of the crop.
    pub(super) fn new(ink: &Ink, line: Line, reach: f32, step: (f32, f32)) -> Self {
        let height = ink.height();
        let is_level = line.is_level();
        let edges = edges(&line, (ink.width() as f32 * step.0, reach), step.0);
        let columns = edges.len() - 1;
        // Rows of a level line are those of the image.
        let (top, rows) = if is_level {
            let middle = line.at(0.0).1;
            let first = ((middle - reach) / step.1 - 0.5).ceil().max(0.0);
            let last = ((middle + reach) / step.1 + 0.5).floor().min(height as f32);
            (first * step.1 - middle, (last - first).max(1.0) as usize)
        } else {
            (-reach, (2.0 * reach / step.1).ceil().max(1.0) as usize)
        };
        let (coverage, crossings) = (Vec::with_capacity(rows * columns), Vec::new());
        let mut strip = Strip { line, step, edges, top, crossings, coverage };
        if is_level {
            let first = ((top + line.at(0.0).1) / step.1).round().max(0.0) as usize;
            let pixels = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
            strip.coverage.extend(pixels.map(|(column, row)| ink.at(column, first + row)));
            return strip;
        }
        strip.crossings = (0..columns).map(|column| strip.crossing(column as f32 + 0.5)).collect();
        for row in 0..rows {
            let across = strip.across(row as f32 + 0.5);
            strip.coverage.extend(strip.crossings.iter().map(|crossing| {
                let point = crossing.point(across);
                ink.sample(point.x / step.0, point.y / step.1)
            }));
        }
        strip
    }

    pub(super) fn columns(&self) -> usize {
        self.edges.len() - 1
    }

    pub(super) fn rows(&self) -> usize {
        self.coverage.len() / self.columns().max(1)
    }

    /// The rows of ink from the upper one on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.coverage.chunks_exact(self.columns().max(1))
    }

    pub(super) fn coverage(&self) -> &[f32] {
        &self.coverage
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn step(&self) -> (f32, f32) {
        self.step
    }

    /// The column in which a point of the crop lies.
    pub(super) fn column(&self, point: (f32, f32)) -> f32 {
        let (along, _) = self.line.place(point);
        let behind = self.edges.partition_point(|&edge| edge <= along);
        let column = behind.clamp(1, self.columns()) - 1;
        let (from, to) = (self.edges[column], self.edges[column + 1]);
        column as f32 + (along - from) / (to - from)
    }

    /// Where a column begins along the line, in pixels of the crop.
    pub(super) fn along(&self, column: f32) -> f32 {
        let whole = (column.max(0.0) as usize).min(self.columns() - 1);
        let (from, to) = (self.edges[whole], self.edges[whole + 1]);
        from + (column - whole as f32) * (to - from)
    }

    /// Where a row begins across the line, in pixels of the crop, positive below the line.
    pub(super) fn across(&self, row: f32) -> f32 {
        self.top + row * self.step.1
    }

    /// The row in which the line runs.
    pub(super) fn middle(&self) -> f32 {
        -self.top / self.step.1
    }

    /// The points of the crop where the middles of a row's pixels lie; none for a level line.
    pub(super) fn points(&self, row: usize) -> impl Iterator<Item = Point> {
        let across = self.across(row as f32 + 0.5);
        self.crossings.iter().map(move |crossing| crossing.point(across))
    }

    fn crossing(&self, column: f32) -> Crossing {
        let along = self.along(column);
        Crossing { on: self.line.at(along), direction: self.line.direction(along) }
    }

    /// The mean of the ink's place across the line, between two places along it, in pixels of the
    /// crop; `None` without ink.
    pub(super) fn center(&self, from: f32, to: f32) -> Option<f32> {
        let column = |along: f32| self.edges.partition_point(|&edge| edge <= along);
        let (first, behind) = (column(from).saturating_sub(1), column(to).min(self.columns()));
        let (mut total, mut sum) = (0.0, 0.0);
        for (row, values) in self.iter().enumerate() {
            let ink: f32 = values.get(first..behind).unwrap_or_default().iter().sum();
            (total, sum) = (total + ink, sum + ink * self.across(row as f32 + 0.5));
        }
        (total > 0.0).then(|| sum / total)
    }

    /// The mean row of the ink and its standard deviation, in pixels of the crop across the line.
    pub(super) fn spread(&self) -> Option<(f32, f32)> {
        let (mut total, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (row, values) in self.iter().enumerate() {
            let (ink, at) = (values.iter().sum::<f32>(), row as f32 + 0.5);
            (total, sum, squares) = (total + ink, sum + at * ink, squares + at * at * ink);
        }
        let mean = sum / total;
        let deviation = (squares / total - mean * mean).max(0.0).sqrt();
        (total > 0.0).then_some((self.top + mean * self.step.1, deviation * self.step.1))
    }
}

/// Where columns begin and the last one ends, for a crop of a width: a step of the arc apart, with a
/// margin for what lies above and below the ends of a bent line.
fn edges(line: &Line, (width, reach): (f32, f32), step: f32) -> Vec<f32> {
    if line.is_level() {
        let count = (width / step).round().max(1.0) as usize;
        return (0..=count).map(|edge| edge as f32 * step).collect();
    }
    // Bounded, whatever the scale of the two axes: what lies farther out is not the crop's.
    let margin = reach.min(width);
    let mut edges = vec![-margin];
    let mut edge = -margin;
    while edge < width + margin {
        // The midpoint rule; a line is never vertical.
        let half = edge + line.direction(edge).0 * step / 2.0;
        edge += (line.direction(half).0 * step).max(step / 4.0);
        edges.push(edge);
    }
    edges
}
