//! How the learning rate goes over the steps.

use serde::{Deserialize, Serialize};

/// A learning rate for every step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Schedule {
    /// Up along a cosine during the warm-up, from the peak over `div_factor`, then down along one to
    /// that start over `final_div_factor`: PyTorch's `OneCycleLR`, the published schedule.
    OneCycle {
        /// The share of the steps that warm up, 0..=1.
        warm_up: f64,
        /// What the peak is divided by at the start.
        div_factor: f64,
        /// What the start is divided by at the end.
        final_div_factor: f64,
    },
    /// Up along a line during the warm-up, then down along a cosine to a share of the peak.
    Cosine {
        /// The share of the steps that warm up, 0..=1.
        warm_up: f64,
        /// The last learning rate as a share of the peak.
        floor: f64,
    },
    /// The peak throughout.
    Constant,
}

impl Default for Schedule {
    /// The published one: a warm-up of 1.5 of 20 epochs.
    fn default() -> Self {
        Schedule::OneCycle { warm_up: 0.075, div_factor: 25.0, final_div_factor: 1e4 }
    }
}

impl Schedule {
    /// The learning rate of a step, counted from 0, of `steps`.
    pub fn rate(&self, peak: f64, step: usize, steps: usize) -> f64 {
        let cosine = |from: f64, to: f64, share: f64| {
            to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * share.clamp(0.0, 1.0)).cos())
        };
        let (step, last) = (step as f64, (steps.max(2) - 1) as f64);
        match *self {
            Schedule::OneCycle { warm_up, div_factor, final_div_factor } => {
                let start = peak / div_factor;
                let top = warm_up * steps as f64 - 1.0;
                if step <= top && top > 0.0 {
                    cosine(start, peak, step / top)
                } else {
                    let top = top.max(0.0);
                    cosine(peak, start / final_div_factor, (step - top) / (last - top).max(1e-9))
                }
            }
            Schedule::Cosine { warm_up, floor } => {
                let top = warm_up * steps as f64;
                if step < top {
                    peak * (step + 1.0) / top
                } else {
                    cosine(peak, peak * floor, (step - top) / (last - top).max(1e-9))
                }
            }
            Schedule::Constant => peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let cycle = Schedule::default();
        assert!((cycle.rate(1.0, 0, 2000) - 0.04).abs() < 1e-12);
        assert!((cycle.rate(1.0, 149, 2000) - 1.0).abs() < 1e-12);
        assert!((cycle.rate(1.0, 1999, 2000) - 4e-6).abs() < 1e-12);
        let cosine = Schedule::Cosine { warm_up: 0.1, floor: 0.01 };
        assert!((cosine.rate(2.0, 0, 100) - 0.2).abs() < 1e-12);
        assert!((cosine.rate(2.0, 10, 100) - 2.0).abs() < 1e-12);
        assert!((cosine.rate(2.0, 99, 100) - 0.02).abs() < 1e-12);
        assert_eq!(Schedule::Constant.rate(3.0, 5, 9), 3.0);
        // A run of one step, and steps beyond the end.
        for schedule in [cycle, cosine] {
            assert!(schedule.rate(1.0, 0, 1).is_finite() && schedule.rate(1.0, 50, 10) >= 0.0);
        }
    }
}
