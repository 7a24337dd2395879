//! From extents along the line to boxes: in order, none of them empty.

use super::line::Line;
use super::outline::Extent;
use super::strip::Strip;
use super::{Place, Point, Quad, Rect};

/// Where a character lies on the line, in pixels of the crop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    /// Along the line, from and to.
    pub(super) along: (f32, f32),
    /// Across it, positive below it.
    pub(super) across: (f32, f32),
    /// The upright rectangle around the ink, where the line is not level.
    pub(super) around: Option<Rect>,
}

/// Pixels of ink count for the upright rectangle from this coverage on.
const MIN_COVERAGE: f32 = 0.4;

/// The spans of the ink of characters; `None` for one without ink.
pub(super) fn spans(
    strip: &Strip,
    owners: &[u32],
    extents: Vec<Option<Extent>>,
) -> Vec<Option<Span>> {
    let mut spans: Vec<Option<Span>> = extents
        .into_iter()
        .map(|extent| {
            let Extent { columns, rows } = extent?;
            let along = (strip.along(columns.start), strip.along(columns.end));
            let across = (strip.across(rows.start), strip.across(rows.end));
            Some(Span { along, across, around: None })
        })
        .collect();
    if strip.line().is_level() {
        return spans;
    }
    let half = (strip.step().0 / 2.0, strip.step().1 / 2.0);
    let rows = owners.chunks_exact(strip.columns().max(1)).zip(strip.iter());
    for (row, (owners, coverage)) in rows.enumerate() {
        for ((&owner, &coverage), Point { x, y }) in
            owners.iter().zip(coverage).zip(strip.points(row))
        {
            let Some(Some(span)) = spans.get_mut(owner as usize) else { continue };
            if coverage < MIN_COVERAGE {
                continue;
            }
            let own = Rect::new(x - half.0, y - half.1, x + half.0, y + half.1);
            let around = span.around.get_or_insert(own);
            *around = Rect::new(
                around.x0.min(own.x0),
                around.y0.min(own.y0),
                around.x1.max(own.x1),
                around.y1.max(own.y1),
            );
        }
    }
    spans
}

/// What turns spans into boxes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) line: Line,
    pub(super) half_height: f32,
    /// Width and height of the crop.
    pub(super) size: (f32, f32),
    /// Width and height of a pixel of the resized crop.
    pub(super) step: (f32, f32),
}

/// The narrowest character, in pixels of the resized crop.
const MIN_WIDTH: f32 = 0.5;

/// How wide a character without ink may be, in pitches.
const MAX_PITCHES: f32 = 1.0;

impl Layout {
    /// The boxes of all characters: around their ink, and where there is none in the gap between
    /// the neighbours.
    pub(super) fn places(
        &self,
        mut spans: Vec<Option<Span>>,
        middles: &[(f32, f32)],
    ) -> Vec<Place> {
        self.fill_gaps(&mut spans, middles);
        let mut spans: Vec<Span> = spans.into_iter().flatten().collect();
        self.put_in_order(&mut spans);
        spans.iter().map(|span| self.place(span)).collect()
    }

    /// Spans of the characters without ink.
    fn fill_gaps(&self, spans: &mut [Option<Span>], middles: &[(f32, f32)]) {
        let mut along: Vec<f32> = middles.iter().map(|&middle| self.line.place(middle).0).collect();
        super::ascend(&mut along);
        let mut pitches: Vec<f32> = along.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let pitch = if pitches.is_empty() { self.size.0 } else { super::median(&mut pitches) };
        let pitch = pitch.max(self.step.0);
        let across = (-self.half_height, self.half_height);
        let mut first = 0;
        while first < spans.len() {
            if spans[first].is_some() {
                first += 1;
                continue;
            }
            let count = spans[first..].iter().take_while(|span| span.is_none()).count();
            let behind = first + count;
            // From the end of what is before to the start of what comes behind.
            let widest = MAX_PITCHES * pitch;
            let before = first.checked_sub(1).and_then(|at| spans[at]).map(|span| span.along.1);
            let next = spans.get(behind).copied().flatten().map(|span| span.along.0);
            let halves = |at: usize| (along[at - 1] + along[at]) / 2.0;
            let (left, right) = match (before, next) {
                (Some(before), Some(next)) => (before, next),
                (Some(before), None) => (before, (before + count as f32 * widest).min(self.size.0)),
                (None, Some(next)) => ((next - count as f32 * widest).max(0.0), next),
                (None, None) => (0.0, self.size.0),
            };
            let alone = before.is_none() && next.is_none();
            for at in first..behind {
                let edges = if alone {
                    // No ink at all: halfway between the middles.
                    let own = |edge: f32| edge.clamp(0.0, self.size.0);
                    let start = if at > first { halves(at) } else { along[at] - pitch / 2.0 };
                    let end =
                        if at + 1 < behind { halves(at + 1) } else { along[at] + pitch / 2.0 };
                    (own(start), own(end))
                } else {
                    let edge = |n: usize| left + (right - left) * n as f32 / count as f32;
                    (edge(at - first), edge(at - first + 1))
                };
                spans[at] = Some(Span { along: edges, across, around: None });
            }
            first = behind;
        }
    }

    /// Moves edges so that left ones ascend and right ones as well, each by at least the least
    /// width or what there is room for.
    fn put_in_order(&self, spans: &mut [Span]) {
        let count = spans.len().max(1) as f32;
        let least = (MIN_WIDTH * self.step.0).min(self.size.0 / (2.0 * count));
        let last = self.size.0;
        let level = self.line.is_level();
        let mut edge = f32::NEG_INFINITY;
        for (index, span) in spans.iter_mut().enumerate() {
            let (mut start, end) = span.along;
            if level {
                // Room for those that follow.
                start = start.clamp(0.0, last - least * (count - index as f32));
            }
            span.along.0 = start.max(edge + least);
            span.along.1 = end.max(span.along.0 + least);
            if level {
                span.along.1 = span.along.1.min(last);
            }
            edge = span.along.0;
        }
        let mut edge = f32::INFINITY;
        for span in spans.iter_mut().rev() {
            span.along.1 = span.along.1.min(edge - least);
            edge = span.along.1;
        }
    }

    fn place(&self, span: &Span) -> Place {
        let (width, height) = self.size;
        if self.line.is_level() {
            let middle = self.line.at(0.0).1;
            let least = (MIN_WIDTH * self.step.1).min(height / 2.0);
            let top = (middle + span.across.0).clamp(0.0, height - least);
            let bottom = (middle + span.across.1).clamp(top + least, height);
            let bounds = Rect::new(span.along.0, top, span.along.1, bottom);
            return Place { bounds, quad: bounds.into() };
        }
        // The frame of axes at the middle of the character.
        let (start, end) = span.along;
        let (on, (dx, dy)) =
            (self.line.at((start + end) / 2.0), self.line.direction((start + end) / 2.0));
        let half = (end - start) / 2.0 / dx;
        let corner = |u: f32, v: f32| Point::new(on.0 + u * dx - v * dy, on.1 + u * dy + v * dx);
        let (up, down) = span.across;
        let quad =
            Quad([corner(-half, up), corner(half, up), corner(half, down), corner(-half, down)]);
        let around = span.around.unwrap_or_else(|| quad.bounding_rect());
        let clamped = |from: f32, to: f32, last: f32, step: f32| {
            let least = (MIN_WIDTH * step).min(last / 2.0);
            let from = from.clamp(0.0, last - least);
            (from, to.clamp(from + least, last))
        };
        let (x0, x1) = clamped(around.x0, around.x1, width, self.step.0);
        let (y0, y1) = clamped(around.y0, around.y1, height, self.step.1);
        Place { bounds: Rect::new(x0, y0, x1, y1), quad }
    }
}
