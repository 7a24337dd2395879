//! Linear layers and the two of them that make an MLP.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, init::ZERO};

use super::builder::{Backend, Builder, values};
#[cfg(feature = "train")]
use super::custom_op::differentiable;
use super::custom_op::{binary, unary};
#[cfg(feature = "train")]
use crate::cpu::backward::{column_sums, linear_input_gradient, linear_weight_gradient};
use crate::cpu::{self, Epilogue, PackedMatrix};
use crate::model::pass::Pass;
#[cfg(feature = "train")]
use crate::model::tape;

/// The published initialisation (a truncation at 100 standard deviations, which has no effect).
const WEIGHT_INIT: Init = Init::Randn { mean: 0.0, stdev: 0.02 };

/// `y = x W^T + b` over the last dimension.
#[derive(Debug, Clone)]
pub(crate) enum Linear {
    Tensors {
        /// `[out, in]`
        weight: Tensor,
        /// `[out]`
        bias: Option<Tensor>,
    },
    Kernels(Arc<PackedMatrix>),
}

impl Linear {
    pub(crate) fn new(in_dim: usize, out_dim: usize, builder: &Builder) -> Result<Self> {
        let bias = builder.get(out_dim, "bias", ZERO)?;
        Self::with(in_dim, out_dim, Some(bias), builder)
    }

    pub(crate) fn without_bias(in_dim: usize, out_dim: usize, builder: &Builder) -> Result<Self> {
        Self::with(in_dim, out_dim, None, builder)
    }

    fn with(
        in_dim: usize,
        out_dim: usize,
        bias: Option<Tensor>,
        builder: &Builder,
    ) -> Result<Self> {
        let weight = builder.get((out_dim, in_dim), "weight", WEIGHT_INIT)?;
        match builder.backend() {
            Backend::Tensors => Ok(Linear::Tensors { weight, bias }),
            Backend::Kernels => {
                let bias = bias.as_ref().map(values).transpose()?;
                let packed = cpu::pack_linear(&values(&weight)?, out_dim, bias.as_deref());
                Ok(Linear::Kernels(Arc::new(packed)))
            }
        }
    }

    /// `[.., in]` to `[.., out]`.
    #[cfg_attr(not(feature = "train"), expect(unused_variables))]
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let (Linear::Tensors { weight, bias }, Some(tape)) = (self, pass.tape()) {
            return tape::linear(tape, x, weight, bias.as_ref(), None);
        }
        match self {
            Linear::Tensors { weight, bias } => {
                let Some((&in_dim, leading)) = x.dims().split_last() else {
                    bail!("a linear layer needs at least one dimension");
                };
                let rows = leading.iter().product::<usize>();
                let y = x.reshape((rows, in_dim))?.matmul(&weight.t()?)?;
                let y = match bias {
                    Some(bias) => y.broadcast_add(bias)?,
                    None => y,
                };
                y.reshape([leading, &[weight.dim(0)?]].concat())
            }
            Linear::Kernels(packed) => unary("linear", x, out_shape(x, packed), |x| {
                cpu::linear(x, packed, Epilogue::Store)
            }),
        }
    }

    /// `residual + forward(x)`.
    pub(crate) fn forward_add(&self, x: &Tensor, residual: &Tensor, pass: Pass) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let (Linear::Tensors { weight, bias }, Some(tape)) = (self, pass.tape()) {
            return tape::linear(tape, x, weight, bias.as_ref(), Some(residual));
        }
        match self {
            Linear::Tensors { .. } => residual + self.forward(x, pass)?,
            Linear::Kernels(packed) => {
                binary("linear_add", x, residual, out_shape(x, packed), |x, residual| {
                    cpu::linear(x, packed, Epilogue::Add(residual))
                })
            }
        }
    }
}

fn out_shape(x: &Tensor, packed: &PackedMatrix) -> Vec<usize> {
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = packed.n();
    }
    shape
}

#[cfg(feature = "train")]
impl Linear {
    /// As [`Linear::forward`], for what is not recorded: the tensor library follows the gradients,
    /// on a CPU through kernels.
    pub(crate) fn forward_differentiable(&self, x: &Tensor) -> Result<Tensor> {
        let Linear::Tensors { weight, bias: Some(bias) } = self else {
            return self.forward(x, Pass::INFERENCE);
        };
        let (out_dim, in_dim) = weight.dims2()?;
        let mut shape = x.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == in_dim => *last = out_dim,
            _ => bail!("a linear layer {in_dim} -> {out_dim} of {shape:?}"),
        }
        let forward = move |x: &[f32], weight: &[f32], bias: &[f32]| {
            cpu::linear(x, &cpu::pack_linear(weight, out_dim, Some(bias)), Epilogue::Store)
        };
        let backward = move |x: &[f32], weight: &[f32], dy: &[f32]| {
            [
                linear_input_gradient(dy, weight, out_dim, None),
                linear_weight_gradient(x, dy, in_dim, out_dim),
                column_sums(dy, out_dim),
            ]
        };
        differentiable("linear", [x, weight, bias], shape, forward, backward)
            .unwrap_or_else(|| self.forward(x, Pass::INFERENCE))
    }

    /// Weight and bias, unless they are packed.
    fn tensors(&self) -> Option<(&Tensor, Option<&Tensor>)> {
        match self {
            Linear::Tensors { weight, bias } => Some((weight, bias.as_ref())),
            Linear::Kernels(_) => None,
        }
    }
}

/// Two linear layers with an exact GELU between.
#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    pub(crate) fn new(dim: usize, hidden: usize, builder: &Builder) -> Result<Self> {
        let fc1 = Linear::new(dim, hidden, &builder.pp("fc1"))?;
        let fc2 = Linear::new(hidden, dim, &builder.pp("fc2"))?;
        Ok(Mlp { fc1, fc2 })
    }

    /// `fc2(gelu(fc1(x)))`, all `[.., dim]`.
    pub(crate) fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let Some(recorded) = self.recorded(x, None, pass) {
            return recorded;
        }
        self.fc2.forward(&self.fc1.forward(x, pass)?.gelu_erf()?, pass)
    }

    /// `residual + fc2(gelu(fc1(x)))`, all `[.., dim]`.
    pub(crate) fn forward_add(&self, x: &Tensor, residual: &Tensor, pass: Pass) -> Result<Tensor> {
        #[cfg(feature = "train")]
        if let Some(recorded) = self.recorded(x, Some(residual), pass) {
            return recorded;
        }
        match (&self.fc1, &self.fc2) {
            (Linear::Kernels(fc1), Linear::Kernels(fc2)) => {
                binary("mlp_add", x, residual, x.shape(), |x, residual| {
                    cpu::mlp(x, fc1, fc2, residual)
                })
            }
            (fc1, fc2) => fc2.forward_add(&fc1.forward(x, pass)?.gelu_erf()?, residual, pass),
        }
    }

    #[cfg(feature = "train")]
    fn recorded(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        pass: Pass,
    ) -> Option<Result<Tensor>> {
        let tape = pass.tape()?;
        let (fc1, fc2) = (self.fc1.tensors()?, self.fc2.tensors()?);
        Some(tape::mlp(tape, x, fc1, fc2, residual))
    }
}
