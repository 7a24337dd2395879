//! A teacher's help: its distributions as targets.

use candle_core::{D, DType, Result, Tensor};

use crate::ops::candle::log_softmax;

/// The Kullback-Leibler divergence from the teacher's distributions to the student's, averaged over
/// all time steps; both logits are `[batch, time, class]`. Temperatures above 1 soften both; the
/// result is multiplied by the temperature's square, so that gradients keep their size (Hinton et
/// al., "Distilling the Knowledge in a Neural Network").
///
/// No gradient goes to the teacher.
///
/// # Errors
/// If shapes differ or the device fails.
pub fn distillation_loss(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let soften = |logits: &Tensor| log_softmax(&(logits.to_dtype(DType::F32)? / temperature)?);
    let teacher = soften(&teacher.detach())?;
    let student = soften(student)?;
    let divergence = (teacher.exp()? * (teacher - student)?)?.sum(D::Minus1)?;
    divergence.mean_all()? * (temperature * temperature)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn divergence_and_its_gradient() {
        let student = Var::new(&[[[0.0f32, 1.0], [2.0, 0.0]]], &Device::Cpu).unwrap();
        let teacher = Tensor::new(&[[[1.0f32, 1.0], [2.0, 0.0]]], &Device::Cpu).unwrap();
        let loss = distillation_loss(&student, &teacher, 1.0).unwrap();
        let q = 1.0 / (1.0 + std::f64::consts::E);
        let expected = 0.5 * (0.5 * (0.5f64 / q).ln() + 0.5 * (0.5 / (1.0 - q)).ln());
        let found = f64::from(loss.to_vec0::<f32>().unwrap());
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        // softmax(student) - softmax(teacher), over two steps.
        let gradient = loss.backward().unwrap().get(&student).unwrap().to_vec3::<f32>().unwrap();
        assert!((f64::from(gradient[0][0][0]) - (q - 0.5) / 2.0).abs() < 1e-6);
        assert!(gradient[0][1].iter().all(|g| g.abs() < 1e-6));
        let same = distillation_loss(&student, &student, 3.0).unwrap();
        assert!(same.to_vec0::<f32>().unwrap().abs() < 1e-6);
    }
}
