//! Reading order: columns, and the rows inside them.
//!
//! Boxes are turned upright by the page's angle. From above, the longest run of rows that a vertical gap
//! divides into columns of text is read column by column; other rows are read from the left. Lines of a
//! table or a form are short, so that its columns are none of text.

use std::ops::Range;

use svtrv2::{Point, Quad, Rect};

use crate::detect::TextBox;

/// A column of text has at least so many rows, which are in the median so many times as wide as high.
const MIN_ROWS: usize = 3;
const MIN_COLUMN_WIDTH: f32 = 8.0;
/// Columns of text are at least so many heights of a line apart.
const MIN_COLUMN_GAP: f32 = 0.7;
/// Lines are in one row if their middles differ by less than this share of their height.
const SAME_ROW: f32 = 0.5;
/// A gap of so many heights of a line above a row starts a block.
const MIN_BLOCK_GAP: f32 = 0.9;
/// How deep columns may be divided into columns.
const MAX_DEPTH: usize = 8;

/// The place of a line in the reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the line as it was given.
    pub(crate) index: usize,
    pub(crate) block: usize,
    pub(crate) row: usize,
}

/// Boxes in reading order, each with the corner first where its text starts ([`TextBox::upright`]), for a program
/// that recognises them itself.
pub fn in_reading_order(boxes: &[TextBox]) -> Vec<TextBox> {
    let quads: Vec<Quad> = boxes.iter().map(TextBox::upright).collect();
    let places = order(&quads, angle(&quads)).into_iter();
    let placed =
        places.map(|Place { index, .. }| TextBox { quad: quads[index], ..boxes[index].clone() });
    placed.collect()
}

/// The direction of most lines in degrees, clockwise, -180 to 180; 0 without any. Longer lines count more.
pub(crate) fn angle(lines: &[Quad]) -> f32 {
    let directions: Vec<(f32, f32)> = lines
        .iter()
        .map(|Quad([a, b, c, d])| (b.x - a.x + c.x - d.x, b.y - a.y + c.y - d.y))
        .collect();
    let sum = directions.iter().fold((0.0, 0.0), |sum, d| (sum.0 + d.0, sum.1 + d.1));
    if sum == (0.0, 0.0) {
        return 0.0;
    }
    // The weighted median around the mean direction: single lines that stand askew do not turn it.
    let mean = sum.1.atan2(sum.0).to_degrees();
    let mut around: Vec<(f32, f32)> = directions
        .iter()
        .map(|d| (wrapped(d.1.atan2(d.0).to_degrees() - mean), d.0.hypot(d.1)))
        .collect();
    around.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = around.iter().map(|(_, length)| length).sum::<f32>() / 2.0;
    let mut passed = 0.0;
    let middle = around.iter().find(|(_, length)| {
        passed += length;
        passed >= half
    });
    wrapped(mean + middle.map_or(0.0, |(angle, _)| *angle))
}

/// An angle in degrees between -180 and 180.
fn wrapped(degrees: f32) -> f32 {
    degrees - 360.0 * (degrees / 360.0).round()
}

/// The reading order of lines on a page whose text runs at `angle` degrees.
pub(crate) fn order(lines: &[Quad], angle: f32) -> Vec<Place> {
    let (sin, cos) = (-angle).to_radians().sin_cos();
    let upright = |p: Point| Point::new(p.x * cos - p.y * sin, p.x * sin + p.y * cos);
    let boxes: Vec<Item> = lines
        .iter()
        .enumerate()
        .map(|(index, quad)| Item { index, bounds: Quad(quad.0.map(upright)).bounding_rect() })
        .collect();
    let mut columns = Vec::new();
    divide(boxes, 0, &mut columns);
    let mut places = Vec::with_capacity(lines.len());
    let mut block = 0;
    for rows in columns {
        let height = median(rows.iter().flatten().map(|item| item.bounds.height()));
        let mut row_of_block = 0;
        let mut lower = f32::NEG_INFINITY;
        for (index, row) in rows.iter().enumerate() {
            let upper = row.iter().map(|item| item.bounds.y0).fold(f32::INFINITY, f32::min);
            if index > 0 && upper - lower > MIN_BLOCK_GAP * height {
                (block, row_of_block) = (block + 1, 0);
            }
            let place = |item: &Item| Place { index: item.index, block, row: row_of_block };
            places.extend(row.iter().map(place));
            lower = row.iter().map(|item| item.bounds.y1).fold(lower, f32::max);
            row_of_block += 1;
        }
        block += 1;
    }
    places
}

#[derive(Debug, Clone, Copy)]
struct Item {
    index: usize,
    /// On the page turned upright.
    bounds: Rect,
}

type Row = Vec<Item>;

/// Divides items into columns of rows, in reading order.
fn divide(items: Vec<Item>, depth: usize, columns: &mut Vec<Vec<Row>>) {
    let bands = bands(items);
    let mut plain: Vec<Row> = Vec::new();
    let mut first = 0;
    while first < bands.len() {
        let run = if depth < MAX_DEPTH { column_run(&bands, first) } else { None };
        let Some((run, gap)) = run else {
            plain.extend(rows(&bands[first]));
            first += 1;
            continue;
        };
        if !plain.is_empty() {
            columns.push(std::mem::take(&mut plain));
        }
        let end = run.end;
        let (left, right): (Vec<Item>, Vec<Item>) =
            bands[run].iter().flatten().partition(|item| item.bounds.center().x < gap);
        divide(left, depth + 1, columns);
        divide(right, depth + 1, columns);
        first = end;
    }
    if !plain.is_empty() {
        columns.push(plain);
    }
}

/// Items between horizontal lines that cross none, from above.
fn bands(mut items: Vec<Item>) -> Vec<Vec<Item>> {
    items.sort_by(|a, b| a.bounds.y0.total_cmp(&b.bounds.y0).then(a.index.cmp(&b.index)));
    let mut bands: Vec<Vec<Item>> = Vec::new();
    let mut lower = f32::NEG_INFINITY;
    for item in items {
        // Boxes of neighbouring rows may overlap a little.
        let inner = item.bounds.y0 + 0.2 * item.bounds.height();
        match bands.last_mut() {
            Some(band) if inner < lower => band.push(item),
            _ => bands.push(vec![item]),
        }
        lower = lower.max(item.bounds.y1);
    }
    bands
}

/// The longest run of bands from `first` on that a gap divides into columns of text, and the gap's middle.
fn column_run(bands: &[Vec<Item>], first: usize) -> Option<(Range<usize>, f32)> {
    let mut covered: Vec<(f32, f32)> = Vec::new();
    let mut best = None;
    let mut items: Vec<Item> = Vec::new();
    // Where the part below the last wide gap between rows starts: it must be text by itself.
    let mut part = 0;
    let mut lower = f32::INFINITY;
    for (index, band) in bands.iter().enumerate().skip(first) {
        let height = median(items.iter().chain(band).map(|item| item.bounds.height()));
        let upper = band.iter().map(|item| item.bounds.y0).fold(f32::INFINITY, f32::min);
        if upper - lower > MIN_BLOCK_GAP * height {
            part = items.len();
        }
        lower = band.iter().map(|item| item.bounds.y1).fold(f32::NEG_INFINITY, f32::max);
        items.extend(band);
        for item in band {
            cover(&mut covered, (item.bounds.x0, item.bounds.x1));
        }
        if covered.len() < 2 {
            break;
        }
        let gap = covered
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].1, (pair[1].0 + pair[0].1) / 2.0))
            .filter(|(width, _)| *width >= MIN_COLUMN_GAP * height)
            .find(|(_, middle)| {
                let is_text = |items: &[Item], is_left: bool, least: usize| {
                    let side: Vec<&Item> = items
                        .iter()
                        .filter(|item| (item.bounds.center().x < *middle) == is_left)
                        .collect();
                    let ratio = |item: &&Item| item.bounds.width() / item.bounds.height().max(1.0);
                    let is_wide =
                        side.is_empty() || median(side.iter().map(ratio)) >= MIN_COLUMN_WIDTH;
                    side.len() >= least && is_wide
                };
                let both = |items: &[Item], least| {
                    is_text(items, true, least) && is_text(items, false, least)
                };
                both(&items, MIN_ROWS) && both(&items[part..], 0)
            });
        if let Some((_, middle)) = gap {
            best = Some((first..index + 1, middle));
        }
    }
    best
}

/// Adds an interval to sorted ones that do not touch each other.
fn cover(intervals: &mut Vec<(f32, f32)>, (mut start, mut end): (f32, f32)) {
    intervals.retain(|&(from, to)| {
        let touches = from <= end && start <= to;
        if touches {
            (start, end) = (start.min(from), end.max(to));
        }
        !touches
    });
    let at = intervals.partition_point(|interval| interval.0 < start);
    intervals.insert(at, (start, end));
}

/// The rows of a band from above, each from the left.
fn rows(band: &[Item]) -> Vec<Row> {
    let mut items = band.to_vec();
    let middle = |item: &Item| item.bounds.center().y;
    items.sort_by(|a, b| middle(a).total_cmp(&middle(b)).then(a.index.cmp(&b.index)));
    let mut rows: Vec<(Row, f32)> = Vec::new();
    for item in items {
        let height = item.bounds.height();
        let own = rows.iter_mut().rev().take(3).find(|(row, y)| {
            let least = row.iter().map(|item| item.bounds.height()).fold(height, f32::min);
            let apart = |other: &Item| {
                let (a, b) = (&item.bounds, &other.bounds);
                a.x1.min(b.x1) - a.x0.max(b.x0) < 0.3 * a.width().min(b.width())
            };
            (middle(&item) - *y).abs() < SAME_ROW * least && row.iter().all(apart)
        });
        match own {
            Some((row, y)) => {
                row.push(item);
                *y += (middle(&item) - *y) / row.len() as f32;
            }
            None => rows.push((vec![item], middle(&item))),
        }
    }
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (row, _) in &mut rows {
        row.sort_by(|a, b| a.bounds.x0.total_cmp(&b.bounds.x0).then(a.index.cmp(&b.index)));
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

/// The upper median; 0 without values.
fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quad(x: f32, y: f32, width: f32, height: f32) -> Quad {
        Rect::new(x, y, x + width, y + height).into()
    }

    /// Turned by degrees, clockwise, around the origin.
    fn turned(quad: Quad, degrees: f32) -> Quad {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Quad(quad.0.map(|p| Point::new(p.x * cos - p.y * sin, p.x * sin + p.y * cos)))
    }

    fn indices(lines: &[Quad]) -> Vec<usize> {
        order(lines, angle(lines)).iter().map(|place| place.index).collect()
    }

    /// A heading, two columns of three lines, a footer; given in a wrong order.
    fn article() -> Vec<Quad> {
        vec![
            quad(0.0, 200.0, 640.0, 20.0),
            quad(0.0, 50.0, 300.0, 20.0),
            quad(340.0, 50.0, 300.0, 20.0),
            quad(0.0, 80.0, 290.0, 20.0),
            quad(340.0, 81.0, 300.0, 20.0),
            quad(0.0, 110.0, 300.0, 20.0),
            quad(340.0, 110.0, 200.0, 20.0),
            quad(100.0, 0.0, 440.0, 30.0),
        ]
    }

    #[test]
    fn columns_are_read_one_after_the_other() {
        for degrees in [0.0, 3.0, -3.0, 90.0, 180.0, -90.0, 45.0] {
            let lines: Vec<Quad> = article().into_iter().map(|q| turned(q, degrees)).collect();
            assert!(wrapped(angle(&lines) - degrees).abs() < 0.01, "{degrees}");
            assert_eq!(indices(&lines), [7, 1, 3, 5, 2, 4, 6, 0], "{degrees}");
        }
    }

    #[test]
    fn tables_are_read_row_by_row() {
        // Items and prices of a receipt.
        let lines: Vec<Quad> = (0..5)
            .flat_map(|row| {
                let y = 30.0 * row as f32;
                [quad(300.0, y + 2.0, 60.0, 20.0), quad(0.0, y, 220.0, 22.0)]
            })
            .collect();
        let places = order(&lines, angle(&lines));
        let found: Vec<usize> = places.iter().map(|place| place.index).collect();
        assert_eq!(found, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]);
        let rows: Vec<usize> = places.iter().map(|place| place.row).collect();
        assert_eq!(rows, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
        assert!(places.iter().all(|place| place.block == 0));
    }

    #[test]
    fn a_table_below_columns_is_none_of_them() {
        let mut lines = article();
        lines.remove(0);
        for row in 0..3 {
            let y = 190.0 + 40.0 * row as f32;
            lines.extend([quad(0.0, y, 60.0, 20.0), quad(500.0, y, 40.0, 20.0)]);
        }
        assert_eq!(indices(&lines), [6, 0, 2, 4, 1, 3, 5, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn a_gap_starts_a_block() {
        let lines = [
            quad(0.0, 0.0, 200.0, 20.0),
            quad(0.0, 25.0, 200.0, 20.0),
            quad(0.0, 90.0, 200.0, 20.0),
        ];
        let blocks: Vec<usize> = order(&lines, 0.0).iter().map(|place| place.block).collect();
        assert_eq!(blocks, [0, 0, 1]);
    }

    proptest! {
        #[test]
        fn every_line_has_one_place(
            boxes in proptest::collection::vec((0f32..900.0, 0f32..900.0, 1f32..400.0, 1f32..60.0, -180f32..180.0), 0..60)
        ) {
            let lines: Vec<Quad> = boxes.iter().map(|&(x, y, w, h, a)| turned(quad(x, y, w, h), a)).collect();
            let places = order(&lines, angle(&lines));
            let mut found: Vec<usize> = places.iter().map(|place| place.index).collect();
            found.sort_unstable();
            prop_assert_eq!(found, (0..lines.len()).collect::<Vec<_>>());
            for pair in places.windows(2) {
                prop_assert!((pair[0].block, pair[0].row) <= (pair[1].block, pair[1].row));
            }
        }
    }
}
