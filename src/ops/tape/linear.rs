//! Linear layers, activations, and the two that make an MLP.

use candle_core::Tensor;

use super::{Gradients, Operands, Tape, Tracked, values};
use crate::cpu::backward::{
    self, activate_backward, column_sums, linear_forward, linear_input_gradient,
    linear_weight_gradient,
};
use crate::cpu::{Activation, Epilogue, Int8Linear};
use crate::error::Result;
use crate::ops::LinearParameters;

/// A layer, and what its products multiply.
struct Layer {
    parameters: LinearParameters<Tensor>,
    operands: Operands,
}

impl Layer {
    fn forward(&self, x: &[f32], residual: Option<&Tracked>) -> Result<Vec<f32>> {
        let LinearParameters { weight, bias, out_dim, .. } = &self.parameters;
        let bias = bias.as_ref().map(values).transpose()?;
        let residual = residual.map_or(Epilogue::Store, |other| Epilogue::Add(other.values()));
        let x = self.operands.input(
            x,
            self.parameters.in_dim,
            Int8Linear::scale_group(self.parameters.in_dim),
        );
        self.operands.with_weight(weight, *out_dim, |weight| {
            let products = self.operands.products;
            linear_forward(products, &x, weight, *out_dim, bias.as_deref(), residual)
        })
    }

    fn is_tracked(&self) -> bool {
        let LinearParameters { weight, bias, .. } = &self.parameters;
        weight.is_variable() || bias.as_ref().is_some_and(|bias| bias.is_variable())
    }

    /// Adds the gradients for the parameters.
    fn parameters_backward(&self, x: &[f32], dy: &[f32], gradients: &mut Gradients) {
        let LinearParameters { weight, bias, in_dim, out_dim } = &self.parameters;
        if weight.is_variable() {
            let x = self.operands.input(x, *in_dim, Int8Linear::scale_group(*in_dim));
            let products = self.operands.products;
            let gradient = linear_weight_gradient(products, &x, dy, *in_dim, *out_dim);
            gradients.add_parameter(weight, gradient);
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.is_variable()) {
            gradients.add_parameter(bias, column_sums(dy, *out_dim));
        }
    }

    fn input_backward(&self, dy: &[f32], other: Option<&[f32]>) -> Result<Vec<f32>> {
        let LinearParameters { weight, out_dim, .. } = &self.parameters;
        self.operands.with_weight(weight, *out_dim, |weight| {
            linear_input_gradient(self.operands.products, dy, weight, *out_dim, other)
        })
    }
}

/// `x W^T + b`, plus `residual` if there is one.
pub(super) fn linear(
    tape: &Tape,
    operands: Operands,
    layer: &LinearParameters<Tensor>,
    x: &Tracked,
    residual: Option<&Tracked>,
) -> Result<Tracked> {
    x.check("linear", x.rows(), layer.in_dim)?;
    if let Some(residual) = residual {
        residual.check("linear's residual", x.rows(), layer.out_dim)?;
    }
    let out_dim = layer.out_dim;
    let layer = Layer { parameters: layer.clone(), operands };
    let y = layer.forward(x.values(), residual)?;
    let tracked = x.is_tracked() || layer.is_tracked() || residual.is_some_and(Tracked::is_tracked);
    let (x, residual) = (x.clone(), residual.cloned());
    Ok(tape.record(tracked, y, out_dim, move |dy, gradients| {
        layer.parameters_backward(x.values(), &dy, gradients);
        if x.is_tracked() {
            let so_far = gradients.take(&x);
            gradients.add(&x, layer.input_backward(&dy, so_far.as_deref())?);
        }
        if let Some(residual) = &residual {
            gradients.add(residual, dy);
        }
        Ok(())
    }))
}

/// A function of every value.
pub(super) fn activate(tape: &Tape, activation: Activation, x: &Tracked) -> Tracked {
    let y = backward::activate(activation, x.values());
    let x = x.clone();
    tape.record(x.is_tracked(), y, x.channels, move |mut dy, gradients| {
        activate_backward(activation, x.values(), &mut dy);
        gradients.add(&x, dy);
        Ok(())
    })
}

/// `fc2(activation(fc1(x)))`, plus `residual` if there is one.
pub(super) fn mlp(
    tape: &Tape,
    operands: Operands,
    fc1: &LinearParameters<Tensor>,
    activation: Activation,
    fc2: &LinearParameters<Tensor>,
    x: &Tracked,
    residual: Option<&Tracked>,
) -> Result<Tracked> {
    x.check("mlp", x.rows(), fc1.in_dim)?;
    if let Some(residual) = residual {
        residual.check("mlp's residual", x.rows(), fc2.out_dim)?;
    }
    let out_dim = fc2.out_dim;
    let layer = |of: &LinearParameters<Tensor>| Layer { parameters: of.clone(), operands };
    let (fc1, fc2) = (layer(fc1), layer(fc2));
    let hidden = fc1.forward(x.values(), None)?;
    let activated = backward::activate(activation, &hidden);
    let y = fc2.forward(&activated, residual)?;
    drop(activated);
    let parameters = fc1.is_tracked() || fc2.is_tracked();
    let tracked = parameters || x.is_tracked() || residual.is_some_and(Tracked::is_tracked);
    let (x, residual) = (x.clone(), residual.cloned());
    Ok(tape.record(tracked, y, out_dim, move |dy, gradients| {
        let mut d_hidden = fc2.input_backward(&dy, None)?;
        let activated = activate_backward(activation, &hidden, &mut d_hidden);
        drop(hidden);
        fc2.parameters_backward(&activated, &dy, gradients);
        drop(activated);
        fc1.parameters_backward(x.values(), &d_hidden, gradients);
        // The residual may be `x` itself: its part comes first, to be added to in the product.
        if let Some(residual) = &residual {
            gradients.add(residual, dy);
        }
        if x.is_tracked() {
            let so_far = gradients.take(&x);
            gradients.add(&x, fc1.input_backward(&d_hidden, so_far.as_deref())?);
        }
        Ok(())
    }))
}
