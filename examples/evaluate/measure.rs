//! Reads the crops of data sets with one or more settings.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use svtrv2::data::{Dataset, Sample};
use svtrv2::decode::LogProbs;
use svtrv2::evaluation::{Accumulator, Correctness};
use svtrv2::{Crop, Emissions, Recognition, Recognizer, ResizedCrop};

use crate::SettingArguments;

/// A way to read crops.
pub struct Setting {
    pub arguments: SettingArguments,
    pub recognizer: Recognizer,
    /// The setting that has the same network, if it comes before this one.
    pub shares: Option<usize>,
}

impl Setting {
    pub fn new(
        arguments: SettingArguments,
        recognizer: Recognizer,
        shares: Option<usize>,
    ) -> Result<Self, Box<dyn Error>> {
        let decoder = arguments.decoder.decoder(recognizer.charset(), None)?;
        let recognizer = recognizer.with_decoder(decoder)?;
        Ok(Setting { arguments, recognizer, shares })
    }

    /// The recogniser for a set: its labels may be the lexicon.
    fn recognizer_for(&self, set: &Dataset) -> Result<Recognizer, Box<dyn Error>> {
        if !self.arguments.lexicon_of_labels {
            return Ok(self.recognizer.clone());
        }
        let labels: Vec<String> = (0..set.len()).filter_map(|i| set.label(i).ok()).collect();
        let charset = self.recognizer.charset();
        let decoder = self.arguments.decoder.decoder(charset, Some(&labels))?;
        Ok(self.recognizer.with_decoder(decoder)?)
    }
}

/// What is kept beside texts and figures; it takes memory.
pub struct Keep {
    /// The scores of the first setting.
    pub emissions: bool,
    /// So many errors of the first setting, of each set.
    pub gallery: usize,
}

pub struct Options {
    pub correctness: Correctness,
    pub batch: usize,
    pub limit: usize,
    pub keep: Keep,
}

/// What was found out about a data set.
pub struct Measured {
    pub name: String,
    pub crops: Vec<Read>,
    /// How many samples were left out, by reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// Labels with a symbol (white space aside) that the first setting's charset lacks; they were
    /// read nevertheless.
    pub outside_charset: usize,
    /// By setting.
    pub tallies: Vec<Accumulator>,
    pub scored: Vec<Scored>,
    pub gallery: Vec<Exhibit>,
    pub correctness: Correctness,
}

/// A crop that was read.
pub struct Read {
    pub name: String,
    pub label: String,
    /// Width over height.
    pub aspect_ratio: f64,
    /// By setting.
    pub read: Vec<Outcome>,
}

pub struct Outcome {
    pub text: String,
    pub score: f32,
    pub confidence: f32,
    pub time: Duration,
}

/// Emissions and the text that was found in them.
pub struct Scored {
    pub log_probs: LogProbs,
    pub text: Vec<usize>,
    pub right: bool,
}

/// A crop that the first setting read wrongly.
pub struct Exhibit {
    /// The crop's number in [`Measured::crops`].
    pub crop: usize,
    pub image: Vec<u8>,
    pub size: (u32, u32),
    pub recognition: Recognition,
}

pub fn measure(
    sets: &[Dataset],
    settings: &[Setting],
    options: &Options,
) -> Result<Vec<Measured>, Box<dyn Error>> {
    let total: usize = sets.iter().map(|set| set.len().min(options.limit)).sum();
    let progress = if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}")?;
        ProgressBar::new(total as u64).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    let mut all = Vec::new();
    for set in sets {
        progress.set_message(set.name().to_owned());
        all.push(measure_set(set, settings, options, &progress)?);
    }
    progress.finish_and_clear();
    Ok(all)
}

fn measure_set(
    set: &Dataset,
    settings: &[Setting],
    options: &Options,
    progress: &ProgressBar,
) -> Result<Measured, Box<dyn Error>> {
    let recognizers =
        settings.iter().map(|s| s.recognizer_for(set)).collect::<Result<Vec<_>, _>>()?;
    let mut measured = Measured {
        name: set.name().to_owned(),
        crops: Vec::new(),
        skipped: BTreeMap::new(),
        outside_charset: 0,
        tallies: settings.iter().map(|_| Accumulator::new(options.correctness)).collect(),
        scored: Vec::new(),
        gallery: Vec::new(),
        correctness: options.correctness,
    };
    let count = set.len().min(options.limit);
    for start in (0..count).step_by(options.batch) {
        let end = (start + options.batch).min(count);
        let opened: Vec<Result<(Sample, Crop), &str>> = (start..end)
            .into_par_iter()
            .map(|index| {
                let sample = set.sample(index).map_err(|_| "damaged sample")?;
                let crop = Crop::decode(&sample.image).map_err(|_| "damaged image")?;
                Ok((sample, crop))
            })
            .collect();
        let mut samples = Vec::new();
        for opened in opened {
            match opened {
                Ok(sample) => samples.push(sample),
                Err(reason) => *measured.skipped.entry(reason).or_default() += 1,
            }
        }
        if !samples.is_empty() {
            read_batch(samples, settings, &recognizers, options, &mut measured)?;
        }
        progress.inc((end - start) as u64);
    }
    Ok(measured)
}

/// What the network said of a batch, and the time a crop took.
struct Seen {
    variants: Vec<Vec<ResizedCrop>>,
    emissions: Vec<Vec<Emissions>>,
    time: Duration,
}

fn see(recognizer: &Recognizer, crops: &[(Sample, Crop)]) -> Result<Seen, Box<dyn Error>> {
    let start = Instant::now();
    let resize = |(_, crop): &(Sample, Crop)| recognizer.resize(crop);
    let variants: Vec<Vec<ResizedCrop>> = crops.par_iter().map(resize).collect::<Result<_, _>>()?;
    let flat: Vec<ResizedCrop> = variants.iter().flatten().cloned().collect();
    let mut flat = recognizer.emissions(&flat)?.into_iter();
    let emissions = variants.iter().map(|own| flat.by_ref().take(own.len()).collect()).collect();
    Ok(Seen { variants, emissions, time: start.elapsed() / crops.len() as u32 })
}

fn read_batch(
    samples: Vec<(Sample, Crop)>,
    settings: &[Setting],
    recognizers: &[Recognizer],
    options: &Options,
    measured: &mut Measured,
) -> Result<(), Box<dyn Error>> {
    let mut seen: Vec<Option<Seen>> = Vec::new();
    let mut recognitions: Vec<(Vec<Recognition>, Duration)> = Vec::new();
    for (setting, recognizer) in settings.iter().zip(recognizers) {
        seen.push(match setting.shares {
            Some(_) => None,
            None => Some(see(recognizer, &samples)?),
        });
        let source = setting.shares.unwrap_or(seen.len() - 1);
        let Some(source) = &seen[source] else { continue };
        let start = Instant::now();
        let decoded: Vec<Recognition> = source
            .variants
            .par_iter()
            .zip(&source.emissions)
            .map(|(variants, emissions)| recognizer.decode_best(variants, emissions))
            .collect::<Result<_, _>>()?;
        let time = source.time + start.elapsed() / samples.len() as u32;
        recognitions.push((decoded, time));
    }
    for (index, (sample, crop)) in samples.into_iter().enumerate() {
        let label = sample.label;
        let charset = recognizers[0].charset();
        let letters: String = label.chars().filter(|c| !c.is_whitespace()).collect();
        measured.outside_charset += usize::from(charset.encode(&letters).is_err());
        let mut read = Vec::new();
        for ((recognitions, time), accumulator) in recognitions.iter().zip(&mut measured.tallies) {
            let Recognition { text, score, confidence, .. } = &recognitions[index];
            accumulator.add(&label, text, *confidence, *time);
            let (score, confidence) = (*score, *confidence);
            read.push(Outcome { text: text.clone(), score, confidence, time: *time });
        }
        let recognition = &recognitions[0].0[index];
        let right = options.correctness.judge(&label, &recognition.text);
        if right == Some(false) && measured.gallery.len() < options.keep.gallery {
            measured.gallery.push(Exhibit {
                crop: measured.crops.len(),
                image: sample.image,
                size: (crop.width(), crop.height()),
                recognition: recognition.clone(),
            });
        }
        if let (true, Some(right), Some(seen)) = (options.keep.emissions, right, &seen[0]) {
            let chosen = seen.variants[index].iter().zip(&seen.emissions[index]);
            let chosen = chosen.into_iter().find(|(crop, _)| crop.rotation == recognition.rotation);
            let text: Vec<usize> =
                recognition.chars.iter().filter_map(|c| charset.class(&c.symbol)).collect();
            if let Some((_, emissions)) = chosen {
                // What the confidence was taken from.
                let decoder = recognizers[0].decoder();
                let log_probs = match &decoder.classes {
                    Some(mask) => emissions.log_probs.restricted(mask, decoder.renormalize)?,
                    None => emissions.log_probs.clone(),
                };
                measured.scored.push(Scored { log_probs, text, right });
            }
        }
        let aspect_ratio = f64::from(crop.width()) / f64::from(crop.height());
        measured.crops.push(Read { name: sample.name, label, aspect_ratio, read });
    }
    Ok(())
}

impl Measured {
    /// Tallies of one setting by group, in the order of the groups; crops without one are left out.
    pub fn by(
        &self,
        setting: usize,
        group: impl Fn(&Read) -> Option<usize>,
    ) -> BTreeMap<usize, Accumulator> {
        let mut tallies = BTreeMap::new();
        for crop in &self.crops {
            if let Some(group) = group(crop) {
                let accumulator =
                    tallies.entry(group).or_insert_with(|| Accumulator::new(self.correctness));
                let Outcome { text, confidence, time, .. } = &crop.read[setting];
                accumulator.add(&crop.label, text, *confidence, *time);
            }
        }
        tallies
    }

    /// Crops that a setting reads rightly and the first does not, and the other way round.
    pub fn won_and_lost(&self, setting: usize) -> (usize, usize) {
        let mut counts = (0, 0);
        for crop in &self.crops {
            let right = |read: &Outcome| self.correctness.judge(&crop.label, &read.text);
            match (right(&crop.read[0]), right(&crop.read[setting])) {
                (Some(false), Some(true)) => counts.0 += 1,
                (Some(true), Some(false)) => counts.1 += 1,
                _ => {}
            }
        }
        counts
    }
}

/// The first length, aspect ratio of every group but the first, with the groups' names.
pub const LENGTHS: [(&str, usize); 7] = [
    ("1-3", 1),
    ("4-6", 4),
    ("7-9", 7),
    ("10-14", 10),
    ("15-19", 15),
    ("20-25", 20),
    ("26 and more", 26),
];
pub const RATIOS: [(&str, f64); 7] = [
    ("below 1.5", 0.0),
    ("1.5-2.5", 1.5),
    ("2.5-3.5", 2.5),
    ("3.5-4.5", 3.5),
    ("4.5-8.5", 4.5),
    ("8.5-12.5", 8.5),
    ("12.5 and more", 12.5),
];

/// The group of a crop by the length of its label, white space aside.
pub fn length_group(crop: &Read) -> Option<usize> {
    let length = crop.label.chars().filter(|c| !c.is_whitespace()).count();
    LENGTHS.iter().rposition(|&(_, first)| length >= first)
}

/// The group of a crop by its aspect ratio.
pub fn ratio_group(crop: &Read) -> Option<usize> {
    RATIOS.iter().rposition(|&(_, first)| crop.aspect_ratio >= first)
}
