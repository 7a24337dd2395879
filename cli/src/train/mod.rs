//! `svtrv2 train`: a training as a TOML file describes it.

mod curves;
mod progress;
mod samples;
mod settings;
mod stream;
mod tables;
mod validation;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use progress::Progress;
use settings::Settings;
use svtrv2::evaluation::Metrics;
use svtrv2::train::Trainer;
use svtrv2::weights::StorageType;
use tables::Tables;

use crate::failure::{Failure, Result, say, warn};

/// Train a network as a TOML file describes it.
///
/// The folder `out` of the settings receives last.safetensors and best.safetensors (weights and
/// the state of the training), metrics.csv, validation.csv and curves.png. Run again, the command
/// resumes at the last checkpoint and computes what an uninterrupted training would have computed,
/// to the bit. Ctrl-C, SIGTERM and SIGHUP save a checkpoint and stop. docs/training.md explains the
/// settings.
#[derive(Args)]
#[command(after_help = "\
Examples: start or resume; a shorter training; weights for inference
    svtrv2 train training/small/small.toml
    svtrv2 train training/small/small.toml --set recipe.steps=100 --set out=short
    svtrv2 train training/small/small.toml --export small.safetensors

What the network sees: fifty crops, rendered and augmented
    svtrv2 train training/small/small.toml --samples look --count 50")]
pub struct Arguments {
    /// The settings, a TOML file
    settings: PathBuf,
    /// Override a setting: "recipe.steps=100", "out=/elsewhere". May be given more than once
    #[arg(long = "set", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
    /// Start from the beginning even if there is a checkpoint
    #[arg(long)]
    fresh: bool,
    /// Write the best weights for inference (the last if there was no validation), and stop
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Export 16-bit parameters
    #[arg(long, requires = "export")]
    f16: bool,
    /// Write crops as the training receives them, with labels.tsv, and stop
    #[arg(long, value_name = "FOLDER")]
    samples: Option<PathBuf>,
    /// Write batches to standard output, for a training elsewhere:
    /// training/english/torch/train.py reads them
    #[arg(long, conflicts_with = "samples")]
    stream: bool,
    /// The number of these crops; 100 in a folder, without end in a stream if it is not given
    #[arg(long)]
    count: Option<usize>,
    /// Save and stop after this many minutes
    #[arg(long)]
    minutes: Option<f64>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    svtrv2::train::keep_freed_memory();
    let settings = Settings::open(&arguments.settings, &arguments.overrides)?;
    let [last, best] =
        ["last", "best"].map(|name| settings.out.join(format!("{name}.safetensors")));
    if let Some(file) = &arguments.export {
        let from = if best.is_file() { best } else { last };
        let storage = if arguments.f16 { StorageType::F16 } else { StorageType::F32 };
        Trainer::weights_of(&from)?.save(file, storage)?;
        note(format!("{} -> {}", from.display(), file.display()));
        return Ok(());
    }
    if let Some(folder) = &arguments.samples {
        let count = samples::write(settings.loader()?, folder, arguments.count.unwrap_or(100))?;
        note(format!("{count} crops in {}", folder.display()));
        return Ok(());
    }
    if arguments.stream {
        return stream::write(settings.loader()?, arguments.count);
    }
    let limit = arguments.minutes.map(|minutes| Duration::try_from_secs_f64(minutes * 60.0));
    let limit = limit.transpose().map_err(|error| Failure::Input(format!("--minutes: {error}")))?;
    std::fs::create_dir_all(&settings.out).map_err(Failure::file(&settings.out))?;
    let resumed = last.is_file() && !arguments.fresh;
    let mut trainer = if resumed { settings.resume(&last)? } else { settings.start()? };
    let mut tables = Tables::new(&settings.out);
    if resumed {
        note(format!("resumed at step {} of {}", trainer.steps(), trainer.recipe().steps));
        tables.read_until(trainer.steps())?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    // Of SIGINT, SIGTERM and SIGHUP.
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::Input(format!("signals cannot be handled: {error}")))?;

    let mut progress = Progress::new(&trainer, tables.steps.last());
    let mut saved = Instant::now();
    while !trainer.is_done() {
        // A failing step leaves the last checkpoint as it is.
        let report = trainer.step()?;
        progress.add(&report);
        let step = trainer.steps();
        let over = limit.is_some_and(|limit| progress.elapsed() >= limit);
        let ends = trainer.is_done() || stop.load(Ordering::Relaxed) || over;
        let validates = (trainer.is_done() || step.is_multiple_of(settings.validate_every))
            && !settings.validation.is_empty();
        if ends || validates || step.is_multiple_of(settings.log_every) {
            let mut row = progress.row(&trainer, &report);
            if validates {
                let sets = &settings.validation;
                let metrics = validation::validate(&trainer.weights()?, sets, &progress.bar)?;
                let average = Metrics::average(&metrics);
                let accuracy = average.map_or(0.0, |average| average.word_accuracy);
                tables.add_validation(&row, sets, &metrics)?;
                row.validation = Some(accuracy);
                trainer.save_best(&best, accuracy)?;
            }
            tables.add_step(row)?;
        }
        let minutes = saved.elapsed().as_secs_f64() / 60.0;
        let due = settings.save_minutes > 0.0 && minutes >= settings.save_minutes;
        if ends || due || step.is_multiple_of(settings.save_every) {
            trainer.save(&last)?;
            saved = Instant::now();
            let picture = settings.out.join("curves.png");
            if let Err(error) = curves::draw(&tables, &picture) {
                progress.bar.suspend(|| warn(format!("{}: {error}", picture.display())));
            }
        }
        if ends {
            break;
        }
    }
    progress.bar.finish();
    let state = if trainer.is_done() { "done" } else { "stopped and saved" };
    note(format!("{state} at step {} after {:.1} minutes", trainer.steps(), progress.minutes()));
    let skipped = trainer.skipped();
    if skipped.total() > 0 {
        note(format!("skipped: {skipped:?}"));
    }
    Ok(())
}

/// Prints a line of the log. That nobody reads it any more does not end a training.
fn note(line: impl std::fmt::Display) {
    let _ = say(line);
}
