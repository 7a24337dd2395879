//! `svtrv2 convert`: a weights file of any format becomes a self-contained safetensors file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use svtrv2::Charset;
use svtrv2::inference::Precision;
#[cfg(feature = "data")]
use svtrv2::quantize::CalibrationOptions;
use svtrv2::quantize::{Coding, QuantizeOptions, Rate};
use svtrv2::weights::{DetectorWeights, StorageType, Weights};

use crate::failure::{Failure, Result, say};

/// Convert weights into one self-contained safetensors file.
///
/// The input is a safetensors file, an OpenOCR checkpoint (.pth), or an ONNX export. The output
/// holds the parameters (batch norm folded), the configuration and the charset. It is read back and
/// compared before the command ends.
#[derive(Args)]
#[command(after_help = "\
Examples:
    svtrv2 convert --english svtrv2.onnx svtrv2_b.safetensors
    svtrv2 convert --charset dict.txt --space --max-ratio 12 best.pth best.safetensors
    svtrv2 convert --int8 svtrv2_b.safetensors fast.safetensors
    svtrv2 convert --int8 --calibrate crops svtrv2_b.safetensors fast.safetensors
    svtrv2 convert --symbols latin.txt PP-OCRv6_rec_small.onnx latin.safetensors
    svtrv2 convert --bytes 8000000 svtrv2_b.safetensors small.safetensors
    svtrv2 convert --detector --storage f16 PP-OCRv6_det_small.onnx detector.safetensors
    svtrv2 convert --int8 --bytes 12000000 --calibrate crops svtrv2_b.safetensors both.safetensors")]
pub struct Arguments {
    /// The weights file to read
    input: PathBuf,
    /// The safetensors file to write
    output: PathBuf,
    /// The input is a network that finds text, such as PP-OCRv6_det_small.onnx: no other option but --storage
    /// applies
    #[arg(long, conflicts_with_all = ["charset", "space", "english", "symbols", "max_ratio", "temperature", "int8",
        "bits", "bytes", "extra_bits", "keep", "plain"])]
    detector: bool,
    /// The charset: a dictionary file, one entry a line [default: the one in the input]
    #[arg(long, value_name = "FILE", conflicts_with = "english")]
    charset: Option<PathBuf>,
    /// Append a space to the dictionary
    #[arg(long, requires = "charset")]
    space: bool,
    /// The charset is the published English one: 0-9, a-z, A-Z, 32 punctuation marks
    #[arg(long)]
    english: bool,
    /// Keep only the symbols of this file, one a line: the classifier loses the rows of all others. A line of
    /// one space is the space
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// The largest aspect ratio that keeps its width: 4 for the published short-text models, 12 for
    /// those trained with semantic guidance [default: the input's, or 4]
    #[arg(long, value_name = "RATIO")]
    max_ratio: Option<u32>,
    /// What confidences are calibrated with, as `evaluate --fit-temperature` found [default: the input's]
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f32>,
    /// The element type to store
    #[arg(long, value_enum, default_value = "f32")]
    storage: Storage,
    /// Round the weights to integers of 7 bits, a byte each, and state that the network runs in int8:
    /// faster, with small errors, which --calibrate makes smaller. (All CPUs multiply 7 bits as fast as 8; those
    /// that have AVX2 without VNNI take three quarters of the time.) With --bytes: to as few bits as that asks
    /// for, entropy-coded
    #[arg(long, conflicts_with = "storage")]
    int8: bool,
    /// With --int8: try every layer on crops of this folder (a data set, or pictures; no labels are
    /// needed), even out the channels of layers' inputs, round weights so that their errors make up for each
    /// other, and round the inputs of the layers that gain most by it to 12 bits
    #[cfg(feature = "data")]
    #[arg(long, value_name = "FOLDER", requires = "int8")]
    calibrate: Option<PathBuf>,
    /// With --calibrate: how many crops are read, evenly spread over the folder; layers are tried on 32 of
    /// them
    #[cfg(feature = "data")]
    #[arg(long, value_name = "COUNT", default_value_t = 256, requires = "calibrate")]
    crops: usize,
    /// With --calibrate: the share of the multiplications, 0 to 1, of layers that may stay in f32, those that
    /// int8 damages most
    #[cfg(feature = "data")]
    #[arg(long, value_name = "SHARE", default_value_t = CalibrationOptions::default().f32_share,
        requires = "calibrate")]
    f32_share: f64,
    /// With --calibrate: the share of the multiplications of layers in int8 whose input may be rounded to
    /// 12 bits rather than 8, 0 to 1
    #[cfg(feature = "data")]
    #[arg(long, value_name = "SHARE",
        default_value_t = CalibrationOptions::default().twelve_bit_share, requires = "calibrate")]
    twelve_bit_share: f64,
    /// Quantise the weights, of a network that runs in f32: round them to integers of this many bits, 2 to 8
    #[arg(long, value_name = "BITS", conflicts_with_all = ["storage", "bytes", "int8"])]
    bits: Option<u8>,
    /// Quantise the weights: round them just so far that the file has at most this many bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "storage")]
    bytes: Option<u64>,
    /// Bits more (or fewer, below 0) for quantised parameters whose name contains a text, as
    /// TEXT=BITS; may be given more than once
    #[arg(long, value_name = "TEXT=BITS", value_parser = extra_bits)]
    extra_bits: Vec<(String, f64)>,
    /// Do not round parameters whose name contains a text; may be given more than once. With --int8
    /// their layers compute in f32
    #[arg(long, value_name = "TEXT")]
    keep: Vec<String>,
    /// Store the integers of quantised weights without entropy coding
    #[arg(long)]
    plain: bool,
}

fn extra_bits(text: &str) -> std::result::Result<(String, f64), String> {
    let (part, bits) = text.rsplit_once('=').ok_or("expected TEXT=BITS")?;
    Ok((part.to_owned(), bits.parse().map_err(|_| format!("{bits:?} is no number"))?))
}

#[derive(Clone, Copy, ValueEnum)]
enum Storage {
    F32,
    F16,
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::F32 => StorageType::F32,
            Storage::F16 => StorageType::F16,
        }
    }
}

/// Converts a network that finds text.
fn convert_detector(arguments: &Arguments) -> Result<()> {
    let weights = DetectorWeights::open(&arguments.input)?;
    weights.save(&arguments.output, arguments.storage.into())?;
    let written = DetectorWeights::open(&arguments.output)?;
    if written.config() != weights.config() {
        return Err(Failure::Input("the file that was written is another network".to_owned()));
    }
    let (name, blocks) = (arguments.output.display(), weights.config().encoder.blocks.len());
    say(format!("{name}: a network that finds text, {blocks} blocks"))
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.detector {
        return convert_detector(arguments);
    }
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
    if let Some(path) = &arguments.symbols {
        weights = weights.with_symbols(Charset::open(path, false)?.symbols())?;
    }
    if let Some(temperature) = arguments.temperature {
        weights = weights.with_temperature(temperature)?;
    }
    let config = weights.config();
    say(format!(
        "{}: {:?}, {}, {} classes, max_ratio {}",
        arguments.input.display(),
        weights.format(),
        config.variant().unwrap_or("(custom)"),
        config.num_classes,
        config.max_ratio,
    ))?;

    let storage = StorageType::from(arguments.storage);
    let bits = arguments.bits.or(arguments.int8.then_some(QuantizeOptions::INT8_BITS));
    let rate = arguments.bytes.map(Rate::Bytes).or(bits.map(Rate::Bits));
    let precision = if arguments.int8 { Precision::Int8 } else { Precision::F32 };
    weights = weights.with_precision(precision)?;
    match rate {
        Some(rate) => {
            let plain = arguments.plain || (arguments.int8 && arguments.bytes.is_none());
            let coding = if plain { Coding::Plain } else { Coding::Entropy };
            let extra_bits = arguments.extra_bits.clone();
            let keep = arguments.keep.clone();
            let options =
                QuantizeOptions { rate, coding, extra_bits, keep, ..QuantizeOptions::default() };
            #[cfg(feature = "data")]
            let options = match &arguments.calibrate {
                Some(folder) => {
                    let calibration = CalibrationOptions {
                        f32_share: arguments.f32_share,
                        twelve_bit_share: arguments.twelve_bit_share,
                        weight_bits: bits.unwrap_or(QuantizeOptions::INT8_BITS),
                        ..CalibrationOptions::default()
                    };
                    let count = arguments.crops;
                    crate::calibrate::calibrate(&weights, folder, count, calibration, options)?
                }
                None => options,
            };
            weights.save_quantized(&arguments.output, &options)?;
        }
        None => weights.save(&arguments.output, storage)?,
    }

    let reloaded = Weights::open(&arguments.output)?;
    if reloaded.config() != weights.config() || reloaded.charset() != weights.charset() {
        return Err(differs("configuration or charset"));
    }
    let parameters = largest_parameter_change(&weights, &reloaded)?;
    let logits = largest_logit_change(&weights, &reloaded)?;
    let exact = rate.is_none() && storage == StorageType::F32;
    if exact && (parameters != 0.0 || logits != 0.0) {
        return Err(differs("parameters"));
    }
    let bytes =
        std::fs::metadata(&arguments.output).map_err(Failure::file(&arguments.output))?.len();
    say(format!(
        "{}: {bytes} bytes; read back, parameters differ by at most {parameters:.1e}, logits by \
         {logits:.1e}",
        arguments.output.display(),
    ))
}

fn differs(what: &str) -> Failure {
    Failure::Input(format!("the file read back has other {what} than the input"))
}

fn largest_parameter_change(a: &Weights, b: &Weights) -> Result<f32> {
    let mut largest = 0.0f32;
    for name in a.names() {
        let (Some((x, _)), Some((y, _))) = (a.tensor(name)?, b.tensor(name)?) else {
            return Err(differs(name));
        };
        largest = largest.max(largest_change(&x, &y));
    }
    Ok(largest)
}

fn largest_logit_change(a: &Weights, b: &Weights) -> Result<f32> {
    let shape = [1, 3, 32, 128];
    let images: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| (0.37 * i as f32).sin()).collect();
    // Against f32, whatever the weights are to run in.
    let exact = a.model()?.forward(&images, shape)?;
    let rounded = match b.precision() {
        Precision::Int8 => b.int8_model()?,
        _ => b.model()?,
    };
    let rounded = rounded.forward(&images, shape)?;
    Ok(largest_change(&exact.values, &rounded.values))
}

/// The largest absolute difference; infinite if one is NaN.
fn largest_change(a: &[f32], b: &[f32]) -> f32 {
    let changes = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    changes.fold(0.0, |max, d| if d.is_nan() { f32::INFINITY } else { d.max(max) })
}
