//! Which classes of a frame a search looks at.

use super::super::emitted::Row;
use crate::charset::Charset;
use crate::cpu::largest;

fn better(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The most probable classes of a frame but the blank, best first, of equal ones the first: at most
/// `count`, and no more than it takes to reach `mass` together with the blank.
pub(super) fn probable_classes(row: &Row, count: usize, mass: f32, best: &mut Vec<(u32, f32)>) {
    best.clear();
    let classes = row.values().len();
    let count = count.min(classes - 1);
    if count == 0 {
        return;
    }
    // A class below this is not among those that hold the mass: the others hold more without it.
    let rest = 1.0 - f64::from(mass);
    let floor = if rest > 0.0 { (rest / classes as f64).ln() as f32 } else { f32::NEG_INFINITY };
    if row.is_whole() {
        collect(row.values(), count, floor, best, |value| value, |_| true);
    } else {
        let scaled = |value| row.scaled(value);
        collect(row.values(), count, floor, best, scaled, |class| row.allows(class));
    }
    best.sort_unstable_by(better);
    best.truncate(count);
    if rest > 0.0 {
        let mut sum = row.at(Charset::BLANK).exp();
        let needed = best.iter().position(|&(_, value)| {
            let enough = sum >= mass;
            sum += value.exp();
            enough
        });
        best.truncate(needed.unwrap_or(best.len()));
    }
}

/// The symbols above a floor, which rises when there are far more than `count`; the best `count` are
/// among them.
#[inline(always)]
fn collect(
    values: &[f32],
    count: usize,
    mut floor: f32,
    best: &mut Vec<(u32, f32)>,
    scaled: impl Fn(f32) -> f32,
    allows: impl Fn(usize) -> bool,
) {
    // Small enough that most chunks hold nothing, large enough for vectors.
    const CHUNK: usize = 32;
    for (chunk, values) in values.chunks(CHUNK).enumerate() {
        if scaled(largest(values)) <= floor {
            continue;
        }
        for (class, &value) in (chunk * CHUNK..).zip(values) {
            let value = scaled(value);
            if value > floor && class != Charset::BLANK && allows(class) {
                best.push((class as u32, value));
            }
        }
        if best.len() >= count.saturating_mul(2).max(count + CHUNK) {
            best.select_nth_unstable_by(count - 1, better);
            best.truncate(count);
            floor = best[count - 1].1.max(floor);
        }
    }
}

/// Those of some symbols that are possible at a frame, best first, of equal ones the first.
pub(super) fn possible_classes(row: &Row, symbols: &[u32], found: &mut Vec<(u32, f32)>) {
    found.clear();
    let values = symbols.iter().map(|&class| (class, row.at(class as usize)));
    found.extend(values.filter(|(_, value)| *value > f32::NEG_INFINITY));
    found.sort_unstable_by(better);
}
