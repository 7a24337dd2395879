//! Which parameters a network has.

use std::sync::Mutex;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};

use super::{Config, Model};

/// The name and shape of every parameter of a network, in the order in which it is built.
///
/// The names are the published checkpoints', with the patch embedding's batch norm folded in.
///
/// ```
/// use svtrv2::model::{Config, parameter_shapes};
///
/// let shapes = parameter_shapes(&Config::tiny())?;
/// let count: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
/// assert_eq!(count, 5_128_159); // 5 128 255 with the batch norms unfolded
/// # Ok::<(), svtrv2::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if the configuration is out of range.
pub fn parameter_shapes(config: &Config) -> crate::Result<Vec<(String, Vec<usize>)>> {
    // The network's own constructor is asked: there is no second list of names to keep in step.
    let recorder = Recorder::default();
    Model::new(config, VarBuilder::from_backend(Box::new(&recorder), DType::F32, Device::Cpu))?;
    Ok(recorder.asked.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Hands out zeros that take no memory, and notes what was asked for.
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<(String, Vec<usize>)>>,
}

impl SimpleBackend for &Recorder {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        let mut asked = self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        asked.push((name.to_owned(), s.dims().to_vec()));
        Tensor::zeros((), dtype, dev)?.broadcast_as(s)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
