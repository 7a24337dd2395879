//! Reads image crops.
//!
//! ```text
//! cargo run --release --example recognize -- --weights weights/svtrv2_b.safetensors examples/crops
//! ```

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde_json::json;
use svtrv2::weights::Weights;
use svtrv2::{Charset, Crop, Options, Orientation, Reading, Recognizer};

/// Reads the text in image crops: files, folders (their PNG and JPEG files) and glob patterns.
#[derive(Parser)]
struct Arguments {
    /// Files, folders or glob patterns.
    #[arg(required = true)]
    inputs: Vec<String>,
    /// The weights file: this crate's safetensors, an OpenOCR checkpoint, or (with the feature
    /// `onnx`) an ONNX export.
    #[arg(long, default_value = "weights/svtrv2_b.safetensors")]
    weights: PathBuf,
    /// The charset, for weights files that carry none: `english`, or a dictionary file with one
    /// entry a line.
    #[arg(long)]
    charset: Option<String>,
    /// Appends a space to the dictionary.
    #[arg(long, requires = "charset")]
    space: bool,
    /// The widest aspect ratio that keeps its width. Without it: the weights'.
    #[arg(long)]
    max_ratio: Option<u32>,
    /// What to do with crops taller than 1.5 times their width.
    #[arg(long, value_enum, default_value = "as-is")]
    orientation: OrientationArgument,
    /// Threads; 0 takes one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Crops that are read together.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Prints a JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum OrientationArgument {
    /// Read every crop as it is.
    AsIs,
    /// Turn tall crops by 90 degrees against the clock.
    RotateTall,
    /// Try the rotations of tall crops and keep the best score.
    BestOfTall,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads all inputs and returns how many failed.
fn run(arguments: &Arguments) -> Result<usize, Box<dyn Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let recognizer = open(arguments)?;
    let mut failed = 0;
    let mut paths = Vec::new();
    for input in &arguments.inputs {
        match expand(input) {
            Ok(found) => paths.extend(found),
            Err(error) => {
                eprintln!("{input}: {error}");
                failed += 1;
            }
        }
    }

    let progress = progress_bar(paths.len(), arguments.batch as usize);
    let mut out = std::io::stdout().lock();
    if !arguments.json && !paths.is_empty() {
        writeln!(out, "{:>5}  {:<24}  {:>7}  {:>8}  file", "score", "text", "size", "ms")?;
    }
    for paths in paths.chunks(arguments.batch as usize) {
        // A file that cannot be read keeps its place in the list.
        let opened: Vec<_> = paths.par_iter().map(Crop::open).collect();
        let crops: Vec<Crop> = opened.iter().flatten().cloned().collect();
        let (readings, times) = recognizer.recognize_batch_timed(&crops);
        let mut results = readings.into_iter().zip(times);
        for (path, opened) in paths.iter().zip(opened) {
            let result = opened.and_then(|_| {
                let (reading, time) = results.next().ok_or_else(|| {
                    candle_core::Error::Msg("the recogniser gave too few results".into())
                })?;
                Ok((reading?, time))
            });
            progress.suspend(|| -> std::io::Result<()> {
                match result {
                    Ok((reading, time)) if arguments.json => {
                        writeln!(out, "{}", to_json(path, &reading, time))
                    }
                    Ok((reading, time)) => writeln!(out, "{}", to_row(path, &reading, time)),
                    Err(error) => {
                        failed += 1;
                        eprintln!("{}: {error}", path.display());
                        Ok(())
                    }
                }
            })?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(failed)
}

fn open(arguments: &Arguments) -> Result<Recognizer, Box<dyn Error>> {
    let weights = Weights::open(&arguments.weights)?;
    let charset = match arguments.charset.as_deref() {
        None => None,
        Some("english") => Some(Charset::english()),
        Some(path) => Some(Charset::open(path, arguments.space)?),
    };
    let orientation = match arguments.orientation {
        OrientationArgument::AsIs => Orientation::AsIs,
        OrientationArgument::RotateTall => Orientation::RotateTall,
        OrientationArgument::BestOfTall => Orientation::BestOfTall,
    };
    let max_ratio = arguments.max_ratio;
    let options = Options { charset, max_ratio, orientation, ..Options::default() };
    Ok(Recognizer::new(&weights, options)?)
}

/// The files that an argument stands for.
fn expand(input: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let path = Path::new(input);
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            if file.is_file() && has_image_extension(&file) {
                files.push(file);
            }
        }
        files.sort();
        return Ok(files);
    }
    if path.exists() || !input.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let files: Vec<PathBuf> = glob::glob(input)?.collect::<Result<_, _>>()?;
    if files.is_empty() { Err("no file matches".into()) } else { Ok(files) }
}

fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// A bar for lists of more than one batch, if somebody can see it.
fn progress_bar(files: usize, batch: usize) -> ProgressBar {
    if files <= batch || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(files as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn to_row(path: &Path, reading: &Reading, time: Duration) -> String {
    let size = format!("{}x{}", reading.size.height, reading.size.width);
    let (score, text, ms) = (reading.score, &reading.text, milliseconds(time));
    format!("{score:>5.3}  {text:<24}  {size:>7}  {ms:>8.1}  {}", path.display())
}

fn to_json(path: &Path, reading: &Reading, time: Duration) -> serde_json::Value {
    let chars: Vec<_> = reading
        .chars
        .iter()
        .map(|c| json!({"symbol": c.symbol, "score": c.score, "x0": c.span.x0, "x1": c.span.x1}))
        .collect();
    json!({
        "path": path.to_string_lossy(),
        "text": reading.text,
        "score": reading.score,
        "size": [reading.size.height, reading.size.width],
        "ms": milliseconds(time),
        "chars": chars,
    })
}
