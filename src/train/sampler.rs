//! Which sample comes next.

use serde::{Deserialize, Serialize};

use super::TrainError;

/// The most samples of a training.
const MAX_DRAWN: u64 = 1 << 53;

/// A sample of one of several sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Draw {
    /// How many were drawn before it.
    pub number: u64,
    pub source: usize,
    /// Its number in the source.
    pub index: u64,
}

/// Draws from sources by their weights, from each without repetition until it is exhausted, then in
/// another order again.
///
/// There is no list of what is left: an order is a permutation that is computed number by number, so
/// that the state stays small however large the sources are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sampler {
    seed: u64,
    /// Samples of each source; `None` if they never end.
    lengths: Vec<Option<u64>>,
    weights: Vec<f64>,
    drawn: u64,
    /// Draws from each source.
    counts: Vec<u64>,
}

impl Sampler {
    pub(super) fn new(seed: u64, lengths: Vec<Option<u64>>, weights: Vec<f64>) -> Self {
        let counts = vec![0; lengths.len()];
        Sampler { seed, lengths, weights, drawn: 0, counts }
    }

    /// Whether another one draws from the same sources in the same way.
    pub(super) fn same_sources(&self, other: &Sampler) -> bool {
        let key = |sampler: &Sampler| (sampler.seed, sampler.lengths.clone());
        key(self) == key(other) && self.weights == other.weights
    }

    /// Checks counters that come from a file.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there is not a counter for every source, or they do not sum to
    /// what was drawn, or that is more than 2^53.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let sum = self.counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        let sources = self.lengths.len();
        let complete = self.counts.len() == sources && self.weights.len() == sources;
        if complete && sum == Some(self.drawn) && self.drawn <= MAX_DRAWN {
            return Ok(());
        }
        let Sampler { drawn, counts, .. } = self;
        let detail =
            format!("{drawn} samples drawn of {sources} sources, counted {}", counts.len());
        Err(TrainError::Options { detail })
    }

    /// How many were drawn.
    pub(super) fn drawn(&self) -> u64 {
        self.drawn
    }

    pub(super) fn draw(&mut self) -> Draw {
        let number = self.drawn;
        let total: f64 = self.weights.iter().sum();
        let mut place = unit(mix(self.seed ^ mix(number))) * total;
        let mut source = 0;
        for (index, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0)
        {
            source = index;
            place -= weight;
            if place < 0.0 {
                break;
            }
        }
        let count = self.counts[source];
        let index = match self.lengths[source] {
            None => mix(self.seed.wrapping_add(source as u64)).wrapping_add(count),
            Some(len) => {
                let len = len.max(1);
                let key = mix(self.seed ^ mix(((source as u64) << 48) ^ (count / len)));
                permuted(count % len, len, key)
            }
        };
        self.drawn += 1;
        self.counts[source] += 1;
        Draw { number, source, index }
    }
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of `z`.
pub(super) fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in 0..1 of 53 of the bits.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Where a permutation of `0..len` that belongs to the key takes `index`: a Feistel network over the
/// next power of four, walked until it is back in range.
fn permuted(index: u64, len: u64, key: u64) -> u64 {
    let half = (64 - (len - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut at = index;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (mix(key ^ (right << 3) ^ round) & mask));
        }
        at = (left << half) | right;
        if at < len {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations() {
        for len in [1, 2, 3, 4, 5, 16, 17, 1000] {
            for key in 0..3 {
                let mut seen: Vec<u64> = (0..len).map(|i| permuted(i, len, key)).collect();
                let order = seen.clone();
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..len), "{len}");
                assert!(len < 100 || order != (0..len).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn every_sample_once_an_epoch() {
        let mut sampler = Sampler::new(1, vec![Some(10), None, Some(7)], vec![1.0, 2.0, 0.0]);
        let mut seen = vec![0; 10];
        let mut endless = std::collections::HashSet::new();
        while sampler.counts[0] < 30 {
            let draw = sampler.draw();
            assert_ne!(draw.source, 2);
            if draw.source == 0 {
                seen[draw.index as usize] += 1;
            } else {
                assert!(endless.insert(draw.index));
            }
        }
        assert_eq!(seen, [3; 10]);
        let share = sampler.counts[1] as f64 / sampler.drawn as f64;
        assert!((share - 2.0 / 3.0).abs() < 0.2, "{share}");
    }

    #[test]
    fn crafted_counters() {
        let sampler = || {
            let mut sampler = Sampler::new(5, vec![Some(100), Some(3)], vec![1.0, 1.0]);
            (0..50).for_each(|_| {
                sampler.draw();
            });
            sampler
        };
        sampler().check().unwrap();
        type Spoil = fn(&mut Sampler);
        let cases: [(&str, Spoil); 5] = [
            ("drawn", |s| s.drawn = u64::MAX),
            ("another sum", |s| s.counts[0] += 1),
            ("a counter less", |s| s.counts = vec![50]),
            ("a weight less", |s| s.weights = vec![1.0]),
            ("sum overflows", |s| s.counts = vec![u64::MAX, 51]),
        ];
        for (name, spoil) in cases {
            let mut sampler = sampler();
            spoil(&mut sampler);
            assert!(sampler.check().is_err(), "{name}");
        }
    }

    #[test]
    fn goes_on_where_it_was() {
        // Parsed carelessly, the second weight comes back as 0.05.
        let weights = vec![0.17, 0.049999999999999996];
        let mut sampler = Sampler::new(5, vec![Some(100), Some(3)], weights);
        (0..50).for_each(|_| {
            sampler.draw();
        });
        let json = serde_json::to_string(&sampler).unwrap();
        let mut other: Sampler = serde_json::from_str(&json).unwrap();
        assert!(other.same_sources(&sampler), "{json}");
        assert!((0..200).all(|_| other.draw() == sampler.draw()));
    }
}
