//! The network, run by rten.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use rten::{Model, ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

use crate::error::{Error, Result};

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 30;

/// A network of one image input `[1, 3, height, width]` and one output `[1, 1, height, width]`.
pub(super) struct Network {
    model: Model,
    pool: Arc<ThreadPool>,
}

impl Network {
    pub(super) fn open(path: &Path, threads: Option<usize>) -> Result<Self> {
        let failed = |source| Error::DetectorIo { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            let detail = format!("{} is no regular file of at most 1 GiB", path.display());
            return Err(Error::DetectorModel { detail });
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let unusable = |detail| Error::DetectorModel { detail };
        let load = || ModelOptions::with_all_ops().prepack_weights(true).load(bytes);
        let model = caught(load).map_err(unusable)?.map_err(|error| unusable(error.to_string()))?;
        let (inputs, outputs) = (model.input_ids().len(), model.output_ids().len());
        if (inputs, outputs) != (1, 1) {
            let detail = format!("it has {inputs} inputs and {outputs} outputs, not one of each");
            return Err(unusable(detail));
        }
        let threads = threads.unwrap_or_else(rayon::current_num_threads);
        Ok(Network { model, pool: Arc::new(ThreadPool::with_num_threads(threads)) })
    }

    pub(super) fn run_on_pool<R: Send>(&self, job: impl FnOnce() -> R + Send) -> R {
        self.pool.run(job)
    }

    /// Probabilities `[height, width]` of an input `[3, height, width]`.
    pub(super) fn probabilities(
        &self,
        input: Vec<f32>,
        width: u32,
        height: u32,
    ) -> Result<Vec<f32>> {
        let failed = |detail| Error::DetectorRun { detail };
        let (rows, columns) = (height as usize, width as usize);
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let run = || {
            let input = NdTensor::from_data([1, 3, rows, columns], input);
            self.model.run_one(input.into(), Some(options))
        };
        let output = caught(run).map_err(failed)?.map_err(|error| failed(error.to_string()))?;
        let output: NdTensor<f32, 4> =
            output.try_into().map_err(|_| failed("its output is no image".to_owned()))?;
        let found = output.shape();
        if found != [1, 1, rows, columns] {
            let detail = format!("its output is {found:?}, not [1, 1, {rows}, {columns}]");
            return Err(failed(detail));
        }
        let probabilities = output.into_data();
        if !probabilities.iter().all(|value| (-1e-3..=1.001).contains(value)) {
            return Err(failed("its output holds values that are no probabilities".to_owned()));
        }
        Ok(probabilities)
    }
}

/// The engine takes files that it did not write: a panic of it is an error.
fn caught<R>(job: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|_| "the engine panicked".to_owned())
}
