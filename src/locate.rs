//! Where the characters of a text lie, from the network's attention.

use std::ops::Range;

use crate::emissions::Attention;
use crate::ops::MAP_REACH;

/// Where the characters of a text lie, in shares of the width and of the height.
///
/// A network trained with CTC names a character where it is sure of it, which is often at its edge
/// and, for the first one, at the edge of the crop. Where it looked when it did is where the
/// character is.
pub(crate) fn locate(
    steps: &[Range<usize>],
    attention: &Attention,
) -> Vec<((f32, f32), (f32, f32))> {
    /// Half a character's height in standard deviations of the rows: the mean over words that were
    /// rendered with known boxes.
    const HALF_HEIGHT: f32 = 1.5;
    let (total, rows) = (attention.frames().max(1) as f32, attention.rows().max(1) as f32);
    let focuses: Vec<Focus> = steps
        .iter()
        .map(|steps| {
            let x = (steps.start + steps.end) as f32 / 2.0;
            let nowhere = Focus { x, y: rows / 2.0, deviation: rows };
            focus(attention, steps).unwrap_or(nowhere)
        })
        .collect();
    let mut gaps: Vec<f32> = focuses.windows(2).map(|pair| (pair[1].x - pair[0].x).abs()).collect();
    gaps.sort_by(f32::total_cmp);
    // A character alone may be as wide as the crop.
    let pitch = gaps.get(gaps.len() / 2).copied().unwrap_or(total);
    (0..focuses.len())
        .map(|i| {
            let Focus { x, y, deviation } = focuses[i];
            // Halfway to the nearer neighbour: the middle of the box stays where it is.
            let gap = |other: Option<&Focus>| other.map_or(f32::INFINITY, |o| (o.x - x).abs());
            let before = gap(i.checked_sub(1).map(|j| &focuses[j]));
            let nearer = before.min(gap(focuses.get(i + 1))).min(1.5 * pitch).max(0.5);
            let half_width = (nearer / 2.0).min(x).min(total - x);
            let half_height = (HALF_HEIGHT * deviation).max(0.5).min(y).min(rows - y);
            let x = ((x - half_width) / total, (x + half_width) / total);
            (x, ((y - half_height) / rows, (y + half_height) / rows))
        })
        .collect()
}

/// The middle of what the network looked at for some steps, in steps and rows from the left
/// and upper edge, and the standard deviation of the rows. `None` if it looked at nothing.
fn focus(attention: &Attention, steps: &Range<usize>) -> Option<Focus> {
    let mut around = vec![0.0f32; attention.rows() * attention.frames()];
    for step in steps.clone() {
        let columns =
            step.saturating_sub(MAP_REACH)..(step + MAP_REACH + 1).min(attention.frames());
        for row in 0..attention.rows() {
            for column in columns.clone() {
                let weight = attention.weight(step, row, column).unwrap_or(0.0);
                around[row * attention.frames() + column] += weight;
            }
        }
    }
    let sharpened = |weight: f32| f64::from(weight).powi(SHARPNESS);
    let columns = (0..attention.frames()).map(|column| {
        sharpened((0..attention.rows()).map(|row| around[row * attention.frames() + column]).sum())
    });
    let (x, _) = mean_and_deviation(columns)?;
    let rows = around.chunks_exact(attention.frames().max(1));
    let rows = rows.map(|row| row.iter().copied().map(sharpened).sum());
    let (y, deviation) = mean_and_deviation(rows)?;
    Some(Focus { x, y, deviation })
}
/// The power that weights are taken to: it leaves what the network looks at, and takes away what
/// it only sees.
const SHARPNESS: i32 = 5;

/// The middle of what the network looked at.
struct Focus {
    x: f32,
    y: f32,
    /// Of the rows.
    deviation: f32,
}

/// The mean and the standard deviation of places 0.5, 1.5, .. by their weights; `None` without any
/// weight.
fn mean_and_deviation(weights: impl Iterator<Item = f64>) -> Option<(f32, f32)> {
    let (mut total, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (index, weight) in weights.enumerate() {
        let place = index as f64 + 0.5;
        total += weight;
        sum += weight * place;
        squares += weight * place * place;
    }
    let mean = sum / total;
    let deviation = (squares / total - mean * mean).max(0.0).sqrt();
    (total > 0.0).then_some((mean as f32, deviation as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 2 * MAP_REACH + 1;

    #[test]
    fn attention_of_a_step() {
        let mut weights = vec![0.0; 3 * 2 * WIDTH];
        // Step 1 looks at row 1, column 2.
        weights[(2 + 1) * WIDTH + MAP_REACH + 1] = 0.5;
        let attention = Attention::new(3, 2, weights);
        assert_eq!(attention.weight(1, 1, 2), Some(0.5));
        assert_eq!(attention.weight(1, 1, 1), Some(0.0));
        assert_eq!(attention.weight(1, 1, 3), None);
        let found = focus(&attention, &(1..2)).unwrap();
        assert_eq!((found.x, found.y, found.deviation), (2.5, 1.5, 0.0));
        assert!(focus(&attention, &(0..1)).is_none());
    }
}
