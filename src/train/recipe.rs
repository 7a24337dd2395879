//! The settings of a training.

use serde::{Deserialize, Serialize};

use super::{AdamWOptions, Precision, Schedule, TrainError};

/// How a network is trained. The default is the published recipe, first stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Steps of the optimiser.
    pub steps: u64,
    /// The peak learning rate at a batch of [`Recipe::REFERENCE_BATCH`]; it scales with the batch.
    pub learning_rate: f64,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// The decay of parameters of two or more dimensions.
    pub weight_decay: f64,
    /// How slowly the mean of the squared gradients moves, 0..1.
    pub beta2: f64,
    /// Whether the learning rate is relative to the size of a parameter's rows and columns
    /// ([`AdamWOptions::relative`](super::AdamWOptions::relative)): for networks whose batch norms are
    /// folded, at rates about ten times as high.
    pub relative_steps: bool,
    /// Crops of a batch: [`LoaderOptions::batch_size`](super::LoaderOptions::batch_size).
    pub batch_size: usize,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    /// The largest norm of the gradients; 0 for no limit.
    pub clip_norm: f64,
    /// Stochastic depth of the last block.
    pub drop_path: f64,
    /// The decay of the running average of parameters that is evaluated and exported; 0 for none.
    pub average: f64,
    /// The weight of the CTC loss.
    pub ctc_weight: f64,
    /// The weight of the semantic guidance module's loss; 0 for training without.
    pub sgm_weight: f64,
    /// Whether the module's contexts get noise.
    pub label_noise: bool,
    /// The weight of the divergence from a teacher ([`Trainer::with_teacher`](super::Trainer::with_teacher)); 0 for
    /// training without. The divergence is a mean over
    /// time steps, the CTC loss a sum over them: with a weight near the number of time steps both
    /// count alike.
    pub distillation_weight: f64,
    /// Whether the teacher supervises only crops whose label it reads itself: elsewhere labels alone
    /// decide.
    pub distill_where_right: bool,
    /// What both distributions are softened by then.
    pub temperature: f64,
    /// Parameters that stay as they are, by their names' prefixes.
    pub freeze: Vec<String>,
    /// Whether batch norms keep their statistics.
    pub freeze_batch_norm: bool,
    /// What the network computes in.
    pub precision: Precision,
    /// Whether weights and inputs of layers are rounded as int8 inference rounds them, so that the
    /// network learns to bear it; for the last steps of a training.
    pub quantization_aware: bool,
    /// Decides initialisation, order, augmentation, stochastic depth and label noise.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            // 20 epochs of 3.2 million crops.
            steps: 62_500,
            learning_rate: 6.5e-4,
            schedule: Schedule::default(),
            weight_decay: 0.05,
            beta2: 0.999,
            relative_steps: false,
            batch_size: 1024,
            accumulate: 1,
            clip_norm: 20.0,
            drop_path: 0.1,
            average: 0.0,
            ctc_weight: 1.0,
            sgm_weight: 0.0,
            label_noise: true,
            distillation_weight: 0.0,
            distill_where_right: false,
            temperature: 1.0,
            freeze: Vec::new(),
            freeze_batch_norm: false,
            precision: Precision::F32,
            quantization_aware: false,
            seed: 0,
        }
    }
}

// Far beyond any training; products and sums of counts stay exact.
const MAX_STEPS: u64 = 1 << 40;
const MAX_CROPS: u64 = 1 << 20;

impl Recipe {
    /// The batch that [`Recipe::learning_rate`] is for.
    pub const REFERENCE_BATCH: usize = 1024;

    /// The published second stage: 0.1 CTC + 1.0 semantic guidance.
    pub fn guided() -> Self {
        Recipe { ctc_weight: 0.1, sgm_weight: 1.0, ..Self::default() }
    }

    /// The peak learning rate for the batch in use.
    pub fn peak(&self) -> f64 {
        let batch = self.batch_size as f64 * self.accumulate as f64;
        self.learning_rate * batch / Self::REFERENCE_BATCH as f64
    }

    pub(super) fn optimizer(&self) -> AdamWOptions {
        AdamWOptions {
            weight_decay: self.weight_decay,
            beta2: self.beta2,
            relative: self.relative_steps,
            ..AdamWOptions::default()
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`TrainError::Options`], naming the setting.
    pub fn validate(&self) -> Result<(), TrainError> {
        let fault = |detail: String| Err(TrainError::Options { detail });
        for (name, value, most) in [
            ("steps", self.steps, MAX_STEPS),
            ("batch_size", self.batch_size as u64, MAX_CROPS),
            ("accumulate", self.accumulate as u64, MAX_CROPS),
        ] {
            if !(1..=most).contains(&value) {
                return fault(format!("{name} = {value} is not in 1..={most}"));
            }
        }
        for (name, value, most) in [
            ("learning_rate", self.learning_rate, 1e3),
            ("weight_decay", self.weight_decay, 1e3),
            ("clip_norm", self.clip_norm, f64::MAX),
            ("ctc_weight", self.ctc_weight, 1e6),
            ("sgm_weight", self.sgm_weight, 1e6),
            ("distillation_weight", self.distillation_weight, 1e6),
            ("temperature", self.temperature, 1e3),
            ("beta2", self.beta2, 0.999_999_9),
            ("drop_path", self.drop_path, 0.9),
            ("average", self.average, 0.999_999),
        ] {
            if !(0.0..=most).contains(&value) {
                return fault(format!("{name} = {value} is not in 0..={most}"));
            }
        }
        if self.temperature == 0.0 {
            return fault("temperature = 0".to_owned());
        }
        if self.ctc_weight + self.sgm_weight + self.distillation_weight == 0.0 {
            return fault("every loss has the weight 0".to_owned());
        }
        let (warm_up, divisors) = match self.schedule {
            Schedule::OneCycle { warm_up, div_factor, final_div_factor } => {
                (warm_up, div_factor > 0.0 && final_div_factor > 0.0)
            }
            Schedule::Cosine { warm_up, floor } => (warm_up, (0.0..=1.0).contains(&floor)),
            Schedule::Constant => (0.0, true),
        };
        if !(0.0..=1.0).contains(&warm_up) || !divisors {
            return fault(format!("the schedule {:?} is out of range", self.schedule));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_setting() {
        Recipe::default().validate().unwrap();
        type Spoil = fn(&mut Recipe);
        let cases: [(&str, Spoil); 10] = [
            ("steps = 0", |r| r.steps = 0),
            ("steps = 18446744073709551615", |r| r.steps = u64::MAX),
            ("batch_size = 0", |r| r.batch_size = 0),
            ("batch_size = 18446744073709551615", |r| r.batch_size = usize::MAX),
            ("accumulate = 9223372036854775807", |r| r.accumulate = usize::MAX / 2),
            ("learning_rate = NaN", |r| r.learning_rate = f64::NAN),
            ("clip_norm = -1", |r| r.clip_norm = -1.0),
            ("beta2 = 1 ", |r| r.beta2 = 1.0),
            ("temperature", |r| r.temperature = 0.0),
            ("schedule", |r| r.schedule = Schedule::Cosine { warm_up: f64::NAN, floor: 0.0 }),
        ];
        for (message, spoil) in cases {
            let mut recipe = Recipe::default();
            spoil(&mut recipe);
            let error = recipe.validate().unwrap_err().to_string();
            assert!(error.contains(message), "{message}: {error}");
        }
    }
}
