//! The progress bar on standard error, and the lines about what is done.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::error::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::say;

pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    rows: AtomicUsize,
    errors: AtomicUsize,
    files: AtomicUsize,
}

impl Progress {
    /// For a known number of rows. There is a bar only on a terminal.
    pub fn new(total: usize) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(total as u64),
            false => ProgressBar::hidden(),
        };
        let template = "{bar:30} {pos}/{len} rows  {per_sec}  {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        let [rows, errors, files] = [0; 3].map(AtomicUsize::new);
        Progress { bar, start: Instant::now(), rows, errors, files }
    }

    pub fn add(&self, rows: usize, errors: usize) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        let errors = self.errors.fetch_add(errors, Ordering::Relaxed) + errors;
        self.bar.inc(rows as u64);
        if errors > 0 {
            self.bar.set_message(format!("{errors} with an error"));
        }
    }

    /// A line about a file that is done.
    pub fn say(&self, line: String) -> Result<()> {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| say(line))
    }

    /// The sum of several files.
    pub fn finish(self) -> Result<()> {
        self.bar.finish_and_clear();
        let [rows, errors, files] =
            [&self.rows, &self.errors, &self.files].map(|count| count.load(Ordering::Relaxed));
        if files < 2 {
            return Ok(());
        }
        let rate = rows as f64 / self.start.elapsed().as_secs_f64();
        say(format!("{files} files: {rows} rows, {errors} with an error, {rate:.1} rows/s"))
    }
}
