//! Trains a network as a TOML file says.
//!
//!     cargo run --release --features train --example train -- train.toml
//!     cargo run --release --features train --example train -- train.toml --set recipe.steps=100
//!     cargo run --release --features train --example train -- train.toml --export out.safetensors
//!
//! Into the folder `out` of the file go `last.safetensors` and `best.safetensors` (weights and all
//! that a training goes on from), `metrics.csv`, `validation.csv` and `curves.png`. Run again, it
//! goes on where it was. `docs/training.md` explains the settings.

#[path = "train/curves.rs"]
mod curves;
#[path = "train/settings.rs"]
mod settings;

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::Device;
use clap::Parser;
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use settings::Settings;
use svtrv2::data::Dataset;
use svtrv2::evaluation::{Accumulator, Correctness, Metrics};
use svtrv2::train::{StepReport, Trainer};
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Crop, Options, Recognizer};

#[derive(Parser)]
#[command(about = "Trains a network as a TOML file says; run again, it goes on where it was.")]
struct Arguments {
    /// The settings
    settings: PathBuf,
    /// Overrides a setting: "recipe.steps=100", "out=/elsewhere"
    #[arg(long = "set", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
    /// Starts anew, though there is a checkpoint
    #[arg(long)]
    fresh: bool,
    /// Writes the best weights (or the last, if there was no validation) for inference, and ends
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Exports two bytes a parameter
    #[arg(long, requires = "export")]
    f16: bool,
    /// Writes crops as the training gets them, with their labels, and ends: to look at
    #[arg(long, value_name = "FOLDER")]
    samples: Option<PathBuf>,
    /// How many
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Stops after so many minutes, having saved
    #[arg(long)]
    minutes: Option<f64>,
}

/// A line of `metrics.csv`.
#[derive(serde::Serialize, serde::Deserialize, Clone)]
struct Row {
    step: u64,
    minutes: f64,
    images: u64,
    learning_rate: f64,
    loss: f64,
    ctc: f64,
    sgm: Option<f64>,
    distillation: Option<f64>,
    gradient_norm: f64,
    training_accuracy: f64,
    images_per_second: f64,
    skipped: u64,
    /// Mean word accuracy of the validation sets, if they were read.
    validation: Option<f64>,
}

/// A line of `validation.csv`: a validation set at a step. Shares are 0..=1.
#[derive(serde::Serialize, serde::Deserialize, Clone)]
struct SetRow {
    step: u64,
    images: u64,
    set: String,
    words: usize,
    /// By the published protocol.
    word_accuracy: f64,
    exact_accuracy: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    svtrv2::train::keep_freed_memory();
    let arguments = Arguments::parse();
    let settings = Settings::open(&arguments.settings, &arguments.overrides)?;
    let [last, best] =
        ["last", "best"].map(|name| settings.out.join(format!("{name}.safetensors")));
    if let Some(file) = &arguments.export {
        let from = if best.is_file() { best } else { last };
        let storage = if arguments.f16 { StorageType::F16 } else { StorageType::F32 };
        export(&from, file, storage)?;
        return Ok(());
    }
    if let Some(folder) = &arguments.samples {
        return write_samples(&settings, folder, arguments.count);
    }
    std::fs::create_dir_all(&settings.out)?;
    let going_on = last.is_file() && !arguments.fresh;
    let mut trainer = if going_on { settings.resume(&last)? } else { settings.start()? };
    if going_on {
        println!("going on at step {} of {}", trainer.steps(), trainer.recipe().steps);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))?;

    let log = settings.out.join("metrics.csv");
    let mut rows: Vec<Row> = if going_on { read_rows(&log)? } else { Vec::new() };
    let set_log = settings.out.join("validation.csv");
    let mut set_rows: Vec<SetRow> = if going_on { read_rows(&set_log)? } else { Vec::new() };
    // What came after the checkpoint is done again.
    rows.retain(|row| row.step <= trainer.steps());
    set_rows.retain(|row| row.step <= trainer.steps());
    let mut run = Run {
        bar: progress(trainer.recipe().steps, trainer.steps()),
        window: Window::default(),
        images: rows.last().map_or(0, |row| row.images),
        before: Duration::from_secs_f64(rows.last().map_or(0.0, |row| row.minutes) * 60.0),
        start: Instant::now(),
    };
    let mut saved = Instant::now();
    let limit = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    while !trainer.is_done() {
        // Whatever goes wrong, the last checkpoint stays as it was.
        let report = trainer.step()?;
        run.add(&report);
        let step = trainer.steps();
        let over = limit.is_some_and(|limit| run.start.elapsed() >= limit);
        let ends = trainer.is_done() || stop.load(Ordering::Relaxed) || over;
        let validates = (trainer.is_done() || step.is_multiple_of(settings.validate_every))
            && !settings.validation.is_empty();
        if ends || validates || step.is_multiple_of(settings.log_every) {
            let mut row = run.row(&trainer, &report);
            if validates {
                let found = validate(&trainer.weights()?, &settings, &run.bar)?;
                let accuracy = Metrics::average(&found);
                let accuracy = accuracy.map_or(0.0, |average| average.word_accuracy);
                set_rows.extend(settings.validation.iter().zip(found).map(|(set, metrics)| {
                    SetRow {
                        step,
                        images: row.images,
                        set: set.name().to_owned(),
                        words: metrics.words,
                        word_accuracy: metrics.word_accuracy,
                        exact_accuracy: metrics.exact_accuracy,
                    }
                }));
                write_rows(&set_log, &set_rows)?;
                row.validation = Some(accuracy);
                trainer.save_best(&best, accuracy)?;
            }
            rows.push(row);
            write_rows(&log, &rows)?;
        }
        let minutes = saved.elapsed().as_secs_f64() / 60.0;
        let due = settings.save_minutes > 0.0 && minutes >= settings.save_minutes;
        if ends || due || step.is_multiple_of(settings.save_every) {
            trainer.save(&last)?;
            saved = Instant::now();
            if let Err(error) = curves::draw(&rows, &set_rows, &settings.out.join("curves.png")) {
                run.bar.suspend(|| eprintln!("no curves: {error}"));
            }
        }
        if ends {
            break;
        }
    }
    run.bar.finish();
    let state = if trainer.is_done() { "done" } else { "stopped and saved" };
    println!("{state} at step {} after {:.1} minutes", trainer.steps(), run.minutes());
    let skipped = trainer.skipped();
    if skipped.total() > 0 {
        println!("skipped: {skipped:?}");
    }
    Ok(())
}

fn export(from: &Path, to: &Path, storage: StorageType) -> Result<(), Box<dyn Error>> {
    Trainer::weights_of(from)?.save(to, storage)?;
    println!("{} -> {}", from.display(), to.display());
    Ok(())
}

/// Writes samples as PNG files with their labels.
fn write_samples(settings: &Settings, folder: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut labels = String::new();
    let mut loader = settings.loader()?;
    let mut number = 0;
    while number < count {
        let batch = loader.next_batch()?;
        let (_, _, height, width) = batch.images.dims4()?;
        for (index, text) in batch.texts.iter().enumerate() {
            let pixels = batch.images.get(index)?.permute((1, 2, 0))?.flatten_all()?;
            let pixels = pixels.to_vec1::<f32>()?;
            let bytes = pixels.iter().map(|v| ((v + 1.0) * 127.5).round() as u8).collect();
            let name = format!("{number:05}.png");
            let picture = RgbImage::from_raw(width as u32, height as u32, bytes);
            picture.ok_or("too few pixels")?.save(folder.join(&name))?;
            labels += &format!("{name}\t{text}\n");
            number += 1;
        }
    }
    std::fs::write(folder.join("labels.tsv"), labels)?;
    println!("{number} crops in {}", folder.display());
    Ok(())
}

fn progress(steps: u64, done: u64) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(steps)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}, {eta} left") {
        bar.set_style(style);
    }
    bar.set_position(done);
    bar.reset_eta();
    bar
}

/// A run of the program.
struct Run {
    bar: ProgressBar,
    window: Window,
    images: u64,
    /// Time that earlier runs took.
    before: Duration,
    start: Instant,
}

/// Sums since the last line.
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

impl Run {
    fn minutes(&self) -> f64 {
        (self.before + self.start.elapsed()).as_secs_f64() / 60.0
    }

    fn add(&mut self, report: &StepReport) {
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

    /// The means since the last line.
    fn row(&mut self, trainer: &Trainer, report: &StepReport) -> Row {
        let window = std::mem::take(&mut self.window);
        let mean = |sum: f64| sum / window.steps.max(1.0);
        let row = Row {
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
            println!(
                "step {} of {}: loss {:.4}, accuracy {:.2} %, {:.0} images/s, {:.1} minutes",
                row.step,
                trainer.recipe().steps,
                row.loss,
                100.0 * row.training_accuracy,
                row.images_per_second,
                row.minutes,
            );
        }
        row
    }
}

fn read_rows<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, Box<dyn Error>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    Ok(csv::Reader::from_path(path)?.into_deserialize().collect::<Result<_, _>>()?)
}

fn write_rows<T: serde::Serialize>(path: &Path, rows: &[T]) -> Result<(), Box<dyn Error>> {
    let beside = path.with_extension("csv.partial");
    let mut writer = csv::Writer::from_path(&beside)?;
    for row in rows {
        writer.serialize(row)?;
    }
    writer.flush()?;
    std::fs::rename(beside, path)?;
    Ok(())
}

/// The metrics of every validation set, by the published protocol.
fn validate(
    weights: &Weights,
    settings: &Settings,
    bar: &ProgressBar,
) -> Result<Vec<Metrics>, Box<dyn Error>> {
    let recognizer = Recognizer::new(weights, Options::default())?;
    let mut all = Vec::new();
    for set in &settings.validation {
        let found = read_set(&recognizer, set);
        bar.suspend(|| {
            println!(
                "  {}: word accuracy {:.2} % of {}, exact {:.2} %",
                set.name(),
                100.0 * found.word_accuracy,
                found.words,
                100.0 * found.exact_accuracy,
            );
        });
        all.push(found);
    }
    Ok(all)
}

fn read_set(recognizer: &Recognizer, set: &Dataset) -> Metrics {
    let read = |index: usize| {
        let sample = set.sample(index).ok()?;
        let recognition = Crop::decode(&sample.image).and_then(|crop| recognizer.recognize(&crop));
        // What cannot be read is an empty text.
        let (text, confidence) = recognition
            .map_or((String::new(), 0.0), |recognition| (recognition.text, recognition.confidence));
        Some((sample.label, text, confidence))
    };
    let recognitions: Vec<_> = (0..set.len()).into_par_iter().filter_map(read).collect();
    let mut accumulator = Accumulator::new(Correctness::Protocol);
    for (label, text, confidence) in &recognitions {
        accumulator.add(label, text, *confidence, Duration::ZERO);
    }
    accumulator.metrics()
}

/// The device that the settings name.
fn device(name: &str) -> Result<Device, Box<dyn Error>> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::new_cuda(0)?),
        "metal" => Ok(Device::new_metal(0)?),
        other => Err(format!("no device is called {other:?}: cpu, cuda or metal").into()),
    }
}
