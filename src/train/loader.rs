//! Batches of crops of one size, prepared on other threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::augment::{augment, warp};
use super::sampler::{Draw, Sampler, mix, unit};
use super::{Source, TrainError, WeightedSource};
use crate::charset::Charset;
use crate::crop::Crop;
use crate::model::Config;
use crate::resize::{Resizing, TargetSize};

/// Makes of a sample's seed the one that decides whether it is warped.
const WARP_SEED: u64 = 0x7761_7270;

/// Pixels of a crop with an aspect ratio of 4: batches of wider ones have fewer crops.
const PIXELS: usize = 32 * 128;
/// Samples in a row that may all be unusable: at one usable sample in a thousand that seldom
/// happens.
const MAX_SKIPPED: u64 = 5_000;
/// Threads that prepare samples.
const MAX_WORKERS: usize = 1024;
/// Crops of a batch.
const MAX_BATCH: usize = 1 << 20;
/// Samples under way for each worker.
const AHEAD: usize = 32;

/// How samples become batches.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// Crops of a batch, up to an aspect ratio of 4; of wider ones as many as have the same pixels.
    pub batch_size: usize,
    /// The ratio limit: [`Config::max_ratio`].
    pub max_ratio: u32,
    /// How crops become the network's input: [`Config::resizing`]. Lines
    /// are padded to a multiple of 64 pixels, so that batches of one size fill.
    pub resizing: Resizing,
    /// Columns of a frame: [`Config::frame_stride`].
    pub frame_stride: usize,
    /// Characters of the longest label; longer ones are skipped.
    pub longest_label: usize,
    /// Whether crops are augmented (specification section 7).
    pub augment: bool,
    /// Threads that prepare samples; with 0 it is done in between.
    pub workers: usize,
    /// Decides order and augmentation.
    pub seed: u64,
}

impl Default for LoaderOptions {
    /// 256 crops with augmentation, labels of up to 25 characters, one worker.
    fn default() -> Self {
        LoaderOptions {
            batch_size: 256,
            max_ratio: 4,
            resizing: Resizing::MultiSize,
            frame_stride: 4,
            longest_label: 25,
            augment: true,
            workers: 1,
            seed: 0,
        }
    }
}

impl LoaderOptions {
    /// The same for the input of a network.
    #[must_use]
    pub fn for_network(self, config: &Config) -> Self {
        LoaderOptions {
            max_ratio: config.max_ratio,
            resizing: config.resizing,
            frame_stride: config.frame_stride(),
            ..self
        }
    }
}

/// Crops of one size with their labels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, 3, height, width]`, each sample in -1..=1, on the CPU.
    pub images: Tensor,
    /// Classes of every label.
    pub labels: Vec<Vec<u32>>,
    /// The labels themselves.
    pub texts: Vec<String>,
    /// What the samples are called in messages.
    pub names: Vec<String>,
}

/// Samples that could not be used, by their fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Skipped {
    /// The image or the label cannot be read.
    pub unreadable: u64,
    /// The label is longer than allowed, or than the network has time steps for.
    pub too_long: u64,
    /// The label is empty or has characters that are not in the charset.
    pub unknown: u64,
}

impl Skipped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.unreadable.saturating_add(self.too_long).saturating_add(self.unknown)
    }
}

/// The position of a loader; another one resumes exactly there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LoaderState {
    augment: bool,
    longest_label: usize,
    sampler: Sampler,
    /// Samples that wait for others of their size.
    pending: Vec<Draw>,
    skipped: Skipped,
}

/// A sample that is ready.
struct Prepared {
    size: TargetSize,
    /// Width of the pixels, which may be padded to that of the size.
    width: u32,
    rgb: Vec<u8>,
    label: Vec<u32>,
    text: String,
    name: String,
}

enum Fault {
    Unreadable(String),
    TooLong(String),
    Unknown(String),
}

/// What workers share.
struct Shared {
    sources: Vec<Arc<dyn Source>>,
    charset: Charset,
    options: LoaderOptions,
}

impl Shared {
    /// A source of a user's own, or a decoder, may panic: that costs a sample, not the training.
    fn prepare(&self, draw: Draw) -> Result<Prepared, Fault> {
        catch_unwind(AssertUnwindSafe(|| self.prepare_unguarded(draw))).unwrap_or_else(|_| {
            let Draw { source, index, .. } = draw;
            Err(Fault::Unreadable(format!("sample {index} of source {source} made it panic")))
        })
    }

    fn prepare_unguarded(&self, draw: Draw) -> Result<Prepared, Fault> {
        let source = &self.sources[draw.source];
        let crop = source.crop(draw.index).map_err(Fault::Unreadable)?;
        let (name, text) = (crop.name, crop.label);
        let too_long = |what: &str| Fault::TooLong(format!("{name}: the label {text:?} {what}"));
        if text.chars().count() > self.options.longest_label {
            return Err(too_long("is too long"));
        }
        let unknown = |fault: String| Fault::Unknown(format!("{name}: {fault}"));
        let label =
            self.charset.encode(&text).map_err(|error| unknown(error.report().to_string()))?;
        if label.is_empty() {
            return Err(unknown("the label is empty".to_owned()));
        }
        let label: Vec<u32> = label.into_iter().map(|class| class as u32).collect();
        let seed = mix(self.options.seed ^ mix(draw.number));
        let mut image = crop.image;
        if self.options.augment {
            if unit(mix(seed ^ WARP_SEED)) < source.warped() {
                image = warp(&image, mix(seed));
            }
            if unit(mix(!seed)) < source.augmented() {
                image = augment(image, seed);
            }
        }
        let unreadable =
            |error: crate::Error| Fault::Unreadable(format!("{name}: {}", error.report()));
        let (width, height) = image.dimensions();
        let LoaderOptions { max_ratio, resizing, frame_stride, .. } = self.options;
        let (mut size, pixels) = resizing.size(width, height, max_ratio).map_err(unreadable)?;
        if let Resizing::Lines { .. } = resizing {
            size.width = size.width.next_multiple_of(WIDTH_STEP);
        }
        // Between equal symbols a blank must fit.
        let repeated = label.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if label.len() + repeated > size.width as usize / frame_stride.max(1) {
            return Err(too_long("has more symbols than the crop time steps"));
        }
        let crop = Crop::from_rgb(&image).map_err(unreadable)?;
        let rgb = resizing.resize(&crop, pixels, size.height).map_err(unreadable)?;
        Ok(Prepared { size, width: pixels, rgb, label, text, name })
    }
}

/// Input widths of lines are multiples of this.
const WIDTH_STEP: u32 = 64;

/// A worker's answer.
type Answer = (u64, Result<Prepared, Fault>);

/// Turns sources into batches.
///
/// Samples are prepared on worker threads, a bounded number ahead, and used in the order in which
/// they were drawn: batches depend on sources, options and seed, not on threads.
pub struct Loader {
    shared: Arc<Shared>,
    /// Draws that workers are given.
    ahead: Sampler,
    /// Draws that have been taken from them.
    taken: Sampler,
    next: u64,
    arrived: BTreeMap<u64, Result<Prepared, Fault>>,
    buckets: BTreeMap<TargetSize, Vec<(Draw, Prepared)>>,
    skipped: Skipped,
    /// Unusable samples in a row that are an error.
    most_skipped: u64,
    jobs: Option<SyncSender<Draw>>,
    answers: Receiver<Answer>,
    under_way: usize,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Loads from sources, each with its weight.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are no sources, or an option or weight is out of range.
    pub fn new(
        sources: Vec<WeightedSource>,
        charset: Charset,
        options: LoaderOptions,
    ) -> Result<Self, TrainError> {
        for (name, value, range) in [
            ("batch_size", options.batch_size, 1..=MAX_BATCH),
            ("longest_label", options.longest_label, 1..=usize::MAX),
            ("workers", options.workers, 0..=MAX_WORKERS),
        ] {
            if !range.contains(&value) {
                let detail = format!("{name} = {value} is not in {range:?}");
                return Err(TrainError::Options { detail });
            }
        }
        crate::resize::check_max_ratio(options.max_ratio).map_err(crate::Error::from)?;
        let lengths: Vec<Option<u64>> = sources.iter().map(|(source, _)| source.len()).collect();
        let weights: Vec<f64> = sources
            .iter()
            .map(|(source, weight)| if source.is_empty() { 0.0 } else { *weight })
            .collect();
        let usable = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if !usable || weights.iter().sum::<f64>() <= 0.0 {
            return Err(TrainError::Options {
                detail: "no source has samples and a weight above 0".into(),
            });
        }
        let count = options.workers;
        // A small set need not be tried again and again.
        let all = lengths.iter().try_fold(0u64, |sum, len| sum.checked_add((*len)?));
        let most_skipped = all.map_or(MAX_SKIPPED, |all| all.clamp(1, MAX_SKIPPED / 2) * 2);
        let sources = sources.into_iter().map(|(source, _)| source).collect();
        let sampler = Sampler::new(options.seed, lengths, weights);
        let shared = Arc::new(Shared { sources, charset, options });
        let (jobs, queue) = sync_channel::<Draw>((count * AHEAD).max(1));
        let (answer, answers) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let workers: Vec<JoinHandle<()>> = (0..count)
            .map(|_| {
                let (shared, queue, answer) = (shared.clone(), queue.clone(), answer.clone());
                std::thread::Builder::new()
                    .name("loader".to_owned())
                    .spawn(move || work(&shared, &queue, &answer))
            })
            .collect::<Result<_, _>>()
            .map_err(|error| TrainError::Options {
                detail: format!("workers = {count}: {error}"),
            })?;
        Ok(Loader {
            shared,
            ahead: sampler.clone(),
            taken: sampler,
            next: 0,
            arrived: BTreeMap::new(),
            buckets: BTreeMap::new(),
            skipped: Skipped::default(),
            most_skipped,
            jobs: (!workers.is_empty()).then_some(jobs),
            answers,
            under_way: 0,
            workers,
        })
    }

    /// Samples that could not be used so far.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    pub(super) fn state(&self) -> LoaderState {
        let mut pending: Vec<Draw> =
            self.buckets.values().flatten().map(|(draw, _)| *draw).collect();
        pending.sort_by_key(|draw| draw.number);
        let LoaderOptions { augment, longest_label, .. } = self.shared.options;
        let (sampler, skipped) = (self.taken.clone(), self.skipped);
        LoaderState { augment, longest_label, sampler, pending, skipped }
    }

    /// Goes on where another loader of the same sources and options was, before the first batch.
    pub(super) fn restore(&mut self, state: LoaderState) -> Result<(), TrainError> {
        let lengths: Vec<Option<u64>> =
            self.shared.sources.iter().map(|source| source.len()).collect();
        let LoaderState { augment, longest_label, sampler, pending, skipped } = state;
        let options = &self.shared.options;
        if (augment, longest_label) != (options.augment, options.longest_label) {
            let detail = format!(
                "it was trained with augment = {augment} and longest_label = {longest_label}"
            );
            return Err(TrainError::Options { detail });
        }
        sampler.check()?;
        if !sampler.same_sources(&self.taken) {
            let detail = format!("it was trained on other sources; now they have {lengths:?}");
            return Err(TrainError::Options { detail });
        }
        // Every size has less than a batch that waits.
        let sizes = options.max_ratio as usize + 4;
        let usable = |draw: &Draw| {
            let len = lengths.get(draw.source).copied();
            draw.number < sampler.drawn()
                && len.is_some_and(|len| len.is_none_or(|len| draw.index < len))
        };
        if pending.len() > sizes.saturating_mul(options.batch_size) || !pending.iter().all(usable) {
            let detail = format!("its {} samples that wait are out of range", pending.len());
            return Err(TrainError::Options { detail });
        }
        self.next = sampler.drawn();
        self.ahead = sampler.clone();
        self.taken = sampler;
        for draw in pending {
            if let Ok(prepared) = self.shared.prepare(draw) {
                self.buckets.entry(prepared.size).or_default().push((draw, prepared));
            }
        }
        self.skipped = skipped;
        Ok(())
    }

    /// The next batch.
    ///
    /// # Errors
    /// [`TrainError::NoSamples`] if none of 5 000 samples in a row can be used, of small sources none
    /// of twice as many as they have.
    pub fn next_batch(&mut self) -> Result<Batch, TrainError> {
        let mut tried = 0;
        loop {
            let (draw, prepared) = self.take()?;
            let (count, reason) = match prepared {
                Ok(prepared) => {
                    tried = 0;
                    let size = prepared.size;
                    let wanted = self.batch_size(size);
                    let bucket = self.buckets.entry(size).or_default();
                    bucket.push((draw, prepared));
                    if bucket.len() >= wanted {
                        let members = std::mem::take(bucket);
                        return batch(self.shared.options.resizing, size, members);
                    }
                    continue;
                }
                Err(Fault::Unreadable(reason)) => (&mut self.skipped.unreadable, reason),
                Err(Fault::TooLong(reason)) => (&mut self.skipped.too_long, reason),
                Err(Fault::Unknown(reason)) => (&mut self.skipped.unknown, reason),
            };
            // A checkpoint's count may be the last number.
            *count = count.saturating_add(1);
            tried += 1;
            if tried >= self.most_skipped {
                return Err(TrainError::NoSamples { tried, reason });
            }
        }
    }

    fn batch_size(&self, size: TargetSize) -> usize {
        // All sizes up to a ratio of 4 count the same, though their pixels differ by a tenth.
        let wide = (size.width / size.height) as usize;
        let most = self.shared.options.batch_size;
        if wide <= 4 { most } else { (most * PIXELS / size.pixels()).max(1) }
    }

    /// The next sample in the order of drawing.
    fn take(&mut self) -> Result<(Draw, Result<Prepared, Fault>), TrainError> {
        let draw = self.taken.draw();
        let number = self.next;
        self.next += 1;
        let Some(jobs) = &self.jobs else {
            return Ok((draw, self.shared.prepare(draw)));
        };
        let lost =
            || TrainError::Options { detail: "a worker thread ended before its time".to_owned() };
        loop {
            while self.under_way + self.arrived.len() < self.workers.len() * AHEAD {
                jobs.send(self.ahead.draw()).map_err(|_| lost())?;
                self.under_way += 1;
            }
            if let Some(prepared) = self.arrived.remove(&number) {
                return Ok((draw, prepared));
            }
            let (number, prepared) = self.answers.recv().map_err(|_| lost())?;
            self.under_way -= 1;
            self.arrived.insert(number, prepared);
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Without jobs to come the workers end.
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

fn work(shared: &Shared, queue: &Mutex<Receiver<Draw>>, answer: &Sender<Answer>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(draw) = job else {
            return;
        };
        if answer.send((draw.number, shared.prepare(draw))).is_err() {
            return;
        }
    }
}

fn batch(
    resizing: Resizing,
    size: TargetSize,
    members: Vec<(Draw, Prepared)>,
) -> Result<Batch, TrainError> {
    let (height, width) = (size.height as usize, size.width as usize);
    let count = members.len();
    let mut input = Vec::with_capacity(count * 3 * height * width);
    let (mut labels, mut texts, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (_, member) in members {
        resizing.normalize(&member.rgb, member.width, size, &mut input);
        labels.push(member.label);
        texts.push(member.text);
        names.push(member.name);
    }
    let images = Tensor::from_vec(input, (count, 3, height, width), &Device::Cpu)?;
    Ok(Batch { images, labels, texts, names })
}
