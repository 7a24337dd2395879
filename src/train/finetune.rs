//! Networks that start from trained weights: for another charset, or as a smaller one.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};

use super::parameters::{InitSpec, Initialization, Parameters};
use super::{Network, TrainError};
use crate::charset::Charset;
use crate::error::Result;
use crate::model::{Config, EncoderConfig, StageConfig, SvtrConfig, block_index};
use crate::weights::{Values, Weights};

/// The classifier's parameters: one row a class.
const CLASSIFIER: [&str; 2] = ["decoder.fc.weight", "decoder.fc.bias"];

/// What became of the classifier's rows when the charset changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CharsetChange {
    /// Symbols whose rows were kept, to the bit; the blank's is, always.
    pub kept: Vec<String>,
    /// New symbols, whose rows are newly initialised.
    pub added: Vec<String>,
    /// Old symbols whose rows were dropped.
    pub dropped: Vec<String>,
}

impl Network {
    /// A network with trained parameters, its patch embedding's batch norms folded: their statistics
    /// no longer move.
    ///
    /// # Errors
    /// [`WeightsError`](crate::WeightsError) if a parameter is NaN or infinite;
    /// [`Error::Compute`](crate::Error::Compute) if the device fails.
    pub fn from_weights(weights: &Weights, device: &Device, seed: u64) -> Result<Self> {
        Self::from_values(weights.config(), weights.all_values()?, false, device, seed)
    }

    /// A network with the parameters of a weights file of any known format, and that file's charset
    /// if it has one. Batch norms that the file has not folded (a checkpoint of training) stay
    /// batch norms.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Network::from_weights`].
    pub fn open(
        path: impl AsRef<Path>,
        device: &Device,
        seed: u64,
    ) -> Result<(Self, Option<Charset>)> {
        let (weights, values) = Weights::open_unfolded(path.as_ref())?;
        let batch_norms = values.keys().any(|name| name.ends_with(".running_var"));
        let network = Self::from_values(weights.config(), values, batch_norms, device, seed)?;
        Ok((network, weights.charset().cloned()))
    }

    fn from_values(
        config: &Config,
        values: BTreeMap<String, Values>,
        batch_norms: bool,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let mut parameters = Parameters::default();
        for (name, (values, shape)) in values {
            let tensor = Tensor::from_vec(values, shape, device)?;
            parameters.vars.insert(name, Var::from_tensor(&tensor)?);
        }
        let init = InitSpec { initialization: Initialization::default(), seed };
        Self::build(config, parameters, batch_norms, false, device, init)
    }

    /// The weights for inference: a copy without the semantic guidance module, batch norms folded.
    ///
    /// # Errors
    /// [`CharsetError`](crate::CharsetError) if the charset does not fit the network;
    /// [`WeightsError`](crate::WeightsError) if a parameter is NaN or infinite.
    pub fn to_weights(&self, charset: &Charset) -> Result<Weights> {
        let parameters = self.parameters().map(|(name, tensor)| (name.to_owned(), tensor.clone()));
        weights_of(self.config(), charset, parameters)
    }

    /// Replaces the classifier by one for another charset. Rows are kept by symbol, those of new
    /// symbols are newly initialised. A semantic guidance module is dropped.
    ///
    /// # Errors
    /// [`CharsetError`](crate::CharsetError) if `from` is not the network's charset;
    /// [`Error::Compute`](crate::Error::Compute) if the device fails.
    pub fn change_charset(&mut self, from: &Charset, to: &Charset) -> Result<CharsetChange> {
        from.check_classes(self.config().num_classes)?;
        let config = Config { num_classes: to.classes(), ..self.config().clone() };
        let mut parameters = self.parameters.clone();
        parameters.vars.retain(|name, _| !name.starts_with(super::Sgm::PREFIX));
        for name in CLASSIFIER {
            parameters.vars.remove(name);
        }
        // Built with a new classifier, into which old rows are then copied.
        let (device, init) = (self.device().clone(), self.init());
        let mut network =
            Self::build(&config, parameters, self.batch_norms(), false, &device, init)?;
        let mut change = CharsetChange::default();
        let mut sources: Vec<Option<usize>> = vec![Some(0)];
        for symbol in to.symbols() {
            let old = from.class(symbol);
            match old {
                Some(_) => change.kept.push(symbol.clone()),
                None => change.added.push(symbol.clone()),
            }
            sources.push(old);
        }
        let gone = |symbol: &&String| to.class(symbol).is_none();
        change.dropped = from.symbols().iter().filter(gone).cloned().collect();
        for name in CLASSIFIER {
            let (Some(old), Some(new)) = (self.variable(name), network.variable(name)) else {
                continue;
            };
            let rows: Vec<Tensor> = sources
                .iter()
                .enumerate()
                .map(|(row, source)| match source {
                    Some(source) => old.narrow(0, *source, 1),
                    None => new.narrow(0, row, 1),
                })
                .collect::<candle_core::Result<_>>()?;
            network.set(name, &Tensor::cat(&rows, 0)?.contiguous()?)?;
        }
        *self = network;
        Ok(change)
    }

    /// A smaller network with some of the blocks of this one: of each stage those whose numbers,
    /// counted from 0, are given. The encoder's post-norm blocks survive that well; what is missing is
    /// for distillation to restore.
    ///
    /// # Errors
    /// [`TrainError::Options`] if a number is out of range or not above the one before it, or if the
    /// encoder is not of SVTRv2's kind.
    pub fn with_blocks(&self, keep: &[Vec<usize>; 3]) -> Result<Self, TrainError> {
        let EncoderConfig::Svtr(encoder) = &self.config().encoder else {
            let detail = "only encoders of SVTRv2's kind can lose blocks".to_owned();
            return Err(TrainError::Options { detail });
        };
        let mut smaller = encoder.clone();
        let mut parameters = Parameters::default();
        for (stage, (kept, old)) in keep.iter().zip(&encoder.stages).enumerate() {
            let ascending = kept.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascending || kept.last().is_some_and(|&last| last >= old.blocks()) {
                let detail =
                    format!("stage {stage} has {} blocks, {kept:?} cannot be kept", old.blocks());
                return Err(TrainError::Options { detail });
            }
            let local_blocks = kept.iter().filter(|&&block| block < old.local_blocks).count();
            let global_blocks = kept.len() - local_blocks;
            smaller.stages[stage] = StageConfig { local_blocks, global_blocks, ..*old };
        }
        for (name, tensor) in self.parameters() {
            if let Some(name) = renamed(name, encoder, &smaller, keep) {
                parameters.vars.insert(name, Var::from_tensor(tensor)?);
            }
        }
        let (device, init) = (self.device(), self.init());
        let config = Config { encoder: EncoderConfig::Svtr(smaller), ..self.config().clone() };
        Ok(Self::build(&config, parameters, self.batch_norms(), false, device, init)?)
    }
}

/// What a parameter is called when only some blocks are kept; `None` if it is not.
fn renamed(
    name: &str,
    old: &SvtrConfig,
    new: &SvtrConfig,
    keep: &[Vec<usize>; 3],
) -> Option<String> {
    if name.starts_with(super::Sgm::PREFIX) {
        return None;
    }
    let Some(rest) = name.strip_prefix("encoder.stages.") else {
        return Some(name.to_owned());
    };
    let mut parts = rest.splitn(4, '.');
    let (stage, kind) = (parts.next()?, parts.next()?);
    if kind != "blocks" {
        return Some(name.to_owned());
    }
    let (index, rest) = (parts.next()?.parse::<usize>().ok()?, parts.next()?);
    let stage: usize = stage.parse().ok()?;
    let (old, new, keep) = (&old.stages[stage], &new.stages[stage], &keep[stage]);
    let position = keep.iter().position(|&block| block_index(old, block) == index)?;
    Some(format!("encoder.stages.{stage}.blocks.{}.{rest}", block_index(new, position)))
}

/// Weights of named parameters.
pub(super) fn weights_of(
    config: &Config,
    charset: &Charset,
    parameters: impl Iterator<Item = (String, Tensor)>,
) -> Result<Weights> {
    charset.check_classes(config.num_classes)?;
    let mut values = Vec::new();
    for (name, tensor) in parameters {
        if !name.starts_with(super::Sgm::PREFIX) {
            let shape = tensor.dims().to_vec();
            values.push((name, (tensor.flatten_all()?.to_vec1::<f32>()?, shape)));
        }
    }
    Weights::from_parameters(config, charset, values)
}
