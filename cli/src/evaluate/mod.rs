//! `svtrv2 evaluate`: how well labelled crops are recognised.

mod dump;
mod measure;
mod report;
mod table;

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use measure::{Measured, Setting};
use svtrv2::data::Dataset;
use svtrv2::decode::{LogProbs, confidence, fit_temperature};
use svtrv2::evaluation::{Correctness, UnicodeRule};
use svtrv2::weights::StorageType;

use crate::failure::{Failure, Result, warn};
use crate::options::decoder::DecoderArguments;
use crate::options::network::NetworkArguments;
use crate::output;

/// Measure word accuracy, edit distance, calibration and time on labelled crops.
///
/// A data set is a folder with labels.tsv or gt.txt, such a list itself, or an LMDB folder; a
/// folder of data sets stands for all of them. Damaged samples are left out and counted, and make the
/// exit status 1.
#[derive(Args)]
#[command(after_help = "\
Columns: word accuracy by the published protocol (lower case, 0-9 and a-z only) and exact, 1 minus \
the normalised edit distance, mean confidence, expected calibration error (15 bins), all in percent; \
milliseconds a crop; equal lines, character error rate and F1 of spaces in percent, for every script: \
the line above the table states how texts are compared.

Examples: greedy decoding against a beam search with a language model; a report with the errors
    svtrv2 evaluate data/svt --compare \"--lm words.arpa --lm-weight 0.15 --length-bonus 1\"
    svtrv2 evaluate --weights best.safetensors data/iiit5k data/cute80 --breakdown --html report.html")]
pub struct Arguments {
    /// Data sets
    #[arg(required = true)]
    sets: Vec<PathBuf>,
    #[command(flatten)]
    setting: SettingArguments,
    /// Compare with another setting: a string of arguments of the groups "Network" and "Decoding",
    /// such as "--beam 10 --lm words.arpa". Network arguments that it lacks are those of the first
    /// setting; decoding arguments are not taken over. May be given more than once
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    compare: Vec<String>,
    /// When a text counts as right, for calibration and comparisons
    #[arg(long, value_enum, default_value = "protocol")]
    correct: CorrectnessArgument,
    /// Leave out white space where lines are compared
    #[arg(long)]
    ignore_spaces: bool,
    /// Where lines are compared, take typographic quotation marks, dashes and ideographic punctuation
    /// for their ASCII forms
    #[arg(long)]
    fold_punctuation: bool,
    /// Use only the first COUNT crops of every set
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Threads; 0 takes one a core
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    threads: usize,
    /// Crops that are recognised together
    #[arg(long, value_name = "COUNT", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Also print figures by the length of the label and by the aspect ratio of the crop
    #[arg(long)]
    breakdown: bool,
    /// Print one JSON object instead of tables
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values instead of tables
    #[arg(long)]
    csv: bool,
    /// Write a report: reliability diagram, accuracy by length, and a gallery of errors
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Errors of the first setting that the report shows of each set, at most
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    gallery: usize,
    /// Write the first setting's results, tab-separated, with a header: path, label, prediction,
    /// score, confidence. A tab, line feed, carriage return or backslash in a field is written as
    /// \t, \n, \r or \\; nothing is quoted
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Fit the temperature of confidences to the first setting's results on all sets, and write the
    /// weights with it
    #[arg(long, value_name = "FILE")]
    fit_temperature: Option<PathBuf>,
}

/// How crops become texts.
#[derive(Parser, Clone)]
pub struct SettingArguments {
    #[command(flatten)]
    network: NetworkArguments,
    #[command(flatten)]
    decoder: DecoderArguments,
    /// Use the labels of the set in hand as lexicon
    #[arg(long, conflicts_with = "lexicon", help_heading = "Decoding")]
    lexicon_of_labels: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum CorrectnessArgument {
    /// By the published protocol: letter case and everything but 0-9 and a-z are ignored
    Protocol,
    /// The text equals the label
    Exact,
    /// The text equals the label in Unicode's compatibility composition (NFKC), letter case as it is
    Unicode,
}

impl SettingArguments {
    /// Another setting: the network of this one, default decoding, and then the given arguments.
    fn varied(&self, arguments: &str) -> std::result::Result<Self, String> {
        let words = shlex::split(arguments).ok_or("a quote is not closed")?;
        let words = std::iter::once("evaluate".to_owned()).chain(words);
        let (decoder, lexicon_of_labels) = (DecoderArguments::default(), false);
        let mut varied =
            SettingArguments { network: self.network.clone(), decoder, lexicon_of_labels };
        varied.try_update_from(words).map_err(|error| error.to_string())?;
        // A switch that is not given is not a change.
        let same_charset = varied.network.charset == self.network.charset;
        varied.network.space |= same_charset && self.network.space;
        Ok(varied)
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads)
        .build_global()
        .map_err(|error| Failure::Input(format!("--threads: {error}")))?;
    let mut sets = Vec::new();
    for path in &arguments.sets {
        sets.extend(Dataset::find(path)?);
    }
    let first = &arguments.setting;
    let (weights, recognizer) = first.network.open()?;
    let mut settings = vec![Setting::new(first.clone(), recognizer, None)?];
    for text in &arguments.compare {
        let varied = first
            .varied(text)
            .map_err(|error| Failure::Input(format!("--compare {text:?}: {error}")))?;
        // Settings that differ in decoding only share the network and its emissions.
        let same = settings.iter().position(|s| s.arguments.network == varied.network);
        let recognizer = match same {
            Some(same) => settings[same].recognizer.clone(),
            None => varied.network.open()?.1,
        };
        settings.push(Setting::new(varied, recognizer, same)?);
    }
    let mut rule = UnicodeRule::default();
    rule.spaces = !arguments.ignore_spaces;
    rule.fold_punctuation = arguments.fold_punctuation;
    let correctness = match arguments.correct {
        CorrectnessArgument::Protocol => Correctness::Protocol,
        CorrectnessArgument::Exact => Correctness::Exact,
        CorrectnessArgument::Unicode => Correctness::Unicode(rule),
    };
    let keep = measure::Keep {
        emissions: arguments.fit_temperature.is_some(),
        gallery: if arguments.html.is_some() { arguments.gallery } else { 0 },
    };
    let options = measure::Options {
        correctness,
        rule,
        batch: arguments.batch as usize,
        limit: arguments.limit.unwrap_or(usize::MAX),
        keep,
    };
    let measured = measure::measure(&sets, &settings, &options)?;

    // Files first: standard output may be closed early.
    if let Some(path) = &arguments.dump {
        output::replace(path, |file| dump::write(file, &measured))?;
    }
    if let Some(path) = &arguments.html {
        let page = report::html(&measured, &arguments.compare);
        output::replace(path, |file| file.write_all(page.as_bytes()))?;
    }
    if let Some(path) = &arguments.fit_temperature {
        let recognizer = &settings[0].recognizer;
        let (temperature, before, after) = fit(&measured, recognizer.temperature())?;
        weights
            .with_charset(recognizer.charset().clone())?
            .with_temperature(temperature)?
            .save(path, StorageType::F32)?;
        warn(format!(
            "temperature {temperature:.3} written to {}; mean confidence of the {} recognitions \
             before {before:.3}, with it {after:.3}",
            path.display(),
            measured.iter().map(|set| set.scored.len()).sum::<usize>(),
        ));
    }
    print(arguments, &measured).map_err(Failure::Output)?;
    check_complete(&measured)
}

fn print(arguments: &Arguments, measured: &[Measured]) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    if arguments.json {
        writeln!(out, "{:#}", table::json(measured, &arguments.compare))?;
    } else if arguments.csv {
        table::csv(measured, &mut out)?;
    } else {
        table::print(measured, &arguments.compare, arguments.breakdown, &mut out)?;
    }
    out.flush()
}

/// A set without a crop that was recognised, or a damaged sample, is a failure.
fn check_complete(measured: &[Measured]) -> Result<()> {
    if let Some(empty) = measured.iter().find(|set| set.crops.is_empty()) {
        return Err(Failure::Incomplete(format!("{}: no crop was recognised", empty.name)));
    }
    let skipped: usize = measured.iter().flat_map(|set| set.skipped.values()).sum();
    if skipped > 0 {
        return Err(Failure::Incomplete(format!("{skipped} samples are damaged")));
    }
    Ok(())
}

/// The temperature, and the mean confidences at the old one and with it.
fn fit(measured: &[Measured], old: f32) -> Result<(f32, f32, f32)> {
    let texts: Vec<(&LogProbs, &[usize], bool)> = measured
        .iter()
        .flat_map(|set| &set.scored)
        .map(|scored| (&scored.log_probs, scored.text.as_slice(), scored.right))
        .collect();
    let temperature = fit_temperature(&texts).map_err(svtrv2::Error::from)?;
    let mean = |temperature: f32| -> Result<f32> {
        let mut sum = 0.0;
        for (log_probs, text, _) in &texts {
            sum += confidence(log_probs, text, temperature).map_err(svtrv2::Error::from)?;
        }
        Ok(sum / texts.len() as f32)
    };
    Ok((temperature, mean(old)?, mean(temperature)?))
}
