//! The columns of a strip after shearing: how much ink they hold, and how much a cut between two of them severs.

use super::shear::Shear;
use super::strip::Strip;

/// What the segmentation of a line looks at.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Ink left of every boundary between columns, in squared heights of the line.
    before: Vec<f32>,
    /// Ink that a cut at every boundary severs, in heights of the line; 0 in a gap.
    severed: Vec<f32>,
    /// The first boundary from here on with ink behind it, `columns` if there is none.
    start_of_ink: Vec<u32>,
    /// The last boundary up to here with ink before it, 0 if there is none.
    end_of_ink: Vec<u32>,
    /// The natural logarithms of all counts of columns: every run of every pass asks for one.
    logarithms: Vec<f32>,
}

/// Less ink than this in a column, in pixels, is noise or a faint edge.
const FAINT: f32 = 0.5;

impl Columns {
    /// `height` is that of lower-case letters in rows.
    pub(super) fn new(strip: &Strip, shear: &Shear, height: f32) -> Self {
        let columns = shear.columns();
        let mut sheared = vec![0.0f32; columns];
        let mut ink = vec![0.0f32; columns];
        let mut severed = vec![0.0f32; columns + 1];
        for (row, values) in strip.iter().enumerate() {
            shear.row(row, values, &mut sheared);
            ink.iter_mut().zip(&sheared).for_each(|(sum, value)| *sum += value);
            let pairs = sheared.windows(2).map(|pair| pair[0].min(pair[1]));
            severed[1..].iter_mut().zip(pairs).for_each(|(sum, value)| *sum += value);
        }
        let height = height.max(1.0);
        severed.iter_mut().for_each(|sum| *sum /= height);
        let mut before = vec![0.0; columns + 1];
        let mut end_of_ink = vec![0; columns + 1];
        let mut start_of_ink = vec![columns as u32; columns + 1];
        for at in 0..columns {
            before[at + 1] = before[at] + ink[at] / (height * height);
            end_of_ink[at + 1] = if ink[at] >= FAINT { at as u32 + 1 } else { end_of_ink[at] };
        }
        for at in (0..columns).rev() {
            start_of_ink[at] = if ink[at] >= FAINT { at as u32 } else { start_of_ink[at + 1] };
        }
        let logarithms = (0..=columns).map(|count| (count as f32).ln()).collect();
        Columns { before, severed, start_of_ink, end_of_ink, logarithms }
    }

    /// The natural logarithm of a count of columns.
    pub(super) fn logarithm(&self, count: usize) -> f32 {
        self.logarithms.get(count).copied().unwrap_or_else(|| (count as f32).ln())
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.before.len() - 1
    }

    /// Ink left of a boundary.
    pub(super) fn before(&self, boundary: usize) -> f32 {
        self.before[boundary.min(self.len())]
    }

    /// Ink that a cut at a boundary severs.
    pub(super) fn severed(&self, boundary: usize) -> f32 {
        self.severed[boundary.min(self.len())]
    }

    /// The columns of ink between two boundaries; `None` if there is none.
    pub(super) fn ink(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let first = self.start_of_ink[start.min(self.len())] as usize;
        let last = self.end_of_ink[end.min(self.len())] as usize;
        (first < last).then_some((first, last))
    }

    /// True where a cut severs no more than one beside it does.
    pub(super) fn is_valley(&self, boundary: usize) -> bool {
        let here = self.severed(boundary);
        let left = boundary.checked_sub(1).map_or(0.0, |at| self.severed(at));
        let right = if boundary < self.len() { self.severed(boundary + 1) } else { 0.0 };
        here <= left.max(1e-3) && here <= right.max(1e-3) || here <= left.min(right)
    }
}
