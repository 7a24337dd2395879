//! Which columns of ink belong to which character: the best monotone assignment.
//!
//! Every character takes a run of columns, in order and without overlap. The cost of an assignment
//! is the negative logarithm of how probable it is: that a run lies where the emissions put the
//! character, that its ink is as wide as such characters are, that cuts sever little ink, and that
//! little ink is left over. Dynamic programming finds the assignment of the least cost: runs
//! start and end at boundaries near the place of the character, so that time and memory are
//! proportional to the length of the line.

use std::ops::Range;

use super::columns::Columns;
use super::widths::Width;

/// What a cut costs that severs ink as high as a lower-case letter.
const CUT: f32 = 8.0;
/// What ink costs that no character takes, for a square of the height of a lower-case letter.
const LEFT_OVER: f32 = 12.0;
/// What a character without ink costs.
const NO_INK: f32 = 12.0;
/// The largest cost of a place: an outlier of the emissions must not force a wrong cut.
const MAX_PLACE: f32 = 12.0;

/// A visible character of the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Glyph {
    /// Where the emissions put its middle, in columns; those of a line ascend.
    pub(super) place: f32,
    /// The standard deviation of the place, in columns.
    pub(super) deviation: f32,
    /// Of the ink, in columns.
    pub(super) width: Width,
}

/// The boundaries near a glyph with their costs.
struct Stage {
    /// Indices of boundaries in all that cuts may take.
    window: Range<usize>,
    /// The least cost of all glyphs up to this one, if it ends at a boundary of the window.
    costs: Vec<f32>,
    /// Where the glyph starts then, and where the one before ends: indices of boundaries.
    from: Vec<(u32, u32)>,
}

/// The columns of every glyph: in order, none of them empty. `reach` is how far from its place a
/// glyph may start or end, in columns.
///
/// `glyphs` must be at most half as many as columns.
pub(super) fn segment(columns: &Columns, glyphs: &[Glyph], reach: f32) -> Vec<Range<usize>> {
    let halves = halfway(columns.len(), glyphs);
    assign(columns, glyphs, reach, &cuts(columns, &halves), &halves)
}

/// As [`segment`], with given boundaries that runs may start and end at; `halves` are among them.
fn assign(
    columns: &Columns,
    glyphs: &[Glyph],
    reach: f32,
    cuts: &[u32],
    halves: &[usize],
) -> Vec<Range<usize>> {
    let Some(last) = glyphs.len().checked_sub(1) else { return Vec::new() };
    let index = |boundary: usize| cuts.partition_point(|&cut| (cut as usize) < boundary);
    let mut stages: Vec<Stage> = Vec::with_capacity(glyphs.len());
    for (number, glyph) in glyphs.iter().enumerate() {
        // The points halfway to the neighbours are among them: some assignment always exists.
        let first = halves[number].min((glyph.place - reach).max(0.0) as usize);
        let behind = halves[number + 1].max((glyph.place + reach).max(0.0) as usize);
        let window = index(first)..index(behind + 1);
        let stage = Stage::new(columns, cuts, glyph, window, stages.last());
        stages.push(stage);
    }
    // From the cheapest end back to the start.
    let total = columns.before(columns.len());
    let left_over = |cut: u32| LEFT_OVER * (total - columns.before(cut as usize));
    let mut end = stages[last]
        .window
        .clone()
        .min_by(|&a, &b| {
            let cost = |at: usize| stages[last].cost(at) + left_over(cuts[at]);
            cost(a).total_cmp(&cost(b))
        })
        .unwrap_or(0);
    let mut runs = vec![0..0; glyphs.len()];
    for (run, stage) in runs.iter_mut().zip(&stages).rev() {
        let (start, before) = stage.from[end - stage.window.start];
        *run = cuts[start as usize] as usize..cuts[end] as usize;
        end = before as usize;
    }
    runs
}

impl Stage {
    fn new(
        columns: &Columns,
        cuts: &[u32],
        glyph: &Glyph,
        window: Range<usize>,
        before: Option<&Stage>,
    ) -> Self {
        // The least cost up to a start at each boundary, the ink between counted as left over.
        let mut best = (if before.is_some() { f32::INFINITY } else { 0.0 }, 0u32);
        let mut ends = before.map_or(0, |stage| stage.window.start);
        let starts: Vec<(f32, u32)> = window
            .clone()
            .map(|at| {
                if let Some(stage) = before {
                    while ends <= at && ends < stage.window.end {
                        let ink = columns.before(cuts[ends] as usize);
                        let cost = stage.cost(ends) - LEFT_OVER * ink;
                        if cost < best.0 {
                            best = (cost, ends as u32);
                        }
                        ends += 1;
                    }
                }
                let boundary = cuts[at] as usize;
                let cost = LEFT_OVER * columns.before(boundary) + CUT * columns.severed(boundary);
                (best.0 + cost, best.1)
            })
            .collect();
        let mut costs = vec![f32::INFINITY; window.len()];
        let mut from = vec![(0, 0); window.len()];
        for (end, (least, from)) in costs.iter_mut().zip(&mut from).enumerate() {
            let right = cuts[window.start + end] as usize;
            for (start, &(cost, previous)) in starts[..end].iter().enumerate() {
                if cost >= *least {
                    continue;
                }
                let left = cuts[window.start + start] as usize;
                let cost = cost + glyph.cost(columns, left, right);
                if cost < *least {
                    *least = cost;
                    *from = ((window.start + start) as u32, previous);
                }
            }
            *least += CUT * columns.severed(right);
        }
        Stage { window, costs, from }
    }

    fn cost(&self, boundary: usize) -> f32 {
        self.costs[boundary - self.window.start]
    }
}

impl Glyph {
    /// The cost of a run of columns, but for its cuts.
    fn cost(&self, columns: &Columns, left: usize, right: usize) -> f32 {
        let ink = columns.ink(left, right);
        let (start, end) = ink.unwrap_or((left, right));
        let off = ((start + end) as f32 / 2.0 - self.place) / self.deviation;
        let wide = (columns.logarithm(end - start) - self.width.log) / self.width.deviation;
        let missing = if ink.is_none() { NO_INK } else { 0.0 };
        (off * off / 2.0).min(MAX_PLACE) + wide * wide / 2.0 + missing
    }
}

/// The boundaries halfway between neighbours, and the two ends: they ascend, and none are equal.
fn halfway(columns: usize, glyphs: &[Glyph]) -> Vec<usize> {
    let count = glyphs.len();
    let mut halves: Vec<usize> = Vec::with_capacity(count + 1);
    halves.push(0);
    for (number, pair) in glyphs.windows(2).enumerate() {
        let half = ((pair[0].place + pair[1].place) / 2.0).round().max(0.0) as usize;
        let rest = count - 1 - number;
        let least = halves[number] + 1;
        halves.push(half.min(columns.saturating_sub(rest)).max(least));
    }
    let last = halves.last().map_or(0, |half| half + 1);
    halves.push(columns.max(last));
    halves
}

/// The boundaries that runs may start and end at: where cuts sever little, and those halfway.
fn cuts(columns: &Columns, halves: &[usize]) -> Vec<u32> {
    let valleys = (0..=columns.len()).filter(|&boundary| columns.is_valley(boundary));
    let mut cuts: Vec<u32> = valleys.chain(halves.iter().copied()).map(|at| at as u32).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ink::Ink;
    use super::super::line::Line;
    use super::super::shear::Shear;
    use super::super::strip::Strip;
    use super::*;

    /// Columns of the given numbers of ink pixels, which stand on a common base.
    fn columns(heights: &[u32]) -> Columns {
        const ROWS: usize = 8;
        let mut rgb = vec![255u8; 3 * ROWS * heights.len()];
        for (x, &height) in heights.iter().enumerate() {
            for y in 0..ROWS {
                if (ROWS - y) as u32 <= height {
                    rgb[3 * (y * heights.len() + x)..][..3].fill(0);
                }
            }
        }
        let ink = Ink::new(&rgb, heights.len()).unwrap();
        let strip = Strip::new(&ink, Line::level(&[(0.0, 4.0)]), 8.0, (1.0, 1.0));
        Columns::new(&strip, &Shear::upright(&strip), 5.0)
    }

    /// The least cost of all assignments, by trying each of them.
    fn least(columns: &Columns, glyphs: &[Glyph], from: usize) -> f32 {
        let Some((glyph, rest)) = glyphs.split_first() else {
            return LEFT_OVER * (columns.before(columns.len()) - columns.before(from));
        };
        let mut least = f32::INFINITY;
        for start in from..columns.len() {
            for end in start + 1..=columns.len() {
                let left_over = LEFT_OVER * (columns.before(start) - columns.before(from));
                let cuts = CUT * (columns.severed(start) + columns.severed(end));
                let own = glyph.cost(columns, start, end);
                least = least.min(left_over + cuts + own + self::least(columns, rest, end));
            }
        }
        least
    }

    fn cost(columns: &Columns, glyphs: &[Glyph], runs: &[Range<usize>]) -> f32 {
        let mut from = 0;
        let mut sum = 0.0;
        for (glyph, run) in glyphs.iter().zip(runs) {
            sum += LEFT_OVER * (columns.before(run.start) - columns.before(from))
                + CUT * (columns.severed(run.start) + columns.severed(run.end))
                + glyph.cost(columns, run.start, run.end);
            from = run.end;
        }
        sum + LEFT_OVER * (columns.before(columns.len()) - columns.before(from))
    }

    proptest! {
        #[test]
        fn the_assignment_is_the_best_of_all(
            heights in prop::collection::vec(0u32..8, 8..14),
            places in prop::collection::vec(0.0f32..14.0, 1..4),
            width in 0.5f32..5.0,
        ) {
            prop_assume!(heights.contains(&0));
            prop_assume!(heights.iter().any(|&height| height > 0));
            let columns = columns(&heights);
            let mut places = places;
            places.sort_by(f32::total_cmp);
            let width = Width { log: width.ln(), deviation: 0.3 };
            let glyphs: Vec<Glyph> =
                places.iter().map(|&place| Glyph { place, deviation: 2.0, width }).collect();
            let every = (0..=columns.len() as u32).collect::<Vec<_>>();
            let runs = assign(&columns, &glyphs, 99.0, &every, &halfway(columns.len(), &glyphs));
            prop_assert_eq!(runs.len(), glyphs.len());
            let (found, best) = (cost(&columns, &glyphs, &runs), least(&columns, &glyphs, 0));
            prop_assert!((found - best).abs() < 1e-3 * best.max(1.0), "{found} {best} {runs:?}");
            // Fewer boundaries: in order, none empty.
            let mut end = 0;
            for run in segment(&columns, &glyphs, 3.0) {
                prop_assert!(run.start >= end && run.end > run.start && run.end <= columns.len());
                end = run.end;
            }
        }
    }
}
