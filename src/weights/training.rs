//! Parameters on their way into training and back: with the batch norms unfolded.

use std::collections::BTreeMap;
use std::path::Path;

use super::buffer::Buffer;
use super::tensor::StoredTensor;
use super::{Format, Purpose, Weights, WeightsFile, read};
use crate::charset::Charset;
use crate::error::Result;
use crate::model::Config;

/// A parameter's values and shape.
pub(crate) type Values = (Vec<f32>, Vec<usize>);

impl Weights {
    /// Opens a weights file of any known format as [`Weights::open`] does; and gives its tensors as
    /// they were before the batch norms were folded.
    pub(crate) fn open_unfolded(path: &Path) -> Result<(Self, BTreeMap<String, Values>)> {
        let (format, file, tensors) = read(Buffer::open(path)?, Purpose::Recognition)?;
        let mut unfolded = BTreeMap::new();
        for (name, tensor) in &tensors {
            unfolded.insert(name.clone(), (tensor.values(name)?, tensor.shape().to_vec()));
        }
        Ok((Self::from_tensors(format, file, tensors)?, unfolded))
    }

    /// Weights of parameters under the published names, batch norms folded or not.
    pub(crate) fn from_parameters(
        config: &Config,
        charset: &Charset,
        parameters: impl IntoIterator<Item = (String, Values)>,
    ) -> Result<Self> {
        let tensors = parameters
            .into_iter()
            .map(|(name, (values, shape))| (name, StoredTensor::computed(values, shape)))
            .collect();
        let mut file = WeightsFile::from_tensors(BTreeMap::new());
        file.config = Some(config.clone());
        file.charset = Some(charset.clone());
        Self::from_tensors(Format::Safetensors, file, tensors)
    }

    /// The values of all parameters, batch norms folded.
    pub(crate) fn all_values(&self) -> Result<BTreeMap<String, Values>> {
        let mut all = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            all.insert(name.clone(), (tensor.values(name)?, tensor.shape().to_vec()));
        }
        Ok(all)
    }
}
