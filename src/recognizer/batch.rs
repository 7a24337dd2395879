//! Many crops at once: grouped by size, cut into passes through the network.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::Recognizer;
use crate::crop::Crop;
use crate::decode::LogProbs;
use crate::emissions::{Attention, Emissions};
use crate::error::{ComputeError, Result};
use crate::recognition::Recognition;
use crate::resize::{ResizedCrop, normalize_rgb};

impl Recognizer {
    /// Reads many crops, in any mix of sizes; results are in the order of the crops.
    ///
    /// Crops of one target size share passes through the network, never padded, each pass of at
    /// most [`Options::batch_pixels`] pixels. A crop that fails leaves the others alone.
    pub fn recognize_batch(&self, crops: &[Crop]) -> Vec<Result<Recognition>> {
        self.recognize_batch_timed(crops).0
    }

    /// [`recognize_batch`](Self::recognize_batch), and for each crop its share of the time spent
    /// in the network (a pass's wall time divided by its crops; 0 for a crop that failed before).
    pub fn recognize_batch_timed(
        &self,
        crops: &[Crop],
    ) -> (Vec<Result<Recognition>>, Vec<Duration>) {
        let resized: Vec<Result<Vec<ResizedCrop>>> =
            crops.par_iter().map(|crop| self.resize(crop)).collect();
        let variants: Vec<&ResizedCrop> = resized.iter().flatten().flatten().collect();
        let timed = self.emissions_timed(&variants);
        let mut emissions = timed.into_iter();
        let mut times = Vec::with_capacity(crops.len());
        let scored: Vec<Result<(Vec<ResizedCrop>, Vec<Emissions>)>> = resized
            .into_iter()
            .map(|resized| {
                let mut time = Duration::ZERO;
                let scored = resized.and_then(|resized| {
                    let own: Vec<_> = emissions.by_ref().take(resized.len()).collect();
                    time = own.iter().map(|(_, time)| *time).sum();
                    let own =
                        own.into_iter().map(|(emissions, _)| emissions).collect::<Result<_>>()?;
                    Ok((resized, own))
                });
                times.push(time);
                scored
            })
            .collect();
        let recognitions = scored
            .into_par_iter()
            .map(|scored| {
                scored.and_then(|(crops, emissions)| self.decode_best(&crops, &emissions))
            })
            .collect();
        (recognitions, times)
    }

    pub(super) fn emissions_timed(
        &self,
        crops: &[&ResizedCrop],
    ) -> Vec<(Result<Emissions>, Duration)> {
        let passes = self.passes(crops);
        let results: Vec<_> = passes
            .into_par_iter()
            .map(|pass| {
                let members: Vec<&ResizedCrop> = pass.iter().map(|&index| crops[index]).collect();
                let start = Instant::now();
                let emissions = self.forward(&members);
                let time = start.elapsed() / pass.len() as u32;
                (pass, emissions, time)
            })
            .collect();
        let mut slots: Vec<Option<(Result<Emissions>, Duration)>> =
            crops.iter().map(|_| None).collect();
        for (pass, emissions, time) in results {
            match emissions {
                Ok(emissions) => {
                    for (index, emissions) in pass.into_iter().zip(emissions) {
                        slots[index] = Some((emissions, time));
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    for index in pass {
                        let error = ComputeError::Pass(message.clone());
                        slots[index] = Some((Err(error.into()), time));
                    }
                }
            }
        }
        let lost = || ComputeError::Pass("it gave no result".to_owned());
        slots
            .into_iter()
            .map(|slot| slot.unwrap_or_else(|| (Err(lost().into()), Duration::ZERO)))
            .collect()
    }

    /// Groups crops by size and cuts the groups into passes.
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
        let (logits, attention) = self.execution.forward_with_attention(&input, shape)?;
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
