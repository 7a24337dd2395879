//! Kernels as operations of the tensor library, without a backward pass.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

/// A kernel of one operand, and the shape of its result.
struct Unary<F> {
    name: &'static str,
    shape: Shape,
    kernel: F,
}

/// `kernel` of the values of `x`, as a tensor of the given shape.
pub(super) fn unary(
    name: &'static str,
    x: &Tensor,
    shape: impl Into<Shape>,
    kernel: impl Fn(&[f32]) -> Vec<f32>,
) -> Result<Tensor> {
    check(name, x)?;
    x.contiguous()?.apply_op1_no_bwd(&Unary { name, shape: shape.into(), kernel })
}

/// `kernel` of the values of `a` and `b`, as a tensor of the given shape.
pub(super) fn binary(
    name: &'static str,
    a: &Tensor,
    b: &Tensor,
    shape: impl Into<Shape>,
    kernel: impl Fn(&[f32], &[f32]) -> Vec<f32>,
) -> Result<Tensor> {
    check(name, a)?;
    check(name, b)?;
    let op = Binary { name, shape: shape.into(), kernel };
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &op)
}

fn check(name: &str, x: &Tensor) -> Result<()> {
    if x.dtype() != DType::F32 || !x.device().is_cpu() {
        bail!("{name} runs in F32 on the CPU, not in {:?} on {:?}", x.dtype(), x.device());
    }
    Ok(())
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice()?[start..end]),
        None => bail!("a kernel's operand is not contiguous"),
    }
}

fn result(name: &str, values: Vec<f32>, shape: &Shape) -> Result<(CpuStorage, Shape)> {
    if values.len() != shape.elem_count() {
        bail!("{name} gave {} values for the shape {shape:?}", values.len());
    }
    Ok((CpuStorage::F32(values), shape.clone()))
}

impl<F: Fn(&[f32]) -> Vec<f32>> CustomOp1 for Unary<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        result(self.name, (self.kernel)(values(storage, layout)?), &self.shape)
    }
}

/// A kernel of two operands, and the shape of its result.
struct Binary<F> {
    name: &'static str,
    shape: Shape,
    kernel: F,
}

impl<F: Fn(&[f32], &[f32]) -> Vec<f32>> CustomOp2 for Binary<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (values(a, a_layout)?, values(b, b_layout)?);
        result(self.name, (self.kernel)(a, b), &self.shape)
    }
}
