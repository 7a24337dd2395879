//! The extent of a character's ink, to fractions of a pixel.

use std::ops::Range;

use super::pieces::NOBODY;
use super::strip::Strip;

/// Columns and rows.
type PixelBox = (Range<usize>, Range<usize>);

/// Where the ink of a character begins and ends in a strip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Extent {
    pub(super) columns: Range<f32>,
    pub(super) rows: Range<f32>,
}

/// Above this coverage a pixel is inside a stroke.
const INSIDE: f32 = 0.9;

/// How many pixels an edge may extend over.
const EDGE: usize = 3;

/// The extents of the ink of `count` characters; `None` for one without ink.
///
/// The largest coverage in each column, and in each row, of a character falls off at its edges:
/// what is covered there says where in the pixel an edge lies.
pub(super) fn extents(strip: &Strip, owners: &[u32], count: usize) -> Vec<Option<Extent>> {
    let columns = strip.columns().max(1);
    let mut boxes: Vec<Option<(Range<usize>, Range<usize>)>> = vec![None; count];
    for (y, row) in owners.chunks_exact(columns).enumerate() {
        for (x, &owner) in row.iter().enumerate() {
            let Some(own) = boxes.get_mut(owner as usize) else { continue };
            let (across, down) = own.get_or_insert((x..x + 1, y..y + 1));
            (across.start, across.end) = (across.start.min(x), across.end.max(x + 1));
            (down.start, down.end) = (down.start.min(y), down.end.max(y + 1));
        }
    }
    let extent = |(character, own): (usize, Option<PixelBox>)| {
        let (across, down) = own?;
        // Faint pixels around the ink count as well, if they are nobody else's.
        let start = (across.start.saturating_sub(1), down.start.saturating_sub(1));
        let end = ((across.end + 1).min(columns), (down.end + 1).min(strip.rows()));
        let mut by_column = vec![0.0f32; end.0 - start.0];
        let mut by_row = vec![0.0f32; end.1 - start.1];
        for y in start.1..end.1 {
            for x in start.0..end.0 {
                let pixel = y * columns + x;
                let owner = owners[pixel];
                if owner as usize == character || owner == NOBODY {
                    let covered = strip.coverage()[pixel];
                    // Beside the ink, not above or below it, and the other way round.
                    if across.contains(&x) || down.contains(&y) {
                        let (column, row) = (&mut by_column[x - start.0], &mut by_row[y - start.1]);
                        *column = column.max(covered);
                        *row = row.max(covered);
                    }
                }
            }
        }
        let edges = |profile: &[f32], offset: usize| {
            let first = offset as f32 + edge(profile.iter().copied());
            let last = (offset + profile.len()) as f32 - edge(profile.iter().rev().copied());
            if last > first {
                first..last
            } else {
                (first + last) / 2.0 - 0.25..(first + last) / 2.0 + 0.25
            }
        };
        Some(Extent { columns: edges(&by_column, start.0), rows: edges(&by_row, start.1) })
    };
    boxes.into_iter().enumerate().map(extent).collect()
}

/// How far from the first pixel ink begins: as far as the pixels up to the inside of the first
/// stroke are not covered. A stroke thinner than a pixel lies about the middle of it.
fn edge(profile: impl Iterator<Item = f32>) -> f32 {
    let (mut sum, mut last, mut length) = (0.0, 0.0, 0.0);
    for (index, covered) in profile.enumerate() {
        if covered >= INSIDE {
            return index as f32 - sum;
        }
        if covered < last || index > EDGE {
            // The pixel before was the middle of a thin stroke.
            return index as f32 - 0.5 + last / 2.0 - sum;
        }
        (sum, last, length) = (sum + covered, covered, index as f32 + 1.0);
    }
    (length - 0.5 + last / 2.0 - sum).max(0.0)
}
