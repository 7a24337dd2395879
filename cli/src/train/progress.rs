//! Progress of a training: a bar on a terminal, and the means between two rows of the table.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use svtrv2::train::{StepReport, Trainer};

use super::note;
use super::tables::StepRow;

/// Progress of one run of the command.
pub struct Progress {
    pub bar: ProgressBar,
    window: Window,
    images: u64,
    /// Time of earlier runs.
    before: Duration,
    start: Instant,
}

/// Sums since the last row.
#[derive(Default)]
struct Window {
    steps: f64,
    images: u64,
    time: Duration,
    loss: f64,
    ctc: f64,
    sgm: f64,
    distillation: f64,
    accuracy: f64,
    norm: f64,
}

impl Progress {
    /// Starts at the step of the trainer; `last` is the last row of an earlier run.
    pub fn new(trainer: &Trainer, last: Option<&StepRow>) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(trainer.recipe().steps)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}, {eta} left") {
            bar.set_style(style);
        }
        bar.set_position(trainer.steps());
        bar.reset_eta();
        let before = last.map_or(0.0, |row| row.minutes) * 60.0;
        Progress {
            bar,
            window: Window::default(),
            images: last.map_or(0, |row| row.images),
            before: Duration::try_from_secs_f64(before).unwrap_or_default(),
            start: Instant::now(),
        }
    }

    /// Time of this run.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Minutes of this run and earlier ones.
    pub fn minutes(&self) -> f64 {
        (self.before + self.elapsed()).as_secs_f64() / 60.0
    }

    pub fn add(&mut self, report: &StepReport) {
        let window = &mut self.window;
        window.steps += 1.0;
        window.images += report.images as u64;
        window.time += report.time;
        window.loss += report.loss;
        window.ctc += report.ctc;
        window.sgm += report.sgm.unwrap_or(0.0);
        window.distillation += report.distillation.unwrap_or(0.0);
        window.accuracy += report.accuracy;
        window.norm += report.gradient_norm;
        self.images += report.images as u64;
        let rate = window.images as f64 / window.time.as_secs_f64().max(1e-9);
        self.bar.set_position(report.step + 1);
        self.bar.set_message(format!(
            "loss {:.3}, accuracy {:.1} %, {rate:.0} images/s",
            window.loss / window.steps,
            100.0 * window.accuracy / window.steps,
        ));
    }

    /// The means since the last row.
    pub fn row(&mut self, trainer: &Trainer, report: &StepReport) -> StepRow {
        let window = std::mem::take(&mut self.window);
        let mean = |sum: f64| sum / window.steps.max(1.0);
        let row = StepRow {
            step: trainer.steps(),
            minutes: self.minutes(),
            images: self.images,
            learning_rate: report.learning_rate,
            loss: mean(window.loss),
            ctc: mean(window.ctc),
            sgm: report.sgm.map(|_| mean(window.sgm)),
            distillation: report.distillation.map(|_| mean(window.distillation)),
            gradient_norm: mean(window.norm),
            training_accuracy: mean(window.accuracy),
            images_per_second: window.images as f64 / window.time.as_secs_f64().max(1e-9),
            skipped: trainer.skipped().total(),
            validation: None,
        };
        if self.bar.is_hidden() {
            note(format!(
                "step {} of {}: loss {:.4}, accuracy {:.2} %, {:.0} images/s, {:.1} minutes",
                row.step,
                trainer.recipe().steps,
                row.loss,
                100.0 * row.training_accuracy,
                row.images_per_second,
                row.minutes,
            ));
        }
        row
    }
}
