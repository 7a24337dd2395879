//! Reads image crops.
//!
//! ```text
//! cargo run --release --example recognize -- --weights weights/svtrv2_b.safetensors examples/crops
//! ```

mod support;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde_json::json;
use support::decoder::DecoderArguments;
use support::drawing;
use support::network::NetworkArguments;
use svtrv2::{Crop, Recognition, Rect, Rotation};

/// Reads the text in image crops: files, folders (their PNG and JPEG files) and glob patterns.
#[derive(Parser)]
struct Arguments {
    /// Files, folders or glob patterns.
    #[arg(required = true)]
    inputs: Vec<String>,
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    decoder: DecoderArguments,
    /// Threads; 0 takes one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Crops that are read together.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Prints a JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Paints the crops, with boxes, text and confidences, into a PNG file; of 200 crops at the
    /// most.
    #[arg(long, value_name = "PNG")]
    draw: Option<PathBuf>,
}

/// Crops that one picture may hold.
const MOST_DRAWN: usize = 200;

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
    let (_, recognizer) = arguments.network.open()?;
    let decoder = arguments.decoder.decoder(recognizer.charset(), None)?;
    let recognizer = recognizer.with_decoder(decoder)?;
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
    if arguments.draw.is_some() && paths.len() > MOST_DRAWN {
        return Err(format!("--draw takes {MOST_DRAWN} crops, not {}", paths.len()).into());
    }

    let mut drawn = Vec::new();
    let progress = progress_bar(paths.len(), arguments.batch as usize);
    let mut out = std::io::stdout().lock();
    if !arguments.json && !paths.is_empty() {
        writeln!(
            out,
            "{:>5}  {:>5}  {:<24}  {:>7}  {:>8}  file",
            "conf", "score", "text", "size", "ms"
        )?;
    }
    for paths in paths.chunks(arguments.batch as usize) {
        // A file that cannot be read keeps its place in the list.
        let opened: Vec<_> = paths.par_iter().map(Crop::open).collect();
        let crops: Vec<Crop> = opened.iter().flatten().cloned().collect();
        let (recognitions, times) = recognizer.recognize_batch_timed(&crops);
        let mut results = recognitions.into_iter().zip(times);
        for (path, opened) in paths.iter().zip(opened) {
            let result = opened.and_then(|crop| {
                let (recognition, time) = results.next().ok_or_else(|| {
                    svtrv2::ComputeError::Pass("it gave too few results".to_owned())
                })?;
                let recognition = recognition?;
                if arguments.draw.is_some() {
                    drawn.push((path.to_string_lossy().into_owned(), crop, recognition.clone()));
                }
                Ok((recognition, time))
            });
            progress.suspend(|| -> std::io::Result<()> {
                match result {
                    Ok((recognition, time)) if arguments.json => {
                        writeln!(out, "{}", to_json(path, &recognition, time))
                    }
                    Ok((recognition, time)) => {
                        writeln!(out, "{}", to_row(path, &recognition, time))
                    }
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
    if let Some(path) = &arguments.draw {
        drawing::draw(&drawn, &mut drawing::Fonts::of_system()).save(path)?;
    }
    Ok(failed)
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

fn to_row(path: &Path, recognition: &Recognition, time: Duration) -> String {
    let size = format!("{}x{}", recognition.size.height, recognition.size.width);
    let Recognition { confidence, score, text, .. } = recognition;
    let (ms, path) = (milliseconds(time), path.display());
    let mut row =
        format!("{confidence:>5.3}  {score:>5.3}  {text:<24}  {size:>7}  {ms:>8.1}  {path}");
    for next in &recognition.alternatives {
        row += &format!("\n{:>12}  {:<24}  {:>7.2} nats", "or", next.text, next.score);
    }
    row
}

fn to_json(path: &Path, recognition: &Recognition, time: Duration) -> serde_json::Value {
    let chars: Vec<_> = recognition
        .chars
        .iter()
        .map(|c| {
            let Rect { x0, x1, y0, y1 } = c.bounds;
            json!({
                "symbol": c.symbol, "score": c.score, "posterior": c.posterior,
                "x0": x0, "x1": x1, "y0": y0, "y1": y1,
            })
        })
        .collect();
    let alternatives: Vec<_> = recognition
        .alternatives
        .iter()
        .map(|a| json!({"text": a.text, "log_prob": a.log_prob, "score": a.score}))
        .collect();
    json!({
        "path": path.to_string_lossy(),
        "text": recognition.text,
        "confidence": recognition.confidence,
        "score": recognition.score,
        "log_prob": recognition.log_prob,
        "size": [recognition.size.height, recognition.size.width],
        "rotation": match recognition.rotation {
            Rotation::None => 0,
            Rotation::CounterClockwise => 90,
            Rotation::Clockwise => -90,
        },
        "ms": milliseconds(time),
        "chars": chars,
        "alternatives": alternatives,
    })
}
