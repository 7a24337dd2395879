//! The emissions of a line from those of its windows.

use crate::cpu;
use crate::decode::LogProbs;
use crate::emissions::{Attention, Emissions};
use crate::error::{ComputeError, EmissionsError, Result};
use crate::ops::MAP_WIDTH;
use crate::resize::Windows;

/// The weighted mean of the windows that were added: of their probabilities and of their attention.
///
/// The values depend on the order of the windows, so that they are added from left to right.
#[derive(Debug)]
pub(super) struct Joined {
    windows: Windows,
    classes: usize,
    rows: usize,
    added: usize,
    /// `[frame, class]`
    log_probs: Vec<f32>,
    /// `[frame, row, column - frame + MAP_REACH]`
    attention: Vec<f32>,
}

impl Joined {
    pub(super) fn new(windows: Windows) -> Self {
        let (log_probs, attention) = (Vec::new(), Vec::new());
        Joined { windows, classes: 0, rows: 0, added: 0, log_probs, attention }
    }

    /// Adds the next window.
    pub(super) fn add(&mut self, emissions: &Emissions) -> Result<()> {
        let (log_probs, attention) = (&emissions.log_probs, &emissions.attention);
        if self.added == 0 {
            (self.classes, self.rows) = (log_probs.classes(), attention.rows());
            self.log_probs = vec![f32::NEG_INFINITY; self.windows.frames() * self.classes];
            self.attention = vec![0.0; self.windows.frames() * self.rows * MAP_WIDTH];
        }
        let (index, classes) = (self.added, self.classes);
        let frames = self.windows.window(index);
        if log_probs.frames() != frames.len() || log_probs.classes() != classes {
            let found = log_probs.as_slice().len();
            return Err(EmissionsError::Size { frames: frames.len(), classes, found }.into());
        }
        let shares: Vec<f32> =
            frames.clone().filter_map(|frame| self.windows.share(index, frame)).collect();
        let own = &mut self.log_probs[frames.start * classes..frames.end * classes];
        cpu::add_probabilities(own, log_probs.as_slice(), classes, &shares);
        let size = self.rows * MAP_WIDTH;
        let own = self.attention[frames.start * size..frames.end * size].chunks_mut(size.max(1));
        let next = attention.as_slice().chunks(size.max(1));
        for ((own, next), share) in own.zip(next).zip(shares) {
            own.iter_mut().zip(next).for_each(|(own, next)| *own += share * next);
        }
        self.added += 1;
        Ok(())
    }

    /// The emissions of the line.
    ///
    /// # Errors
    /// [`ComputeError::Incomplete`] if a window is missing.
    pub(super) fn finish(self) -> Result<Emissions> {
        let (frames, count) = (self.windows.frames(), self.windows.count());
        if self.added != count {
            let detail = format!("{} of {count} windows of a line", self.added);
            return Err(ComputeError::Incomplete { detail }.into());
        }
        let log_probs = LogProbs::from_log_probabilities(frames, self.classes, self.log_probs)?;
        Ok(Emissions { log_probs, attention: Attention::new(frames, self.rows, self.attention) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resize::LineShape;

    const CLASSES: usize = 5;
    const ROWS: usize = 2;

    /// Some distribution for every frame, from a seed; a class may have no probability at all.
    fn emissions(seed: usize, frames: usize) -> Emissions {
        let value = |i: usize| ((seed * 31 + i * 17 + i * i * 7) % 13) as f32;
        let probabilities = (0..frames).flat_map(|frame| {
            let values: Vec<f32> =
                (0..CLASSES).map(|class| value(frame * CLASSES + class)).collect();
            let sum: f32 = values.iter().sum::<f32>() + 1.0;
            (0..CLASSES).map(move |class| (values[class] + f32::from(class == 0)) / sum)
        });
        let log_probs = probabilities.map(f32::ln).collect();
        let attention = (0..frames * ROWS * MAP_WIDTH).map(|i| value(i) / 13.0).collect();
        Emissions {
            log_probs: LogProbs::from_log_probabilities(frames, CLASSES, log_probs).unwrap(),
            attention: Attention::new(frames, ROWS, attention),
        }
    }

    /// The same, plainly: sums over all windows in f64, divided at the end.
    fn oracle(windows: &Windows, parts: &[Emissions]) -> (Vec<f64>, Vec<f64>) {
        let size = ROWS * MAP_WIDTH;
        let mut probabilities = vec![0.0; windows.frames() * CLASSES];
        let mut attention = vec![0.0; windows.frames() * size];
        for frame in 0..windows.frames() {
            let mut total = 0.0;
            for (index, part) in parts.iter().enumerate() {
                let window = windows.window(index);
                if !window.contains(&frame) {
                    continue;
                }
                let inside = frame - window.start;
                let distance = (inside as f64 + 0.5).min((window.len() - inside) as f64 - 0.5);
                total += distance;
                for class in 0..CLASSES {
                    let log_prob = part.log_probs.frame(inside).unwrap()[class];
                    probabilities[frame * CLASSES + class] += distance * f64::from(log_prob).exp();
                }
                for at in 0..size {
                    let weight = part.attention.as_slice()[inside * size + at];
                    attention[frame * size + at] += distance * f64::from(weight);
                }
            }
            probabilities[frame * CLASSES..][..CLASSES].iter_mut().for_each(|p| *p /= total);
            attention[frame * size..][..size].iter_mut().for_each(|p| *p /= total);
        }
        (probabilities, attention)
    }

    proptest! {
        #[test]
        fn joining_is_the_weighted_mean(frames in 1u32..90, window in 1u32..40, step in 1usize..40) {
            let shape = LineShape { height: 32, window: 4 * window, frame: 4 };
            let windows = shape.windows(4 * frames, step);
            let parts: Vec<Emissions> =
                (0..windows.count()).map(|i| emissions(i, windows.window(i).len())).collect();
            let mut joined = Joined::new(windows.clone());
            for part in &parts {
                joined.add(part).unwrap();
            }
            let joined = joined.finish().unwrap();
            let (probabilities, attention) = oracle(&windows, &parts);
            for (found, expected) in joined.log_probs.as_slice().iter().zip(probabilities) {
                prop_assert!((f64::from(*found).exp() - expected).abs() < 1e-5);
            }
            for (found, expected) in joined.attention.as_slice().iter().zip(attention) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
            // Where one window alone shows a frame, its bits stay.
            let own = parts[0].log_probs.frame(0);
            let alone = windows.count() == 1 || windows.window(1).start > 0;
            prop_assert!(!alone || joined.log_probs.frame(0) == own);
        }
    }

    #[test]
    fn faults() {
        let windows = LineShape { height: 32, window: 16, frame: 4 }.windows(32, 2);
        let mut joined = Joined::new(windows.clone());
        joined.add(&emissions(0, 4)).unwrap();
        assert!(matches!(joined.add(&emissions(1, 3)), Err(crate::Error::Emissions(_))));
        // Two of three windows are missing.
        assert!(matches!(joined.finish(), Err(crate::Error::Compute(_))));
    }
}
