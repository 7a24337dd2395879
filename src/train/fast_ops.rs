//! Linear layers and layer norms as operations of the tensor library that compute with this crate's
//! kernels, forwards and backwards: for what is written in differentiable tensors on a CPU.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};

use crate::kernels::backward::{
    column_sums, layer_norm_backward, linear_input_gradient, linear_weight_gradient,
};
use crate::kernels::{self, Epilogue};
use crate::model::with_values;

/// Whether the kernels can compute with these.
fn on_kernels(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|x| x.device().is_cpu() && x.dtype() == DType::F32)
}

/// `x W^T + b` over the last dimension, for a weight `[out, in]` and a bias `[out]`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if on_kernels(&[x, weight, bias]) {
        return x.contiguous()?.apply_op3(weight, bias, Linear);
    }
    plain_linear(x, weight, bias)
}

fn plain_linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let (out_dim, in_dim) = weight.dims2()?;
    let y = x.reshape(((), in_dim))?.matmul(&weight.t()?)?.broadcast_add(bias)?;
    if let Some(last) = shape.last_mut() {
        *last = out_dim;
    }
    y.reshape(shape)
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension.
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if on_kernels(&[x, weight, bias]) {
        return x.contiguous()?.apply_op3(weight, bias, LayerNorm { eps: eps as f32 });
    }
    plain_layer_norm(x, weight, bias, eps)
}

fn plain_layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normed.broadcast_mul(weight)?.broadcast_add(bias)
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice()?[start..end]),
        None => bail!("an operand is not contiguous"),
    }
}

/// Gradients of three operands.
type Three = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (out_dim, in_dim) = weight_layout.shape().dims2()?;
        let mut shape = x_layout.shape().dims().to_vec();
        if shape.last() != Some(&in_dim) || bias_layout.shape().dims() != [out_dim] {
            bail!("a linear layer {in_dim} -> {out_dim} of {shape:?}");
        }
        if let Some(last) = shape.last_mut() {
            *last = out_dim;
        }
        let bias = slice(bias, bias_layout)?;
        let packed = kernels::pack_linear(slice(weight, weight_layout)?, out_dim, Some(bias));
        let y = kernels::linear(slice(x, x_layout)?, &packed, Epilogue::Store);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<Three> {
        let (out_dim, in_dim) = weight.dims2()?;
        let dy = dy.contiguous()?;
        with_values(&dy, |dy| {
            let of_x =
                with_values(weight, |weight| linear_input_gradient(dy, weight, out_dim, None))?;
            let of_weight = with_values(x, |x| linear_weight_gradient(x, dy, in_dim, out_dim))?;
            Ok((
                Some(Tensor::from_vec(of_x, x.shape(), x.device())?),
                Some(Tensor::from_vec(of_weight, weight.shape(), x.device())?),
                Some(Tensor::from_vec(column_sums(dy, out_dim), bias.shape(), x.device())?),
            ))
        })?
    }
}

struct LayerNorm {
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
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
        let dim = weight_layout.shape().elem_count();
        let shape = x_layout.shape();
        if shape.dims().last() != Some(&dim) || bias_layout.shape().elem_count() != dim {
            bail!("a layer norm of {dim} over {shape:?}");
        }
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let y = kernels::layer_norm(slice(x, x_layout)?, weight, bias, self.eps);
        Ok((CpuStorage::F32(y), shape.clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<Three> {
        let dy = dy.contiguous()?;
        let found = with_values(&dy, |dy| {
            with_values(x, |x| {
                with_values(weight, |weight| layer_norm_backward(x, weight, self.eps, dy))
            })
        })???;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), x.device());
        Ok((
            Some(tensor(found.input, x)?),
            Some(tensor(found.weight, weight)?),
            Some(tensor(found.bias, bias)?),
        ))
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
        let largest = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        let largest = largest.max(0).unwrap().to_vec0::<f32>().unwrap();
        assert!(largest < 1e-4, "they differ by {largest}");
    }

    #[test]
    fn equal_to_the_plain_versions() {
        let x = random(&[3, 5, 24]);
        let dy = random(&[3, 5, 24]);
        let check = |run: &dyn Fn(bool) -> Tensor, operands: &[&Var]| {
            let [fast, plain] = [true, false].map(|fast| {
                let y = run(fast);
                let loss = (&y * dy.as_tensor()).unwrap().sum_all().unwrap();
                (y, loss.backward().unwrap())
            });
            assert_same(&fast.0, &plain.0);
            for operand in operands {
                assert_same(fast.1.get(operand).unwrap(), plain.1.get(operand).unwrap());
            }
        };
        let (weight, bias) = (random(&[24, 24]), random(&[24]));
        let run = |fast| {
            let linear = if fast { linear } else { plain_linear };
            linear(&x, &weight, &bias).unwrap()
        };
        check(&run, &[&x, &weight, &bias]);
        let (weight, bias) = (random(&[24]), random(&[24]));
        let run = |fast| {
            let layer_norm = if fast { layer_norm } else { plain_layer_norm };
            layer_norm(&x, &weight, &bias, 1e-6).unwrap()
        };
        check(&run, &[&x, &weight, &bias]);
    }

    #[test]
    fn shapes_that_do_not_fit() {
        let (x, weight, bias) = (random(&[2, 3]), random(&[5, 4]), random(&[5]));
        assert!(linear(&x, &weight, &bias).is_err());
        assert!(layer_norm(&x, &bias, &bias, 1e-6).is_err());
    }
}
