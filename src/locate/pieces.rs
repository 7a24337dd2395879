//! Which pixels of ink belong to which character: connected pieces, whole where they can be.

use std::ops::Range;

use super::shear::Shear;
use super::strip::Strip;

/// Ink from this coverage on belongs to a character: its faint edges do.
const MIN_COVERAGE: f32 = 0.3;

/// A connected piece of ink belongs to one character as a whole if this share of it lies in its
/// columns; otherwise characters touch each other, and the cut between them divides it.
const WHOLE: f32 = 0.7;

/// Unless another character would lose this share of its ink.
const MAX_LOSS: f32 = 0.4;

/// The owner of ink that no character has.
pub(super) const NOBODY: u32 = u32::MAX;

/// The owner of every pixel of a strip, row after row: the index of a run, or [`NOBODY`].
/// `runs` are columns after shearing, in order.
pub(super) fn owners(strip: &Strip, shear: &Shear, runs: &[Range<usize>]) -> Vec<u32> {
    let (labels, pieces) = pieces(strip);
    let columns = strip.columns();
    // Per pixel, of a row that is shifted, the run that it lies in, or the nearest one.
    let at = |column: usize, shift: f32| {
        let place = column as f32 + 0.5 + shift;
        let behind = runs.partition_point(|run| run.start as f32 <= place);
        let Some(run) = behind.checked_sub(1) else { return (0, false) };
        let beyond = place - runs[run].end as f32;
        if beyond < 0.0 {
            return (run, true);
        }
        let nearer = runs.get(run + 1).is_some_and(|next| next.start as f32 - place < beyond);
        (run + usize::from(nearer), false)
    };
    // How much of every piece lies in every run that it touches, and how much ink every run has.
    let mut shares: Vec<Vec<(usize, f32)>> = vec![Vec::new(); pieces];
    let mut totals = vec![0.0f32; pieces];
    let mut inks = vec![0.0f32; runs.len()];
    for (row, (labels, coverage)) in labels.chunks_exact(columns).zip(strip.iter()).enumerate() {
        let shift = shear.shift(row as f32 + 0.5);
        for (column, (&label, &coverage)) in labels.iter().zip(coverage).enumerate() {
            if label == NOBODY {
                continue;
            }
            totals[label as usize] += coverage;
            let (run, inside) = at(column, shift);
            if inside {
                inks[run] += coverage;
                let shares = &mut shares[label as usize];
                match shares.iter_mut().find(|share| share.0 == run) {
                    Some(share) => share.1 += coverage,
                    None => shares.push((run, coverage)),
                }
            }
        }
    }
    /// What becomes of a piece.
    #[derive(Clone, Copy)]
    enum Fate {
        Whole(u32),
        Divided,
        Dropped,
    }
    let fates: Vec<Fate> = shares
        .iter()
        .zip(&totals)
        .map(|(shares, total)| {
            let Some(most) = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
                return Fate::Dropped;
            };
            let losers = shares.iter().filter(|share| share.0 != most.0);
            let loss = losers.map(|share| share.1 / inks[share.0]).fold(0.0, f32::max);
            if most.1 >= WHOLE * total && loss <= MAX_LOSS {
                Fate::Whole(most.0 as u32)
            } else {
                Fate::Divided
            }
        })
        .collect();
    let mut owners = labels;
    for (row, owners) in owners.chunks_exact_mut(columns).enumerate() {
        let shift = shear.shift(row as f32 + 0.5);
        for (column, owner) in owners.iter_mut().enumerate() {
            *owner = match fates.get(*owner as usize) {
                Some(Fate::Whole(run)) => *run,
                Some(Fate::Divided) => at(column, shift).0 as u32,
                Some(Fate::Dropped) | None => NOBODY,
            };
        }
    }
    owners
}

/// The connected piece of every pixel, [`NOBODY`] for the background, and how many there are.
///
/// Pixels that are more ink than background hang together with their eight neighbours; faint
/// pixels around a piece belong to it.
fn pieces(strip: &Strip) -> (Vec<u32>, usize) {
    let (columns, coverage) = (strip.columns(), strip.coverage());
    let mut labels = vec![NOBODY; coverage.len()];
    let mut count = 0;
    let mut pending = Vec::new();
    for seed in 0..labels.len() {
        if labels[seed] != NOBODY || coverage[seed] < 0.5 {
            continue;
        }
        labels[seed] = count;
        pending.push((seed % columns, seed / columns));
        while let Some((column, row)) = pending.pop() {
            for row in row.saturating_sub(1)..(row + 2).min(strip.rows()) {
                for column in column.saturating_sub(1)..(column + 2).min(columns) {
                    let next = row * columns + column;
                    if labels[next] == NOBODY && coverage[next] >= MIN_COVERAGE {
                        labels[next] = count;
                        // Faint pixels lead nowhere.
                        if coverage[next] >= 0.5 {
                            pending.push((column, row));
                        }
                    }
                }
            }
        }
        count += 1;
    }
    (labels, count as usize)
}
