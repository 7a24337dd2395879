//! Kernels as operations of the tensor library: for inference without a backward pass, for
//! losses with one.

#[cfg(feature = "train")]
use candle_core::CustomOp3;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

#[cfg(feature = "train")]
use crate::model::tape::with_values;

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

/// A layer's kernel, its way back, and the shape of its result.
#[cfg(feature = "train")]
struct Differentiable<F, B> {
    name: &'static str,
    shape: Shape,
    forward: F,
    backward: B,
}

/// `forward` of the values of `x`, a weight and a bias, as a tensor of the given shape; `backward`
/// gives the gradients for the three, from `x`, the weight and the result's gradient. `None` if
/// kernels cannot compute with these tensors.
#[cfg(feature = "train")]
pub(super) fn differentiable<F, B>(
    name: &'static str,
    [x, weight, bias]: [&Tensor; 3],
    shape: impl Into<Shape>,
    forward: F,
    backward: B,
) -> Option<Result<Tensor>>
where
    F: Fn(&[f32], &[f32], &[f32]) -> Vec<f32> + Send + Sync + 'static,
    B: Fn(&[f32], &[f32], &[f32]) -> [Vec<f32>; 3] + Send + Sync + 'static,
{
    let fit = |x: &&Tensor| x.device().is_cpu() && x.dtype() == DType::F32;
    if ![x, weight, bias].iter().all(fit) {
        return None;
    }
    let op = Differentiable { name, shape: shape.into(), forward, backward };
    Some(x.contiguous().and_then(|x| x.apply_op3(weight, bias, op)))
}

#[cfg(feature = "train")]
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
        result(self.name, (self.forward)(x, weight, values(bias, bias_layout)?), &self.shape)
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

#[cfg(all(test, feature = "train"))]
mod tests {
    use candle_core::{Device, Var};
    use candle_nn::VarMap;

    use super::*;
    use crate::model::layers::{Backend, Builder, LayerNorm, Linear};
    use crate::model::pass::Pass;

    fn assert_same(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.dims(), expected.dims());
        let largest = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        let largest = largest.max(0).unwrap().to_vec0::<f32>().unwrap();
        assert!(largest < 1e-4, "they differ by {largest}");
    }

    #[test]
    fn differentiable_layers_equal_the_plain_ones() {
        let random = |shape: &[usize]| Var::rand(-1f32, 1f32, shape, &Device::Cpu).unwrap();
        let map = VarMap::new();
        let vb = candle_nn::VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        let builder = Builder::new(vb, Backend::Tensors);
        let linear = Linear::new(24, 40, &builder.pp("linear")).unwrap();
        let norm = LayerNorm::new(24, 1e-6, &builder.pp("norm")).unwrap();
        for var in map.all_vars() {
            var.set(&random(var.dims())).unwrap();
        }
        let x = random(&[3, 5, 24]);
        let check = |fast: Tensor, plain: Tensor, name: &str| {
            assert_same(&fast, &plain);
            let dy = random(plain.dims());
            let [fast, plain] =
                [fast, plain].map(|y| (y * dy.as_tensor()).unwrap().backward().unwrap());
            assert_same(fast.get(&x).unwrap(), plain.get(&x).unwrap());
            let vars = map.data().lock().unwrap();
            let parameters = vars.iter().filter(|(key, _)| key.starts_with(name));
            assert_eq!(parameters.clone().count(), 2);
            for (_, var) in parameters {
                assert_same(fast.get(var).unwrap(), plain.get(var).unwrap());
            }
        };
        let found = linear.forward_differentiable(&x).unwrap();
        check(found, linear.forward(&x, Pass::INFERENCE).unwrap(), "linear");
        let found = norm.forward_differentiable(&x).unwrap();
        check(found, norm.forward(&x, Pass::INFERENCE).unwrap(), "norm");

        let narrow = random(&[2, 3]);
        assert!(linear.forward_differentiable(&narrow).is_err());
        assert!(norm.forward_differentiable(&narrow).is_err());
    }
}
