//! `svtrv2 synthesize`: rendered words, as training data or to look at.

use std::fs::File;
use std::io::{BufWriter, Cursor, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use svtrv2::data::{Sample, write_lmdb};
use svtrv2::train::TrainError;
use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, SyntheticWord, Texts, read_pictures};

use crate::failure::{Failure, Result, read_text, say};

/// Words that are rendered together.
const CHUNK: u64 = 512;

/// Render synthetic words as an LMDB folder, or as PNG files with labels.
///
/// Words are drawn in fonts of the system, distorted, and placed on plain or given backgrounds. The
/// same arguments and seed give the same words.
#[derive(Args)]
#[command(after_help = "\
Examples: an LMDB to train on; fifty images to look at; random digits
    svtrv2 synthesize /usr/share/dict/words --count 100000 --out words.lmdb
    svtrv2 synthesize /usr/share/dict/words --count 50 --folder --out look
    svtrv2 synthesize random --symbols 0123456789 --lengths 4 6 --out digits.lmdb")]
pub struct Arguments {
    /// A list of words, one a line; `random` for random strings only
    words: String,
    /// The number of words to render
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The folder to write; an LMDB folder must not exist
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Write PNG files, labels.tsv and boxes.tsv (left, top, right, bottom of every character)
    /// instead of an LMDB
    #[arg(long)]
    folder: bool,
    /// Use the fonts in this folder, or of this list, instead of the system's
    #[arg(long, value_name = "PATH")]
    fonts: Option<PathBuf>,
    /// The least legibility of a list's fonts, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = 0.0)]
    least_score: f64,
    /// Hold back one font family in so many, for validation
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    hold_every: usize,
    /// Use the fonts that are held back, and no others
    #[arg(long)]
    held: bool,
    /// Place words on the images in this folder
    #[arg(long, value_name = "FOLDER")]
    backgrounds: Option<PathBuf>,
    /// The share of random strings among the words, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    random: f64,
    /// The characters of random strings
    #[arg(long, default_value = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")]
    symbols: String,
    /// The shortest and the longest length of random strings
    #[arg(long, default_values_t = [1, 8], num_args = 2, value_names = ["FROM", "TO"])]
    lengths: Vec<usize>,
    /// Keep the letter case of the list
    #[arg(long)]
    as_is: bool,
    /// Settings of the renderer: a TOML file with any of its options
    #[arg(long, value_name = "TOML")]
    options: Option<PathBuf>,
    /// The seed of the first word; the others count up from it
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let synthesizer = synthesizer(arguments)?;
    say(format!("{} fonts", synthesizer.fonts().len()))?;
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(arguments.count),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    let chunks = (0..arguments.count.div_ceil(CHUNK)).map(|chunk| {
        let range = chunk * CHUNK..arguments.count.min((chunk + 1) * CHUNK);
        bar.inc(range.end - range.start);
        range.into_par_iter().map(|i| synthesizer.sample(arguments.seed.wrapping_add(i))).collect()
    });
    let out = &arguments.out;
    let count = if arguments.folder { write_folder(out, chunks)? } else { pack(out, chunks)? };
    say(format!("{count} words in {}", out.display()))
}

/// Rendered words, or why they could not be rendered.
type Chunk = std::result::Result<Vec<SyntheticWord>, TrainError>;

fn write_folder(folder: &Path, chunks: impl Iterator<Item = Chunk>) -> Result<u64> {
    std::fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    let [labels_path, boxes_path] = ["labels.tsv", "boxes.tsv"].map(|name| folder.join(name));
    let create = |path: &Path| File::create(path).map(BufWriter::new).map_err(Failure::file(path));
    let (mut labels, mut boxes) = (create(&labels_path)?, create(&boxes_path)?);
    let mut number = 0;
    for words in chunks {
        for word in words? {
            let name = format!("{number:06}.png");
            let path = folder.join(&name);
            word.image.save(&path).map_err(|e| Failure::file(&path)(std::io::Error::other(e)))?;
            writeln!(labels, "{name}\t{}", word.text).map_err(Failure::file(&labels_path))?;
            writeln!(boxes, "{name}\t{}", described(&word)).map_err(Failure::file(&boxes_path))?;
            number += 1;
        }
    }
    labels.flush().map_err(Failure::file(&labels_path))?;
    boxes.flush().map_err(Failure::file(&boxes_path))?;
    Ok(number)
}

fn pack(folder: &Path, chunks: impl Iterator<Item = Chunk>) -> Result<u64> {
    let mut failure = None;
    let samples = chunks
        .map_while(|words| words.map_err(|error| failure = Some(error)).ok())
        .flatten()
        .map(|word| Sample { name: String::new(), image: encoded(&word.image), label: word.text });
    let count = write_lmdb(folder, samples)?;
    failure.map_or(Ok(count as u64), |error| Err(error.into()))
}

fn synthesizer(arguments: &Arguments) -> Result<Synthesizer> {
    let fonts = match &arguments.fonts {
        Some(list) if list.is_file() => Fonts::from_list(list, arguments.least_score)?,
        Some(folder) => Fonts::from_folder(folder)?,
        None => Fonts::system()?,
    };
    let (most, held) = fonts.split(arguments.hold_every);
    let fonts = if arguments.held { held } else { most };
    let random = Texts::random(&arguments.symbols, arguments.lengths[0]..=arguments.lengths[1])?;
    let texts = if arguments.words == "random" {
        random
    } else {
        let words = Texts::open(&arguments.words)?;
        let words = if arguments.as_is { words } else { words.with_random_case() };
        words.with_random(&random, arguments.random)
    };
    let options: SynthOptions = match &arguments.options {
        Some(path) => toml::from_str(&read_text(path)?)
            .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?,
        None => SynthOptions::default(),
    };
    let backgrounds = match &arguments.backgrounds {
        Some(folder) => read_pictures(folder)?,
        None => Vec::new(),
    };
    Ok(Synthesizer::new(fonts, texts, options)?.with_backgrounds(backgrounds))
}

/// The smaller of a PNG and a JPEG file of high quality.
fn encoded(image: &RgbImage) -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    let mut jpeg = Vec::new();
    let written = image.write_to(&mut png, ImageFormat::Png).is_ok();
    let packed = JpegEncoder::new_with_quality(&mut jpeg, 92).encode_image(image).is_ok();
    let png = png.into_inner();
    if written && (!packed || png.len() <= jpeg.len()) { png } else { jpeg }
}

fn described(word: &SyntheticWord) -> String {
    let one = |place: &Option<[f32; 4]>| match place {
        Some(place) => place.map(|v| format!("{v:.1}")).join(","),
        None => "-".to_owned(),
    };
    word.boxes.iter().map(one).collect::<Vec<_>>().join(" ")
}
