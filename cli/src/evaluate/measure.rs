//! Recognises the crops of data sets with one or more settings.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use svtrv2::data::{Dataset, Sample};
use svtrv2::decode::LogProbs;
use svtrv2::evaluation::{Accumulator, Correctness, UnicodeRule};
use svtrv2::{Crop, Emissions, Recognition, Recognizer, ResizedCrop};

use super::SettingArguments;
use crate::failure::Result;

/// A network and a decoder.
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
    ) -> Result<Self> {
        let decoder = arguments.decoder.decoder(recognizer.charset(), None)?;
        let recognizer = recognizer.with_decoder(decoder)?;
        Ok(Setting { arguments, recognizer, shares })
    }

    /// The recogniser for a set: its labels may be the lexicon.
    fn recognizer_for(&self, set: &Dataset) -> Result<Recognizer> {
        if !self.arguments.lexicon_of_labels {
            return Ok(self.recognizer.clone());
        }
        let labels: Vec<String> = (0..set.len()).filter_map(|i| set.label(i).ok()).collect();
        let charset = self.recognizer.charset();
        let decoder = self.arguments.decoder.decoder(charset, Some(&labels))?;
        Ok(self.recognizer.with_decoder(decoder)?)
    }
}

/// What is kept beside texts and metrics; it takes memory.
pub struct Keep {
    /// The log-probabilities of the first setting.
    pub emissions: bool,
    /// Errors of the first setting, of each set, at most.
    pub gallery: usize,
}

pub struct Options {
    pub correctness: Correctness,
    pub rule: UnicodeRule,
    pub batch: usize,
    pub limit: usize,
    pub keep: Keep,
}

/// Results on a data set.
pub struct Measured {
    pub name: String,
    pub crops: Vec<CropResults>,
    /// How many samples were left out, by reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// Labels with a symbol (white space aside) that the first setting's charset lacks; their crops
    /// are recognised all the same.
    pub outside_charset: usize,
    /// By setting.
    pub accumulators: Vec<Accumulator>,
    pub scored: Vec<Scored>,
    pub gallery: Vec<Exhibit>,
    pub correctness: Correctness,
    pub rule: UnicodeRule,
}

/// The results on a crop.
pub struct CropResults {
    pub name: String,
    pub label: String,
    /// Width over height.
    pub aspect_ratio: f64,
    /// By setting.
    pub results: Vec<Outcome>,
}

pub struct Outcome {
    pub text: String,
    pub score: f32,
    pub confidence: f32,
    pub time: Duration,
}

/// Log-probabilities and the text that was decoded from them.
pub struct Scored {
    pub log_probs: LogProbs,
    pub text: Vec<usize>,
    pub right: bool,
}

/// A crop whose text the first setting gets wrong.
pub struct Exhibit {
    /// The crop's number in [`Measured::crops`].
    pub crop: usize,
    pub image: Vec<u8>,
    pub size: (u32, u32),
    pub recognition: Recognition,
}

pub fn measure(sets: &[Dataset], settings: &[Setting], options: &Options) -> Result<Vec<Measured>> {
    let total: usize = sets.iter().map(|set| set.len().min(options.limit)).sum();
    let progress = if std::io::stderr().is_terminal() {
        ProgressBar::new(total as u64)
    } else {
        ProgressBar::hidden()
    };
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}");
    if let Ok(style) = style {
        progress.set_style(style);
    }
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
) -> Result<Measured> {
    let recognizers = settings.iter().map(|s| s.recognizer_for(set)).collect::<Result<Vec<_>>>()?;
    let mut measured = Measured {
        name: set.name().to_owned(),
        crops: Vec::new(),
        skipped: BTreeMap::new(),
        outside_charset: 0,
        accumulators: settings
            .iter()
            .map(|_| Accumulator::new(options.correctness).with_rule(options.rule))
            .collect(),
        scored: Vec::new(),
        gallery: Vec::new(),
        correctness: options.correctness,
        rule: options.rule,
    };
    let count = set.len().min(options.limit);
    for start in (0..count).step_by(options.batch) {
        let end = (start + options.batch).min(count);
        let opened: Vec<std::result::Result<(Sample, Crop), &str>> = (start..end)
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
            measure_batch(samples, settings, &recognizers, options, &mut measured)?;
        }
        progress.inc((end - start) as u64);
    }
    Ok(measured)
}

/// The network's output for a batch, and the time per crop.
struct BatchEmissions {
    variants: Vec<Vec<ResizedCrop>>,
    emissions: Vec<Vec<Emissions>>,
    time: Duration,
}

fn emissions_of(recognizer: &Recognizer, crops: &[(Sample, Crop)]) -> Result<BatchEmissions> {
    let start = Instant::now();
    let resize = |(_, crop): &(Sample, Crop)| recognizer.resize(crop);
    let variants: Vec<Vec<ResizedCrop>> =
        crops.par_iter().map(resize).collect::<svtrv2::Result<_>>()?;
    let flat: Vec<ResizedCrop> = variants.iter().flatten().cloned().collect();
    let mut flat = recognizer.emissions(&flat)?.into_iter();
    let emissions = variants.iter().map(|own| flat.by_ref().take(own.len()).collect()).collect();
    Ok(BatchEmissions { variants, emissions, time: start.elapsed() / crops.len() as u32 })
}

fn measure_batch(
    samples: Vec<(Sample, Crop)>,
    settings: &[Setting],
    recognizers: &[Recognizer],
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    let mut batches: Vec<Option<BatchEmissions>> = Vec::new();
    let mut recognitions: Vec<(Vec<Recognition>, Duration)> = Vec::new();
    for (setting, recognizer) in settings.iter().zip(recognizers) {
        batches.push(match setting.shares {
            Some(_) => None,
            None => Some(emissions_of(recognizer, &samples)?),
        });
        let source = setting.shares.unwrap_or(batches.len() - 1);
        let Some(source) = &batches[source] else { continue };
        let start = Instant::now();
        let decoded: Vec<Recognition> = source
            .variants
            .par_iter()
            .zip(&source.emissions)
            .map(|(variants, emissions)| recognizer.decode_best(variants, emissions))
            .collect::<svtrv2::Result<_>>()?;
        let time = source.time + start.elapsed() / samples.len() as u32;
        recognitions.push((decoded, time));
    }
    for (index, (sample, crop)) in samples.into_iter().enumerate() {
        let label = sample.label;
        let charset = recognizers[0].charset();
        let letters: String = label.chars().filter(|c| !c.is_whitespace()).collect();
        measured.outside_charset += usize::from(charset.encode(&letters).is_err());
        let mut results = Vec::new();
        for ((recognitions, time), accumulator) in
            recognitions.iter().zip(&mut measured.accumulators)
        {
            let Recognition { text, score, confidence, .. } = &recognitions[index];
            accumulator.add(&label, text, *confidence, *time);
            let (score, confidence) = (*score, *confidence);
            results.push(Outcome { text: text.clone(), score, confidence, time: *time });
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
        if let (true, Some(right), Some(batch)) = (options.keep.emissions, right, &batches[0]) {
            let chosen = batch.variants[index].iter().zip(&batch.emissions[index]);
            let chosen = chosen.into_iter().find(|(crop, _)| crop.rotation == recognition.rotation);
            if let Some((_, emissions)) = chosen {
                // The distribution that the confidence comes from.
                let decoder = recognizers[0].decoder();
                let log_probs = match decoder.classes.as_ref().filter(|_| decoder.renormalize) {
                    Some(mask) => emissions.log_probs.restricted(mask)?,
                    None => emissions.log_probs.clone(),
                };
                // Its symbols: characters of the result may be composed of several.
                let found = decoder.decode(&emissions.log_probs)?.into_iter().next();
                let text = found.map(|found| found.text).unwrap_or_default();
                measured.scored.push(Scored { log_probs, text, right });
            }
        }
        let aspect_ratio = f64::from(crop.width()) / f64::from(crop.height());
        measured.crops.push(CropResults { name: sample.name, label, aspect_ratio, results });
    }
    Ok(())
}

impl Measured {
    /// Accumulators of one setting by group, in the order of the groups; crops without one are left out.
    pub fn by(
        &self,
        setting: usize,
        group: impl Fn(&CropResults) -> Option<usize>,
    ) -> BTreeMap<usize, Accumulator> {
        let mut accumulators = BTreeMap::new();
        for crop in &self.crops {
            if let Some(group) = group(crop) {
                let accumulator = accumulators
                    .entry(group)
                    .or_insert_with(|| Accumulator::new(self.correctness).with_rule(self.rule));
                let Outcome { text, confidence, time, .. } = &crop.results[setting];
                accumulator.add(&crop.label, text, *confidence, *time);
            }
        }
        accumulators
    }

    /// Crops that a setting gets right and the first does not, and the other way round.
    pub fn won_and_lost(&self, setting: usize) -> (usize, usize) {
        let mut counts = (0, 0);
        for crop in &self.crops {
            let right = |result: &Outcome| self.correctness.judge(&crop.label, &result.text);
            match (right(&crop.results[0]), right(&crop.results[setting])) {
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
pub fn length_group(crop: &CropResults) -> Option<usize> {
    let length = crop.label.chars().filter(|c| !c.is_whitespace()).count();
    LENGTHS.iter().rposition(|&(_, first)| length >= first)
}

/// The group of a crop by its aspect ratio.
pub fn ratio_group(crop: &CropResults) -> Option<usize> {
    RATIOS.iter().rposition(|&(_, first)| crop.aspect_ratio >= first)
}
