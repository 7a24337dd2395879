//! Operations that compute with this crate's kernels and have a hand-written backward pass.
//!
//! They stand in for differentiable operations of the tensor library: on a CPU its gradients take
//! several times longer. A [`Tape`] notes each as it runs, and then goes the way back.

mod attention;
mod batch_norm;
mod conv;
mod layer_norm;
mod linear;
mod vertical_attention;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use candle_core::{Device, Result, Shape, Storage, Tensor, TensorId, bail};
use rayon::prelude::*;

pub(crate) use attention::attention;
pub(crate) use batch_norm::{BatchNormInput, batch_norm};
pub(crate) use conv::conv;
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::{gelu, linear, mlp};
pub(crate) use vertical_attention::vertical_attention;

/// Values that a task of an elementwise operation covers.
const BLOCK: usize = 1 << 15;

/// The way back of an operation: takes the gradient for its result, adds those for its operands.
type Backward = Box<dyn FnOnce(Vec<f32>, &mut Gradients) -> Result<()>>;

/// The operations of a pass, in order.
#[derive(Default)]
pub(crate) struct Tape {
    nodes: RefCell<Vec<(TensorId, Backward)>>,
    /// Results that gradients are asked for.
    tracked: RefCell<HashSet<TensorId>>,
}

/// Gradients of the tensors and parameters that have one so far.
#[derive(Default)]
pub(crate) struct Gradients(HashMap<TensorId, Vec<f32>>);

impl Gradients {
    /// Adds to the gradient for a tensor.
    pub(crate) fn add(&mut self, tensor: &Tensor, gradient: Vec<f32>) {
        self.add_to(tensor.id(), gradient);
    }

    fn add_to(&mut self, id: TensorId, gradient: Vec<f32>) {
        match self.0.entry(id) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(gradient);
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let sums = entry.get_mut().par_chunks_mut(BLOCK);
                sums.zip(gradient.par_chunks(BLOCK)).for_each(|(sums, values)| {
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                });
            }
        }
    }

    /// Takes out what a tensor's gradient is so far.
    pub(crate) fn take(&mut self, tensor: &Tensor) -> Option<Vec<f32>> {
        self.0.remove(&tensor.id())
    }
}

impl Tape {
    /// Whether a gradient is asked for.
    fn tracks(&self, tensor: &Tensor) -> bool {
        tensor.is_variable() || self.tracked.borrow().contains(&tensor.id())
    }

    /// Makes the result of an operation a tensor, and notes its way back if a gradient is asked for
    /// one of its operands.
    fn record(
        &self,
        operands: &[&Tensor],
        values: Vec<f32>,
        shape: impl Into<Shape>,
        backward: impl FnOnce(Vec<f32>, &mut Gradients) -> Result<()> + 'static,
    ) -> Result<Tensor> {
        let result = Tensor::from_vec(values, shape, &Device::Cpu)?;
        self.note(operands, &result, backward);
        Ok(result)
    }

    fn note(
        &self,
        operands: &[&Tensor],
        result: &Tensor,
        backward: impl FnOnce(Vec<f32>, &mut Gradients) -> Result<()> + 'static,
    ) {
        if operands.iter().any(|operand| self.tracks(operand)) {
            self.tracked.borrow_mut().insert(result.id());
            self.nodes.borrow_mut().push((result.id(), Box::new(backward)));
        }
    }

    /// The same values in another shape.
    pub(crate) fn reshape(&self, x: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
        let result = x.reshape(shape.into())?;
        let x = x.clone();
        self.note(&[&x.clone()], &result, move |dy, gradients| {
            gradients.add(&x, dy);
            Ok(())
        });
        Ok(result)
    }

    /// `x + factor * branch` with a factor a sample: the first dimension.
    pub(crate) fn add_scaled(
        &self,
        x: &Tensor,
        branch: &Tensor,
        factors: Vec<f32>,
    ) -> Result<Tensor> {
        if x.shape() != branch.shape() || factors.len() != x.dim(0)? {
            bail!("{:?} and {:?} with {} factors", x.shape(), branch.shape(), factors.len());
        }
        let sample = x.elem_count() / factors.len().max(1);
        let mut sums = with_values(x, <[f32]>::to_vec)?;
        with_values(branch, |branch| {
            sums.par_chunks_mut(sample.max(1)).enumerate().for_each(|(index, sums)| {
                let branch = &branch[index * sample..];
                let factor = factors[index];
                sums.iter_mut().zip(branch).for_each(|(sum, value)| *sum += factor * value);
            });
        })?;
        let (x, branch) = (x.clone(), branch.clone());
        self.record(
            &[&x.clone(), &branch.clone()],
            sums,
            x.shape().clone(),
            move |dy, gradients| {
                let mut scaled = dy.clone();
                scaled.par_chunks_mut(sample.max(1)).zip(&factors).for_each(|(values, factor)| {
                    values.iter_mut().for_each(|value| *value *= factor);
                });
                gradients.add(&branch, scaled);
                gradients.add(&x, dy);
                Ok(())
            },
        )
    }

    /// Goes the way back from gradients for results, to those for the variables.
    pub(crate) fn backward(self, results: Vec<(Tensor, Vec<f32>)>) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        for (tensor, gradient) in results {
            if gradient.len() != tensor.elem_count() {
                bail!("{} gradients for a result {:?}", gradient.len(), tensor.shape());
            }
            gradients.add(&tensor, gradient);
        }
        for (result, backward) in self.nodes.into_inner().into_iter().rev() {
            // What leads to no gradient needs no way back.
            if let Some(gradient) = gradients.0.remove(&result) {
                backward(gradient, &mut gradients)?;
            }
        }
        Ok(gradients)
    }
}

/// Calls `run` with the values of a contiguous f32 tensor on the CPU.
pub(crate) fn with_values<T>(tensor: &Tensor, run: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        bail!("a recorded operation needs contiguous tensors on the CPU");
    };
    Ok(run(&storage.as_slice()?[start..end]))
}
