//! The losses and gradients of batches.

use candle_core::{DType, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::sampler::mix;
use super::{
    Batch, BatchNormMode, Gradients, Network, PassOptions, Recipe, SgmLabels, TrainError, ctc_loss,
    distillation_loss,
};
use crate::inference::Backend;

/// What turns a batch into losses and gradients: labels, and a teacher if there is one. Batches may go
/// side by side.
#[derive(Clone, Copy)]
pub(super) struct Supervision<'a> {
    pub network: &'a Network,
    pub recipe: &'a Recipe,
    pub teacher: Option<&'a Backend>,
}

impl Supervision<'_> {
    /// The means of the gradients and losses of batches, each with its number.
    ///
    /// On a CPU the batches go through the network side by side, unless they move what batch norms
    /// remember: a thread that has a batch of its own seldom waits for another one. Sums are taken in
    /// the batches' order, so that they do not depend on threads.
    pub(super) fn passes(
        &self,
        batches: &[(Batch, u64)],
    ) -> Result<(Gradients, Losses), TrainError> {
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
        let Recipe { drop_path, precision, quantization_aware, .. } = *self.recipe;
        let options =
            PassOptions { drop_path, batch_norm, seed, precision, quantization_aware, tape: true };
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
            report.distilled_fraction += share;
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
pub(super) struct Losses {
    pub loss: f64,
    pub ctc: f64,
    pub sgm: Option<f64>,
    pub distillation: Option<f64>,
    pub distilled_fraction: f64,
    pub accuracy: f64,
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
        self.distilled_fraction += other.distilled_fraction;
        self.accuracy += other.accuracy;
    }

    fn scale(&mut self, factor: f64) {
        for value in
            [&mut self.loss, &mut self.ctc, &mut self.distilled_fraction, &mut self.accuracy]
                .into_iter()
                .chain(&mut self.sgm)
                .chain(&mut self.distillation)
        {
            *value *= factor;
        }
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
