//! A network in training.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::Gradients;
use super::context::{BatchNormMode, BatchStatistics, Context};
use super::parameters::{InitSpec, Initialization, Parameters, is_statistic};
use super::sgm::Sgm;
use crate::cpu::backward::Products;
use crate::error::{ComputeError, Result};
use crate::model::{self, Config, FrameLogits};
use crate::ops::candle::{Candle, Tensors, image_tokens};
use crate::ops::tape::{Recording, Tape, Tracked};
use crate::ops::{Grid, Ops, Scope};

/// How far the running statistics of a batch norm move with every batch.
const BATCH_NORM_MOMENTUM: f64 = 0.1;
/// Where the patch embedding's batch norms are.
const PATCH_EMBED: &str = "encoder.pope.patch_embed";

/// A network whose parameters can be trained.
pub struct Network {
    config: Config,
    pub(super) parameters: Parameters,
    model: model::Network<Tensors>,
    sgm: Option<Sgm>,
    /// Whether the patch embedding has batch norms.
    batch_norms: bool,
    device: Device,
    init: InitSpec,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Network")
            .field("config", &self.config)
            .field("device", &self.device)
            .field("frozen", &self.parameters.frozen)
            .finish_non_exhaustive()
    }
}

/// What a network in training computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits throughout.
    #[default]
    F32,
    /// Mixed: parameters, gradients, norms, the softmax of attention and losses in 32 bits, all
    /// else in bfloat16, whose range needs no scaling of the loss.
    ///
    /// On AMD's CPUs with AVX-512 BF16 the products of linear layers and convolutions are of bfloat16,
    /// summed in 32 bits, and all else is in 32 bits; on other CPUs, Intel's with that too (where it
    /// would be slower), everything is.
    Bf16,
}

/// Settings of a pass through a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassOptions {
    /// The rate of stochastic depth of the last block; it grows along a line from 0 in the first.
    pub drop_path: f64,
    /// What batch norms normalise with.
    pub batch_norm: BatchNormMode,
    /// Decides which blocks are left out for which sample.
    pub seed: u64,
    /// What the passes through the network compute in.
    pub precision: Precision,
    /// Round the weights and inputs of layers as int8 inference does
    /// ([`Weights::int8_model`](crate::weights::Weights::int8_model)); gradients pass straight
    /// through the rounding.
    pub quantization_aware: bool,
    /// On a CPU: record on a tape of this crate's CPU operations with hand-written gradients,
    /// instead of candle's several times slower ones, which are their oracle.
    pub tape: bool,
}

impl Default for PassOptions {
    /// The published ones: a rate of 0.1, statistics of the batch.
    fn default() -> Self {
        let batch_norm = BatchNormMode::Batch;
        let precision = Precision::F32;
        PassOptions {
            drop_path: 0.1,
            batch_norm,
            seed: 0,
            precision,
            quantization_aware: false,
            tape: true,
        }
    }
}

impl PassOptions {
    /// No stochastic depth, running statistics: what inference computes, with gradients.
    pub fn evaluation() -> Self {
        let batch_norm = BatchNormMode::Frozen;
        PassOptions { drop_path: 0.0, batch_norm, ..Self::default() }
    }
}

impl Network {
    /// A newly initialised network, as published; the parameters depend on the seed.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the configuration is out of range;
    /// [`Error::Compute`](crate::Error::Compute) if the device fails.
    pub fn new(config: &Config, device: &Device, seed: u64) -> Result<Self> {
        Self::with_initialization(config, Initialization::Published, device, seed)
    }

    /// As [`Network::new`] with another initialisation.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn with_initialization(
        config: &Config,
        initialization: Initialization,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let init = InitSpec { initialization, seed };
        Self::build(config, Parameters::default(), true, false, device, init)
    }

    /// A network with the given parameters; missing ones are newly initialised.
    pub(super) fn build(
        config: &Config,
        mut parameters: Parameters,
        batch_norms: bool,
        sgm: bool,
        device: &Device,
        init: InitSpec,
    ) -> Result<Self> {
        let (model, sgm) = modules(config, &mut parameters, Some(init), device, batch_norms, sgm)?;
        let (config, device) = (config.clone(), device.clone());
        Ok(Network { config, parameters, model, sgm, batch_norms, device, init })
    }

    /// Builds anew from the parameters as they are: after some were frozen, added or removed.
    fn rebuild(&mut self, sgm: bool) -> Result<()> {
        let parameters = self.parameters.clone();
        *self =
            Self::build(&self.config, parameters, self.batch_norms, sgm, &self.device, self.init)?;
        Ok(())
    }

    /// What parameters that are added from now on start from.
    pub fn set_initialization(&mut self, initialization: Initialization) {
        self.init.initialization = initialization;
    }

    /// Adds a newly initialised semantic guidance module, unless there is one.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) if the device fails.
    pub fn add_sgm(&mut self) -> Result<()> {
        self.rebuild(true)
    }

    /// Drops the semantic guidance module and its parameters.
    ///
    /// # Errors
    /// As [`Network::add_sgm`].
    pub fn remove_sgm(&mut self) -> Result<()> {
        self.parameters.vars.retain(|name, _| !name.starts_with(Sgm::PREFIX));
        self.rebuild(false)
    }

    /// Freezes the parameters whose names are or lie below the given ones (`"encoder"`,
    /// `"encoder.stages.0"`, `"decoder.fc.bias"`), and none else.
    ///
    /// # Errors
    /// As [`Network::add_sgm`].
    pub fn freeze(&mut self, prefixes: &[impl AsRef<str>]) -> Result<()> {
        self.parameters.frozen = prefixes.iter().map(|prefix| prefix.as_ref().to_owned()).collect();
        self.rebuild(self.sgm.is_some())
    }

    /// A network with exactly the given parameters: a file cannot ask for more than it holds.
    ///
    /// # Errors
    /// [`ComputeError`] if a parameter is missing or has another shape.
    pub(super) fn restored(
        config: &Config,
        parameters: BTreeMap<String, Tensor>,
        batch_norms: bool,
        sgm: bool,
        device: &Device,
        init: InitSpec,
    ) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, tensor) in parameters {
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        let mut parameters = Parameters { vars, frozen: Vec::new() };
        let (model, sgm) = modules(config, &mut parameters, None, device, batch_norms, sgm)?;
        let (config, device) = (config.clone(), device.clone());
        Ok(Network { config, parameters, model, sgm, batch_norms, device, init })
    }

    pub(super) fn batch_norms(&self) -> bool {
        self.batch_norms
    }

    pub(super) fn init(&self) -> InitSpec {
        self.init
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device that the network is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The semantic guidance module, if there is one.
    pub fn sgm(&self) -> Option<&Sgm> {
        self.sgm.as_ref()
    }

    /// Names and values of all parameters, frozen ones and running statistics included, in the
    /// order of their names.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.vars.iter().map(|(name, var)| (name.as_str(), var.as_tensor()))
    }

    /// Whether a parameter is trained: it exists, is not frozen and no running statistic.
    pub fn trains(&self, name: &str) -> bool {
        self.parameters.vars.contains_key(name) && self.parameters.trains(name)
    }

    /// Replaces a parameter's values.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) if there is no such parameter or it has another
    /// shape.
    pub fn set(&mut self, name: &str, values: &Tensor) -> Result<()> {
        let Some(var) = self.parameters.vars.get(name) else {
            return Err(ComputeError::MissingParameter { name: name.to_owned() }.into());
        };
        Ok(var.set(values)?)
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Var> {
        self.parameters.vars.get(name)
    }

    /// Runs images `[batch, 3, height, width]` (as for [`Model::forward`](crate::inference::Model::forward)) through the network. With
    /// [`BatchNormMode::Batch`] the running statistics move.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) if the shape is another or the device fails.
    pub fn forward(&self, images: &Tensor, options: &PassOptions) -> Result<Pass<'_>> {
        let (batch, grid, tokens) = image_tokens(images)?;
        let context = Context::new(batch, options.batch_norm, options.drop_path, options.seed);
        let full = options.precision == Precision::F32;
        let on_tape = options.tape && self.device.is_cpu() && images.dtype() == DType::F32;
        if on_tape {
            let tape = Tape::default();
            let products = if full { Products::f32() } else { Products::bf16() };
            let rounded = options.quantization_aware;
            let ops = Recording { tape: &tape, products, rounded, context: &context };
            let tokens = Tracked::constant(tokens.flatten_all()?.to_vec1()?, 3);
            let (features, positions, logits, frames) = run(&self.model, &ops, tokens, grid)?;
            self.move_statistics(context.into_statistics())?;
            // Losses are computed from copies that are variables of candle's.
            let leaf = |x: &Tracked, rows: usize| {
                let shape = (batch, rows, x.channels());
                Var::from_vec(x.values().to_vec(), shape, &self.device)
            };
            let leaves = [leaf(&features, positions)?, leaf(&logits, frames)?];
            let [features_leaf, logits_leaf] =
                leaves.each_ref().map(|leaf| leaf.as_tensor().clone());
            let recorded = Some(Recorded { tape, results: [features, logits], leaves });
            return Ok(Pass {
                network: self,
                features: features_leaf,
                logits: logits_leaf,
                recorded,
            });
        }
        let ops = Candle { context: Some(&context), rounded: options.quantization_aware };
        let (features, positions, logits, frames) = if full {
            run(&self.model, &ops, tokens, grid)?
        } else {
            let source = self.parameters.in_bf16(self.batch_norms);
            let model = model::Network::new(&self.config, &Scope::new(&source))?;
            run(&model, &ops, tokens.to_dtype(DType::BF16)?, grid)?
        };
        self.move_statistics(context.into_statistics())?;
        let tensor = |x: Tensor, rows: usize| {
            let channels = x.dim(1)?;
            x.to_dtype(DType::F32)?.reshape((batch, rows, channels))
        };
        let (features, logits) = (tensor(features, positions)?, tensor(logits, frames)?);
        Ok(Pass { network: self, features, logits, recorded: None })
    }

    /// Moves the running statistics of the batch norms towards those of a batch.
    fn move_statistics(&self, statistics: Vec<BatchStatistics>) -> Result<()> {
        for found in statistics {
            let name = |what: &str| format!("{PATCH_EMBED}.{}.norm.{what}", found.index);
            for (name, value) in
                [(name("running_mean"), &found.mean), (name("running_var"), &found.variance)]
            {
                if let Some(var) = self.parameters.vars.get(&name) {
                    let old = (var.as_tensor() * (1.0 - BATCH_NORM_MOMENTUM))?;
                    var.set(&(old + (value * BATCH_NORM_MOMENTUM)?)?)?;
                }
            }
        }
        Ok(())
    }
}

/// The network and its semantic guidance module over the parameters. Missing ones are initialised;
/// without an initialisation they are an error.
fn modules(
    config: &Config,
    parameters: &mut Parameters,
    init: Option<InitSpec>,
    device: &Device,
    batch_norms: bool,
    sgm: bool,
) -> Result<(model::Network<Tensors>, Option<Sgm>)> {
    parameters.build(init, device, batch_norms, |source| {
        let scope = Scope::new(source);
        let model = model::Network::new(config, &scope)?;
        let sgm = sgm.then(|| Sgm::new(config, &scope.below(Sgm::PREFIX))).transpose()?;
        Ok((model, sgm))
    })
}

/// The features and their positions, the logits and their frames.
fn run<O: Ops<Layers = Tensors>>(
    model: &model::Network<Tensors>,
    ops: &O,
    tokens: O::Tensor,
    grid: Grid,
) -> Result<(O::Tensor, usize, O::Tensor, usize)> {
    let features = model.encode(ops, tokens, grid, false)?;
    let FrameLogits { logits, frames } = model.classify(ops, &features)?;
    Ok((features.tokens, features.grid.positions(), logits, frames))
}

/// What a pass found, from which losses are computed.
pub struct Pass<'a> {
    network: &'a Network,
    features: Tensor,
    logits: Tensor,
    recorded: Option<Recorded>,
}

/// A pass that ran on a tape.
struct Recorded {
    tape: Tape,
    /// Features and logits.
    results: [Tracked; 2],
    /// What the losses take for them.
    leaves: [Var; 2],
}

impl Pass<'_> {
    /// The encoder's features, `[batch, positions, dim]`: what the semantic guidance
    /// module reads.
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// The logits, `[batch, frames, classes]`.
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// The gradients of a scalar loss that was computed from [`Pass::logits`] and
    /// [`Pass::features`], for the parameters that are trained.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) if the loss is not a scalar.
    pub fn backward(self, loss: &Tensor) -> Result<Gradients> {
        let mut store = loss.backward()?;
        let mut recorded = None;
        if let Some(Recorded { tape, results, leaves }) = self.recorded {
            let mut ends = Vec::new();
            for (result, leaf) in results.into_iter().zip(&leaves) {
                if let Some(gradient) = store.remove(leaf) {
                    ends.push((result, gradient.flatten_all()?.to_vec1()?));
                }
            }
            recorded = Some(tape.backward(ends)?);
        }
        let mut gradients = Gradients::default();
        for (name, var) in &self.network.parameters.vars {
            if is_statistic(name) || !self.network.parameters.trains(name) {
                continue;
            }
            if let Some(values) = recorded.as_mut().and_then(|found| found.take_parameter(var)) {
                gradients.insert(name, Tensor::from_vec(values, var.shape(), var.device())?);
            } else if let Some(gradient) = store.remove(var) {
                gradients.insert(name, gradient);
            }
        }
        Ok(gradients)
    }
}
