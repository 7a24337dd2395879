//! How far the text leans, and where its columns are when it is made upright.

use super::strip::Strip;

/// The slants that are tried, in widths per height: italics lean by 5 to 25 degrees.
const SLANTS: [f32; 8] = [-0.14, 0.07, 0.14, 0.21, 0.28, 0.35, 0.42, 0.5];

/// How much more concentrated the ink of the columns must be after shearing than before.
const GAIN: f32 = 1.04;

/// A shear of a strip's rows along the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shear {
    /// Columns to the right from row to row.
    per_row: f32,
    /// Columns that row 0 is moved by; no row is moved by less than 0.
    first: f32,
    /// Columns after shearing.
    columns: usize,
}

impl Shear {
    /// Makes text upright that leans to the right by `slant` widths per height.
    fn new(strip: &Strip, slant: f32) -> Self {
        let (width, height) = strip.step();
        let per_row = slant * height / width;
        let most = (per_row.abs() * strip.rows() as f32).ceil();
        let first = if per_row < 0.0 { most } else { 0.0 };
        Shear { per_row, first, columns: strip.columns() + most as usize + 1 }
    }

    /// None at all.
    pub(super) fn upright(strip: &Strip) -> Self {
        Self::new(strip, 0.0)
    }

    /// The one after which the strokes of a strip fall into the fewest columns.
    pub(super) fn of(strip: &Strip) -> Self {
        let upright = Self::upright(strip);
        if !strip.line().is_level() {
            return upright;
        }
        let mut best = (GAIN * upright.energy(strip), upright);
        for slant in SLANTS {
            let shear = Self::new(strip, slant);
            let energy = shear.energy(strip);
            if energy > best.0 {
                best = (energy, shear);
            }
        }
        best.1
    }

    /// Columns after shearing.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// How far a place of a row is moved to the right, in columns.
    pub(super) fn shift(&self, row: f32) -> f32 {
        self.first + self.per_row * row
    }

    /// Moves a row of the strip into `sheared`, which has [`Shear::columns`].
    pub(super) fn row(&self, row: usize, values: &[f32], sheared: &mut [f32]) {
        let shift = self.shift(row as f32 + 0.5).max(0.0);
        let (whole, part) = (shift as usize, shift.fract());
        sheared.fill(0.0);
        let kept = values.len().min(sheared.len().saturating_sub(whole));
        for (to, value) in sheared[whole..].iter_mut().zip(&values[..kept]) {
            *to = (1.0 - part) * value;
        }
        if part > 0.0 {
            for (to, value) in sheared[whole..].iter_mut().skip(1).zip(&values[..kept]) {
                *to += part * value;
            }
        }
    }

    /// The sum of the squares of the columns' ink.
    fn energy(&self, strip: &Strip) -> f32 {
        let mut sums = vec![0.0f32; self.columns];
        let mut sheared = vec![0.0f32; self.columns];
        for (row, values) in strip.iter().enumerate() {
            self.row(row, values, &mut sheared);
            sums.iter_mut().zip(&sheared).for_each(|(sum, value)| *sum += value);
        }
        sums.iter().map(|sum| sum * sum).sum()
    }
}
