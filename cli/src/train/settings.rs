//! The settings file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use image::RgbImage;
use serde::Deserialize;
use svtrv2::Charset;
use svtrv2::data::Dataset;
use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig};
use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, Texts, read_pictures};
use svtrv2::train::{
    Initialization, Loader, LoaderOptions, Network, PartlyAugmented, Recipe, Source, Trainer,
    WeightedSource,
};
use svtrv2::weights::Weights;

use super::note;
use crate::failure::{Failure, Result, read_text, warn};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where everything goes; paths here are relative to the settings file.
    out: PathBuf,
    #[serde(default = "cpu")]
    device: String,
    #[serde(default = "every_100")]
    log_every: u64,
    #[serde(default = "every_1000")]
    save_every: u64,
    /// Minutes after which a checkpoint is written, whatever the steps; 0 for never.
    #[serde(default = "five")]
    save_minutes: f64,
    #[serde(default = "every_1000")]
    validate_every: u64,
    #[serde(default)]
    network: NetworkSettings,
    #[serde(default)]
    recipe: Recipe,
    #[serde(default)]
    loading: Loading,
    #[serde(default)]
    sources: Vec<SourceSettings>,
    /// Data sets.
    #[serde(default)]
    validation: Vec<PathBuf>,
    /// Weights of a teacher.
    teacher: Option<PathBuf>,
}

fn cpu() -> String {
    "cpu".to_owned()
}

fn five() -> f64 {
    5.0
}

fn every_100() -> u64 {
    100
}

fn every_1000() -> u64 {
    1000
}

/// The network: newly initialised, or from weights.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NetworkSettings {
    /// "T", "S" or "B"; or the stages below.
    variant: String,
    /// Of each stage: dim, heads, local blocks, global blocks.
    stages: Option<[[usize; 4]; 3]>,
    max_ratio: u32,
    /// "published" or "fan_in".
    initialization: Initialization,
    /// A file with the charset, one symbol a line, or its characters themselves; that of the weights, or English, if
    /// neither.
    charset: Option<PathBuf>,
    characters: Option<String>,
    /// Weights to start from.
    weights: Option<PathBuf>,
    /// The blocks of those that are kept, of each stage.
    keep_blocks: Option<[Vec<usize>; 3]>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        NetworkSettings {
            variant: "T".to_owned(),
            stages: None,
            max_ratio: 4,
            initialization: Initialization::default(),
            charset: None,
            characters: None,
            weights: None,
            keep_blocks: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Loading {
    workers: usize,
    augment: bool,
    longest_label: usize,
}

impl Default for Loading {
    fn default() -> Self {
        let LoaderOptions { workers, augment, longest_label, .. } = LoaderOptions::default();
        Loading { workers, augment, longest_label }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceSettings {
    #[serde(default = "one")]
    weight: f64,
    /// The share of its crops that are augmented, if `loading.augment` says so.
    #[serde(default = "one")]
    augment: f64,
    /// The share of its crops that are bent and turned, if `loading.augment` says so.
    #[serde(default)]
    warp: f64,
    /// A data set, or a folder of some.
    path: Option<PathBuf>,
    synthetic: Option<Synthetic>,
}

fn one() -> f64 {
    1.0
}

/// Words that are rendered on the fly.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Synthetic {
    /// A folder, or a list (`.tsv`) that tells what each font can do; the system's if there is none.
    fonts: Option<PathBuf>,
    /// The least legibility of the list's fonts, 0..=1.
    least_score: f64,
    /// Of every so many font families one is not used, for validation.
    hold_every: usize,
    /// A folder with pictures that words may stand on.
    backgrounds: Option<PathBuf>,
    /// A list, one a line; random strings only if there is none.
    words: Option<PathBuf>,
    /// Kinds of texts, besides that list.
    texts: Vec<TextSettings>,
    /// The share of random strings.
    random: f64,
    symbols: String,
    lengths: [usize; 2],
    options: SynthOptions,
}

impl Default for Synthetic {
    fn default() -> Self {
        Synthetic {
            fonts: None,
            least_score: 0.0,
            hold_every: 10,
            backgrounds: None,
            words: None,
            texts: Vec::new(),
            random: 0.2,
            symbols: ('0'..='9').chain('a'..='z').chain('A'..='Z').collect(),
            lengths: [1, 8],
            options: SynthOptions::default(),
        }
    }
}

/// A kind of texts: a list of words, or patterns.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TextSettings {
    weight: f64,
    /// A list, one a line.
    words: Option<PathBuf>,
    /// The list's lines are words with their Zipf frequencies, which count to this power.
    frequency_power: Option<f64>,
    /// Words of one letter up to so many; 0 for no limit.
    longest: usize,
    /// Whether words are written in other cases, too.
    recase: bool,
    /// The share of words with punctuation.
    punctuated: f64,
    /// Patterns in the notation of regular expressions.
    patterns: Vec<String>,
}

impl Default for TextSettings {
    fn default() -> Self {
        TextSettings {
            weight: 1.0,
            words: None,
            frequency_power: None,
            longest: 0,
            recase: true,
            punctuated: 0.0,
            patterns: Vec::new(),
        }
    }
}

impl File {
    /// Checks the numbers that nothing else checks.
    fn check(&self) -> Result<()> {
        let most = f64::from(u32::MAX);
        let mut ranges = vec![("save_minutes", self.save_minutes, most)];
        for source in &self.sources {
            ranges.extend([
                ("sources.weight", source.weight, most),
                ("sources.augment", source.augment, 1.0),
                ("sources.warp", source.warp, 1.0),
            ]);
            if let Some(synthetic) = &source.synthetic {
                ranges.extend([
                    ("sources.synthetic.least_score", synthetic.least_score, 1.0),
                    ("sources.synthetic.random", synthetic.random, 1.0),
                ]);
                for texts in &synthetic.texts {
                    ranges.extend([
                        ("sources.synthetic.texts.weight", texts.weight, most),
                        ("sources.synthetic.texts.punctuated", texts.punctuated, 1.0),
                    ]);
                }
            }
        }
        match ranges.into_iter().find(|(_, value, most)| !(0.0..=*most).contains(value)) {
            Some((name, value, most)) => {
                Err(input(format!("{name} = {value} is not in 0..={most}")))
            }
            None => Ok(()),
        }
    }
}

/// The settings, their data sets opened.
pub struct Settings {
    pub out: PathBuf,
    pub log_every: u64,
    pub save_every: u64,
    pub save_minutes: f64,
    pub validate_every: u64,
    pub validation: Vec<Dataset>,
    folder: PathBuf,
    file: File,
}

impl Settings {
    /// Reads a settings file; `overrides` are "name.name=value"; a name is a number in a list.
    pub fn open(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = read_text(path)?;
        let wrong = |error: toml::de::Error| input(format!("{}: {error}", path.display()));
        let mut table: toml::Table = text.parse().map_err(wrong)?;
        for entry in overrides {
            let (name, value) = entry
                .split_once('=')
                .ok_or_else(|| input(format!("--set {entry:?} is not NAME=VALUE")))?;
            set(&mut table, name.trim(), value.trim())?;
        }
        let file: File = table.try_into().map_err(wrong)?;
        file.check()?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut validation = Vec::new();
        for path in &file.validation {
            validation.extend(Dataset::find(folder.join(path))?);
        }
        Ok(Settings {
            out: folder.join(&file.out),
            log_every: file.log_every.max(1),
            save_every: file.save_every.max(1),
            save_minutes: file.save_minutes,
            validate_every: file.validate_every.max(1),
            validation,
            folder,
            file,
        })
    }

    /// A new training.
    pub fn start(&self) -> Result<Trainer> {
        let device = device(&self.file.device)?;
        let NetworkSettings { weights, keep_blocks, .. } = &self.file.network;
        let seed = self.file.recipe.seed;
        let (network, charset) = match weights {
            None => {
                let (config, charset) = self.new_network()?;
                let initialization = self.file.network.initialization;
                let network = Network::with_initialization(&config, initialization, &device, seed)?;
                (network, charset)
            }
            Some(path) => {
                let (mut network, stored) = Network::open(self.folder.join(path), &device, seed)?;
                network.set_initialization(self.file.network.initialization);
                if let Some(keep) = keep_blocks {
                    network = network.with_blocks(keep)?;
                }
                let charset = self.charset(stored.as_ref())?;
                let stored = stored.unwrap_or_else(Charset::english);
                if charset != stored {
                    let change = network.change_charset(&stored, &charset)?;
                    note(format!(
                        "charset: {} symbols kept, {} newly initialised ({}), {} dropped",
                        change.kept.len(),
                        change.added.len(),
                        change.added.concat(),
                        change.dropped.len(),
                    ));
                }
                (network, charset)
            }
        };
        let parameters: usize = network.parameters().map(|(_, p)| p.elem_count()).sum();
        note(format!("{parameters} parameters, {} classes", charset.classes()));
        let (recipe, sources) = (self.file.recipe.clone(), self.sources(&charset)?);
        let trainer = Trainer::new(network, charset, recipe, sources, self.loading())?;
        self.with_teacher(trainer)
    }

    /// Batches as the training receives them.
    pub fn loader(&self) -> Result<Loader> {
        let (config, charset) = match &self.file.network.weights {
            None => self.new_network()?,
            Some(path) => {
                let weights = Weights::open(self.folder.join(path))?;
                (weights.config().clone(), self.charset(weights.charset())?)
            }
        };
        let Recipe { batch_size, seed, .. } = self.file.recipe;
        let options = LoaderOptions { batch_size, seed, ..self.loading() }.for_network(&config);
        Ok(Loader::new(self.sources(&charset)?, charset, options)?)
    }

    /// The configuration and charset of a network that does not start from weights.
    fn new_network(&self) -> Result<(Config, Charset)> {
        let charset = self.charset(None)?;
        let max_ratio = self.file.network.max_ratio;
        Ok((Config { num_classes: charset.classes(), max_ratio, ..self.config()? }, charset))
    }

    /// Resumes at a checkpoint. The recipe is the checkpoint's, but for the steps: they may be more or fewer.
    pub fn resume(&self, checkpoint: &Path) -> Result<Trainer> {
        let device = device(&self.file.device)?;
        let sources = self.sources(&self.charset(Weights::open(checkpoint)?.charset())?)?;
        let trainer = Trainer::resume(checkpoint, sources, self.loading(), &device)?;
        let recipe = &self.file.recipe;
        if *recipe != (Recipe { steps: recipe.steps, ..trainer.recipe().clone() }) {
            let detail =
                "the recipe is not that of the checkpoint; --fresh starts from the beginning";
            return Err(input(detail));
        }
        self.with_teacher(trainer.with_steps(recipe.steps)?)
    }

    fn with_teacher(&self, trainer: Trainer) -> Result<Trainer> {
        match &self.file.teacher {
            Some(path) => Ok(trainer.with_teacher(&Weights::open(self.folder.join(path))?)?),
            None => Ok(trainer),
        }
    }

    fn config(&self) -> Result<Config> {
        let NetworkSettings { variant, stages, .. } = &self.file.network;
        let base = match variant.as_str() {
            "T" => Config::tiny(),
            "S" => Config::small(),
            "B" => Config::base(),
            other => {
                return Err(input(format!("network.variant is {other:?}, not T, S or B")));
            }
        };
        Ok(match stages {
            None => base,
            Some(stages) => {
                let stages = stages
                    .map(|[dim, heads, local, global]| StageConfig::new(dim, heads, local, global));
                let frm = FrmConfig { heads: stages[2].heads, mlp_dim: stages[2].mlp_dim };
                Config::svtr(SvtrConfig::new(stages), frm)
            }
        })
    }

    /// The charset that the settings name, else that of the weights, else the English one.
    fn charset(&self, of_weights: Option<&Charset>) -> Result<Charset> {
        let NetworkSettings { charset, characters, .. } = &self.file.network;
        Ok(match (charset, characters) {
            (Some(_), Some(_)) => {
                return Err(input("network.charset and network.characters exclude each other"));
            }
            (Some(path), None) => Charset::open(self.folder.join(path), false)?,
            (None, Some(characters)) => Charset::from_characters(characters)?,
            (None, None) => of_weights.cloned().unwrap_or_else(Charset::english),
        })
    }

    fn loading(&self) -> LoaderOptions {
        let Loading { workers, augment, longest_label } = self.file.loading;
        LoaderOptions { workers, augment, longest_label, ..LoaderOptions::default() }
    }

    /// `charset` is the network's.
    fn sources(&self, charset: &Charset) -> Result<Vec<WeightedSource>> {
        let mut sources: Vec<WeightedSource> = Vec::new();
        let mut loaded = Loaded::default();
        for source in &self.file.sources {
            let partly = |of: Arc<dyn Source>| -> Arc<dyn Source> {
                Arc::new(PartlyAugmented::new(of, source.augment).with_warped(source.warp))
            };
            if let Some(path) = &source.path {
                let sets = Dataset::find(self.folder.join(path))?;
                // A folder's weight is spread over its sets by their sizes.
                let total: usize = sets.iter().map(Dataset::len).sum();
                for set in sets {
                    let weight = source.weight * set.len() as f64 / total.max(1) as f64;
                    sources.push((partly(Arc::new(set)), weight));
                }
            }
            if let Some(synthetic) = &source.synthetic {
                let synthesizer = self.synthesizer(synthetic, charset, &mut loaded)?;
                sources.push((partly(Arc::new(synthesizer)), source.weight));
            }
        }
        if sources.is_empty() {
            return Err(input("the settings have no [[sources]]"));
        }
        Ok(sources)
    }

    /// `loaded` are the fonts and images of other sources: several name the same ones.
    fn synthesizer(
        &self,
        settings: &Synthetic,
        charset: &Charset,
        loaded: &mut Loaded,
    ) -> Result<Synthesizer> {
        let fonts = match &settings.fonts {
            Some(path) => loaded.fonts(&self.folder.join(path), settings.least_score)?,
            None => Fonts::system()?,
        };
        let (fonts, _) = fonts.split(settings.hold_every);
        let [shortest, longest] = settings.lengths;
        let random = Texts::random(&settings.symbols, shortest..=longest)?;
        let mut kinds = Vec::new();
        if settings.words.is_some() {
            let words = TextSettings { words: settings.words.clone(), ..TextSettings::default() };
            kinds.push((self.texts(&words, charset)?, words.weight));
        }
        for texts in &settings.texts {
            kinds.push((self.texts(texts, charset)?, texts.weight));
        }
        let texts = if kinds.is_empty() {
            random
        } else {
            Texts::mixed(kinds)?.with_random(&random, settings.random)
        };
        let synthesizer = Synthesizer::new(fonts, texts, settings.options.clone())?;
        Ok(match &settings.backgrounds {
            Some(folder) => {
                synthesizer.with_shared_backgrounds(loaded.pictures(&self.folder.join(folder))?)
            }
            None => synthesizer,
        })
    }

    fn texts(&self, settings: &TextSettings, charset: &Charset) -> Result<Texts> {
        let TextSettings { words, frequency_power, longest, recase, punctuated, patterns, .. } =
            settings;
        let Some(path) = words else {
            return Ok(Texts::patterns(patterns)?);
        };
        if !patterns.is_empty() {
            return Err(input("a kind of texts has words or patterns, not both"));
        }
        let path = self.folder.join(path);
        let texts = match frequency_power {
            Some(power) => Texts::open_frequencies(&path, *power)?,
            None => Texts::open(&path)?,
        };
        // What the network has no classes for would be rendered in vain.
        let (mut all, mut left_out) = (0, 0);
        let texts = texts.retain(|word| {
            let short = *longest == 0 || word.chars().count() <= *longest;
            let keep = short && charset.encode(word).is_ok();
            all += 1;
            left_out += usize::from(!keep);
            keep
        });
        if left_out > 0 {
            warn(format!(
                "{}: {left_out} of {all} texts are too long or have symbols that the network lacks",
                path.display()
            ));
        }
        if left_out == all {
            return Err(input(format!("{}: no text that this network can read", path.display())));
        }
        let texts = if *recase { texts.with_random_case() } else { texts };
        Ok(texts.with_punctuation(*punctuated))
    }
}

/// Fonts and pictures by the place that they were loaded from.
#[derive(Default)]
struct Loaded {
    fonts: BTreeMap<(PathBuf, u64), Fonts>,
    pictures: BTreeMap<PathBuf, Arc<Vec<RgbImage>>>,
}

impl Loaded {
    fn fonts(&mut self, path: &Path, least_score: f64) -> Result<Fonts> {
        let key = (path.to_owned(), least_score.to_bits());
        if let Some(fonts) = self.fonts.get(&key) {
            return Ok(fonts.clone());
        }
        let fonts = if path.is_file() {
            Fonts::from_list(path, least_score)?
        } else {
            Fonts::from_folder(path)?
        };
        self.fonts.insert(key, fonts.clone());
        Ok(fonts)
    }

    fn pictures(&mut self, folder: &Path) -> Result<Arc<Vec<RgbImage>>> {
        if let Some(pictures) = self.pictures.get(folder) {
            return Ok(pictures.clone());
        }
        let pictures = Arc::new(read_pictures(folder)?);
        self.pictures.insert(folder.to_owned(), pictures.clone());
        Ok(pictures)
    }
}

/// Sets a value in a table by its dotted name.
fn set(table: &mut toml::Table, name: &str, value: &str) -> Result<()> {
    // A value that is not TOML is a string.
    let value = format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or_default();
    let mut place = table.entry(first).or_insert_with(|| toml::Table::new().into());
    for part in parts {
        place = match place {
            toml::Value::Table(table) => {
                table.entry(part).or_insert_with(|| toml::Table::new().into())
            }
            // Counted from 0.
            toml::Value::Array(entries) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| entries.get_mut(index))
                .ok_or_else(|| input(format!("--set {name}: there is no entry {part}")))?,
            _ => return Err(input(format!("--set {name}: {part} lies in no table"))),
        };
    }
    *place = value;
    Ok(())
}

/// The device of a name.
fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::new_cuda(0)?),
        "metal" => Ok(Device::new_metal(0)?),
        other => Err(input(format!("device is {other:?}, not cpu, cuda or metal"))),
    }
}

fn input(detail: impl Into<String>) -> Failure {
    Failure::Input(detail.into())
}
