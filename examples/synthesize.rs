//! Renders synthetic words: an LMDB to train on, or pictures to look at.
//!
//!     cargo run --release --features train --example synthesize -- words --count 10000 --out lmdb/
//!     cargo run --release --features train --example synthesize -- words --count 50 --out folder/ --folder

use std::error::Error;
use std::io::{Cursor, IsTerminal, Write};
use std::path::PathBuf;

use clap::Parser;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use svtrv2::data::{Sample, write_lmdb};
use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, SyntheticWord, Texts, read_pictures};

/// Words that are rendered together.
const CHUNK: u64 = 512;

#[derive(Parser)]
#[command(about = "Renders synthetic words as an LMDB, or as pictures with labels.tsv.")]
struct Arguments {
    /// A list of words, one a line; "random" for random strings only
    words: String,
    /// How many
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Where to: a new LMDB folder
    #[arg(long)]
    out: PathBuf,
    /// Write PNG files, labels.tsv and boxes.tsv (left, top, right, bottom of every character)
    /// instead
    #[arg(long)]
    folder: bool,
    /// Fonts in this folder, or of this list, instead of the system's
    #[arg(long)]
    fonts: Option<PathBuf>,
    /// The least legibility of a list's fonts, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    least_score: f64,
    /// Of every so many font families hold one back
    #[arg(long, default_value_t = 10)]
    hold_every: usize,
    /// Render with the fonts that are held back, and with no others
    #[arg(long)]
    held: bool,
    /// Pictures to render on
    #[arg(long)]
    backgrounds: Option<PathBuf>,
    /// The share of random strings among the words
    #[arg(long, default_value_t = 0.2)]
    random: f64,
    /// The characters of random strings
    #[arg(long, default_value = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")]
    symbols: String,
    /// Their shortest and longest length
    #[arg(long, default_values_t = [1, 8], num_args = 2)]
    lengths: Vec<usize>,
    /// Words as they are, never in another case
    #[arg(long)]
    as_is: bool,
    /// Settings of the rendering: a TOML file with any of their names
    #[arg(long)]
    options: Option<PathBuf>,
    /// The first word's seed; the others count up from it
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let synthesizer = synthesizer(&arguments)?;
    println!("{} fonts", synthesizer.fonts().len());
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(arguments.count)
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}")?);
    let chunks = (0..arguments.count.div_ceil(CHUNK)).map(|chunk| {
        let range = chunk * CHUNK..arguments.count.min((chunk + 1) * CHUNK);
        let words: Result<Vec<_>, _> =
            range.into_par_iter().map(|i| synthesizer.sample(arguments.seed + i)).collect();
        bar.inc(CHUNK);
        words
    });
    if arguments.folder {
        std::fs::create_dir_all(&arguments.out)?;
        let mut labels = std::fs::File::create(arguments.out.join("labels.tsv"))?;
        let mut boxes = std::fs::File::create(arguments.out.join("boxes.tsv"))?;
        let mut number = 0;
        for words in chunks {
            for word in words? {
                let name = format!("{number:06}.png");
                word.image.save(arguments.out.join(&name))?;
                writeln!(labels, "{name}\t{}", word.text)?;
                writeln!(boxes, "{name}\t{}", described(&word))?;
                number += 1;
            }
        }
        println!("{number} pictures in {}", arguments.out.display());
        return Ok(());
    }
    let mut failure = None;
    let samples = chunks
        .map_while(|words| words.map_err(|error| failure = Some(error)).ok())
        .flatten()
        .map(|word| Sample { name: String::new(), image: encoded(&word.image), label: word.text });
    let count = write_lmdb(&arguments.out, samples)?;
    if let Some(error) = failure {
        return Err(error.into());
    }
    println!("{count} words in {}", arguments.out.display());
    Ok(())
}

fn synthesizer(arguments: &Arguments) -> Result<Synthesizer, Box<dyn Error>> {
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
        Some(path) => toml::from_str(&std::fs::read_to_string(path)?)?,
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
