//! The whole way in one call: crops in, readings out.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::charset::Charset;
use crate::crop::{Crop, Rotation};
use crate::decode::{Decoder, LogProbs, check_temperature};
use crate::error::{CharsetError, ConfigError, Error, Result};
use crate::model::{Config, Model};
use crate::reading::{Attention, Reading};
use crate::resize::{TargetSize, resize_rgb, target_size};
use crate::weights::Weights;

/// What to do with crops that are taller than [`Orientation::TALL`] times their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Orientation {
    /// Reads every crop as it is: the reference implementation's behaviour.
    #[default]
    AsIs,
    /// Turns tall crops by 90 degrees against the clock: text that runs downwards becomes
    /// horizontal.
    RotateTall,
    /// Reads tall crops as they are and turned either way, and keeps the reading with the best
    /// score (of equal ones the first in this order). Three times the work for tall crops.
    BestOfTall,
}

impl Orientation {
    /// A crop is tall if its height exceeds its width by more than this factor.
    pub const TALL: f64 = 1.5;

    fn rotations(self, crop: &Crop) -> &'static [Rotation] {
        let tall = f64::from(crop.height()) > Self::TALL * f64::from(crop.width());
        match self {
            Orientation::RotateTall if tall => &[Rotation::CounterClockwise],
            Orientation::BestOfTall if tall => {
                &[Rotation::None, Rotation::CounterClockwise, Rotation::Clockwise]
            }
            _ => &[Rotation::None],
        }
    }
}

/// How a [`Recognizer`] is set up. Start from the default and change what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The charset, for weights files that carry none. If the file carries one, it must agree.
    pub charset: Option<Charset>,
    /// Overrides the weights' ratio limit: crops with a larger aspect ratio are squeezed.
    pub max_ratio: Option<u32>,
    /// What to do with tall crops.
    pub orientation: Orientation,
    /// How texts are found in the network's scores.
    pub decoder: Decoder,
    /// Overrides the weights' temperature, with which confidences are calibrated.
    pub temperature: Option<f32>,
    /// The most input pixels (height times width, summed over crops) of one pass through the
    /// network; a crop that alone has more gets a pass of its own. Bounds the memory in use.
    pub batch_pixels: usize,
    /// Where the network runs.
    pub device: Device,
    /// The network's number type: f32, or f16 or bf16 on devices that compute in them.
    pub dtype: DType,
}

impl Default for Options {
    /// The file's charset and ratio limit, crops as they are, greedy decoding, on the CPU in f32,
    /// two crops of 32 x 128 pixels a pass.
    fn default() -> Self {
        Options {
            charset: None,
            max_ratio: None,
            orientation: Orientation::default(),
            decoder: Decoder::default(),
            temperature: None,
            batch_pixels: 2 * 32 * 128,
            device: Device::Cpu,
            dtype: DType::F32,
        }
    }
}

/// Writes the network's input, `[3, height, width]`, each sample in -1..=1, of 8-bit RGB pixels.
pub(crate) fn normalize_rgb(rgb: &[u8], input: &mut Vec<f32>) {
    static SAMPLES: LazyLock<[f32; 256]> =
        LazyLock::new(|| std::array::from_fn(|sample| (sample as f32 / 255.0 - 0.5) / 0.5));
    let samples = &*SAMPLES;
    let (pixels, _) = rgb.as_chunks::<3>();
    for channel in 0..3 {
        input.extend(pixels.iter().map(|pixel| samples[usize::from(pixel[channel])]));
    }
}

/// A crop resized for the network: the result of [`Recognizer::resize`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizedCrop {
    /// The size, which decides what it can share a batch with.
    pub size: TargetSize,
    /// 8-bit RGB, row after row.
    pub rgb: Vec<u8>,
    /// How the crop was turned before it was resized.
    pub rotation: Rotation,
    /// Width and height of the crop as it was given, in pixels.
    pub source_size: (u32, u32),
}

/// Reads the text in image crops.
///
/// A recogniser is `Send + Sync` and takes no lock: share it between threads by reference. Batches
/// are spread over the threads of the current rayon pool. The reading of a crop never depends on
/// other crops, their order or the number of threads: it is the same to the bit.
///
/// ```no_run
/// let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
/// let reading = recognizer.recognize(&image::open("crop.png")?)?;
/// println!("{} ({:.2})", reading.text, reading.score);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recognizer {
    model: Model,
    config: Config,
    charset: Charset,
    orientation: Orientation,
    decoder: Decoder,
    temperature: f32,
    batch_pixels: usize,
    device: Device,
    dtype: DType,
}

/// What the network says of a crop: the result of [`Recognizer::scores`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The log-probabilities `[time, class]`. One time step stands for 4 columns of the resized
    /// crop.
    pub log_probs: LogProbs,
    /// Where the network looked at every time step.
    pub attention: Attention,
}

impl Recognizer {
    /// Opens a weights file that carries its charset, with default options.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Recognizer::new`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(&Weights::open(path)?, Options::default())
    }

    /// Sets up a recogniser.
    ///
    /// # Errors
    /// [`CharsetError`] if neither the weights nor the options hold a charset, or if one does not
    /// fit; [`ConfigError`] for an option out of range;
    /// [`WeightsError`](crate::WeightsError) if a parameter is NaN or infinite;
    /// [`Error::Compute`] if the device fails.
    pub fn new(weights: &Weights, options: Options) -> Result<Self> {
        let Options { charset, max_ratio, orientation, decoder, .. } = options;
        let Options { temperature, batch_pixels, device, dtype, .. } = options;
        let temperature = temperature.unwrap_or(weights.temperature());
        check_temperature(temperature)?;
        let mut config = weights.config().clone();
        config.max_ratio = max_ratio.unwrap_or(config.max_ratio);
        config.validate()?;
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            let detail = format!("{dtype:?} is none of F32, F16 and BF16");
            return Err(ConfigError::new("dtype", detail).into());
        }
        let charset = match (charset, weights.charset()) {
            (Some(given), Some(stored)) => {
                given.check_agrees_with(stored)?;
                given
            }
            (Some(charset), None) => charset,
            (None, Some(charset)) => charset.clone(),
            (None, None) => {
                return Err(CharsetError::Missing { classes: config.num_classes }.into());
            }
        };
        charset.check_classes(config.num_classes)?;
        decoder.check_classes(config.num_classes)?;
        let model = weights.model(dtype, &device)?;
        Ok(Recognizer {
            model,
            config,
            charset,
            orientation,
            decoder,
            temperature,
            batch_pixels,
            device,
            dtype,
        })
    }

    /// The network's configuration, with the ratio limit in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The charset in force.
    pub fn charset(&self) -> &Charset {
        &self.charset
    }

    /// The temperature in force.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// The decoder in force.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The same recogniser with another decoder; the network is shared.
    ///
    /// # Errors
    /// [`ScoresError`](crate::ScoresError) if the decoder's symbols are of another charset.
    pub fn with_decoder(&self, decoder: Decoder) -> Result<Self> {
        decoder.check_classes(self.config.num_classes)?;
        Ok(Recognizer { decoder, ..self.clone() })
    }

    /// Reads one crop: an image, a [`Crop`], or a reference to either.
    ///
    /// # Errors
    /// [`ImageError::Empty`](crate::ImageError::Empty) for an image without pixels;
    /// [`Error::Compute`] if the device fails.
    pub fn recognize<'a, C>(&self, crop: C) -> Result<Reading>
    where
        C: TryInto<Crop<'a>>,
        Error: From<C::Error>,
    {
        let crop = crop.try_into()?;
        let resized = self.resize(&crop)?;
        let scores = self.scores(&resized)?;
        self.decode_best(&resized, &scores)
    }

    /// Reads many crops, in any mix of sizes; results are in the order of the crops.
    ///
    /// Crops of one target size share passes through the network, never padded, each pass of at
    /// most [`Options::batch_pixels`] pixels. A crop that fails leaves the others alone.
    pub fn recognize_batch(&self, crops: &[Crop]) -> Vec<Result<Reading>> {
        self.recognize_batch_timed(crops).0
    }

    /// [`recognize_batch`](Self::recognize_batch), and for each crop its share of the time spent
    /// in the network (a pass's wall time divided by its crops; 0 for a crop that failed before).
    pub fn recognize_batch_timed(&self, crops: &[Crop]) -> (Vec<Result<Reading>>, Vec<Duration>) {
        let resized: Vec<Result<Vec<ResizedCrop>>> =
            crops.par_iter().map(|crop| self.resize(crop)).collect();
        let variants: Vec<&ResizedCrop> = resized.iter().flatten().flatten().collect();
        let timed = self.scores_timed(&variants);
        let mut scores = timed.into_iter();
        let mut times = Vec::with_capacity(crops.len());
        let scored: Vec<Result<(Vec<ResizedCrop>, Vec<Scores>)>> = resized
            .into_iter()
            .map(|resized| {
                let mut time = Duration::ZERO;
                let scored = resized.and_then(|resized| {
                    let own: Vec<_> = scores.by_ref().take(resized.len()).collect();
                    time = own.iter().map(|(_, time)| *time).sum();
                    let own = own.into_iter().map(|(scores, _)| scores).collect::<Result<_>>()?;
                    Ok((resized, own))
                });
                times.push(time);
                scored
            })
            .collect();
        let readings = scored
            .into_par_iter()
            .map(|scored| scored.and_then(|(crops, scores)| self.decode_best(&crops, &scores)))
            .collect();
        (readings, times)
    }

    /// First stage: turns and resizes a crop, once for each rotation to be tried (one, unless
    /// [`Orientation::BestOfTall`] asks for more).
    ///
    /// # Errors
    /// None today: a crop has pixels and the ratio limit was checked.
    pub fn resize(&self, crop: &Crop) -> Result<Vec<ResizedCrop>> {
        let resize = |&rotation: &Rotation| {
            let turned = crop.rotated(rotation);
            let size = target_size(turned.width(), turned.height(), self.config.max_ratio)?;
            let rgb = resize_rgb(&turned, size.width, size.height)?;
            let source_size = (crop.width(), crop.height());
            Ok(ResizedCrop { size, rgb, rotation, source_size })
        };
        self.orientation.rotations(crop).iter().map(resize).collect()
    }

    /// Second stage: what the network says of resized crops, in their order.
    ///
    /// # Errors
    /// [`Error::Compute`] if the device fails; [`Error::Scores`] if the network's output is not
    /// finite.
    pub fn scores(&self, crops: &[ResizedCrop]) -> Result<Vec<Scores>> {
        let crops: Vec<&ResizedCrop> = crops.iter().collect();
        self.scores_timed(&crops).into_iter().map(|(scores, _)| scores).collect()
    }

    /// Third stage: the reading of a resized crop from its scores.
    ///
    /// # Errors
    /// [`Error::Scores`] if the scores are not those of this recogniser's charset.
    pub fn decode(&self, crop: &ResizedCrop, scores: &Scores) -> Result<Reading> {
        let Self { decoder, charset, temperature, .. } = self;
        Reading::new(crop, scores, decoder, charset, *temperature)
    }

    /// Third stage for a crop that was resized once for each rotation to be tried: the reading with
    /// the best score; of equal ones the first.
    ///
    /// # Errors
    /// As [`Recognizer::decode`]; [`Error::Compute`] if there are no crops with scores.
    pub fn decode_best(&self, crops: &[ResizedCrop], scores: &[Scores]) -> Result<Reading> {
        let mut best: Option<Reading> = None;
        for (crop, scores) in crops.iter().zip(scores) {
            let next = self.decode(crop, scores)?;
            if best.as_ref().is_none_or(|best| next.score > best.score) {
                best = Some(next);
            }
        }
        best.ok_or_else(|| candle_core::Error::Msg("a crop was not resized".into()).into())
    }

    fn scores_timed(&self, crops: &[&ResizedCrop]) -> Vec<(Result<Scores>, Duration)> {
        let passes = self.passes(crops);
        let results: Vec<_> = passes
            .into_par_iter()
            .map(|pass| {
                let members: Vec<&ResizedCrop> = pass.iter().map(|&index| crops[index]).collect();
                let start = Instant::now();
                let scores = self.forward(&members);
                let time = start.elapsed() / pass.len() as u32;
                (pass, scores, time)
            })
            .collect();
        let mut slots: Vec<Option<(Result<Scores>, Duration)>> =
            crops.iter().map(|_| None).collect();
        for (pass, scores, time) in results {
            match scores {
                Ok(scores) => {
                    for (index, scores) in pass.into_iter().zip(scores) {
                        slots[index] = Some((scores, time));
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    for index in pass {
                        let error = candle_core::Error::Msg(message.clone());
                        slots[index] = Some((Err(error.into()), time));
                    }
                }
            }
        }
        let lost = || candle_core::Error::Msg("a pass gave no result".into());
        slots
            .into_iter()
            .map(|slot| slot.unwrap_or_else(|| (Err(lost().into()), Duration::ZERO)))
            .collect()
    }

    /// Groups crops by size and cuts the groups into passes.
    fn passes(&self, crops: &[&ResizedCrop]) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..crops.len()).collect();
        order.sort_by_key(|&index| crops[index].size);
        order
            .chunk_by(|&a, &b| crops[a].size == crops[b].size)
            .flat_map(|group| {
                let most = self.batch_pixels / crops[group[0]].size.pixels().max(1);
                group.chunks(most.max(1)).map(<[usize]>::to_vec)
            })
            .collect()
    }

    /// One pass through the network for crops of one size.
    fn forward(&self, crops: &[&ResizedCrop]) -> Result<Vec<Result<Scores>>> {
        let Some(first) = crops.first() else {
            return Ok(Vec::new());
        };
        let (height, width) = (first.size.height as usize, first.size.width as usize);
        let mut input = Vec::with_capacity(crops.len() * 3 * height * width);
        for crop in crops {
            normalize_rgb(&crop.rgb, &mut input);
        }
        let images = Tensor::from_vec(input, (crops.len(), 3, height, width), &self.device)?;
        let (logits, attention) =
            self.model.forward_with_attention(&images.to_dtype(self.dtype)?)?;
        let (_, steps, classes) = logits.dims3()?;
        let (_, _, rows, reach) = attention.dims4()?;
        let values = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let (logits, attention) = (values(&logits)?, values(&attention)?);
        let logits = logits.chunks_exact((steps * classes).max(1));
        let attention = attention.chunks_exact((steps * rows * reach).max(1));
        let scores = |(logits, attention): (&[f32], &[f32])| {
            let log_probs = LogProbs::from_logits(steps, classes, logits.to_vec())?;
            Ok(Scores { log_probs, attention: Attention::new(steps, rows, attention.to_vec()) })
        };
        Ok(logits.zip(attention).map(scores).collect())
    }
}
