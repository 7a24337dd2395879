//! Training: a network with gradients, its losses, optimisation.
//!
//! One step, by hand:
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use svtrv2::model::Config;
//! use svtrv2::train::{AdamW, AdamWOptions, Network, PassOptions, ctc_loss};
//!
//! let mut network = Network::new(&Config::tiny(), &Device::Cpu, 1)?;
//! let mut optimizer = AdamW::new(AdamWOptions::default());
//! let images = Tensor::zeros((2, 3, 32, 128), DType::F32, &Device::Cpu)?;
//! let pass = network.forward(&images, &PassOptions::default())?;
//! let losses = ctc_loss(pass.logits(), &[vec![1, 2, 3], vec![4]], true)?;
//! let gradients = pass.backward(&losses.mean(0)?)?;
//! optimizer.step(&mut network, &gradients, 1e-4)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod augment;
mod average;
mod blur;
mod checkpoint;
mod context;
mod ctc;
mod distill;
mod error;
mod finetune;
mod gradients;
mod loader;
mod network;
mod optimizer;
mod parameter_scale;
mod parameters;
mod recipe;
mod sampler;
mod schedule;
mod sgm;
mod sgm_labels;
mod sgm_layers;
mod source;
mod supervision;
pub mod synth;
mod trainer;

pub use context::BatchNormMode;
pub use ctc::ctc_loss;
pub use distill::distillation_loss;
pub use error::TrainError;
pub use finetune::CharsetChange;
pub use gradients::Gradients;
pub use loader::{Batch, Loader, LoaderOptions, Skipped};
pub use network::{Network, Pass, PassOptions, Precision};
pub use optimizer::{AdamW, AdamWOptions};
pub use parameters::Initialization;
pub use recipe::Recipe;
pub use schedule::Schedule;
pub use sgm::Sgm;
pub use sgm_labels::{SgmLabels, SgmTargets};
pub use source::{LabelledCrop, PartlyAugmented, Source, WeightedSource};
pub use trainer::{StepReport, Trainer};

/// Asks the system's allocator to keep freed memory for the next step instead of giving it back to
/// the system, which clears every page anew: steps on a CPU are faster by a fifth and more. It
/// concerns the whole process, so it is for programs to decide. Returns whether the allocator can be
/// asked: that of the GNU C library can.
pub fn keep_freed_memory() -> bool {
    crate::system::keep_freed_memory()
}
