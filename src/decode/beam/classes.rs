//! Which classes of a frame a search looks at.

use crate::charset::Charset;

/// The most probable classes of a frame but the blank, best first, of equal ones the first: at most
/// `count`, and no more than it takes to reach `mass` together with the blank.
pub(super) fn probable_classes(row: &[f32], count: usize, mass: f32, best: &mut Vec<(u32, f32)>) {
    const CHUNK: usize = 16;
    best.clear();
    let count = count.min(row.len() - 1);
    if count == 0 {
        return;
    }
    // A class below this is not among those that hold the mass: the others hold more without it.
    let rest = 1.0 - f64::from(mass);
    let mut floor =
        if rest > 0.0 { (rest / row.len() as f64).ln() as f32 } else { f32::NEG_INFINITY };
    let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    for (chunk, values) in row.chunks(CHUNK).enumerate() {
        if values.iter().fold(f32::NEG_INFINITY, |max, &v| if v > max { v } else { max }) <= floor {
            continue;
        }
        for (class, &value) in (chunk * CHUNK..).zip(values) {
            if value > floor && class != Charset::BLANK {
                best.push((class as u32, value));
            }
        }
        if best.len() >= count.saturating_mul(2).max(count + CHUNK) {
            best.select_nth_unstable_by(count - 1, better);
            best.truncate(count);
            floor = best[count - 1].1.max(floor);
        }
    }
    best.sort_unstable_by(better);
    best.truncate(count);
    if rest > 0.0 {
        let mut sum = row[Charset::BLANK].exp();
        let needed = best.iter().position(|&(_, value)| {
            let enough = sum >= mass;
            sum += value.exp();
            enough
        });
        best.truncate(needed.unwrap_or(best.len()));
    }
}
