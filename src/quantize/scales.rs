//! Scales of rows of weights, and the integers that a scale makes of them.

use crate::cpu;

/// The highest magnitude of an integer.
pub(super) const MAX: i32 = cpu::MAX_LEVEL as i32;

/// The integer of a weight; 0 in a row whose scale is 0.
pub(super) fn round(value: f32, scale: f32, most: i32) -> i32 {
    if scale == 0.0 { 0 } else { ((value / scale).round_ties_even() as i32).clamp(-most, most) }
}

/// The largest magnitude of a row.
pub(super) fn magnitude(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The scale for integers of up to `most` whose squared error is least, of 32 that clip ever more.
pub(super) fn best_scale(row: &[f32], most: i32) -> f32 {
    let widest = magnitude(row) / most as f32;
    let mut best = (f64::INFINITY, 0.0);
    for clip in 0..32 {
        let scale = fitted(row, widest * 0.95f32.powi(clip), most);
        let error = row
            .iter()
            .map(|&value| f64::from(value - round(value, scale, most) as f32 * scale).powi(2))
            .sum();
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

/// The scale that the integers of `scale` fit best: least squares.
pub(super) fn fitted(row: &[f32], scale: f32, most: i32) -> f32 {
    let (mut product, mut square) = (0.0, 0.0);
    for &value in row {
        let level = f64::from(round(value, scale, most));
        product += f64::from(value) * level;
        square += level * level;
    }
    if square > 0.0 { (product / square) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_fit_their_integers() {
        let row = [0.9f32, -0.5, 0.31, 0.0, -1.0, 0.05];
        let scale = best_scale(&row, 63);
        let error = |scale: f32| -> f64 {
            let off = |&x: &f32| f64::from(x - round(x, scale, 63) as f32 * scale).powi(2);
            row.iter().map(off).sum()
        };
        assert!((scale - 1.0 / 63.0).abs() < 1e-3, "{scale}");
        assert!(error(scale) <= error(magnitude(&row) / 63.0));
        assert_eq!(best_scale(&[0.0; 4], 63), 0.0);
        assert_eq!(round(5.0, 0.0, 63), 0);
        assert_eq!([5.0, -5.0, 0.25].map(|x| round(x, 0.1, 7)), [7, -7, 2]);
    }
}
