//! The settings file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::Deserialize;
use svtrv2::Charset;
use svtrv2::data::Dataset;
use svtrv2::model::{Config, StageConfig};
use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, Texts};
use svtrv2::train::{Initialization, LoaderOptions, Network, Recipe, Trainer, WeightedSource};
use svtrv2::weights::Weights;

use super::note;
use crate::failure::{Failure, Result, read_text};

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
    /// A file with the charset, one symbol a line, or its characters themselves; English if neither.
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
    /// A folder; the system's if there is none.
    fonts: Option<PathBuf>,
    /// Of every so many font families one is not used, for validation.
    hold_every: usize,
    /// A list, one a line; random strings only if there is none.
    words: Option<PathBuf>,
    random: f64,
    symbols: String,
    lengths: [usize; 2],
    options: SynthOptions,
}

impl Default for Synthetic {
    fn default() -> Self {
        Synthetic {
            fonts: None,
            hold_every: 10,
            words: None,
            random: 0.2,
            symbols: ('0'..='9').chain('a'..='z').chain('A'..='Z').collect(),
            lengths: [1, 8],
            options: SynthOptions::default(),
        }
    }
}

/// The settings, their data sets opened.
pub struct Settings {
    pub out: PathBuf,
    pub log_every: u64,
    pub save_every: u64,
    pub validate_every: u64,
    pub validation: Vec<Dataset>,
    folder: PathBuf,
    file: File,
}

impl Settings {
    /// Reads a settings file; `overrides` are "name.name=value".
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
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut validation = Vec::new();
        for path in &file.validation {
            validation.extend(Dataset::find(folder.join(path))?);
        }
        Ok(Settings {
            out: folder.join(&file.out),
            log_every: file.log_every.max(1),
            save_every: file.save_every.max(1),
            validate_every: file.validate_every.max(1),
            validation,
            folder,
            file,
        })
    }

    /// A new training.
    pub fn start(&self) -> Result<Trainer> {
        let device = device(&self.file.device)?;
        let NetworkSettings { weights, keep_blocks, max_ratio, .. } = &self.file.network;
        let seed = self.file.recipe.seed;
        let wanted = self.charset()?;
        let (network, charset) = match weights {
            None => {
                let charset = wanted.unwrap_or_else(Charset::english);
                let config = Config {
                    num_classes: charset.classes(),
                    max_ratio: *max_ratio,
                    ..self.config()?
                };
                let initialization = self.file.network.initialization;
                let network = Network::with_initialization(&config, initialization, &device, seed)?;
                (network, charset)
            }
            Some(path) => {
                let (mut network, stored) = Network::open(self.folder.join(path), &device, seed)?;
                network.set_initialization(self.file.network.initialization);
                let stored = stored.unwrap_or_else(Charset::english);
                if let Some(keep) = keep_blocks {
                    network = network.with_blocks(keep)?;
                }
                let charset = wanted.unwrap_or_else(|| stored.clone());
                if charset != stored {
                    let change = network.change_charset(&stored, &charset)?;
                    note(format!(
                        "charset: {} symbols kept, {} newly initialised ({}), {} dropped",
                        change.kept.len(),
                        change.fresh.len(),
                        change.fresh.concat(),
                        change.dropped.len(),
                    ));
                }
                (network, charset)
            }
        };
        let parameters: usize = network.parameters().map(|(_, p)| p.elem_count()).sum();
        note(format!("{parameters} parameters, {} classes", charset.classes()));
        let recipe = self.file.recipe.clone();
        let trainer = Trainer::new(network, charset, recipe, self.sources()?, self.loading())?;
        self.with_teacher(trainer)
    }

    /// Resumes at a checkpoint. The recipe is the checkpoint's.
    pub fn resume(&self, checkpoint: &Path) -> Result<Trainer> {
        let device = device(&self.file.device)?;
        let trainer = Trainer::resume(checkpoint, self.sources()?, self.loading(), &device)?;
        if *trainer.recipe() != self.file.recipe {
            let detail =
                "the recipe is not that of the checkpoint; --fresh starts from the beginning";
            return Err(input(detail));
        }
        self.with_teacher(trainer)
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
                let stages = stages.map(|[dim, heads, local_blocks, global_blocks]| StageConfig {
                    dim,
                    heads,
                    local_blocks,
                    global_blocks,
                });
                Config { frm_heads: stages[2].heads, stages, ..base }
            }
        })
    }

    fn charset(&self) -> Result<Option<Charset>> {
        let NetworkSettings { charset, characters, .. } = &self.file.network;
        Ok(match (charset, characters) {
            (Some(_), Some(_)) => {
                return Err(input("network.charset and network.characters exclude each other"));
            }
            (Some(path), None) => Some(Charset::open(self.folder.join(path), false)?),
            (None, Some(characters)) => Some(Charset::from_characters(characters)?),
            (None, None) => None,
        })
    }

    fn loading(&self) -> LoaderOptions {
        let Loading { workers, augment, longest_label } = self.file.loading;
        LoaderOptions { workers, augment, longest_label, ..LoaderOptions::default() }
    }

    fn sources(&self) -> Result<Vec<WeightedSource>> {
        let mut sources: Vec<WeightedSource> = Vec::new();
        for source in &self.file.sources {
            if let Some(path) = &source.path {
                let sets = Dataset::find(self.folder.join(path))?;
                // A folder's weight is spread over its sets by their sizes.
                let total: usize = sets.iter().map(Dataset::len).sum();
                for set in sets {
                    let weight = source.weight * set.len() as f64 / total.max(1) as f64;
                    sources.push((Arc::new(set), weight));
                }
            }
            if let Some(synthetic) = &source.synthetic {
                sources.push((Arc::new(self.synthesizer(synthetic)?), source.weight));
            }
        }
        if sources.is_empty() {
            return Err(input("the settings have no [[sources]]"));
        }
        Ok(sources)
    }

    fn synthesizer(&self, settings: &Synthetic) -> Result<Synthesizer> {
        let fonts = match &settings.fonts {
            Some(folder) => Fonts::from_folder(self.folder.join(folder))?,
            None => Fonts::system()?,
        };
        let (fonts, _) = fonts.split(settings.hold_every);
        let [shortest, longest] = settings.lengths;
        let random = Texts::random(&settings.symbols, shortest..=longest)?;
        let texts = match &settings.words {
            Some(path) => {
                let words = Texts::open(self.folder.join(path))?.with_random_case();
                words.with_random(&random, settings.random)
            }
            None => random,
        };
        Ok(Synthesizer::new(fonts, texts, settings.options.clone())?)
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
    let mut parts: Vec<&str> = name.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut table = table;
    for part in parts {
        let entry = table.entry(part).or_insert_with(|| toml::Table::new().into());
        table = entry.as_table_mut().ok_or_else(|| input(format!("--set: {part} is no table")))?;
    }
    table.insert(last.to_owned(), value);
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
