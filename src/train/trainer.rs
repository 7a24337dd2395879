//! The loop: batches in, a trained network out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, bail};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::checkpoint::{self, Checkpoint, State};
use super::finetune::weights_of;
use super::parameters::starts_with;
use super::sampler::mix;
use super::{
    AdamW, Batch, BatchNormMode, Gradients, Loader, LoaderOptions, Network, PassOptions, Recipe,
    SgmLabels, Skipped, TrainError, WeightedSource, ctc_loss, distillation_loss,
};
use crate::charset::Charset;
use crate::error::Result;
use crate::inference::Execution;
use crate::weights::Weights;

/// Values of a task of the running average's update.
const BLOCK: usize = 1 << 15;

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step, counted from 0.
    pub step: u64,
    /// The weighted sum of the losses.
    pub loss: f64,
    /// The CTC loss, averaged over the batch.
    pub ctc: f64,
    /// The semantic guidance module's loss, if it has a weight.
    pub sgm: Option<f64>,
    /// The weighted sum of the distances from the teacher, if there is one.
    pub distillation: Option<f64>,
    /// The share of the batch that the teacher supervised, 0..=1.
    pub taught: f64,
    /// The share of the batch's labels that greedy decoding reads, 0..=1.
    pub accuracy: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The norm of the gradients before it was limited.
    pub gradient_norm: f64,
    /// Crops.
    pub images: usize,
    /// How long it took.
    pub time: Duration,
    /// How much of that it waited for samples.
    pub waited: Duration,
}

/// Trains a network by a [`Recipe`].
///
/// A training that was stopped and resumed from a checkpoint continues as if it had not been: its
/// losses and parameters are the same to the bit, with any number of threads.
pub struct Trainer {
    network: Network,
    charset: Charset,
    recipe: Recipe,
    loader: Loader,
    optimizer: AdamW,
    average: Option<BTreeMap<String, Tensor>>,
    teacher: Option<Execution>,
    step: u64,
    best: f64,
}

impl Trainer {
    /// Starts a training. `sources` come with their weights. If the recipe weighs semantic guidance,
    /// a network without a module gets a newly initialised one.
    ///
    /// # Errors
    /// [`TrainError::Options`] if a setting is out of range; [`TrainError::Network`] if the charset
    /// does not fit the network or the device fails.
    pub fn new(
        mut network: Network,
        charset: Charset,
        recipe: Recipe,
        sources: Vec<WeightedSource>,
        loading: LoaderOptions,
    ) -> Result<Self, TrainError> {
        recipe.validate()?;
        charset.check_classes(network.config().num_classes)?;
        let loading = LoaderOptions {
            batch_size: recipe.batch_size,
            max_ratio: network.config().max_ratio,
            seed: recipe.seed,
            ..loading
        };
        let loader = Loader::new(sources, charset.clone(), loading)?;
        if recipe.sgm_weight > 0.0 && network.sgm().is_none() {
            network.add_sgm()?;
        }
        for prefix in &recipe.freeze {
            if !network.parameters().any(|(name, _)| starts_with(name, prefix)) {
                let detail = format!("freeze: no parameter is or lies below {prefix:?}");
                return Err(TrainError::Options(detail));
            }
        }
        network.freeze(&recipe.freeze)?;
        let average = (recipe.average > 0.0).then(|| copies(&network)).transpose()?;
        let optimizer = AdamW::new(recipe.optimizer());
        Ok(Trainer {
            network,
            charset,
            recipe,
            loader,
            optimizer,
            average,
            teacher: None,
            step: 0,
            best: f64::NEG_INFINITY,
        })
    }

    /// Lets a teacher supervise; its classes must be the network's.
    ///
    /// # Errors
    /// [`TrainError::Options`] if they are not; [`TrainError::Network`] if its weights are damaged.
    pub fn with_teacher(mut self, teacher: &Weights) -> Result<Self, TrainError> {
        let classes = self.network.config().num_classes;
        let same = teacher.config().num_classes == classes
            && teacher.charset().is_none_or(|other| *other == self.charset);
        if !same {
            return Err(TrainError::Options("the teacher has another charset".to_owned()));
        }
        self.teacher = Some(teacher.execution_on(self.network.device())?);
        Ok(self)
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network as it is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The charset.
    pub fn charset(&self) -> &Charset {
        &self.charset
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Whether all of the recipe's steps are made.
    pub fn is_done(&self) -> bool {
        self.step >= self.recipe.steps
    }

    /// Samples that could not be used so far.
    pub fn skipped(&self) -> Skipped {
        self.loader.skipped()
    }

    /// The best score that was saved so far ([`Trainer::save_best`]).
    pub fn best(&self) -> Option<f64> {
        self.best.is_finite().then_some(self.best)
    }

    /// Makes a step.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`], before any parameter moves, if the loss or the gradients are not
    /// finite; [`TrainError::NoSamples`] if there is nothing to train on; [`TrainError::Network`] if
    /// the device fails.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let start = Instant::now();
        let parts = self.recipe.accumulate;
        let mut waited = Duration::ZERO;
        let mut batches = Vec::with_capacity(parts);
        for part in 0..parts {
            let before = Instant::now();
            let batch = self.loader.next_batch()?;
            waited += before.elapsed();
            batches.push((batch, mix(self.step * parts as u64 + part as u64)));
        }
        let task =
            Task { network: &self.network, recipe: &self.recipe, teacher: self.teacher.as_ref() };
        let (gradients, losses) = task.passes(&batches)?;
        let mut report = StepReport {
            step: self.step,
            loss: losses.loss,
            ctc: losses.ctc,
            sgm: losses.sgm,
            distillation: losses.distillation,
            taught: losses.taught,
            accuracy: losses.accuracy,
            learning_rate: self.learning_rate(),
            gradient_norm: 0.0,
            images: batches.iter().map(|(batch, _)| batch.labels.len()).sum(),
            time: Duration::ZERO,
            waited,
        };
        report.gradient_norm = gradients.norm()?;
        let limit = self.recipe.clip_norm;
        let clip = if limit > 0.0 && report.gradient_norm > limit {
            limit / (report.gradient_norm + 1e-6)
        } else {
            1.0
        };
        for (what, value) in [("loss", report.loss), ("gradient's norm", report.gradient_norm)] {
            if !value.is_finite() {
                let samples = batches.into_iter().flat_map(|(batch, _)| batch.names).collect();
                return Err(TrainError::NotFinite { step: self.step, what, value, samples });
            }
        }
        let rate = report.learning_rate;
        self.optimizer.step_scaled(&mut self.network, &gradients, clip, rate)?;
        self.move_average()?;
        self.step += 1;
        report.time = start.elapsed();
        Ok(report)
    }

    fn learning_rate(&self) -> f64 {
        let Recipe { schedule, steps, .. } = &self.recipe;
        schedule.rate(self.recipe.peak(), self.step as usize, *steps as usize)
    }

    fn move_average(&mut self) -> Result<(), TrainError> {
        let Some(average) = &mut self.average else {
            return Ok(());
        };
        // In the first steps the average follows quickly: nothing of the initialisation stays.
        let warm = (1.0 + self.step as f64) / (10.0 + self.step as f64);
        let decay = self.recipe.average.min(warm);
        let host = self.network.device().is_cpu();
        for (name, parameter) in self.network.parameters() {
            let Some(mean) = average.get_mut(name) else {
                continue;
            };
            // Without the parameter's history: a result that knows what it came from would keep the
            // averages of all steps alive.
            let parameter = parameter.detach();
            if host {
                mean.inplace_op2(&parameter, &Follow { share: (1.0 - decay) as f32 })?;
            } else {
                *mean = ((&*mean * decay)? + (parameter * (1.0 - decay))?)?;
            }
        }
        Ok(())
    }

    /// The weights for inference: of the averages if the recipe asks for them.
    ///
    /// # Errors
    /// [`TrainError::Network`] if a parameter is NaN or infinite.
    pub fn weights(&self) -> Result<Weights, TrainError> {
        let Some(average) = &self.average else {
            return Ok(self.network.to_weights(&self.charset)?);
        };
        let parameters = average.iter().map(|(name, tensor)| (name.clone(), tensor.clone()));
        Ok(weights_of(self.network.config(), &self.charset, parameters)?)
    }

    /// The weights for inference that a checkpoint holds.
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    pub fn weights_of(path: impl AsRef<Path>) -> Result<Weights, TrainError> {
        let Checkpoint { config, charset, parameters, average, .. } =
            checkpoint::read(path.as_ref(), &candle_core::Device::Cpu)?;
        let parameters = average.unwrap_or(parameters).into_iter();
        Ok(weights_of(&config, &charset, parameters)?)
    }

    /// Writes everything that the training needs to resume. The file is written beside its final
    /// place and then renamed: a half-written one never stands under `path`. It is a weights file,
    /// too: [`Weights::open`] opens it.
    ///
    /// # Errors
    /// [`TrainError::Network`] if it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        let state = State {
            step: self.step,
            best: self.best(),
            recipe: self.recipe.clone(),
            optimizer_steps: self.optimizer.step,
            loader: self.loader.state(),
            sgm: self.network.sgm().is_some(),
            batch_norms: self.network.batch_norms(),
            start: self.network.start(),
        };
        checkpoint::write(
            path.as_ref(),
            &Checkpoint {
                state,
                config: self.network.config().clone(),
                charset: self.charset.clone(),
                parameters: copies(&self.network)?,
                moments: self.optimizer.host_moments()?,
                average: self.average.clone(),
            },
        )
    }

    /// Saves to `path` if `score` is better than all before.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    pub fn save_best(&mut self, path: impl AsRef<Path>, score: f64) -> Result<bool, TrainError> {
        if score > self.best {
            self.best = score;
            self.save(path)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Goes on where a training was saved: with its network, recipe and charset, and sources and
    /// loading that must be the same.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if the file is damaged or no checkpoint of a training;
    /// [`TrainError::Options`] if the sources are others.
    pub fn resume(
        path: impl AsRef<Path>,
        sources: Vec<WeightedSource>,
        loading: LoaderOptions,
        device: &candle_core::Device,
    ) -> Result<Self, TrainError> {
        let Checkpoint { state, config, charset, parameters, moments, average } =
            checkpoint::read(path.as_ref(), device)?;
        let network = Network::restored(
            &config,
            parameters,
            state.batch_norms,
            state.sgm,
            device,
            state.start,
        )?;
        let mut trainer = Self::new(network, charset, state.recipe, sources, loading)?;
        trainer.loader.restore(state.loader)?;
        trainer.optimizer.restore(state.optimizer_steps, moments, &trainer.network)?;
        trainer.average = average;
        trainer.step = state.step;
        trainer.best = state.best.unwrap_or(f64::NEG_INFINITY);
        Ok(trainer)
    }
}

/// What a pass needs: it may run beside others.
#[derive(Clone, Copy)]
struct Task<'a> {
    network: &'a Network,
    recipe: &'a Recipe,
    teacher: Option<&'a Execution>,
}

impl Task<'_> {
    /// The means of the gradients and losses of batches, each with its number.
    ///
    /// On a CPU the batches go through the network side by side, unless they move what batch norms
    /// remember: a thread that has a batch of its own seldom waits for another one. Sums are taken in
    /// the batches' order, so that they do not depend on threads.
    fn passes(&self, batches: &[(Batch, u64)]) -> Result<(Gradients, Losses), TrainError> {
        let still = self.recipe.freeze_batch_norm || !self.network.batch_norms();
        let found: Vec<Result<(Gradients, Losses), TrainError>> =
            if still && batches.len() > 1 && self.network.device().is_cpu() {
                batches.par_iter().map(|(batch, number)| self.pass(batch, *number)).collect()
            } else {
                batches.iter().map(|(batch, number)| self.pass(batch, *number)).collect()
            };
        let mut gradients = Vec::with_capacity(found.len());
        let mut losses = Losses::default();
        for found in found {
            let (of_batch, loss) = found?;
            gradients.push(of_batch);
            losses.add(&loss);
        }
        losses.scale(1.0 / batches.len().max(1) as f64);
        Ok((Gradients::mean(gradients)?, losses))
    }

    /// The gradients and losses of a batch.
    fn pass(&self, batch: &Batch, number: u64) -> Result<(Gradients, Losses), TrainError> {
        let mut report = Losses::default();
        let Recipe { ctc_weight, sgm_weight, distillation_weight, .. } = *self.recipe;
        let seed = mix(self.recipe.seed ^ number);
        let batch_norm = if self.recipe.freeze_batch_norm {
            BatchNormMode::Frozen
        } else {
            BatchNormMode::Batch
        };
        let drop_path = self.recipe.drop_path;
        let precision = self.recipe.precision;
        let options = PassOptions { drop_path, batch_norm, seed, precision, tape: true };
        let images = batch.images.to_device(self.network.device())?;
        let pass = self.network.forward(&images, &options)?;
        let scalar = |x: &Tensor| -> Result<f64, TrainError> {
            Ok(f64::from(x.to_dtype(DType::F32)?.to_vec0::<f32>()?))
        };
        let ctc = ctc_loss(pass.logits(), &batch.labels, true)?.mean(0)?;
        report.ctc += scalar(&ctc)?;
        let mut loss = (ctc * ctc_weight)?;
        if let (Some(sgm), true) = (self.network.sgm(), sgm_weight > 0.0) {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let noise = self.recipe.label_noise.then_some(&mut rng);
            let classes = self.network.config().num_classes;
            let labels = SgmLabels::new(&batch.labels, classes, noise);
            let guided = sgm.loss(pass.features(), &labels)?;
            *report.sgm.get_or_insert(0.0) += scalar(&guided)?;
            loss = (loss + (guided * sgm_weight)?)?;
        }
        if let (Some(teacher), true) = (self.teacher, distillation_weight > 0.0) {
            let logits = teacher.logits(&images)?;
            let rows = if self.recipe.distill_where_right {
                right(&logits, &batch.labels)?
            } else {
                (0..batch.labels.len() as u32).collect()
            };
            // The sum over these crops, as a share of the batch.
            let share = rows.len() as f64 / batch.labels.len().max(1) as f64;
            report.taught += share;
            if !rows.is_empty() {
                let rows = Tensor::new(rows, images.device())?;
                let chosen = |x: &Tensor| x.index_select(&rows, 0);
                let (student, teacher) = (chosen(pass.logits())?, chosen(&logits)?);
                let divergence = distillation_loss(&student, &teacher, self.recipe.temperature)?;
                let found = (divergence * (share * distillation_weight))?;
                *report.distillation.get_or_insert(0.0) += scalar(&found)?;
                loss = (loss + found)?;
            }
        }
        report.loss += scalar(&loss)?;
        report.accuracy += accuracy(pass.logits(), &batch.labels)?;
        Ok((pass.backward(&loss)?, report))
    }
}

/// Losses of a batch, or means over several.
#[derive(Debug, Clone, Copy, Default)]
struct Losses {
    loss: f64,
    ctc: f64,
    sgm: Option<f64>,
    distillation: Option<f64>,
    taught: f64,
    accuracy: f64,
}

impl Losses {
    fn add(&mut self, other: &Losses) {
        let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.loss += other.loss;
        self.ctc += other.ctc;
        self.sgm = sum(self.sgm, other.sgm);
        self.distillation = sum(self.distillation, other.distillation);
        self.taught += other.taught;
        self.accuracy += other.accuracy;
    }

    fn scale(&mut self, factor: f64) {
        for value in [&mut self.loss, &mut self.ctc, &mut self.taught, &mut self.accuracy]
            .into_iter()
            .chain(&mut self.sgm)
            .chain(&mut self.distillation)
        {
            *value *= factor;
        }
    }
}

fn copies(network: &Network) -> Result<BTreeMap<String, Tensor>, TrainError> {
    let copy = |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), tensor.detach().copy()?));
    network.parameters().map(copy).collect()
}

/// Moves values towards others of the same shape by a share of the way, in place.
struct Follow {
    share: f32,
}

impl InplaceOp2 for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn cpu_fwd(
        &self,
        means: &mut CpuStorage,
        layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(means), Some((start, end))) = (means, layout.contiguous_offsets())
        else {
            bail!("an average is not contiguous f32");
        };
        let (CpuStorage::F32(values), Some((from, to))) =
            (values, values_layout.contiguous_offsets())
        else {
            bail!("a parameter is not contiguous f32");
        };
        means[start..end].par_chunks_mut(BLOCK).zip(values[from..to].par_chunks(BLOCK)).for_each(
            |(means, values)| {
                for (mean, value) in means.iter_mut().zip(values) {
                    *mean += self.share * (value - *mean);
                }
            },
        );
        Ok(())
    }
}

/// The crops whose label greedy decoding gives.
fn right(logits: &Tensor, labels: &[Vec<u32>]) -> Result<Vec<u32>, TrainError> {
    let best = logits.argmax(candle_core::D::Minus1)?.to_vec2::<u32>()?;
    let right = |(steps, label): (&Vec<u32>, &Vec<u32>)| collapsed(steps) == *label;
    let crops = (0u32..).zip(best.iter().zip(labels));
    Ok(crops.filter(|(_, pair)| right(*pair)).map(|(crop, _)| crop).collect())
}

/// The share of labels that greedy decoding gives.
fn accuracy(logits: &Tensor, labels: &[Vec<u32>]) -> Result<f64, TrainError> {
    Ok(right(logits, labels)?.len() as f64 / labels.len().max(1) as f64)
}

/// The symbols of a path: repeats collapsed, blanks dropped.
fn collapsed(steps: &[u32]) -> Vec<u32> {
    let mut symbols = steps.to_vec();
    symbols.dedup();
    symbols.retain(|&class| class != 0);
    symbols
}
