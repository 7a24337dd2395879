//! Where layers get their parameters, and how they are to compute.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder};

/// How layers compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// With the tensor library's operations: on any device, in any number type, differentiable.
    Tensors,
    /// With this crate's kernels: on the CPU, in f32, forwards only.
    Kernels,
}

impl Backend {
    /// The fastest one for inference.
    pub(crate) fn for_inference(dtype: DType, device: &Device) -> Self {
        if dtype == DType::F32 && device.is_cpu() { Backend::Kernels } else { Backend::Tensors }
    }
}

/// Parameters under a prefix of their names, and the backend of the layers built from them.
#[derive(Clone)]
pub(crate) struct Builder<'a> {
    parameters: VarBuilder<'a>,
    backend: Backend,
    /// Whether the patch embedding keeps its batch norms.
    #[cfg(feature = "train")]
    batch_norms: bool,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(parameters: VarBuilder<'a>, backend: Backend) -> Self {
        Builder {
            parameters,
            backend,
            #[cfg(feature = "train")]
            batch_norms: false,
        }
    }

    /// The same, but the patch embedding keeps its batch norms.
    #[cfg(feature = "train")]
    pub(crate) fn with_batch_norms(self) -> Self {
        Builder { batch_norms: true, ..self }
    }

    #[cfg(feature = "train")]
    pub(crate) fn batch_norms(&self) -> bool {
        self.batch_norms
    }

    /// The same with one more part of the prefix.
    pub(crate) fn pp(&self, part: impl ToString) -> Self {
        Builder { parameters: self.parameters.pp(part), ..self.clone() }
    }

    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// A parameter; `init` is what a fresh one is initialised with.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str, init: Init) -> Result<Tensor> {
        self.parameters.get_with_hints(shape, name, init)
    }
}

/// A parameter's values in row-major order.
pub(crate) fn values(parameter: &Tensor) -> Result<Vec<f32>> {
    parameter.flatten_all()?.to_vec1()
}
