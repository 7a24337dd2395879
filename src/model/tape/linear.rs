//! Linear layers, GELU, and the two that make an MLP.

use candle_core::{Result, Tensor};

use super::{Gradients, Tape, with_values};
use crate::cpu::backward::{
    self, column_sums, gelu_backward, linear_input_gradient, linear_weight_gradient,
};
use crate::cpu::{self, Epilogue};

/// Weight `[out, in]` and bias `[out]` of a linear layer.
#[derive(Clone)]
struct Layer {
    weight: Tensor,
    bias: Option<Tensor>,
    in_dim: usize,
    out_dim: usize,
}

impl Layer {
    fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (out_dim, in_dim) = weight.dims2()?;
        Ok(Layer { weight: weight.clone(), bias: bias.cloned(), in_dim, out_dim })
    }

    fn forward(&self, x: &[f32], epilogue: Epilogue) -> Result<Vec<f32>> {
        let bias = match &self.bias {
            Some(bias) => Some(with_values(bias, <[f32]>::to_vec)?),
            None => None,
        };
        with_values(&self.weight, |weight| {
            let packed = cpu::pack_linear(weight, self.out_dim, bias.as_deref());
            cpu::linear(x, &packed, epilogue)
        })
    }

    /// Adds the gradients for the parameters.
    fn parameters_backward(
        &self,
        tracked: Tracked,
        x: &[f32],
        dy: &[f32],
        gradients: &mut Gradients,
    ) {
        if tracked.weight {
            let gradient = linear_weight_gradient(x, dy, self.in_dim, self.out_dim);
            gradients.add(&self.weight, gradient);
        }
        if let (true, Some(bias)) = (tracked.bias, &self.bias) {
            gradients.add(bias, column_sums(dy, self.out_dim));
        }
    }

    fn input_backward(&self, dy: &[f32], other: Option<&[f32]>) -> Result<Vec<f32>> {
        with_values(&self.weight, |weight| linear_input_gradient(dy, weight, self.out_dim, other))
    }

    fn tracked(&self, tape: &Tape) -> Tracked {
        Tracked {
            weight: tape.tracks(&self.weight),
            bias: self.bias.as_ref().is_some_and(|bias| tape.tracks(bias)),
        }
    }

    fn operands<'a>(&'a self, x: &'a Tensor) -> Vec<&'a Tensor> {
        [x, &self.weight].into_iter().chain(&self.bias).collect()
    }
}

#[derive(Clone, Copy)]
struct Tracked {
    weight: bool,
    bias: bool,
}

/// `x W^T + b` over the last dimension, plus `residual` if there is one.
pub(crate) fn linear(
    tape: &Tape,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let layer = Layer::new(weight, bias)?;
    let y = with_values(x, |x| match residual {
        None => layer.forward(x, Epilogue::Store),
        Some(residual) => {
            with_values(residual, |residual| layer.forward(x, Epilogue::Add(residual)))?
        }
    })??;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = layer.out_dim;
    }
    let tracked = layer.tracked(tape);
    let of_x = tape.tracks(x);
    let (x, residual) = (x.clone(), residual.cloned());
    let mut operands = layer.operands(&x);
    operands.extend(&residual);
    let operands: Vec<Tensor> = operands.into_iter().cloned().collect();
    let operands: Vec<&Tensor> = operands.iter().collect();
    tape.record(&operands, y, shape, move |dy, gradients| {
        with_values(&x, |x| layer.parameters_backward(tracked, x, &dy, gradients))?;
        if of_x {
            let so_far = gradients.take(&x);
            gradients.add(&x, layer.input_backward(&dy, so_far.as_deref())?);
        }
        if let Some(residual) = &residual {
            gradients.add(residual, dy);
        }
        Ok(())
    })
}

/// The exact GELU.
pub(crate) fn gelu(tape: &Tape, x: &Tensor) -> Result<Tensor> {
    let y = with_values(x, backward::gelu)?;
    let x = x.clone();
    tape.record(&[&x.clone()], y, x.shape().clone(), move |mut dy, gradients| {
        with_values(&x, |x| gelu_backward(x, &mut dy))?;
        gradients.add(&x, dy);
        Ok(())
    })
}

/// `fc2(gelu(fc1(x)))`, plus `residual` if there is one. Each layer is a weight and a bias.
pub(crate) fn mlp(
    tape: &Tape,
    x: &Tensor,
    fc1: (&Tensor, Option<&Tensor>),
    fc2: (&Tensor, Option<&Tensor>),
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let (fc1, fc2) = (Layer::new(fc1.0, fc1.1)?, Layer::new(fc2.0, fc2.1)?);
    let hidden = with_values(x, |x| fc1.forward(x, Epilogue::Store))??;
    let activated = backward::gelu(&hidden);
    let y = match residual {
        None => fc2.forward(&activated, Epilogue::Store),
        Some(residual) => {
            with_values(residual, |residual| fc2.forward(&activated, Epilogue::Add(residual)))?
        }
    }?;
    drop(activated);
    let (tracked1, tracked2) = (fc1.tracked(tape), fc2.tracked(tape));
    let of_x = tape.tracks(x);
    let (x, residual) = (x.clone(), residual.cloned());
    let parameters = [fc1.operands(&x), fc2.operands(&x)].concat();
    let operands: Vec<Tensor> = parameters.into_iter().chain(&residual).cloned().collect();
    let operands: Vec<&Tensor> = operands.iter().collect();
    tape.record(&operands, y, x.shape().clone(), move |dy, gradients| {
        let mut d_hidden = fc2.input_backward(&dy, None)?;
        let activated = gelu_backward(&hidden, &mut d_hidden);
        drop(hidden);
        fc2.parameters_backward(tracked2, &activated, &dy, gradients);
        drop(activated);
        with_values(&x, |x| fc1.parameters_backward(tracked1, x, &d_hidden, gradients))?;
        let dy = match &residual {
            Some(residual) if residual.id() != x.id() => {
                gradients.add(residual, dy);
                None
            }
            other => other.as_ref().map(|_| dy),
        };
        if of_x {
            if let Some(dy) = dy {
                gradients.add(&x, dy);
            }
            let so_far = gradients.take(&x);
            gradients.add(&x, fc1.input_backward(&d_hidden, so_far.as_deref())?);
        }
        Ok(())
    })
}
