//! Many crops at once: grouped by size, cut into passes through the network.

use std::time::Duration;

use rayon::prelude::*;

use super::Recognizer;
use crate::crop::Crop;
use crate::decode::LogProbs;
use crate::emissions::{Attention, Emissions};
use crate::error::{ComputeError, Result};
use crate::recognition::Recognition;
use crate::resize::{ResizedCrop, normalize_rgb};
use crate::system::clock;

/// Crops of a batch that are resized, recognised and decoded together. It bounds the memory of a
/// long batch; each size still finds enough crops for its passes.
const WINDOW: usize = 1024;

/// A crop resized once for each rotation to be tried, or why that failed.
pub(super) type Prepared = Result<Vec<ResizedCrop>>;

/// A result, and the crop's share of the time that its passes through the network took.
pub(super) type Timed<T> = (Result<T>, Duration);

impl Recognizer {
    /// Recognises many crops, in any mix of sizes; results are in the order of the crops.
    ///
    /// Crops of one target size share passes through the network, never padded, each pass of at
    /// most [`Options::batch_pixels`](super::Options::batch_pixels) pixels. A crop that fails leaves
    /// the others alone.
    pub fn recognize_batch(&self, crops: &[Crop]) -> Vec<Result<Recognition>> {
        self.recognize_batch_timed(crops).0
    }

    /// [`recognize_batch`](Self::recognize_batch), and for each crop its share of the time spent
    /// in the network (a pass's wall time divided by its crops; 0 for a crop that failed before).
    pub fn recognize_batch_timed(
        &self,
        crops: &[Crop],
    ) -> (Vec<Result<Recognition>>, Vec<Duration>) {
        let recognize = |window: &[Crop]| {
            self.recognize_prepared(window.par_iter().map(|crop| self.resize(crop)).collect())
        };
        crops.chunks(WINDOW).flat_map(recognize).unzip()
    }

    /// Recognises prepared crops; results are in their order.
    ///
    /// A pass decodes its crops at once: emissions live no longer than their pass.
    pub(super) fn recognize_prepared(&self, prepared: Vec<Prepared>) -> Vec<Timed<Recognition>> {
        let variants: Vec<&ResizedCrop> = prepared.iter().flatten().flatten().collect();
        let decode = |crop: &ResizedCrop, emissions: Emissions| self.decode(crop, &emissions);
        let mut decoded = self.run_passes(&variants, decode).into_iter();
        let mut recognized = Vec::with_capacity(prepared.len());
        for crop in prepared {
            let mut time = Duration::ZERO;
            let result = crop.and_then(|variants| {
                let own = decoded.by_ref().take(variants.len()).map(|(result, own)| {
                    time += own;
                    result
                });
                // All are taken, also behind a failure: the next crop's follow.
                best(own.collect::<Vec<_>>())
            });
            recognized.push((result, time));
        }
        recognized
    }

    /// The emissions of crops in their order, with each crop's share of the time of its pass.
    pub(super) fn emissions_timed(&self, crops: &[&ResizedCrop]) -> Vec<Timed<Emissions>> {
        self.run_passes(crops, |_, emissions| Ok(emissions))
    }

    /// Runs crops through the network, pass by pass on the threads of the pool, and through
    /// `finish` at the end of their pass.
    fn run_passes<T: Send>(
        &self,
        crops: &[&ResizedCrop],
        finish: impl Fn(&ResizedCrop, Emissions) -> Result<T> + Sync,
    ) -> Vec<Timed<T>> {
        let run = |pass: Vec<usize>| -> Vec<(usize, Timed<T>)> {
            let members: Vec<&ResizedCrop> = pass.iter().map(|&index| crops[index]).collect();
            let start = clock();
            let emissions = self.forward(&members);
            let time = (clock() - start) / pass.len().max(1) as u32;
            let results: Vec<Result<T>> = match emissions {
                Ok(emissions) => {
                    let pairs = members.into_iter().zip(emissions);
                    pairs.map(|(crop, found)| found.and_then(|found| finish(crop, found))).collect()
                }
                Err(error) => {
                    let failed = || ComputeError::Pass(error.to_string());
                    members.iter().map(|_| Err(failed().into())).collect()
                }
            };
            pass.into_iter().zip(results.into_iter().map(|result| (result, time))).collect()
        };
        let mut results: Vec<(usize, Timed<T>)> =
            self.passes(crops).into_par_iter().flat_map_iter(run).collect();
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Groups crops by size and cuts the groups into passes; every crop is in one.
    fn passes(&self, crops: &[&ResizedCrop]) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..crops.len()).collect();
        order.sort_by_key(|&index| crops[index].size);
        order
            .chunk_by(|&a, &b| crops[a].size == crops[b].size)
            .flat_map(|group| {
                let most = self.batch_pixels / crops[group[0]].size.pixels().max(1);
                group.chunks(most.max(1)).map(<[usize]>::to_vec)
            })
            .collect()
    }

    /// One pass through the network for crops of one size.
    fn forward(&self, crops: &[&ResizedCrop]) -> Result<Vec<Result<Emissions>>> {
        let Some(first) = crops.first() else {
            return Ok(Vec::new());
        };
        let (height, width) = (first.size.height as usize, first.size.width as usize);
        let mut input = Vec::with_capacity(crops.len() * 3 * height * width);
        for crop in crops {
            normalize_rgb(&crop.rgb, &mut input);
        }
        let shape = [crops.len(), 3, height, width];
        let (logits, attention) = self.backend.forward_with_attention(&input, shape)?;
        let ([_, frames, classes], [_, _, rows, reach]) = (logits.shape, attention.shape);
        let logits = logits.values.chunks_exact((frames * classes).max(1));
        let attention = attention.values.chunks_exact((frames * rows * reach).max(1));
        let emissions = |(logits, attention): (&[f32], &[f32])| {
            let log_probs = LogProbs::from_logits(frames, classes, logits.to_vec())?;
            Ok(Emissions { log_probs, attention: Attention::new(frames, rows, attention.to_vec()) })
        };
        Ok(logits.zip(attention).map(emissions).collect())
    }
}

/// The result with the best score among a crop's rotations; of equal ones the first. A failure if
/// any of them failed.
pub(super) fn best(results: impl IntoIterator<Item = Result<Recognition>>) -> Result<Recognition> {
    let mut best: Option<Recognition> = None;
    for next in results {
        let next = next?;
        if best.as_ref().is_none_or(|best| next.score > best.score) {
            best = Some(next);
        }
    }
    best.ok_or_else(|| ComputeError::Pass("a crop was not resized".to_owned()).into())
}
