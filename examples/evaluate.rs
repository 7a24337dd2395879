//! Measures how well labelled crops are read.
//!
//! ```text
//! cargo run --release --features data --example evaluate -- data/cute80 data/iiit5k \
//!     --compare "--beam 10" --compare "--lm words.arpa --lm-weight 0.3"
//! ```

#[path = "evaluate/measure.rs"]
mod measure;
#[path = "evaluate/report.rs"]
mod report;
mod support;
#[path = "evaluate/table.rs"]
mod table;

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use measure::{Measured, Setting};
use support::decoder::DecoderArguments;
use support::network::NetworkArguments;
use svtrv2::data::Dataset;
use svtrv2::decode::{LogProbs, fit_temperature};
use svtrv2::evaluation::Correctness;
use svtrv2::weights::StorageType;

/// Measures how well labelled crops are read: word accuracy by the published protocol, exact
/// accuracy, edit distance, calibration and time.
///
/// A data set is a folder with labels.tsv or gt.txt, such a list itself, or (with the feature
/// `lmdb`) an LMDB folder; a folder of data sets stands for all of them.
#[derive(Parser)]
pub struct Arguments {
    /// Data sets.
    #[arg(required = true)]
    sets: Vec<PathBuf>,
    #[command(flatten)]
    setting: SettingArguments,
    /// A setting to compare with that of the other arguments, as one string of arguments of the
    /// groups "Network" and "Decoding": "--beam 10 --lm words.arpa". Network arguments that it
    /// lacks are those of the first setting. May be given more than once.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    compare: Vec<String>,
    /// What counts as right for calibration and for comparisons.
    #[arg(long, value_enum, default_value = "protocol")]
    correct: CorrectnessArgument,
    /// Crops of every set that are read at the most, from the first on.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Threads; 0 takes one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Crops that are read together.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Also prints figures by the length of the label and by the aspect ratio of the crop.
    #[arg(long)]
    breakdown: bool,
    /// Prints one JSON object instead of tables.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Prints comma-separated values instead of tables.
    #[arg(long)]
    csv: bool,
    /// Writes a report: reliability diagram, accuracy by length, and what was read wrongly.
    #[arg(long, value_name = "HTML")]
    html: Option<PathBuf>,
    /// Errors of the first setting that the report shows of each set, at the most.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    gallery: usize,
    /// Writes the first setting's readings, tab-separated: path, label, prediction, score,
    /// confidence.
    #[arg(long, value_name = "TSV")]
    dump: Option<PathBuf>,
    /// Fits the temperature of confidences to the first setting's readings of all sets, and writes
    /// the weights with it.
    #[arg(long, value_name = "WEIGHTS")]
    fit_temperature: Option<PathBuf>,
}

/// How crops are read.
#[derive(Parser, Clone)]
pub struct SettingArguments {
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    decoder: DecoderArguments,
    /// The lexicon are the labels of the set that is being read.
    #[arg(long, conflicts_with = "lexicon", help_heading = "Decoding")]
    lexicon_of_labels: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum CorrectnessArgument {
    /// Letter case and everything but 0-9 and a-z aside.
    Protocol,
    /// The text is the label.
    Exact,
}

impl SettingArguments {
    /// Another setting: the network of this one, decoding afresh, and then the given arguments.
    fn varied(&self, arguments: &str) -> Result<Self, Box<dyn Error>> {
        let words = shlex::split(arguments).ok_or("a quote is not closed")?;
        let words = std::iter::once("evaluate".to_owned()).chain(words);
        let (decoder, lexicon_of_labels) = (DecoderArguments::default(), false);
        let mut varied =
            SettingArguments { network: self.network.clone(), decoder, lexicon_of_labels };
        varied.try_update_from(words)?;
        // A switch that is not given is not a change.
        let same_charset = varied.network.charset == self.network.charset;
        varied.network.space |= same_charset && self.network.space;
        Ok(varied)
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let mut sets = Vec::new();
    for path in &arguments.sets {
        sets.extend(Dataset::find(path)?);
    }
    let first = &arguments.setting;
    let (weights, recognizer) = first.network.open()?;
    let mut settings = vec![Setting::new(first.clone(), recognizer, None)?];
    for text in &arguments.compare {
        let varied = first.varied(text).map_err(|error| format!("--compare {text:?}: {error}"))?;
        // Settings that differ in decoding only share the network and its scores.
        let same = settings.iter().position(|s| s.arguments.network == varied.network);
        let recognizer = match same {
            Some(same) => settings[same].recognizer.clone(),
            None => varied.network.open()?.1,
        };
        settings.push(Setting::new(varied, recognizer, same)?);
    }
    let correctness = match arguments.correct {
        CorrectnessArgument::Protocol => Correctness::Protocol,
        CorrectnessArgument::Exact => Correctness::Exact,
    };
    let keep = measure::Keep {
        emissions: arguments.fit_temperature.is_some(),
        gallery: if arguments.html.is_some() { arguments.gallery } else { 0 },
    };
    let options = measure::Options {
        correctness,
        batch: arguments.batch as usize,
        limit: arguments.limit.unwrap_or(usize::MAX),
        keep,
    };
    let measured = measure::measure(&sets, &settings, &options)?;

    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{:#}", table::json(&measured, &arguments.compare))?;
    } else if arguments.csv {
        table::csv(&measured, &mut out)?;
    } else {
        table::print(&measured, &arguments.compare, arguments.breakdown, &mut out)?;
    }
    if let Some(path) = &arguments.dump {
        dump(path, &measured)?;
    }
    if let Some(path) = &arguments.html {
        std::fs::write(path, report::html(&measured, &arguments.compare))?;
    }
    if let Some(path) = &arguments.fit_temperature {
        let recognizer = &settings[0].recognizer;
        let (temperature, before, after) = fit(&measured, recognizer.temperature())?;
        weights
            .with_charset(recognizer.charset().clone())?
            .with_temperature(temperature)?
            .save(path, StorageType::F32)?;
        eprintln!(
            "temperature {temperature:.3} written to {}; mean confidence of the {} recognitions \
             before {before:.3}, with it {after:.3}",
            path.display(),
            measured.iter().map(|set| set.scored.len()).sum::<usize>(),
        );
    }
    Ok(())
}

/// The temperature, and the mean confidences at the old one and with it.
fn fit(measured: &[Measured], old: f32) -> Result<(f32, f32, f32), Box<dyn Error>> {
    let texts: Vec<(&LogProbs, &[usize], bool)> = measured
        .iter()
        .flat_map(|set| &set.scored)
        .map(|scored| (&scored.log_probs, scored.text.as_slice(), scored.right))
        .collect();
    let temperature = fit_temperature(&texts)?;
    let mean = |temperature: f32| -> Result<f32, Box<dyn Error>> {
        let mut sum = 0.0;
        for (log_probs, text, _) in &texts {
            sum += svtrv2::decode::confidence(log_probs, text, temperature)?;
        }
        Ok(sum / texts.len() as f32)
    };
    Ok((temperature, mean(old)?, mean(temperature)?))
}

fn dump(path: &Path, measured: &[Measured]) -> Result<(), Box<dyn Error>> {
    let mut file = csv::WriterBuilder::new().delimiter(b'\t').from_path(path)?;
    file.write_record(["path", "label", "prediction", "score", "confidence"])?;
    for set in measured {
        for crop in &set.crops {
            let read = &crop.read[0];
            file.write_record([
                &format!("{}/{}", set.name, crop.name),
                &crop.label,
                &read.text,
                &read.score.to_string(),
                &read.confidence.to_string(),
            ])?;
        }
    }
    file.flush()?;
    Ok(())
}
