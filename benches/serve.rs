//! Times parts of the crate on request, for comparisons with other programs in interleaved rounds:
//! `benches/compare.py` drives it.
//!
//! Each line of standard input is a request, answered by milliseconds of every pass on one line:
//!
//! - `network WEIGHTS HEIGHT WIDTH BATCH THREADS PASSES`, `network-int8 ..` with products in int8
//! - `resize WIDTH HEIGHT NEW_WIDTH NEW_HEIGHT PASSES`: behind a `|` those of fast_image_resize
//! - `recognize WEIGHTS IMAGE PASSES`: from the file's bytes to text, on one thread; behind a `|`
//!   those of the network alone
//! - `open WEIGHTS IMAGE`: from the path to the first result; behind a `|` a warm one; then the
//!   process's peak resident memory in MB
//! - `decode SCORES KIND PASSES`: all log-probabilities `[count, steps, classes]` of the tensor
//!   `scores` of a safetensors file; `KIND` is `greedy`, `beam` (width 10), `unpruned` (the same
//!   without pruning by probability), or an ARPA file (beam with that model). Behind a `|` the
//!   classes of the best text of each, and a semicolon

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Instant;

use fast_image_resize as fir;
use svtrv2::decode::{BeamSearch, Decoder, LogProbs, Ngram, SymbolLm};
use svtrv2::inference::Model;
use svtrv2::resize::resize_bicubic;
use svtrv2::weights::Weights;
use svtrv2::{Charset, Crop, Options, PixelFormat, Recognizer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut models = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            [kind @ ("network" | "network-int8"), weights, ref numbers @ ..] => {
                let int8 = kind == "network-int8";
                network(&mut models, weights, int8, numbers)?
            }
            ["resize", ref numbers @ ..] => resize(numbers)?,
            ["recognize", weights, image, passes] => recognize(weights, image, passes.parse()?)?,
            ["open", weights, image] => open(weights, image)?,
            ["decode", emissions, kind, passes] => decode(emissions, kind, passes.parse()?)?,
            _ => return Err(format!("cannot read {line:?}").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

fn timed<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<f64, E> {
    let start = Instant::now();
    std::hint::black_box(run()?);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn list(times: &[f64]) -> String {
    times.iter().map(|time| format!("{time:.5}")).collect::<Vec<_>>().join(" ")
}

fn parse<const N: usize>(numbers: &[&str]) -> Result<[usize; N], Box<dyn Error>> {
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse()).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|numbers| format!("{N} numbers expected, not {numbers:?}").into())
}

fn in_threads<T: Send>(
    threads: usize,
    run: impl FnOnce() -> Result<T, svtrv2::Error> + Send,
) -> Result<T, Box<dyn Error>> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?.install(run)?)
}

fn network(
    models: &mut HashMap<(String, bool), Model>,
    weights: &str,
    int8: bool,
    numbers: &[&str],
) -> Result<String, Box<dyn Error>> {
    let [height, width, batch, threads, passes] = parse(numbers)?;
    let key = (weights.to_owned(), int8);
    if !models.contains_key(&key) {
        let weights = Weights::open(weights)?;
        let model = if int8 { weights.int8_model()? } else { weights.model()? };
        models.insert(key.clone(), model);
    }
    let model = &models[&key];
    let shape = [batch, 3, height, width];
    let images: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| (0.37 * i as f32).sin()).collect();
    let times = in_threads(threads, || {
        (0..passes).map(|_| timed(|| model.forward(&images, shape))).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(list(&times))
}

fn resize(numbers: &[&str]) -> Result<String, Box<dyn Error>> {
    let [width, height, new_width, new_height, passes] = parse(numbers)?;
    let pixels: Vec<u8> = (0..width * height * 3).map(|i| (i * 31 % 251) as u8).collect();
    let (w, h) = (width as u32, height as u32);
    let (new_w, new_h) = (new_width as u32, new_height as u32);
    let crop = Crop::from_raw(PixelFormat::Rgb8, w, h, width * 3, &pixels)?;
    let source = fir::images::ImageRef::new(w, h, &pixels, fir::PixelType::U8x3)?;
    let mut resizer = fir::Resizer::new();
    let filter = fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom);
    let options = fir::ResizeOptions::new().resize_alg(filter);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..passes {
        ours.push(timed(|| resize_bicubic(&crop, new_w, new_h))?);
        theirs.push(timed(|| {
            let mut out = fir::images::Image::new(new_w, new_h, fir::PixelType::U8x3);
            resizer.resize(&source, &mut out, &options).map(|()| out)
        })?);
    }
    Ok(format!("{} | {}", list(&ours), list(&theirs)))
}

fn open_recognizer(weights: &str) -> Result<Recognizer, svtrv2::Error> {
    let weights = Weights::open(weights)?;
    let charset = weights.charset().is_none().then(Charset::english);
    Recognizer::new(&weights, Options { charset, ..Options::default() })
}

fn recognize(weights: &str, image: &str, passes: usize) -> Result<String, Box<dyn Error>> {
    let recognizer = open_recognizer(weights)?;
    let bytes = std::fs::read(image)?;
    let resized = recognizer.resize(&Crop::decode(&bytes)?)?;
    let (whole, network) = in_threads(1, || {
        let (mut whole, mut network) = (Vec::new(), Vec::new());
        for _ in 0..passes {
            whole.push(timed(|| recognizer.recognize(Crop::decode(&bytes)?))?);
            network.push(timed(|| recognizer.emissions(&resized))?);
        }
        Ok((whole, network))
    })?;
    Ok(format!("{} | {}", list(&whole), list(&network)))
}

fn open(weights: &str, image: &str) -> Result<String, Box<dyn Error>> {
    let crop = Crop::open(image)?;
    let times = in_threads(1, || {
        let mut recognizer = None;
        let first = timed(|| {
            let opened = recognizer.insert(open_recognizer(weights)?);
            opened.recognize(&crop)
        })?;
        let warm = (0..5)
            .filter_map(|_| recognizer.as_ref().map(|r| timed(|| r.recognize(&crop))))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((first, warm))
    })?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let peak = peak.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6);
    Ok(format!("{:.4} | {} | {peak:.1}", times.0, list(&times.1)))
}

fn decode(emissions: &str, kind: &str, passes: usize) -> Result<String, Box<dyn Error>> {
    let bytes = std::fs::read(emissions)?;
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let tensor = file.tensor("scores")?;
    let &[_, steps, classes] = tensor.shape() else {
        return Err(format!("scores of the shape {:?}", tensor.shape()).into());
    };
    let (values, _) = tensor.data().as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let emissions = values
        .chunks_exact(steps * classes)
        .map(|values| LogProbs::from_logits(steps, classes, values.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    let beam = BeamSearch::default();
    let decoder = match kind {
        "greedy" => Decoder::greedy(),
        "beam" => Decoder::beam(beam),
        "unpruned" => Decoder::beam(BeamSearch { top_k: classes, top_mass: 1.0, ..beam }),
        arpa => {
            let ngram = Arc::new(Ngram::open(arpa)?);
            let model = SymbolLm::new(ngram, &Charset::english(), false);
            Decoder::beam(BeamSearch { language_model: Some(Arc::new(model)), ..beam })
        }
    };
    let mut texts = Vec::new();
    let mut times = Vec::new();
    for _ in 0..passes {
        times.push(timed(|| -> Result<(), svtrv2::Error> {
            texts.clear();
            for emissions in &emissions {
                texts.push(decoder.decode(emissions)?);
            }
            Ok(())
        })?);
    }
    let times: Vec<f64> = times.iter().map(|time| time / emissions.len() as f64).collect();
    let spell = |text: &[usize]| text.iter().map(|class| format!("{class},")).collect::<String>();
    let texts = texts.iter().map(|found| spell(found.first().map_or(&[], |best| &best.text)) + ";");
    Ok(format!("{} | {}", list(&times), texts.collect::<Vec<_>>().join(" ")))
}
