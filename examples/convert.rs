//! Turns a weights file of any format into one self-contained safetensors file.
//!
//! ```text
//! cargo run --release --features onnx --example convert -- svtrv2.onnx svtrv2_b.safetensors
//! ```
//!
//! The file written holds the parameters (batch norm folded), the configuration and the charset;
//! it is read back and compared before the program ends.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use svtrv2::Charset;
use svtrv2::weights::{StorageType, Weights};

/// Turns a weights file (safetensors, PyTorch .pth, ONNX with the feature `onnx`) into one
/// self-contained safetensors file.
#[derive(Parser)]
struct Arguments {
    /// The weights file to read.
    input: PathBuf,
    /// The safetensors file to write.
    output: PathBuf,
    /// A dictionary file, one entry a line. Without it the charset stored in the input is kept;
    /// if there is none and the network has 95 classes, `--english` must say so.
    #[arg(long, conflicts_with = "english")]
    charset: Option<PathBuf>,
    /// Appends a space to the dictionary.
    #[arg(long, requires = "charset")]
    space: bool,
    /// The published English charset: 0-9, a-z, A-Z, 32 punctuation marks.
    #[arg(long)]
    english: bool,
    /// The widest aspect ratio that keeps its width: 4 for the published short-text models, 12 for
    /// those trained with semantic guidance. Without it: the input's, or 4.
    #[arg(long)]
    max_ratio: Option<u32>,
    /// The element type to store.
    #[arg(long, value_enum, default_value = "f32")]
    storage: Storage,
}

#[derive(Clone, Copy, ValueEnum)]
enum Storage {
    F32,
    F16,
}

fn main() -> ExitCode {
    match convert(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn convert(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut weights = Weights::open(&arguments.input)?;
    if let Some(max_ratio) = arguments.max_ratio {
        weights = weights.with_max_ratio(max_ratio)?;
    }
    let charset = match &arguments.charset {
        Some(path) => Some(Charset::open(path, arguments.space)?),
        None => arguments.english.then(Charset::english),
    };
    if let Some(charset) = charset {
        weights = weights.with_charset(charset)?;
    }
    let config = weights.config();
    println!(
        "{}: {:?}, SVTRv2-{}, {} classes, max_ratio {}",
        arguments.input.display(),
        weights.format(),
        config.variant().unwrap_or("(custom)"),
        config.num_classes,
        config.max_ratio,
    );

    let storage = match arguments.storage {
        Storage::F32 => StorageType::F32,
        Storage::F16 => StorageType::F16,
    };
    weights.save(&arguments.output, storage)?;

    let reloaded = Weights::open(&arguments.output)?;
    if reloaded.config() != weights.config() || reloaded.charset() != weights.charset() {
        return Err("the file read back has another configuration or charset".into());
    }
    let parameters = largest_parameter_change(&weights, &reloaded)?;
    let logits = largest_logit_change(&weights, &reloaded)?;
    println!(
        "{}: {} bytes; read back, parameters differ by {parameters:.1e}, logits by {logits:.1e} \
         at the most",
        arguments.output.display(),
        std::fs::metadata(&arguments.output)?.len(),
    );
    if storage == StorageType::F32 && (parameters != 0.0 || logits != 0.0) {
        return Err("an f32 file must come back unchanged".into());
    }
    Ok(())
}

fn largest_parameter_change(a: &Weights, b: &Weights) -> Result<f32, Box<dyn Error>> {
    let mut largest = 0.0f32;
    for name in a.names() {
        let (Some((x, _)), Some((y, _))) = (a.tensor(name)?, b.tensor(name)?) else {
            return Err(format!("{name} is missing in the file read back").into());
        };
        largest = largest.max(largest_change(&x, &y));
    }
    Ok(largest)
}

fn largest_logit_change(a: &Weights, b: &Weights) -> Result<f32, Box<dyn Error>> {
    let shape = [1, 3, 32, 128];
    let images: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| (0.37 * i as f32).sin()).collect();
    let logits = |weights: &Weights| weights.model()?.forward(&images, shape);
    Ok(largest_change(&logits(a)?.values, &logits(b)?.values))
}

fn largest_change(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
