//! Which layers may compute in int8 and how, found by trying each on crops.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::matrix::Matrix;
use super::{QuantizeOptions, bias_name, check_bits};
use crate::cpu;
use crate::error::{ConfigError, Result};
use crate::inference::Model;
use crate::model::Network;
use crate::ops::native::Tokens;
use crate::ops::observed::{ActivationStatistics, LayerInput, Named, ObservedLayers};
use crate::ops::quantized::{ActivationBits, QuantizedTensor};
use crate::ops::{Grid, Init, ParameterSource, Scope, int8};
use crate::resize::{ResizedCrop, Resizing};
use crate::weights::Weights;

/// Settings of [`Weights::calibrate_int8`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationOptions {
    /// The share of the multiplications that may stay in f32, 0..=1. The layers are those that int8
    /// damages most for their multiplications, even with an input of 12 bits.
    pub f32_share: f64,
    /// The share of the multiplications, 0..=1, of layers in int8 whose input may be rounded to 12 bits
    /// rather than 8 ([`ActivationBits`]). The layers are those that gain most for their
    /// multiplications.
    pub twelve_bit_share: f64,
    /// Bits of the weights in trials, 2..=8: those of the [`Rate`](super::Rate) that they will be saved with.
    pub weight_bits: u8,
    /// Crops on which each layer is tried, spread evenly over all: the network runs over them three
    /// times a layer. Of the others only the inputs of layers are observed, once.
    pub trial_crops: usize,
}

impl Default for CalibrationOptions {
    /// Nothing in f32, a share of 0.2 with inputs of 12 bits, trials with weights of
    /// [`QuantizeOptions::INT8_BITS`] on 32 crops.
    fn default() -> Self {
        CalibrationOptions {
            f32_share: 0.0,
            twelve_bit_share: 0.2,
            weight_bits: QuantizeOptions::INT8_BITS,
            trial_crops: 32,
        }
    }
}

/// What [`Weights::calibrate_int8`] found.
///
/// Errors are the mean, over all frames, of how much a margin changes: the difference of the logits of
/// the two classes that are most probable in f32. A text changes where a margin changes its sign. The
/// squares of the layers' errors add up to that of all layers, but for chance.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Int8Calibration {
    /// The linear layers and convolutions, those with the largest error first.
    pub layers: Vec<CalibratedLayer>,
    /// The error with all layers in int8, without smoothing scales and means.
    pub uncalibrated_error: f64,
    /// The error with the calibration.
    pub error: f64,
}

/// A layer of an [`Int8Calibration`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CalibratedLayer {
    /// The name of its weight.
    pub name: String,
    /// Its share of the multiplications, 0..=1.
    pub share: f64,
    /// The error if it alone computes in int8.
    pub error: f64,
    /// The error if it alone computes in int8, with an input of 12 bits.
    pub twelve_bit_error: f64,
    /// Factors of its input, if they make the error smaller: one a channel.
    pub smoothing_scales: Option<Vec<f32>>,
    /// The means of what its weights are multiplied with, with which its bias makes up for the mean
    /// error of rounding.
    pub input_means: Vec<f32>,
    /// The covariances of what its weights are multiplied with: with them the rounding errors of an output
    /// channel make up for each other.
    pub input_covariances: Vec<f32>,
    /// How finely its input shall be rounded.
    pub activation_bits: ActivationBits,
    /// Whether it shall stay in f32.
    pub keep: bool,
}

impl Int8Calibration {
    /// Adds the layers that stay in f32, and what was found for the others, to options for
    /// [`Weights::save_quantized`]. Layers whose input has 12 bits get a bit more for their weights, of 8 at most,
    /// and so does a vertical attention, which computes in f32.
    pub fn apply(&self, options: &mut QuantizeOptions) {
        for layer in &self.layers {
            let name = layer.name.clone();
            if layer.keep {
                options.keep.push(name);
                continue;
            }
            if layer.activation_bits == ActivationBits::Twelve {
                set_twelve_bits(options, &name);
            }
            if let Some(factors) = &layer.smoothing_scales {
                options.smoothing_scales.insert(name.clone(), factors.clone());
            }
            options.input_covariances.insert(name.clone(), layer.input_covariances.clone());
            options.input_means.insert(name, layer.input_means.clone());
        }
        if !self.layers.iter().any(|layer| layer.name == CLASSIFIER) {
            // The vertical attention computes in f32 with what the file holds: no kernel limits its bits.
            options.extra_bits.push((VERTICAL_ATTENTION.to_owned(), 1.0));
        }
    }
}

/// The classifier's weight, and what the names of the vertical attention's weights start with.
const CLASSIFIER: &str = "decoder.fc.weight";
const VERTICAL_ATTENTION: &str = "decoder.fc";

impl Weights {
    /// Tries every layer in int8 on crops ([`Recognizer::resize`](crate::Recognizer::resize) makes
    /// them), and says which shall have factors for its input and which shall stay in f32.
    ///
    /// Channels of a layer's input that are much larger than others leave few of the 255 steps to
    /// those. Factors even them out, the inverse of which the weight takes (SmoothQuant, Xiao et al.,
    /// 2023, [arXiv 2211.10438](https://arxiv.org/abs/2211.10438)). Weights are rounded so that their errors
    /// make up for each other ([`QuantizeOptions::input_covariances`]). Labels are not needed. 256 crops of
    /// all sizes do; with few the covariances are those of these crops alone.
    ///
    /// `progress` is told how many trials are done and how many there are.
    ///
    /// # Errors
    /// [`ConfigError`] without crops, or if a share or the bits are out of range; otherwise as
    /// [`Weights::model`].
    pub fn calibrate_int8(
        &self,
        crops: &[ResizedCrop],
        options: CalibrationOptions,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Int8Calibration> {
        if crops.is_empty() {
            return Err(ConfigError::new("crops", "no crops to calibrate on".to_owned()).into());
        }
        let shares =
            [("f32_share", options.f32_share), ("twelve_bit_share", options.twelve_bit_share)];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(ConfigError::new(name, format!("{share} is not in 0..=1")).into());
            }
        }
        check_bits("weight_bits", options.weight_bits)?;
        let mut inputs = self.observe(&Images::new(self.config().resizing, crops))?;
        inputs.retain(|name, _| !self.config().computes_in_f32(name));
        let count = options.trial_crops.clamp(1, crops.len());
        let spread = (0..count).map(|i| &crops[i * crops.len() / count]);
        let trials =
            Trials::new(self, Images::new(self.config().resizing, spread), options.weight_bits)?;
        let all: u64 = inputs.values().map(|input| input.multiplications).sum();
        let mut layers = Vec::with_capacity(inputs.len());
        for (done, (name, input)) in inputs.iter().enumerate() {
            progress(done, inputs.len());
            let share = input.multiplications as f64 / all.max(1) as f64;
            layers.push(trials.layer(name, input, share)?);
        }
        progress(inputs.len(), inputs.len());
        layers.sort_by(|a, b| b.error.total_cmp(&a.error));
        let square = |error: f64| error * error;
        choose(&mut layers, options.f32_share, |l| square(l.twelve_bit_error), |l| l.keep = true);
        let gain = |layer: &CalibratedLayer| match layer.keep {
            true => 0.0,
            false => square(layer.error) - square(layer.twelve_bit_error),
        };
        let chosen = |layer: &mut CalibratedLayer| layer.activation_bits = ActivationBits::Twelve;
        choose(&mut layers, options.twelve_bit_share, gain, chosen);
        let all: BTreeSet<&str> = inputs.keys().map(String::as_str).collect();
        let uncalibrated_error = trials.error(&all, &QuantizeOptions::default())?;
        let mut calibration = Int8Calibration { layers, uncalibrated_error, error: 0.0 };
        let mut options = QuantizeOptions::default();
        calibration.apply(&mut options);
        let chosen = calibration.layers.iter().filter(|layer| !layer.keep);
        let chosen = chosen.map(|layer| layer.name.as_str()).collect();
        calibration.error = trials.error(&chosen, &options)?;
        Ok(calibration)
    }

    /// The inputs of the layers that int8 inference rounds.
    fn observe(&self, images: &Images) -> Result<BTreeMap<String, LayerInput>> {
        let network = Network::<ObservedLayers>::new(self.config(), &Scope::new(&WithNames(self)))?;
        let ops = ActivationStatistics::default();
        for (image, [_, _, height, width]) in &images.0 {
            let grid = Grid { height: *height, width: *width };
            let values = cpu::channels_last(image, grid.positions());
            let features = network.encode(&ops, Tokens { values, channels: 3 }, grid, false)?;
            network.classify(&ops, &features)?;
        }
        Ok(ops.into_inputs())
    }
}

/// Gives a layer an input of 12 bits, and weights of a bit more, which then make most of its error. (They take no
/// time: products of such inputs are of 16 bits anyway.)
fn set_twelve_bits(options: &mut QuantizeOptions, layer: &str) {
    options.twelve_bit_inputs.insert(layer.to_owned());
    options.extra_bits.push((layer.to_owned(), 1.0));
}

/// Chooses the layers with the largest gain above 0 for their multiplications, as long as their shares fit
/// the budget.
fn choose(
    layers: &mut [CalibratedLayer],
    mut budget: f64,
    gain: impl Fn(&CalibratedLayer) -> f64,
    chosen: impl Fn(&mut CalibratedLayer),
) {
    let mut order: Vec<_> = layers.iter_mut().map(|layer| (gain(layer), layer)).collect();
    order.retain(|(gain, _)| *gain > 0.0);
    order.sort_by(|(a, x), (b, y)| (b * x.share).total_cmp(&(a * y.share)));
    for (_, layer) in order {
        // The shares of all layers sum up to 1, but for rounding.
        if layer.share <= budget + 1e-9 {
            budget -= layer.share;
            chosen(layer);
        }
    }
}

/// Inputs of the network and their shapes.
struct Images(Vec<(Vec<f32>, [usize; 4])>);

impl Images {
    fn new<'a>(resizing: Resizing, crops: impl IntoIterator<Item = &'a ResizedCrop>) -> Self {
        let image = |crop: &ResizedCrop| {
            let mut input = Vec::new();
            resizing.normalize(&crop.rgb, crop.width, crop.size, &mut input);
            (input, [1, 3, crop.size.height as usize, crop.size.width as usize])
        };
        Images(crops.into_iter().map(image).collect())
    }

    /// The logits of every image.
    fn logits(&self, model: &Model) -> Result<Vec<Vec<f32>>> {
        let run =
            |(image, shape): &(Vec<f32>, [usize; 4])| Ok(model.forward(image, *shape)?.values);
        self.0.par_iter().map(run).collect()
    }
}

/// The difference of the two largest logits of a frame, and where they are.
struct Margin {
    best: usize,
    second: usize,
    value: f32,
}

impl Margin {
    fn of(frame: &[f32]) -> Self {
        let largest = |except: usize| {
            let others = frame.iter().enumerate().filter(|&(class, _)| class != except);
            others.max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class)
        };
        let best = largest(usize::MAX);
        let second = largest(best);
        Margin { best, second, value: frame[best] - frame[second] }
    }
}

/// A network of which some layers compute in int8.
struct Trials<'a> {
    weights: &'a Weights,
    images: Images,
    /// Of the weights.
    bits: u8,
    classes: usize,
    /// Of every frame of every image, in f32.
    margins: Vec<Vec<Margin>>,
}

impl<'a> Trials<'a> {
    fn new(weights: &'a Weights, images: Images, bits: u8) -> Result<Self> {
        let classes = weights.config().num_classes;
        let logits = images.logits(&weights.model()?)?;
        let margins = logits.iter().map(|x| x.chunks_exact(classes).map(Margin::of).collect());
        let margins = margins.collect();
        Ok(Trials { weights, images, bits, classes, margins })
    }

    /// Tries a layer in int8, with and without factors, and with an input of 12 bits.
    fn layer(&self, name: &str, input: &LayerInput, share: f64) -> Result<CalibratedLayer> {
        let mean = |sum: &f64| (sum / input.out_positions) as f32;
        let input_means: Vec<f32> = input.sums.iter().map(mean).collect();
        let mut options = QuantizeOptions::default();
        options.input_means.insert(name.to_owned(), input_means.clone());
        let input_covariances = covariances(input);
        options.input_covariances.insert(name.to_owned(), input_covariances.clone());
        let chosen = BTreeSet::from([name]);
        let plain = self.error(&chosen, &options)?;
        let factors = self.factors(name, input)?;
        options.smoothing_scales.insert(name.to_owned(), factors.clone());
        let smooth = self.error(&chosen, &options)?;
        let smoothing_scales = (smooth < plain).then_some(factors);
        if smoothing_scales.is_none() {
            options.smoothing_scales.clear();
        }
        set_twelve_bits(&mut options, name);
        let twelve_bit_error = self.error(&chosen, &options)?;
        let (name, error) = (name.to_owned(), plain.min(smooth));
        Ok(CalibratedLayer {
            name,
            share,
            error,
            twelve_bit_error,
            smoothing_scales,
            input_means,
            input_covariances,
            activation_bits: ActivationBits::Eight,
            keep: false,
        })
    }

    /// Factors that make the input's channels and the weight's columns alike: the root of the ratio
    /// of their root mean squares, with a geometric mean of 1.
    fn factors(&self, name: &str, input: &LayerInput) -> Result<Vec<f32>> {
        let (weight, shape) = self.weights.tensor(name)?.unwrap_or_default();
        let (rows, channels) = (shape[0], shape[1]);
        let groups = input.squares.len() / channels;
        let taps = weight.len() / (rows * channels);
        let mut of_weight = vec![0.0f64; input.squares.len()];
        for (i, &value) in weight.iter().enumerate() {
            let (row, channel) = (i / (channels * taps), i / taps % channels);
            of_weight[row * groups / rows * channels + channel] += f64::from(value).powi(2);
        }
        let per_channel = (rows / groups * taps) as f64;
        let rms = |sum: f64, count: f64| (sum / count).sqrt().max(1e-6);
        let factors: Vec<f64> = (input.squares.iter().zip(&of_weight))
            .map(|(&x, &w)| (rms(w, per_channel) / rms(x, input.positions as f64)).sqrt())
            .collect();
        let mean = factors.iter().map(|factor| factor.ln()).sum::<f64>() / factors.len() as f64;
        Ok(factors.iter().map(|factor| (factor / mean.exp()) as f32).collect())
    }

    /// The error of the network with the chosen layers in int8.
    fn error(&self, chosen: &BTreeSet<&str>, options: &QuantizeOptions) -> Result<f64> {
        let weights = self.weights;
        let rounded = (chosen.par_iter())
            .map(|&name| {
                let (values, shape) = weights.tensor(name)?.unwrap_or_default();
                let matrix = Matrix::new(name, values, shape, options)?;
                let rounded = matrix.rounded_to_bits(f64::from(self.bits));
                let bias = match weights.tensor(&bias_name(name))? {
                    Some((mut bias, _)) => {
                        if let Some(means) = options.input_means.get(name) {
                            matrix.correct(&rounded, means, &mut bias)?;
                        }
                        // As the file stores them.
                        for value in &mut bias {
                            *value = half::f16::from_f32(*value).to_f32();
                        }
                        Some((bias_name(name), bias))
                    }
                    None => None,
                };
                Ok((name, rounded, bias))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut source =
            PartlyRounded { weights, rounded: BTreeMap::new(), biases: BTreeMap::new() };
        for (name, rounded, bias) in rounded {
            source.rounded.insert(name, rounded);
            source.biases.extend(bias);
        }
        let model = Model::new_int8(weights.config(), &source)?;
        let (mut sum, mut frames) = (0.0, 0);
        for (margins, logits) in self.margins.iter().zip(self.images.logits(&model)?) {
            for (margin, frame) in margins.iter().zip(logits.chunks_exact(self.classes)) {
                let change = frame[margin.best] - frame[margin.second] - margin.value;
                sum += f64::from(change.abs());
                frames += 1;
            }
        }
        Ok(sum / f64::from(frames.max(1)))
    }
}

/// The covariances of what a layer's weights are multiplied with, `[groups, weights, weights]` of an output
/// channel.
fn covariances(input: &LayerInput) -> Vec<f32> {
    let means: Vec<f64> = input.sums.iter().map(|sum| sum / input.out_positions).collect();
    let columns = input.products.len().checked_div(means.len()).unwrap_or(0).max(1);
    let covariance = |(at, &product): (usize, &f32)| {
        let (row, column) = (at / columns, at % columns);
        let of_group = &means[row / columns * columns..][..columns];
        let mean_product = of_group[row % columns] * of_group[column];
        (f64::from(product) / input.out_positions - mean_product) as f32
    };
    input.products.iter().enumerate().map(covariance).collect()
}

/// Parameters of which some are integers.
struct PartlyRounded<'a> {
    weights: &'a Weights,
    rounded: BTreeMap<&'a str, QuantizedTensor>,
    biases: BTreeMap<String, Vec<f32>>,
}

impl ParameterSource<int8::Values> for PartlyRounded<'_> {
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<int8::Values> {
        if let Some(tensor) = self.rounded.get(name) {
            return Ok(int8::Values::Int8(tensor.clone()));
        }
        let values = match self.biases.get(name) {
            Some(bias) => bias.clone(),
            None => self.weights.get(name, shape, init)?,
        };
        Ok(int8::Values::KeepF32(values))
    }
}

/// Parameters with their names.
struct WithNames<'a>(&'a Weights);

impl ParameterSource<Named> for WithNames<'_> {
    fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Named> {
        Ok(Named { name: name.to_owned(), values: self.0.get(name, shape, init)? })
    }
}
