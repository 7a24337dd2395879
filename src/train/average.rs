//! The running average of a network's parameters.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, bail};
use rayon::prelude::*;

use super::{Network, TrainError};

/// Values of a task.
const BLOCK: usize = 1 << 15;

/// Exponential moving averages by the parameters' names.
pub(super) struct Average(pub BTreeMap<String, Tensor>);

impl Average {
    /// Starts from the parameters as they are.
    pub(super) fn of(network: &Network) -> Result<Self, TrainError> {
        Ok(Average(copies(network)?))
    }

    /// Moves towards the parameters after a step, counted from 0.
    pub(super) fn follow(
        &mut self,
        network: &Network,
        decay: f64,
        step: u64,
    ) -> Result<(), TrainError> {
        // In the first steps the average follows quickly: nothing of the initialisation stays.
        let warm = (1.0 + step as f64) / (10.0 + step as f64);
        let decay = decay.min(warm);
        let host = network.device().is_cpu();
        for (name, parameter) in network.parameters() {
            let Some(mean) = self.0.get_mut(name) else {
                continue;
            };
            // Without the parameter's history: a result that knows what it came from would keep the
            // averages of all steps alive.
            let parameter = parameter.detach();
            if host {
                mean.inplace_op2(&parameter, &Follow { share: (1.0 - decay) as f32 })?;
            } else {
                *mean = ((&*mean * decay)? + (parameter * (1.0 - decay))?)?;
            }
        }
        Ok(())
    }
}

/// The parameters as they are.
pub(super) fn copies(network: &Network) -> Result<BTreeMap<String, Tensor>, TrainError> {
    let copy = |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), tensor.detach().copy()?));
    network.parameters().map(copy).collect()
}

/// Moves values towards others of the same shape by a share of the way, in place.
struct Follow {
    share: f32,
}

impl InplaceOp2 for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn cpu_fwd(
        &self,
        means: &mut CpuStorage,
        layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(means), Some((start, end))) = (means, layout.contiguous_offsets())
        else {
            bail!("an average is not contiguous f32");
        };
        let (CpuStorage::F32(values), Some((from, to))) =
            (values, values_layout.contiguous_offsets())
        else {
            bail!("a parameter is not contiguous f32");
        };
        means[start..end].par_chunks_mut(BLOCK).zip(values[from..to].par_chunks(BLOCK)).for_each(
            |(means, values)| {
                for (mean, value) in means.iter_mut().zip(values) {
                    *mean += self.share * (value - *mean);
                }
            },
        );
        Ok(())
    }
}
