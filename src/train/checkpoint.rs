//! Files that a training resumes from.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::loader::LoaderState;
use super::parameters::InitSpec;
use super::{Recipe, TrainError};
use crate::charset::{Charset, Symbols};
use crate::error::shortened;
use crate::files;
use crate::model::Config;
use crate::weights::{Encoded, MAX_RANK, METADATA_KEY, check_header, write_file};

/// Prefixes of what is in the file besides the network.
const MEAN: &str = "optimizer.mean.";
const SQUARE: &str = "optimizer.square.";
const AVERAGE: &str = "average.";

/// Failed steps that a training may have survived.
const MAX_FAILED: u64 = 1 << 20;

/// Everything that is not a tensor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub step: u64,
    pub best: Option<f64>,
    pub recipe: Recipe,
    pub optimizer_steps: u64,
    pub loader: LoaderState,
    pub sgm: bool,
    pub batch_norms: bool,
    #[serde(alias = "start")]
    pub init: InitSpec,
    /// The fingerprint of the teacher's weights, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<u64>,
}

impl State {
    /// Checks counters against the recipe, which is valid.
    fn check(&self) -> Result<(), String> {
        let State { step, optimizer_steps, .. } = *self;
        // A step that failed counts in the optimiser alone.
        let failed = optimizer_steps.checked_sub(step);
        if step > self.recipe.steps || failed.is_none_or(|failed| failed > MAX_FAILED) {
            let steps = self.recipe.steps;
            return Err(format!(
                "step {step} of {steps} and {optimizer_steps} steps of the optimiser"
            ));
        }
        Ok(())
    }
}

pub(super) struct Checkpoint {
    pub state: State,
    pub config: Config,
    pub charset: Charset,
    pub parameters: BTreeMap<String, Tensor>,
    pub moments: BTreeMap<String, (Tensor, Tensor)>,
    pub average: Option<BTreeMap<String, Tensor>>,
}

/// The metadata entry: that of a weights file, and the state.
#[derive(Serialize, Deserialize)]
struct Metadata {
    config: Config,
    charset: Symbols,
    training: State,
}

pub(super) fn write(path: &Path, checkpoint: &Checkpoint) -> Result<(), TrainError> {
    let damaged = |detail: String| TrainError::Checkpoint { path: path.to_owned(), detail };
    let metadata = Metadata {
        config: checkpoint.config.clone(),
        charset: Symbols(checkpoint.charset.symbols().to_vec()),
        training: checkpoint.state.clone(),
    };
    let json = serde_json::to_string(&metadata).map_err(|error| damaged(error.to_string()))?;
    let mut tensors: BTreeMap<String, &Tensor> = BTreeMap::new();
    for (name, tensor) in &checkpoint.parameters {
        tensors.insert(name.clone(), tensor);
    }
    for (name, (mean, square)) in &checkpoint.moments {
        tensors.insert(format!("{MEAN}{name}"), mean);
        tensors.insert(format!("{SQUARE}{name}"), square);
    }
    for (name, tensor) in checkpoint.average.iter().flatten() {
        tensors.insert(format!("{AVERAGE}{name}"), tensor);
    }
    let mut encoded = Vec::with_capacity(tensors.len());
    for (name, tensor) in &tensors {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        encoded.push((name.clone(), Encoded::f32(&values, tensor.dims().to_vec())));
    }
    Ok(write_file(path, &encoded, json)?)
}

pub(super) fn read(path: &Path, device: &Device) -> Result<Checkpoint, TrainError> {
    let damaged = |detail: String| {
        let detail = shortened(&detail);
        TrainError::Checkpoint { path: path.to_owned(), detail }
    };
    let bytes = files::read(path, u64::MAX)
        .map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
    check_header(&bytes)?;
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let json = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
    let json = json.ok_or_else(|| damaged("it is not a checkpoint of a training".to_owned()))?;
    let metadata: Metadata = serde_json::from_str(json)
        .map_err(|error| damaged(format!("it is not a checkpoint of a training: {error}")))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let mut parameters = BTreeMap::new();
    let mut average = BTreeMap::new();
    let (mut means, mut squares) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("{name} is {:?}, not f32", view.dtype())));
        }
        if view.shape().len() > MAX_RANK || view.shape().contains(&0) {
            return Err(damaged(format!("{name} has the shape {:?}", view.shape())));
        }
        let (values, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let tensor = Tensor::from_vec(values, view.shape(), device)?;
        let (map, name) = if let Some(name) = name.strip_prefix(MEAN) {
            (&mut means, name)
        } else if let Some(name) = name.strip_prefix(SQUARE) {
            (&mut squares, name)
        } else if let Some(name) = name.strip_prefix(AVERAGE) {
            (&mut average, name)
        } else {
            (&mut parameters, name)
        };
        map.insert(name.to_owned(), tensor);
    }
    let mut moments = BTreeMap::new();
    for (name, mean) in means {
        let square = squares.remove(&name);
        let square = square.ok_or_else(|| damaged(format!("{name} has one moment only")))?;
        moments.insert(name, (mean, square));
    }
    let charset = Charset::new(metadata.charset.0)?;
    let state = metadata.training;
    state.recipe.validate().map_err(|error| damaged(error.to_string()))?;
    state.check().map_err(damaged)?;
    let average = (state.recipe.average > 0.0).then_some(average);
    if let Some(average) = &average {
        let same = |(name, mean): (&String, &Tensor)| {
            parameters.get(name).is_some_and(|parameter| parameter.dims() == mean.dims())
        };
        if average.len() != parameters.len() || !average.iter().all(same) {
            return Err(damaged("its averages are not those of its parameters".to_owned()));
        }
    }
    Ok(Checkpoint { state, config: metadata.config, charset, parameters, moments, average })
}
