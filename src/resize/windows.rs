//! Lines that are wider than one pass through the network: their size, and the windows that cover
//! them.
//!
//! A network reads best at the widths that it was trained on. A wider line is resized once to its
//! own width and covered by overlapping windows; each frame of the line takes the weighted mean of
//! the windows that show it. What a window says near its edge, where characters are cut, counts
//! least.

use std::ops::Range;

use super::TargetSize;
use super::target::rounded_ratio;
use crate::error::{ImageError, Result};

/// What a network states about its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineShape {
    /// Height of the input in pixels.
    pub(crate) height: u32,
    /// The widest input of one pass in pixels, a multiple of `frame`: the width that the network
    /// was trained on, or the limit of one that takes any width.
    pub(crate) window: u32,
    /// Columns of the input that one frame of the output stands for.
    pub(crate) frame: u32,
}

impl LineShape {
    /// Frames of one pass over a whole window.
    pub(crate) fn window_frames(self) -> usize {
        (self.window / self.frame.max(1)) as usize
    }

    /// The input size of a whole line of `width` x `height` pixels: as wide as its ratio, rounded
    /// half to even, asks for.
    ///
    /// # Errors
    /// [`ImageError::TooLong`] if that is more than `max_frames`.
    pub(crate) fn line_size(
        self,
        width: u32,
        height: u32,
        max_frames: usize,
    ) -> Result<TargetSize> {
        let ratio = rounded_ratio(width, height);
        // Every height of an input is a multiple of the frame.
        let frames = u64::from(ratio) * u64::from(self.height) / u64::from(self.frame.max(1));
        let wide = u32::try_from(u64::from(ratio) * u64::from(self.height)).ok();
        match wide.filter(|_| frames <= max_frames as u64) {
            Some(wide) => Ok(TargetSize { height: self.height, width: wide }),
            None => {
                let most =
                    max_frames as u64 * u64::from(self.frame) / u64::from(self.height.max(1));
                let most = u32::try_from(most).unwrap_or(u32::MAX);
                Err(ImageError::TooLong { width, height, most }.into())
            }
        }
    }

    /// The windows of an input of this width, one every `step` frames.
    pub(crate) fn windows(self, width: u32, step: usize) -> Windows {
        Windows::new((width / self.frame.max(1)) as usize, self.window_frames(), step)
    }
}

/// Windows over the frames of a line: from the first frame on, a fixed step apart, the last flush
/// right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Frames of the line.
    frames: usize,
    /// Frames of a window, at most those of the line.
    window: usize,
    /// Frames from one window to the next, 1 to those of a window.
    step: usize,
}

impl Windows {
    fn new(frames: usize, window: usize, step: usize) -> Self {
        let window = window.clamp(1, frames.max(1));
        Windows { frames, window, step: step.clamp(1, window) }
    }

    /// Frames of the line.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// How many windows there are, at least 1.
    pub(crate) fn count(&self) -> usize {
        (self.frames.saturating_sub(self.window)).div_ceil(self.step) + 1
    }

    /// The frames of a window.
    pub(crate) fn window(&self, index: usize) -> Range<usize> {
        let last = self.frames.saturating_sub(self.window);
        let start = (index * self.step).min(last);
        start..start + self.window
    }

    /// What a frame of the line counts in a window, by its distance to the window's nearer edge:
    /// its share of all windows that show it, above 0 and at most 1; `None` where the window does
    /// not show it. Shares of a frame sum to 1.
    pub(crate) fn share(&self, index: usize, frame: usize) -> Option<f32> {
        let own = self.weight(index, frame)?;
        // The windows that may show the frame: the last one is flush right, off the step.
        let first = (frame + 1).saturating_sub(self.window).div_ceil(self.step);
        let last = (frame / self.step).min(self.count() - 1);
        let flush = (last + 1 < self.count()).then(|| self.count() - 1);
        let first = first.min(last);
        let total: u64 =
            (first..=last).chain(flush).filter_map(|window| self.weight(window, frame)).sum();
        Some((own as f64 / total as f64) as f32)
    }

    /// Twice the distance of the middle of a frame to the nearer edge of a window that shows it.
    fn weight(&self, index: usize, frame: usize) -> Option<u64> {
        let window = self.window(index);
        window.contains(&frame).then(|| {
            let (before, behind) = (frame - window.start, window.end - 1 - frame);
            2 * before.min(behind) as u64 + 1
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENGLISH: LineShape = LineShape { height: 32, window: 128, frame: 4 };

    #[test]
    fn sizes_of_lines() {
        let size = |width, height| ENGLISH.line_size(width, height, 8192).map(|size| size.width);
        assert_eq!(size(500, 100).unwrap(), 160);
        assert_eq!(size(2450, 100).unwrap(), 24 * 32); // 24.5 rounds to 24
        assert_eq!(size(2550, 100).unwrap(), 26 * 32); // 25.5 rounds to 26
        assert_eq!(size(1024, 1).unwrap(), 32_768);
        for (width, height) in [(1025, 1), (u32::MAX, 1), (2_000_000, 1000)] {
            match size(width, height) {
                Err(crate::Error::Image(ImageError::TooLong { most: 1024, .. })) => {}
                other => panic!("{width}x{height}: {other:?}"),
            }
        }
    }

    #[test]
    fn windows_of_a_line() {
        let starts = |width| {
            let windows = ENGLISH.windows(width, 16);
            (0..windows.count()).map(|i| windows.window(i).start).collect::<Vec<_>>()
        };
        assert_eq!(starts(128), [0]);
        assert_eq!(starts(160), [0, 8]);
        assert_eq!(starts(192), [0, 16]);
        assert_eq!(starts(224), [0, 16, 24]);
        assert_eq!(starts(320), [0, 16, 32, 48]);
    }

    #[test]
    fn shares_by_hand() {
        // Windows 0..4, 2..6, 3..7 over 7 frames. Weights in a window: 1 3 3 1.
        let windows = Windows::new(7, 4, 2);
        let shares = |frame| (0..3).map(|window| windows.share(window, frame)).collect::<Vec<_>>();
        assert_eq!(shares(0), [Some(1.0), None, None]);
        assert_eq!(shares(2), [Some(0.75), Some(0.25), None]);
        assert_eq!(shares(3), [Some(0.2), Some(0.6), Some(0.2)]);
        assert_eq!(shares(4), [None, Some(0.5), Some(0.5)]);
        assert_eq!(shares(6), [None, None, Some(1.0)]);
    }

    proptest! {
        #[test]
        fn windows_cover_the_line(frames in 1usize..400, window in 1usize..80, step in 1usize..80) {
            let windows = Windows::new(frames, window, step);
            let count = windows.count();
            prop_assert_eq!(windows.window(0).start, 0);
            prop_assert_eq!(windows.window(count - 1).end, frames);
            for i in 1..count {
                let (before, next) = (windows.window(i - 1), windows.window(i));
                prop_assert!(before.start < next.start, "{before:?} {next:?}");
                prop_assert_eq!(next.len(), window.min(frames));
            }
            for frame in 0..frames {
                let shares: Vec<f32> =
                    (0..count).filter_map(|window| windows.share(window, frame)).collect();
                prop_assert!(!shares.is_empty() && shares.iter().all(|share| *share > 0.0));
                let sum: f32 = shares.iter().sum();
                prop_assert!((sum - 1.0).abs() < 1e-5, "frame {frame}: {sum}");
                if let [share] = shares[..] {
                    prop_assert_eq!(share, 1.0);
                }
            }
        }

        #[test]
        fn half_overlapping_windows_cost_at_most_twice_the_line(
            width in 33u32..3000,
            window in 1u32..300,
        ) {
            let shape = LineShape { height: 32, window: 4 * window, frame: 4 };
            let step = shape.window_frames().div_ceil(2);
            let windows = shape.windows(4 * width, step);
            let work = windows.count() * windows.window(0).len();
            prop_assert!(work as f64 <= 2.1 * f64::from(width), "{work} frames for {width}");
        }
    }
}
