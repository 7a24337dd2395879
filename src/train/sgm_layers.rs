//! Layers of the semantic guidance module: candle follows the gradients, on a CPU in f32 through
//! the CPU operations and their gradients.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use crate::cpu::backward::{
    Products, column_sums, layer_norm_backward, linear_forward, linear_input_gradient,
    linear_weight_gradient,
};
use crate::cpu::{self, Epilogue};
use crate::ops::tape::with_values;
use crate::ops::{LayerNormParameters, LinearParameters, candle};

/// `x W^T + b` over the last dimension.
pub(super) fn linear(layer: &LinearParameters<Tensor>, x: &Tensor) -> Result<Tensor> {
    let &LinearParameters { ref weight, ref bias, in_dim, out_dim } = layer;
    let mut shape = x.dims().to_vec();
    match shape.last_mut() {
        Some(last) if *last == in_dim => *last = out_dim,
        _ => bail!("a linear layer {in_dim} -> {out_dim} of {shape:?}"),
    }
    let Some(bias) = bias.as_ref().filter(|bias| on_cpu([x, weight, bias])) else {
        return candle::linear(layer, x);
    };
    let products = Products::f32();
    let forward = move |x: &[f32], weight: &[f32], bias: &[f32]| {
        linear_forward(products, x, weight, out_dim, Some(bias), Epilogue::Store)
    };
    let backward = move |x: &[f32], weight: &[f32], dy: &[f32]| {
        [
            linear_input_gradient(products, dy, weight, out_dim, None),
            linear_weight_gradient(products, x, dy, in_dim, out_dim),
            column_sums(dy, out_dim),
        ]
    };
    let op = Differentiable { name: "linear", shape: shape.into(), forward, backward };
    x.contiguous()?.apply_op3(weight, bias, op)
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension.
pub(super) fn layer_norm(layer: &LayerNormParameters<Tensor>, x: &Tensor) -> Result<Tensor> {
    let LayerNormParameters { weight, bias, eps } = layer;
    let dim = weight.elem_count();
    if x.dims().last() != Some(&dim) {
        bail!("a layer norm of {dim} over {:?}", x.shape());
    }
    if !on_cpu([x, weight, bias]) {
        return candle::layer_norm(layer, x);
    }
    let eps = *eps as f32;
    let forward =
        move |x: &[f32], weight: &[f32], bias: &[f32]| cpu::layer_norm(x, weight, bias, eps);
    let backward = move |x: &[f32], weight: &[f32], dy: &[f32]| {
        let found = layer_norm_backward(x, weight, eps, dy);
        [found.input, found.weight, found.bias]
    };
    let op = Differentiable { name: "layer_norm", shape: x.shape().clone(), forward, backward };
    x.contiguous()?.apply_op3(weight, bias, op)
}

/// Whether the CPU operations can compute with these tensors.
fn on_cpu(tensors: [&Tensor; 3]) -> bool {
    tensors.iter().all(|x| x.device().is_cpu() && x.dtype() == DType::F32)
}

/// A layer's forward pass of the values of `x`, a weight and a bias; its backward pass, which gives
/// the gradients for the three from `x`, the weight and the result's gradient; and the shape of its
/// result.
struct Differentiable<F, B> {
    name: &'static str,
    shape: Shape,
    forward: F,
    backward: B,
}

impl<F, B> CustomOp3 for Differentiable<F, B>
where
    F: Fn(&[f32], &[f32], &[f32]) -> Vec<f32>,
    B: Fn(&[f32], &[f32], &[f32]) -> [Vec<f32>; 3],
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (values(x, x_layout)?, values(weight, weight_layout)?);
        let y = (self.forward)(x, weight, values(bias, bias_layout)?);
        if y.len() != self.shape.elem_count() {
            bail!("{} gave {} values for the shape {:?}", self.name, y.len(), self.shape);
        }
        Ok((CpuStorage::F32(y), self.shape.clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let [of_x, of_weight, of_bias] = with_values(&dy, |dy| {
            with_values(x, |x| with_values(weight, |weight| (self.backward)(x, weight, dy)))
        })???;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), x.device());
        Ok((Some(tensor(of_x, x)?), Some(tensor(of_weight, weight)?), Some(tensor(of_bias, bias)?)))
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice()?[start..end]),
        None => bail!("an operand is not contiguous"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn random(shape: &[usize]) -> Var {
        Var::rand(-1f32, 1f32, shape, &Device::Cpu).unwrap()
    }

    fn assert_same(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.dims(), expected.dims());
        let difference = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        for difference in difference.to_vec1::<f32>().unwrap() {
            assert!(difference < 1e-5, "they differ by {difference}");
        }
    }

    /// Both results and their gradients for `vars` are the same.
    fn check(fast: Tensor, plain: Tensor, vars: [&Var; 3]) {
        assert_same(&fast, &plain);
        let dy = random(plain.dims());
        let [fast, plain] =
            [fast, plain].map(|y| (y * dy.as_tensor()).unwrap().backward().unwrap());
        for var in vars {
            assert_same(fast.get(var).unwrap(), plain.get(var).unwrap());
        }
    }

    #[test]
    fn equal_candles_own() {
        let (in_dim, out_dim) = (24, 40);
        let (x, weight, bias) = (random(&[3, 5, 24]), random(&[40, 24]), random(&[40]));
        let (w, b) = (weight.as_tensor().clone(), bias.as_tensor().clone());
        let layer = LinearParameters { weight: w, bias: Some(b), in_dim, out_dim };
        let vars = [&x, &weight, &bias];
        check(linear(&layer, &x).unwrap(), candle::linear(&layer, &x).unwrap(), vars);
        assert!(linear(&layer, &random(&[2, 3])).is_err());

        let (weight, bias) = (random(&[24]), random(&[24]));
        let (w, b) = (weight.as_tensor().clone(), bias.as_tensor().clone());
        let layer = LayerNormParameters { weight: w, bias: b, eps: 1e-6 };
        let vars = [&x, &weight, &bias];
        check(layer_norm(&layer, &x).unwrap(), candle::layer_norm(&layer, &x).unwrap(), vars);
        assert!(layer_norm(&layer, &random(&[2, 3])).is_err());
    }
}
