//! What training needs to know of a pass through the network, and from it.

use std::cell::{Cell, RefCell};

use candle_core::Tensor;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::tape::Tape;

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
pub(crate) struct BatchStatistics {
    /// Index of the batch norm in the patch embedding.
    pub index: usize,
    /// `[channels]`
    pub mean: Tensor,
    /// `[channels]`, with n - 1.
    pub variance: Tensor,
}

/// A pass in training.
pub(crate) struct Training {
    tape: Option<Tape>,
    batch_norm: BatchNormMode,
    /// The rate of stochastic depth of the last block.
    drop_path: f64,
    rng: RefCell<Pcg64Mcg>,
    statistics: RefCell<Vec<BatchStatistics>>,
    norms: Cell<usize>,
}

impl Training {
    /// `seed` decides which blocks are left out for which sample.
    pub(crate) fn new(
        tape: Option<Tape>,
        batch_norm: BatchNormMode,
        drop_path: f64,
        seed: u64,
    ) -> Self {
        Training {
            tape,
            batch_norm,
            drop_path,
            rng: RefCell::new(Pcg64Mcg::seed_from_u64(seed)),
            statistics: RefCell::default(),
            norms: Cell::new(0),
        }
    }

    pub(crate) fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    pub(crate) fn batch_norm(&self) -> BatchNormMode {
        self.batch_norm
    }

    /// The statistics and the tape, after the pass.
    pub(crate) fn finish(self) -> (Vec<BatchStatistics>, Option<Tape>) {
        (self.statistics.into_inner(), self.tape)
    }

    /// Keeps what the next batch norm found.
    pub(crate) fn found(&self, mean: Tensor, variance: Tensor) {
        let index = self.norms.replace(self.norms.get() + 1);
        self.statistics.borrow_mut().push(BatchStatistics { index, mean, variance });
    }

    /// Stochastic depth: a sample's branch is left out with the rate of its depth, and scaled up
    /// otherwise so that its mean stays.
    pub(crate) fn drop_path(&self, depth: f64, batch: usize) -> Option<Vec<f32>> {
        let rate = self.drop_path * depth;
        if rate <= 0.0 {
            return None;
        }
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mut rng = self.rng.borrow_mut();
        Some((0..batch).map(|_| if rng.random_bool(rate) { 0.0 } else { kept }).collect())
    }
}
