//! Recognises the text in image crops.
//!
//! ```text
//! cargo run --release --example recognize -- --weights weights/svtrv2_b.safetensors examples/crops
//! ```

mod support;

use std::error::Error;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rayon::prelude::*;
use serde_json::json;
use support::arguments::{Arguments, HELP, warn_of_skipped};
use support::drawing::{self, Drawn};
use svtrv2::weights::Weights;
use svtrv2::{Crop, ErrorReport, Quad, Recognition, Recognizer, Rect, Rotation, Word};

/// Crops that one image of `--draw` may hold.
const MAX_DRAWN: usize = 200;

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            let _ = write!(io::stdout(), "{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            warn(format!("error: {error}\n`--help` lists the arguments"));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            warn(format!("{failed} failed"));
            ExitCode::FAILURE
        }
        Err(error) if is_closed_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format!("error: {}", ErrorReport::new(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line to standard error, if anybody reads it.
fn warn(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether the reader of standard output has gone away: it has seen what it wanted.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(feature = "latin")]
fn latin_weights() -> Result<Weights, Box<dyn Error>> {
    Ok(Weights::latin()?)
}

#[cfg(not(feature = "latin"))]
fn latin_weights() -> Result<Weights, Box<dyn Error>> {
    Err("--latin: the feature `latin` is off".into())
}

#[cfg(feature = "embedded")]
fn default_weights() -> Result<Weights, Box<dyn Error>> {
    warn("no --weights: the embedded English model");
    Ok(Weights::embedded()?)
}

#[cfg(not(feature = "embedded"))]
fn default_weights() -> Result<Weights, Box<dyn Error>> {
    Err("no --weights, and no embedded model: the feature `embedded` is off".into())
}

/// Recognises all inputs and returns how many failed.
fn run(arguments: &Arguments) -> Result<usize, Box<dyn Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let mut failed = 0;
    let mut paths = Vec::new();
    for input in &arguments.inputs {
        match expand(input) {
            Ok(found) => paths.extend(found),
            Err(error) => {
                warn(format!("{input}: {}", ErrorReport::new(error.as_ref())));
                failed += 1;
            }
        }
    }
    if arguments.draw.is_some() && paths.len() > MAX_DRAWN {
        return Err(format!("--draw takes {MAX_DRAWN} crops, not {}", paths.len()).into());
    }
    if paths.is_empty() {
        return Ok(failed);
    }
    let weights = match &arguments.weights {
        Some(_) if arguments.latin => return Err("--latin and --weights exclude each other".into()),
        Some(path) => Weights::open(path)?,
        None if arguments.latin => latin_weights()?,
        None => default_weights()?,
    };
    let recognizer = Recognizer::new(&weights, arguments.options.clone())?;
    let decoder = arguments.decoder.build(recognizer.charset())?;
    warn_of_skipped(&decoder);
    let recognizer = recognizer.with_decoder(decoder)?;

    let mut drawn = Vec::new();
    let mut out = io::stdout().lock();
    let counts = io::stderr().is_terminal() && !out.is_terminal();
    if !arguments.json {
        let (text, size) = ("text", "size");
        writeln!(out, " conf  score  {text:<24}  {size:>7}        ms  file")?;
    }
    for (number, batch) in paths.chunks(arguments.batch).enumerate() {
        // A file that cannot be read keeps its place in the list.
        let opened: Vec<_> = batch.par_iter().map(Crop::open).collect();
        let crops: Vec<Crop> = opened.iter().flatten().cloned().collect();
        let (recognitions, times) = recognizer.recognize_batch_timed(&crops);
        let mut results = recognitions.into_iter().zip(times);
        for (path, crop) in batch.iter().zip(opened) {
            let result = match crop {
                Err(error) => Err(error),
                Ok(crop) => match results.next() {
                    None => return Err("the recogniser returned too few results".into()),
                    Some((Err(error), _)) => Err(error),
                    Some((Ok(recognition), time)) => Ok((crop, recognition, time)),
                },
            };
            match result {
                Err(error) => {
                    failed += 1;
                    warn(format!("{}: {}", path.display(), error.report()));
                }
                Ok((crop, recognition, time)) => {
                    let words = words(&recognition, arguments.words_by_gaps);
                    if arguments.json {
                        writeln!(out, "{}", to_json(path, &recognition, &words, time))?;
                    } else {
                        writeln!(out, "{}", to_row(path, &recognition, time))?;
                    }
                    if arguments.draw.is_some() {
                        let name = path.to_string_lossy().into_owned();
                        drawn.push(Drawn { name, crop, recognition, words });
                    }
                }
            }
        }
        if counts {
            let done = number * arguments.batch + batch.len();
            let _ = write!(io::stderr(), "\r{done} of {}", paths.len());
        }
    }
    if counts {
        warn("");
    }
    if let Some(path) = &arguments.draw {
        drawing::draw(&drawn, path)?;
    }
    Ok(failed)
}

/// The files that an argument stands for: itself, the images of a folder, or what a pattern matches.
fn expand(input: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let path = Path::new(input);
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            if file.is_file() && has_image_extension(&file) {
                files.push(file);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err("the folder holds no PNG or JPEG files".into());
        }
    } else if path.exists() || !input.contains(['*', '?', '[']) {
        files.push(path.to_owned());
    } else {
        files = glob::glob(input)?.collect::<Result<_, _>>()?;
        if files.is_empty() {
            return Err("no file matches".into());
        }
    }
    Ok(files)
}

fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
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

fn words(recognition: &Recognition, by_gaps: bool) -> Vec<Word> {
    if by_gaps { recognition.words_by_gaps(Recognition::WORD_GAP) } else { recognition.words() }
}

fn points(quad: Quad) -> [[f32; 2]; 4] {
    quad.0.map(|corner| [corner.x, corner.y])
}

fn to_json(
    path: &Path,
    recognition: &Recognition,
    words: &[Word],
    time: Duration,
) -> serde_json::Value {
    let chars: Vec<_> = recognition
        .chars
        .iter()
        .map(|c| {
            let Rect { x0, x1, y0, y1 } = c.bounds;
            json!({
                "symbol": c.symbol, "score": c.score, "confidence": c.confidence,
                "x0": x0, "x1": x1, "y0": y0, "y1": y1,
                "quad": points(c.quad),
            })
        })
        .collect();
    let words: Vec<_> = words
        .iter()
        .map(|w| {
            let Rect { x0, x1, y0, y1 } = w.bounds;
            json!({
                "text": w.text, "confidence": w.confidence,
                "x0": x0, "x1": x1, "y0": y0, "y1": y1,
                "quad": points(w.quad),
                "chars": [w.chars.start, w.chars.end],
                "follows_gap": w.follows_gap,
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
            Rotation::HalfTurn => 180,
        },
        "ms": milliseconds(time),
        "chars": chars,
        "words": words,
        "alternatives": alternatives,
    })
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use svtrv2::PixelFormat;

    use super::*;

    /// A sample crop twice beside itself, as far apart as the crop's own blank ends and some columns
    /// more.
    fn twice(name: &str, between: usize) -> (Vec<u8>, u32, u32) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/crops");
        let crop = Crop::open(folder.join(name)).unwrap();
        let rows = crop.rgb().chunks_exact(3 * crop.width() as usize);
        let joined = rows.flat_map(|row| [row, &row[..3].repeat(between), row].concat()).collect();
        (joined, 2 * crop.width() + between as u32, crop.height())
    }

    #[test]
    fn words_are_in_the_json_and_the_picture() {
        let recognizer = Recognizer::embedded().unwrap();
        let (pixels, width, height) = twice("international.png", 8);
        let crop = Crop::from_raw(PixelFormat::Rgb8, width, height, 3 * width as usize, &pixels);
        let crop = crop.unwrap();
        let recognition = recognizer.recognize(crop.clone()).unwrap();
        assert_eq!(recognition.text, "internationalinternational");
        let json = |by_gaps| {
            let words = words(&recognition, by_gaps);
            to_json(Path::new("a.png"), &recognition, &words, Duration::ZERO)
        };

        // The network has no space symbol.
        let joined = json(false);
        assert_eq!(joined["words"].as_array().unwrap().len(), 1);
        assert_eq!(joined["words"][0]["text"], joined["text"]);
        assert_eq!(joined["words"][0]["confidence"], joined["confidence"]);

        let apart = json(true);
        let words = apart["words"].as_array().unwrap();
        assert_eq!(words.len(), 2);
        for (word, (first, follows_gap)) in words.iter().zip([(0, false), (13, true)]) {
            assert_eq!(word["text"], "international");
            assert_eq!(word["chars"], json!([first, first + 13]));
            assert_eq!(word["follows_gap"], follows_gap);
            let number = |value: &serde_json::Value| value.as_f64().unwrap();
            for place in first..first + 13 {
                let character = &apart["chars"][place];
                for (side, inner, outer) in [
                    ("x0", number(&character["x0"]), number(&word["x0"])),
                    ("y0", number(&character["y0"]), number(&word["y0"])),
                    ("x1", -number(&character["x1"]), -number(&word["x1"])),
                    ("y1", -number(&character["y1"]), -number(&word["y1"])),
                ] {
                    assert!(inner >= outer, "{side} of character {place}");
                }
            }
            let corner = |index: usize| number(&word["quad"][index][0]);
            assert!(corner(0) < corner(1) && corner(3) < corner(2), "{word}");
        }
        let [left, right] = [&words[0]["x1"], &words[1]["x0"]].map(|side| side.as_f64().unwrap());
        assert!(left < right, "{left} {right}");

        // A word's outline is in the picture where there are several.
        let folder = tempfile::tempdir().unwrap();
        let outlines = |by_gaps| {
            let (crop, recognition) = (crop.clone(), recognition.clone());
            let words = super::words(&recognition, by_gaps);
            let path = folder.path().join("drawn.png");
            let drawn = Drawn { name: "a".to_owned(), crop, recognition, words };
            drawing::draw(&[drawn], &path).unwrap();
            let picture = Crop::open(&path).unwrap();
            picture.rgb().chunks_exact(3).filter(|pixel| **pixel == drawing::WORD).count()
        };
        assert_eq!(outlines(false), 0);
        assert!(outlines(true) > 1000);
    }
}
