//! What accompanies a pass through the network.

use candle_core::{Result, Shape, Tensor};

#[cfg(feature = "train")]
use super::tape::Tape;
#[cfg(feature = "train")]
use super::training::Training;

/// Without training there is nothing that a pass could be accompanied by.
#[cfg(not(feature = "train"))]
#[derive(Debug)]
pub(crate) enum Training {}

/// Whether a pass is for inference, or what training needs to know of it and from it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pass<'a>(Option<&'a Training>);

impl<'a> Pass<'a> {
    /// Forwards only, as far as this crate is concerned; the tensor library may record it.
    pub(crate) const INFERENCE: Pass<'static> = Pass(None);

    #[cfg(feature = "train")]
    pub(crate) fn training(training: &'a Training) -> Self {
        Pass(Some(training))
    }

    #[cfg(feature = "train")]
    pub(crate) fn as_training(self) -> Option<&'a Training> {
        self.0
    }

    /// Where operations are recorded that compute with kernels and have a backward pass.
    #[cfg(feature = "train")]
    pub(crate) fn tape(self) -> Option<&'a Tape> {
        self.0.and_then(Training::tape)
    }

    /// For each sample of a batch, the factor of what a block at `depth` (0..=1 from the first to
    /// the last) adds to its input; `None` if it is 1 for all.
    pub(crate) fn drop_path(self, depth: f64, batch: usize) -> Option<Vec<f32>> {
        #[cfg(feature = "train")]
        return self.0.and_then(|training| training.drop_path(depth, batch));
        #[cfg(not(feature = "train"))]
        {
            let _ = (self.0.is_some(), depth, batch);
            None
        }
    }

    /// The same values in another shape.
    pub(crate) fn reshape(self, x: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let Some(tape) = self.tape() {
            return tape.reshape(x, shape);
        }
        x.reshape(shape.into())
    }
}
