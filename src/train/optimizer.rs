//! AdamW.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, DType, Device, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail,
};
use rayon::prelude::*;

use super::parameter_scale::scales;
use super::{Gradients, Network};

/// Values of a task of the update.
const BLOCK: usize = 1 << 15;

/// Settings of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// How slowly the mean of the gradients moves, 0..1.
    pub beta1: f64,
    /// How slowly the mean of their squares moves, 0..1.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// The decay of parameters of two or more dimensions, as a share of the learning rate; vectors
    /// (biases and norms) do not decay.
    pub weight_decay: f64,
    /// Whether steps are relative to the size of a parameter's rows and columns: for networks whose
    /// batch norms are folded into weights of very different scales.
    pub relative: bool,
}

impl Default for AdamWOptions {
    /// The published ones: 0.9, 0.999, 1e-8 and a decay of 0.05, steps of one size.
    fn default() -> Self {
        AdamWOptions { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05, relative: false }
    }
}

/// AdamW with the published parameter groups (specification of the training, section 7): only what
/// has two or more dimensions decays.
#[derive(Debug, Clone)]
pub struct AdamW {
    options: AdamWOptions,
    pub(super) step: u64,
    pub(super) moments: BTreeMap<String, Moments>,
}

/// Means of a parameter's gradients and of their squares.
#[derive(Debug, Clone)]
pub(super) enum Moments {
    /// On the CPU.
    Host(Vec<f32>, Vec<f32>),
    /// On another device.
    Device(Tensor, Tensor),
}

impl AdamW {
    /// An optimiser that has not made a step.
    pub fn new(options: AdamWOptions) -> Self {
        AdamW { options, step: 0, moments: BTreeMap::new() }
    }

    /// All moments, to be saved.
    pub(super) fn host_moments(&self) -> Result<BTreeMap<String, (Tensor, Tensor)>> {
        let mut saved = BTreeMap::new();
        for (name, moments) in &self.moments {
            let pair = match moments {
                Moments::Host(mean, square) => {
                    let tensor = |x: &Vec<f32>| Tensor::new(x.as_slice(), &Device::Cpu);
                    (tensor(mean)?, tensor(square)?)
                }
                Moments::Device(mean, square) => (mean.clone(), square.clone()),
            };
            saved.insert(name.clone(), pair);
        }
        Ok(saved)
    }

    /// Goes on with saved moments.
    pub(super) fn restore(
        &mut self,
        step: u64,
        saved: BTreeMap<String, (Tensor, Tensor)>,
        network: &Network,
    ) -> Result<()> {
        self.step = step;
        self.moments.clear();
        for (name, (mean, square)) in saved {
            let Some(var) = network.variable(&name) else {
                bail!("there are moments of {name}, but no such parameter");
            };
            if mean.elem_count() != var.elem_count() || square.elem_count() != var.elem_count() {
                bail!("the moments of {name} have another size");
            }
            let moments = if var.device().is_cpu() && var.dtype() == DType::F32 {
                let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
                Moments::Host(values(&mean)?, values(&square)?)
            } else {
                let shaped = |x: &Tensor| x.reshape(var.shape())?.to_device(var.device());
                Moments::Device(shaped(&mean)?, shaped(&square)?)
            };
            self.moments.insert(name, moments);
        }
        Ok(())
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Moves every parameter that has a gradient.
    ///
    /// # Errors
    /// If a gradient has another shape than its parameter, or the device fails.
    pub fn step(
        &mut self,
        network: &mut Network,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        self.step_scaled(network, gradients, 1.0, learning_rate)
    }

    /// As [`AdamW::step`] with the gradients times a factor.
    pub(super) fn step_scaled(
        &mut self,
        network: &mut Network,
        gradients: &Gradients,
        factor: f64,
        learning_rate: f64,
    ) -> Result<()> {
        self.step += 1;
        for (name, gradient) in gradients.iter() {
            let Some(var) = network.variable(name) else {
                bail!("there is a gradient for {name}, but no such parameter");
            };
            self.update(name, var, gradient, factor, learning_rate)?;
        }
        Ok(())
    }

    fn update(
        &mut self,
        name: &str,
        var: &Var,
        gradient: &Tensor,
        factor: f64,
        rate: f64,
    ) -> Result<()> {
        if var.shape() != gradient.shape() {
            bail!("{name}: a gradient {:?} for {:?}", gradient.shape(), var.shape());
        }
        let AdamWOptions { beta1, beta2, eps, weight_decay, relative } = self.options;
        // The corrections are 1 long before.
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        let decay = if var.rank() >= 2 { 1.0 - rate * weight_decay } else { 1.0 };
        let correction = (1.0 - beta2.powi(step)).sqrt();
        let size = rate / (1.0 - beta1.powi(step));
        let on_host = var.device().is_cpu() && var.dtype() == DType::F32;
        let scales = if relative {
            let values = var.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            Some(scales(&values, var.dims()))
        } else {
            None
        };
        let moments = match self.moments.entry(name.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if on_host => {
                let zeros = vec![0.0; var.elem_count()];
                entry.insert(Moments::Host(zeros.clone(), zeros))
            }
            Entry::Vacant(entry) => {
                let zeros = Tensor::zeros(var.shape(), DType::F32, var.device())?;
                entry.insert(Moments::Device(zeros.clone(), zeros))
            }
        };
        match moments {
            Moments::Host(mean, square) => {
                let gradient = gradient.contiguous()?;
                let (storage, layout) = gradient.storage_and_layout();
                let (Storage::Cpu(storage), Some((start, end))) =
                    (&*storage, layout.contiguous_offsets())
                else {
                    bail!("{name}: the gradient is on another device");
                };
                var.inplace_op1(&Update {
                    gradient: &storage.as_slice()?[start..end],
                    factor: factor as f32,
                    moments: Mutex::new((mean, square)),
                    betas: (beta1 as f32, beta2 as f32),
                    decay: decay as f32,
                    size: size as f32,
                    scales: scales.as_deref(),
                    correction: correction as f32,
                    eps: eps as f32,
                })
            }
            Moments::Device(mean, square) => {
                let gradient = (gradient.to_dtype(DType::F32)? * factor)?;
                *mean = ((&*mean * beta1)? + (&gradient * (1.0 - beta1))?)?;
                *square = ((&*square * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
                let root = ((square.sqrt()? / correction)? + eps)?;
                let value = var.to_dtype(DType::F32)?;
                let mut change = (mean.div(&root)? * size)?;
                if let Some(scales) = scales {
                    let scales = Tensor::from_vec(scales, var.shape(), var.device())?;
                    change = (change * scales)?;
                }
                let value = ((value * decay)? - change)?;
                var.set(&value.to_dtype(var.dtype())?)
            }
        }
    }
}

/// The update of one parameter, in one pass over memory.
struct Update<'a> {
    gradient: &'a [f32],
    /// What gradients are multiplied by.
    factor: f32,
    moments: Mutex<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
    betas: (f32, f32),
    decay: f32,
    size: f32,
    /// What the size of every value's step is multiplied by.
    scales: Option<&'a [f32]>,
    correction: f32,
    eps: f32,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("a parameter is not contiguous f32");
        };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let (means, squares) = &mut *moments;
        let (beta1, beta2) = self.betas;
        values[start..end]
            .par_chunks_mut(BLOCK)
            .zip(means.par_chunks_mut(BLOCK))
            .zip(squares.par_chunks_mut(BLOCK))
            .zip(self.gradient.par_chunks(BLOCK))
            .enumerate()
            .for_each(|(block, (((values, means), squares), gradients))| {
                let moments = means.iter_mut().zip(squares);
                let scales = self.scales.map(|scales| &scales[block * BLOCK..]);
                for (index, ((value, (mean, square)), gradient)) in
                    values.iter_mut().zip(moments).zip(gradients).enumerate()
                {
                    let scale = scales.map_or(1.0, |scales| scales[index]);
                    let gradient = self.factor * gradient;
                    *mean = beta1 * *mean + (1.0 - beta1) * gradient;
                    *square = beta2 * *square + (1.0 - beta2) * gradient * gradient;
                    let root = square.sqrt() / self.correction + self.eps;
                    *value = *value * self.decay - scale * self.size * *mean / root;
                }
            });
        Ok(())
    }
}
