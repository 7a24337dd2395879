//! Lines that are wider than one pass through the network: windows, passes, joined emissions.

use std::sync::Arc;
use std::time::Duration;

use super::Recognizer;
use super::join::Joined;
use crate::cpu;
use crate::decode::LogProbs;
use crate::emissions::Emissions;
use crate::error::{ComputeError, Error, Result};
use crate::resize::{LineShape, ResizedCrop, TargetSize, Windows};
use crate::system::clock;

/// Values of emissions (frames times classes) of the lines that are in work together, unless one line
/// alone has more: 64 MiB.
const GROUP_VALUES: usize = 1 << 24;

/// Values of emissions that a line may have, 512 MiB: with the classes of an alphabet
/// [`LogProbs::MAX_FRAMES`] is the tighter bound.
const MAX_VALUES: usize = 1 << 27;

/// Passes through the network between two rounds of joining, for each thread.
const PASSES_PER_THREAD: usize = 4;

/// A part of a line: its columns go through the network together.
#[derive(Clone, Copy)]
struct Window {
    /// The line's index in its group.
    line: usize,
    /// The first column and their number, in pixels.
    left: usize,
    width: usize,
}

/// A line with what is known of it.
struct Line<'a> {
    crop: &'a ResizedCrop,
    /// The windows so far, or why they failed.
    joined: Result<Joined>,
    /// Its share of the time of the passes.
    time: Duration,
}

impl Recognizer {
    /// The frames that a line may have.
    pub(super) fn max_line_frames(&self) -> usize {
        (MAX_VALUES / self.config.num_classes.max(1)).min(LogProbs::MAX_FRAMES)
    }

    /// The same in columns of a resized line.
    pub(super) fn max_line_width(&self) -> usize {
        self.max_line_frames() * self.shape.frame as usize
    }

    /// Whether a resized crop is recognised in windows.
    pub(super) fn is_line(&self, size: TargetSize) -> bool {
        let LineShape { height, window, .. } = self.shape;
        self.windows.is_some() && size.height == height && size.width > window
    }

    fn windows_of(&self, size: TargetSize) -> Windows {
        let step = self.windows.map_or(self.shape.window_frames(), |rule| rule.step);
        self.shape.windows(size.width, step)
    }

    /// Runs lines through the network, window by window on the threads of the pool, and through
    /// `finish`; results are in the order of the lines.
    pub(super) fn run_lines<T: Send>(
        &self,
        lines: &[&ResizedCrop],
        finish: impl Fn(&ResizedCrop, Emissions) -> Result<T> + Sync,
    ) -> Vec<(Result<T>, Duration)> {
        let values = |line: &ResizedCrop| {
            self.windows_of(line.size).frames().saturating_mul(self.config.num_classes)
        };
        let mut results = Vec::with_capacity(lines.len());
        let mut rest = lines;
        while !rest.is_empty() {
            let mut total = 0usize;
            let fits = |line: &&&ResizedCrop| {
                total = total.saturating_add(values(line));
                total <= GROUP_VALUES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (group, behind) = rest.split_at(count);
            let finish = |line: Line| {
                let emissions = line.joined.and_then(Joined::finish);
                (emissions.and_then(|emissions| finish(line.crop, emissions)), line.time)
            };
            results.extend(cpu::map_jobs(self.joined(group), finish));
            rest = behind;
        }
        results
    }

    /// The joined emissions of some lines.
    fn joined<'a>(&self, crops: &[&'a ResizedCrop]) -> Vec<Line<'a>> {
        let mut windows = Vec::new();
        let mut lines = Vec::with_capacity(crops.len());
        let frame = self.shape.frame as usize;
        for (line, &crop) in crops.iter().enumerate() {
            let own = self.windows_of(crop.size);
            windows.extend((0..own.count()).map(|index| {
                let frames = own.window(index);
                Window { line, left: frames.start * frame, width: frames.len() * frame }
            }));
            lines.push(Line { crop, joined: Ok(Joined::new(own)), time: Duration::ZERO });
        }
        let shape = self.shape;
        let pixels = (shape.window as usize * shape.height as usize).max(1);
        let per_pass = (self.batch_pixels / pixels).max(1);
        let round = PASSES_PER_THREAD * per_pass * rayon::current_num_threads().max(1);
        for round in windows.chunks(round) {
            let run = |pass: &[Window]| self.run_windows(pass, crops);
            let passes = cpu::map_jobs(round.chunks(per_pass).collect(), run);
            // In order of the windows: the joined values depend on it.
            for (window, (emissions, time)) in round.iter().zip(passes.into_iter().flatten()) {
                let line = &mut lines[window.line];
                line.time += time;
                if let Ok(joined) = &mut line.joined
                    && let Err(error) = emissions.and_then(|emissions| joined.add(&emissions))
                {
                    line.joined = Err(error);
                }
            }
        }
        lines
    }

    /// One pass through the network: the emissions of windows, each with its share of the time.
    fn run_windows(
        &self,
        pass: &[Window],
        lines: &[&ResizedCrop],
    ) -> Vec<(Result<Emissions>, Duration)> {
        let columns = |window: &Window| -> Vec<u8> {
            let line = lines[window.line];
            let rows = line.rgb.chunks_exact((3 * line.size.width as usize).max(1));
            rows.flat_map(|row| &row[3 * window.left..][..3 * window.width]).copied().collect()
        };
        let images: Vec<(Vec<u8>, u32)> =
            pass.iter().map(|window| (columns(window), window.width as u32)).collect();
        let LineShape { height, window: width, .. } = self.shape;
        let start = clock();
        let emissions = self.forward(TargetSize { height, width }, &images);
        let time = (clock() - start) / pass.len().max(1) as u32;
        match emissions {
            Ok(emissions) => emissions.into_iter().map(|emissions| (emissions, time)).collect(),
            Err(error) => {
                let source = Arc::new(error);
                let failed = || Error::from(ComputeError::Pass { source: source.clone() });
                pass.iter().map(|_| (Err(failed()), time)).collect()
            }
        }
    }
}
