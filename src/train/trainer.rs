//! The loop: batches in, a trained network out.

use std::path::Path;
use std::time::{Duration, Instant};

use super::average::{Average, copies};
use super::checkpoint::{self, Checkpoint, State};
use super::finetune::weights_of;
use super::parameters::starts_with;
use super::sampler::mix;
use super::supervision::Supervision;
use super::{AdamW, Loader, LoaderOptions, Network, Recipe, Skipped, TrainError, WeightedSource};
use crate::charset::Charset;
use crate::error::{Result, shortened};
use crate::inference::Backend;
use crate::weights::Weights;

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
    pub distilled_fraction: f64,
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
    average: Option<Average>,
    teacher: Option<Backend>,
    /// The fingerprint of the teacher, also of one that a checkpoint asks for.
    teacher_fingerprint: Option<u64>,
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
        let Recipe { batch_size, seed, .. } = recipe;
        let loading = LoaderOptions { batch_size, seed, ..loading }.for_network(network.config());
        let loader = Loader::new(sources, charset.clone(), loading)?;
        if recipe.sgm_weight > 0.0 && network.sgm().is_none() {
            network.add_sgm()?;
        }
        for prefix in &recipe.freeze {
            if !network.parameters().any(|(name, _)| starts_with(name, prefix)) {
                let detail = format!("freeze: no parameter is or lies below {prefix:?}");
                return Err(TrainError::Options { detail });
            }
        }
        network.freeze(&recipe.freeze)?;
        let average = (recipe.average > 0.0).then(|| Average::of(&network)).transpose()?;
        let optimizer = AdamW::new(recipe.optimizer());
        Ok(Trainer {
            network,
            charset,
            recipe,
            loader,
            optimizer,
            average,
            teacher: None,
            teacher_fingerprint: None,
            step: 0,
            best: f64::NEG_INFINITY,
        })
    }

    /// Lets a teacher supervise; its classes must be the network's, and a training that was resumed must have the
    /// teacher that it had.
    ///
    /// # Errors
    /// [`TrainError::Options`] if the classes are others; [`TrainError::OtherTeacher`] if the weights are;
    /// [`TrainError::Network`] if they are damaged.
    pub fn with_teacher(mut self, teacher: &Weights) -> Result<Self, TrainError> {
        let classes = self.network.config().num_classes;
        let same = teacher.config().num_classes == classes
            && teacher.charset().is_none_or(|other| *other == self.charset);
        if !same {
            return Err(TrainError::Options {
                detail: "the teacher has another charset".to_owned(),
            });
        }
        let found = teacher.fingerprint()?;
        if let Some(expected) = self.teacher_fingerprint.filter(|&expected| expected != found) {
            return Err(TrainError::OtherTeacher { expected, found });
        }
        self.teacher = Some(teacher.execution_on(self.network.device())?);
        self.teacher_fingerprint = Some(found);
        Ok(self)
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The same training with another end: from the next step on the schedule of the learning rate leads there.
    ///
    /// # Errors
    /// [`TrainError::Options`] for no steps, or more than 2^40.
    pub fn with_steps(mut self, steps: u64) -> Result<Self, TrainError> {
        let recipe = Recipe { steps, ..self.recipe };
        recipe.validate()?;
        self.recipe = recipe;
        Ok(self)
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
    /// [`TrainError::NoTeacher`] if the recipe weighs distillation and there is no teacher;
    /// [`TrainError::NotFinite`], before any parameter moves, if the loss or the gradients are not
    /// finite; [`TrainError::NoSamples`] if there is nothing to train on; [`TrainError::Network`] if
    /// the device fails.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let start = Instant::now();
        let weight = self.recipe.distillation_weight;
        if weight > 0.0 && self.teacher.is_none() {
            return Err(TrainError::NoTeacher { weight });
        }
        let parts = self.recipe.accumulate;
        let mut waited = Duration::ZERO;
        let mut batches = Vec::with_capacity(parts);
        for part in 0..parts {
            let before = Instant::now();
            let batch = self.loader.next_batch()?;
            waited += before.elapsed();
            batches.push((batch, mix(self.step * parts as u64 + part as u64)));
        }
        let task = Supervision {
            network: &self.network,
            recipe: &self.recipe,
            teacher: self.teacher.as_ref(),
        };
        let (gradients, losses) = task.passes(&batches)?;
        let mut report = StepReport {
            step: self.step,
            loss: losses.loss,
            ctc: losses.ctc,
            sgm: losses.sgm,
            distillation: losses.distillation,
            distilled_fraction: losses.distilled_fraction,
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
        if let Some(average) = &mut self.average {
            average.follow(&self.network, self.recipe.average, self.step)?;
        }
        self.step += 1;
        report.time = start.elapsed();
        Ok(report)
    }

    fn learning_rate(&self) -> f64 {
        let Recipe { schedule, steps, .. } = &self.recipe;
        schedule.rate(self.recipe.peak(), self.step as usize, *steps as usize)
    }

    /// The weights for inference: of the averages if the recipe asks for them.
    ///
    /// # Errors
    /// [`TrainError::Network`] if a parameter is NaN or infinite.
    pub fn weights(&self) -> Result<Weights, TrainError> {
        let Some(average) = &self.average else {
            return Ok(self.network.to_weights(&self.charset)?);
        };
        let parameters = average.0.iter().map(|(name, tensor)| (name.clone(), tensor.clone()));
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
            init: self.network.init(),
            teacher: self.teacher_fingerprint,
        };
        checkpoint::write(
            path.as_ref(),
            &Checkpoint {
                state,
                config: self.network.config().clone(),
                charset: self.charset.clone(),
                parameters: copies(&self.network)?,
                moments: self.optimizer.host_moments()?,
                average: self.average.as_ref().map(|average| average.0.clone()),
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
    /// loading that must be the same. So must the teacher ([`Trainer::with_teacher`]).
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
        let path = path.as_ref();
        let Checkpoint { state, config, charset, parameters, moments, average } =
            checkpoint::read(path, device)?;
        let damaged = |error: crate::Error| {
            let detail = shortened(&error.report().to_string());
            TrainError::Checkpoint { path: path.to_owned(), detail }
        };
        let State { batch_norms, sgm, init, .. } = state;
        let network = Network::restored(&config, parameters, batch_norms, sgm, device, init)
            .map_err(damaged)?;
        let mut trainer = Self::new(network, charset, state.recipe, sources, loading)?;
        trainer.loader.restore(state.loader)?;
        let restored = trainer.optimizer.restore(state.optimizer_steps, moments, &trainer.network);
        restored.map_err(|error| damaged(error.into()))?;
        trainer.average = average.map(Average);
        trainer.teacher_fingerprint = state.teacher;
        trainer.step = state.step;
        trainer.best = state.best.unwrap_or(f64::NEG_INFINITY);
        Ok(trainer)
    }
}
