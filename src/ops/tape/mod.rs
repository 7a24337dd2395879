//! Training on a CPU: the CPU operations, with hand-written gradients.
//!
//! A [`Tape`] records each operation of a pass as it runs, and then runs the backward pass. It
//! stands in for candle's differentiable operations, whose gradients take several times longer on
//! a CPU. Parameters are candle's: variables get a gradient, other tensors get none.

mod attention;
mod conv;
mod linear;
mod norm;
mod pool;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::{Storage, Tensor, TensorId, bail};

use super::candle::{Tensors, TrainingContext};
use super::{
    Activation, BatchNormParameters, ConvParameters, Epilogue, Grid, LayerNormParameters,
    LinearParameters, Ops, SqueezeExciteParameters, VerticalAttentionParameters,
};
use crate::cpu;
use crate::cpu::backward::Products;
use crate::error::{ComputeError, Result};

/// The backward pass of an operation: takes the gradient for its result, adds those for its
/// operands.
type Backward = Box<dyn FnOnce(Vec<f32>, &mut Gradients) -> Result<()>>;

/// The operations of a pass, in order.
#[derive(Default)]
pub(crate) struct Tape {
    /// Of every operation whose result has a gradient; its index is the result's.
    nodes: RefCell<Vec<Backward>>,
}

/// Tokens `[rows, channels]` on a tape.
#[derive(Clone)]
pub(crate) struct Tracked {
    values: Arc<Vec<f32>>,
    channels: usize,
    /// The operation that it is the result of; `None` if no gradient is asked for.
    node: Option<usize>,
}

impl Tracked {
    /// Values that no gradient is asked for.
    pub(crate) fn constant(values: Vec<f32>, channels: usize) -> Self {
        Tracked { values: Arc::new(values), channels, node: None }
    }

    /// `[rows, channels]` in row-major order.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    fn rows(&self) -> usize {
        self.values.len().checked_div(self.channels).unwrap_or(0)
    }

    fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// Checks rows and channels.
    fn check(&self, operation: &'static str, rows: usize, channels: usize) -> Result<()> {
        if self.rows() == rows && self.channels == channels {
            return Ok(());
        }
        Err(ComputeError::operand(operation, [self.rows(), self.channels], [rows, channels]))
    }

    /// Checks that the rows make whole sequences.
    fn check_length(&self, operation: &'static str, length: usize) -> Result<()> {
        if length > 0 && self.rows().is_multiple_of(length) {
            return Ok(());
        }
        let found = [self.rows(), self.channels];
        Err(ComputeError::operand(operation, found, [length, self.channels]))
    }
}

/// Gradients of the results and parameters that have one so far.
#[derive(Default)]
pub(crate) struct Gradients {
    results: Vec<Option<Vec<f32>>>,
    parameters: HashMap<TensorId, Vec<f32>>,
}

impl Gradients {
    /// Adds to the gradient for a result, if one is asked for.
    fn add(&mut self, tensor: &Tracked, gradient: Vec<f32>) {
        let Some(slot) = tensor.node.and_then(|node| self.results.get_mut(node)) else {
            return;
        };
        match slot {
            Some(sum) => cpu::add(sum, &gradient),
            None => *slot = Some(gradient),
        }
    }

    /// Takes out the sum so far of a result's gradient.
    fn take(&mut self, tensor: &Tracked) -> Option<Vec<f32>> {
        self.results.get_mut(tensor.node?)?.take()
    }

    /// Adds to the gradient for a parameter.
    fn add_parameter(&mut self, parameter: &Tensor, gradient: Vec<f32>) {
        match self.parameters.entry(parameter.id()) {
            Entry::Vacant(entry) => {
                entry.insert(gradient);
            }
            Entry::Occupied(mut entry) => cpu::add(entry.get_mut(), &gradient),
        }
    }

    /// Takes out the gradient for a parameter.
    pub(crate) fn take_parameter(&mut self, parameter: &Tensor) -> Option<Vec<f32>> {
        self.parameters.remove(&parameter.id())
    }
}

impl Tape {
    /// Makes a tensor of the result of an operation. Records its backward pass if a gradient is
    /// asked for one of its operands (`tracked`).
    fn record(
        &self,
        tracked: bool,
        values: Vec<f32>,
        channels: usize,
        backward: impl FnOnce(Vec<f32>, &mut Gradients) -> Result<()> + 'static,
    ) -> Tracked {
        let node = tracked.then(|| {
            let mut nodes = self.nodes.borrow_mut();
            nodes.push(Box::new(backward));
            nodes.len() - 1
        });
        Tracked { values: Arc::new(values), channels, node }
    }

    /// `residual + factor * branch`, with a factor a sample.
    fn add_scaled(
        &self,
        residual: &Tracked,
        branch: &Tracked,
        factors: Vec<f32>,
    ) -> Result<Tracked> {
        branch.check("residual", residual.rows(), residual.channels)?;
        if factors.is_empty() {
            return Err(ComputeError::Unsupported("an empty batch").into());
        }
        branch.check_length("residual", residual.rows() / factors.len())?;
        let sums = cpu::add_scaled_samples(residual.values(), branch.values(), &factors);
        let tracked = residual.is_tracked() || branch.is_tracked();
        let channels = residual.channels;
        let (residual, branch) = (residual.clone(), branch.clone());
        Ok(self.record(tracked, sums, channels, move |dy, gradients| {
            gradients.add(&branch, cpu::scale_samples(&dy, &factors));
            gradients.add(&residual, dy);
            Ok(())
        }))
    }

    /// The backward pass from gradients for results to those for parameters.
    pub(crate) fn backward(self, results: Vec<(Tracked, Vec<f32>)>) -> Result<Gradients> {
        let nodes = self.nodes.into_inner();
        let mut gradients = Gradients::default();
        gradients.results.resize_with(nodes.len(), || None);
        for (result, gradient) in results {
            if gradient.len() != result.values.len() {
                let found = [gradient.len(), 1];
                let expected = [result.values.len(), 1];
                return Err(ComputeError::operand("the backward pass", found, expected));
            }
            gradients.add(&result, gradient);
        }
        for (node, backward) in nodes.into_iter().enumerate().rev() {
            // Without a gradient for its result an operation adds none for its operands.
            if let Some(gradient) = gradients.results[node].take() {
                backward(gradient, &mut gradients)?;
            }
        }
        Ok(gradients)
    }
}

/// Computes on a tape.
#[derive(Clone, Copy)]
pub(crate) struct Recording<'a> {
    pub tape: &'a Tape,
    /// What the products of linear layers and convolutions multiply.
    pub products: Products,
    /// Whether weights and inputs are rounded where int8 inference rounds them; gradients pass
    /// straight through (Bengio et al., 2013, arXiv 1308.3432).
    pub rounded: bool,
    pub context: &'a dyn TrainingContext,
}

/// What becomes of the operands of a product.
#[derive(Clone, Copy)]
struct Operands {
    products: Products,
    rounded: bool,
}

impl Operands {
    /// The input of a layer of rows of `k` numbers, which are rounded in groups.
    fn input<'a>(&self, x: &'a [f32], k: usize, group: usize) -> Cow<'a, [f32]> {
        if self.rounded { cpu::rounded_input(x, k, group).into() } else { x.into() }
    }

    /// Calls `run` with a weight of so many rows.
    fn with_weight<T>(
        &self,
        weight: &Tensor,
        rows: usize,
        run: impl FnOnce(&[f32]) -> T,
    ) -> Result<T> {
        Ok(with_values(weight, |weight| {
            if self.rounded { run(&cpu::rounded_weight(weight, rows)) } else { run(weight) }
        })?)
    }
}

impl Recording<'_> {
    fn operands(&self) -> Operands {
        Operands { products: self.products, rounded: self.rounded }
    }

    /// Runs `branch` with the residual to be added in the same operation (the epilogue's, unless
    /// stochastic depth scales the branch), and does what is left of the epilogue.
    fn with_epilogue(
        &self,
        epilogue: Epilogue<Tracked>,
        branch: impl FnOnce(Option<&Tracked>) -> Result<Tracked>,
    ) -> Result<Tracked> {
        match epilogue {
            Epilogue::Store => branch(None),
            Epilogue::Activate(activation) => {
                Ok(linear::activate(self.tape, activation, &branch(None)?))
            }
            Epilogue::Add { residual, depth } => match self.context.drop_path(depth) {
                None => branch(Some(residual)),
                Some(factors) => self.tape.add_scaled(residual, &branch(None)?, factors),
            },
        }
    }
}

impl Ops for Recording<'_> {
    type Layers = Tensors;
    type Tensor = Tracked;

    fn linear(
        &self,
        layer: &LinearParameters<Tensor>,
        x: &Tracked,
        epilogue: Epilogue<Tracked>,
    ) -> Result<Tracked> {
        self.with_epilogue(epilogue, |residual| {
            linear::linear(self.tape, self.operands(), layer, x, residual)
        })
    }

    fn mlp(
        &self,
        fc1: &LinearParameters<Tensor>,
        activation: Activation,
        fc2: &LinearParameters<Tensor>,
        x: &Tracked,
        residual: Option<&Tracked>,
        depth: f64,
    ) -> Result<Tracked> {
        let epilogue = Epilogue::add(residual, depth);
        self.with_epilogue(epilogue, |residual| {
            linear::mlp(self.tape, self.operands(), fc1, activation, fc2, x, residual)
        })
    }

    fn conv(
        &self,
        layer: &ConvParameters<Tensor>,
        x: &Tracked,
        grid: Grid,
        epilogue: Epilogue<Tracked>,
    ) -> Result<Tracked> {
        self.with_epilogue(epilogue, |residual| {
            conv::conv(self.tape, self.operands(), layer, x, grid, residual)
        })
    }

    fn attention(&self, qkv: &Tracked, heads: usize, length: usize) -> Result<Tracked> {
        attention::attention(self.tape, qkv, heads, length)
    }

    fn attention_with_map(&self, _: &Tracked, _: usize, _: Grid) -> Result<(Tracked, Tracked)> {
        Err(ComputeError::Unsupported("an attention map in training").into())
    }

    fn squeeze_excite(
        &self,
        layer: &SqueezeExciteParameters<Tensor>,
        x: Tracked,
        grid: Grid,
    ) -> Result<Tracked> {
        pool::squeeze_excite(self.tape, layer, &x, grid)
    }

    fn average_pool(&self, x: &Tracked, grid: Grid, window: (usize, usize)) -> Result<Tracked> {
        pool::average_pool(self.tape, x, grid, window)
    }

    fn max_pool(&self, x: &Tracked, grid: Grid, window: (usize, usize)) -> Result<Tracked> {
        pool::max_pool(self.tape, x, grid, window)
    }

    fn concat(&self, a: &Tracked, b: &Tracked) -> Result<Tracked> {
        pool::concat(self.tape, a, b)
    }

    fn add(&self, a: &Tracked, b: &Tracked) -> Result<Tracked> {
        pool::add(self.tape, a, b)
    }

    fn mean(&self, _: &Tracked, _: &[Tracked]) -> Result<Tracked> {
        Err(ComputeError::Unsupported("a mean of tensors in training").into())
    }

    fn layer_norm(&self, layer: &LayerNormParameters<Tensor>, x: &Tracked) -> Result<Tracked> {
        norm::layer_norm(self.tape, layer, x)
    }

    fn batch_norm_gelu(&self, layer: &BatchNormParameters<Tensor>, x: &Tracked) -> Result<Tracked> {
        let normed = norm::batch_norm(self.tape, layer, x, self.context)?;
        Ok(linear::activate(self.tape, Activation::Gelu, &normed))
    }

    fn vertical_attention(
        &self,
        layer: &VerticalAttentionParameters<Tensor>,
        x: &Tracked,
        grid: Grid,
    ) -> Result<Tracked> {
        // Int8 inference computes these in f32.
        let operands = Operands { rounded: false, ..self.operands() };
        let kv = linear::linear(self.tape, operands, &layer.key_value, x, None)?;
        let pooled = attention::vertical(self.tape, &layer.token, &kv, grid)?;
        linear::linear(self.tape, operands, &layer.classifier, &pooled, None)
    }
}

/// Calls `run` with the values of a contiguous f32 tensor on the CPU.
pub(crate) fn with_values<T>(
    tensor: &Tensor,
    run: impl FnOnce(&[f32]) -> T,
) -> candle_core::Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        bail!("an operation on a tape needs contiguous tensors on the CPU");
    };
    Ok(run(&storage.as_slice()?[start..end]))
}

/// The values of a parameter.
fn values(parameter: &Tensor) -> Result<Vec<f32>> {
    Ok(with_values(parameter, <[f32]>::to_vec)?)
}
