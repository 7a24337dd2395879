//! The tables of a training: `metrics.csv` and `validation.csv`.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use svtrv2::data::Dataset;
use svtrv2::evaluation::Metrics;

use crate::failure::{Failure, Result};
use crate::output;

/// A line of `metrics.csv`.
#[derive(Serialize, Deserialize, Clone)]
pub struct StepRow {
    pub step: u64,
    pub minutes: f64,
    pub images: u64,
    pub learning_rate: f64,
    pub loss: f64,
    pub ctc: f64,
    pub sgm: Option<f64>,
    pub distillation: Option<f64>,
    pub gradient_norm: f64,
    pub training_accuracy: f64,
    pub images_per_second: f64,
    pub skipped: u64,
    /// Mean word accuracy of the validation sets, if there was a validation.
    pub validation: Option<f64>,
}

/// A line of `validation.csv`: a validation set at a step. Shares are 0..=1.
#[derive(Serialize, Deserialize, Clone)]
pub struct SetRow {
    pub step: u64,
    pub images: u64,
    pub set: String,
    pub words: usize,
    /// By the published protocol.
    pub word_accuracy: f64,
    pub exact_accuracy: f64,
}

/// Both tables, in memory and on disk.
pub struct Tables {
    pub steps: Vec<StepRow>,
    pub sets: Vec<SetRow>,
    step_file: PathBuf,
    set_file: PathBuf,
}

impl Tables {
    pub fn new(folder: &Path) -> Self {
        let [step_file, set_file] = ["metrics.csv", "validation.csv"].map(|name| folder.join(name));
        Tables { steps: Vec::new(), sets: Vec::new(), step_file, set_file }
    }

    /// Reads what an earlier run wrote, up to the step of its checkpoint: later steps are repeated.
    pub fn read_until(&mut self, step: u64) -> Result<()> {
        self.steps = read(&self.step_file)?;
        self.sets = read(&self.set_file)?;
        self.steps.retain(|row| row.step <= step);
        self.sets.retain(|row| row.step <= step);
        Ok(())
    }

    pub fn add_step(&mut self, row: StepRow) -> Result<()> {
        self.steps.push(row);
        write(&self.step_file, &self.steps)
    }

    /// Adds the metrics of every validation set at the step of `row`.
    pub fn add_validation(
        &mut self,
        row: &StepRow,
        sets: &[Dataset],
        metrics: &[Metrics],
    ) -> Result<()> {
        self.sets.extend(sets.iter().zip(metrics).map(|(set, metrics)| SetRow {
            step: row.step,
            images: row.images,
            set: set.name().to_owned(),
            words: metrics.words,
            word_accuracy: metrics.word_accuracy,
            exact_accuracy: metrics.exact_accuracy,
        }));
        write(&self.set_file, &self.sets)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let rows = csv::Reader::from_path(path).map_err(Failure::file(path))?.into_deserialize();
    rows.collect::<std::result::Result<_, _>>().map_err(Failure::file(path))
}

/// Replaces the file in one step, so that it is whole at any time.
fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    output::replace(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        rows.iter().try_for_each(|row| writer.serialize(row))?;
        writer.flush()
    })
}
