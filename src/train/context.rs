//! What a pass in training decides, and what it finds.

use std::cell::{Cell, RefCell};

use candle_core::Tensor;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::ops::candle::TrainingContext;

/// What the batch norms of the patch embedding normalise with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchNormMode {
    /// With the statistics of the batch, which move the running ones.
    #[default]
    Batch,
    /// With the running statistics, which stay as they are.
    Frozen,
}

/// The statistics that a batch norm found in a batch.
pub(super) struct BatchStatistics {
    /// Index of the batch norm in the patch embedding.
    pub index: usize,
    /// `[channels]`
    pub mean: Tensor,
    /// `[channels]`, with n - 1.
    pub variance: Tensor,
}

/// The context of a pass.
pub(super) struct Context {
    batch: usize,
    batch_norm: BatchNormMode,
    /// The rate of stochastic depth of the last block.
    drop_path: f64,
    rng: RefCell<Pcg64Mcg>,
    statistics: RefCell<Vec<BatchStatistics>>,
    norms: Cell<usize>,
}

impl Context {
    /// For a batch of `batch` images; `seed` decides which blocks are left out for which of them.
    pub(super) fn new(batch: usize, batch_norm: BatchNormMode, drop_path: f64, seed: u64) -> Self {
        Context {
            batch,
            batch_norm,
            drop_path,
            rng: RefCell::new(Pcg64Mcg::seed_from_u64(seed)),
            statistics: RefCell::default(),
            norms: Cell::new(0),
        }
    }

    /// What the batch norms found.
    pub(super) fn into_statistics(self) -> Vec<BatchStatistics> {
        self.statistics.into_inner()
    }
}

impl TrainingContext for Context {
    /// A sample's branch is left out with the rate of its depth, and scaled up otherwise so that
    /// its mean stays.
    fn drop_path(&self, depth: f64) -> Option<Vec<f32>> {
        let rate = self.drop_path * depth;
        if rate <= 0.0 {
            return None;
        }
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mut rng = self.rng.borrow_mut();
        Some((0..self.batch).map(|_| if rng.random_bool(rate) { 0.0 } else { kept }).collect())
    }

    fn batch_statistics(&self) -> bool {
        self.batch_norm == BatchNormMode::Batch
    }

    fn found(&self, mean: Tensor, variance: Tensor) {
        let index = self.norms.replace(self.norms.get() + 1);
        self.statistics.borrow_mut().push(BatchStatistics { index, mean, variance });
    }
}
