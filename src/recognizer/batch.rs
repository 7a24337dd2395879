//! Many crops at once: grouped by size, cut into passes through the network.

use std::sync::Arc;
use std::time::Duration;

use super::{Recognizer, orientation};
use crate::cpu;
use crate::crop::Crop;
use crate::decode::LogProbs;
use crate::emissions::{Attention, Emissions};
use crate::error::{ComputeError, Result};
use crate::recognition::Recognition;
use crate::resize::{ResizedCrop, TargetSize};
use crate::system::clock;

/// Crops of a batch that are resized, recognised and decoded together. It bounds the memory of a
/// long batch; each size still finds enough crops for its passes.
const MAX_TOGETHER: usize = 1024;

/// Pixels of resized crops that are held together, unless one crop alone has more: as many as
/// [`MAX_TOGETHER`] crops of 32 x 512.
const PIXELS_TOGETHER: usize = 1 << 24;

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
        let (mut results, mut times) = (Vec::new(), Vec::new());
        let mut rest = crops;
        while !rest.is_empty() {
            let mut pixels = 0usize;
            let fits = |crop: &&Crop| {
                pixels = pixels.saturating_add(self.most_resized_pixels(crop));
                pixels <= PIXELS_TOGETHER
            };
            let count = rest.iter().take(MAX_TOGETHER).take_while(fits).count().max(1);
            let (together, behind) = rest.split_at(count);
            let crops = together.iter().collect();
            let prepared = cpu::map_jobs(crops, |crop| self.resize(crop));
            for (result, time) in self.recognize_prepared(prepared) {
                results.push(result);
                times.push(time);
            }
            rest = behind;
        }
        (results, times)
    }

    /// Recognises prepared crops; results are in their order.
    ///
    /// A pass decodes its crops at once: emissions live no longer than their pass. Where the first
    /// rotation of a crop may do ([`Orientation::Any`](super::Orientation::Any)), the others are
    /// recognised in a second round.
    pub(super) fn recognize_prepared(&self, prepared: Vec<Prepared>) -> Vec<Timed<Recognition>> {
        let first = |crop: &Prepared| {
            let count = crop.as_ref().map_or(0, Vec::len);
            if self.orientation.stops_early() { count.min(1) } else { count }
        };
        let firsts: Vec<usize> = prepared.iter().map(first).collect();
        let variants = prepared.iter().zip(&firsts);
        let variants: Vec<&ResizedCrop> =
            variants.flat_map(|(crop, &first)| crop.iter().flatten().take(first)).collect();
        let decode = |crop: &ResizedCrop, emissions: Emissions| self.decode(crop, &emissions);
        let mut decoded = self.run_passes(&variants, decode).into_iter();
        let mut found: Vec<Vec<Timed<Recognition>>> =
            firsts.iter().map(|&first| decoded.by_ref().take(first).collect()).collect();
        let open = |found: &[Timed<Recognition>]| {
            !found.iter().any(|(result, _)| result.as_ref().is_ok_and(orientation::is_certain))
        };
        let others: Vec<usize> = prepared
            .iter()
            .zip(found.iter().zip(&firsts))
            .map(|(crop, (found, &first))| {
                let others = crop.as_ref().map_or(0, Vec::len) - first;
                if open(found) { others } else { 0 }
            })
            .collect();
        let variants = prepared.iter().zip(firsts.iter().zip(&others));
        let variants: Vec<&ResizedCrop> = variants
            .flat_map(|(crop, (&first, &others))| crop.iter().flatten().skip(first).take(others))
            .collect();
        let mut decoded = self.run_passes(&variants, decode).into_iter();
        for (found, others) in found.iter_mut().zip(others) {
            found.extend(decoded.by_ref().take(others));
        }
        let chosen = prepared.into_iter().zip(found).map(|(crop, found)| {
            let time = found.iter().map(|(_, time)| *time).sum();
            let results = found.into_iter().map(|(result, _)| result);
            (crop.and_then(|_| self.orientation.choose(results)), time)
        });
        chosen.collect()
    }

    /// The emissions of crops in their order, with each crop's share of the time of its pass.
    pub(super) fn emissions_timed(&self, crops: &[&ResizedCrop]) -> Vec<Timed<Emissions>> {
        self.run_passes(crops, |_, emissions| Ok(emissions))
    }

    /// Runs crops through the network, pass by pass on the threads of the pool, and through
    /// `finish` at the end of their pass; lines after the others.
    fn run_passes<T: Send>(
        &self,
        crops: &[&ResizedCrop],
        finish: impl Fn(&ResizedCrop, Emissions) -> Result<T> + Sync,
    ) -> Vec<Timed<T>> {
        let run = |pass: Vec<usize>| -> Vec<(usize, Timed<T>)> {
            let image = |&index: &usize| (&crops[index].rgb[..], crops[index].width);
            let images: Vec<(&[u8], u32)> = pass.iter().map(image).collect();
            let size = crops[pass[0]].size;
            let start = clock();
            let emissions = self.forward(size, &images);
            let time = (clock() - start) / pass.len().max(1) as u32;
            let results: Vec<Result<T>> = match emissions {
                Ok(emissions) => {
                    let pairs = pass.iter().map(|&index| crops[index]).zip(emissions);
                    pairs.map(|(crop, found)| found.and_then(|found| finish(crop, found))).collect()
                }
                Err(error) => {
                    let source = Arc::new(error);
                    let failed = || ComputeError::Pass { source: source.clone() };
                    pass.iter().map(|_| Err(failed().into())).collect()
                }
            };
            pass.into_iter().zip(results.into_iter().map(|result| (result, time))).collect()
        };
        let (lines, words): (Vec<usize>, Vec<usize>) =
            (0..crops.len()).partition(|&index| self.is_line(crops[index].size));
        let passes = cpu::map_jobs(self.passes(crops, words), run);
        let mut results: Vec<(usize, Timed<T>)> = passes.into_iter().flatten().collect();
        let wide: Vec<&ResizedCrop> = lines.iter().map(|&index| crops[index]).collect();
        results.extend(lines.into_iter().zip(self.run_lines(&wide, &finish)));
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Groups some of the crops by size and cuts the groups into passes; each of them is in one, and
    /// no pass is empty.
    fn passes(&self, crops: &[&ResizedCrop], mut order: Vec<usize>) -> Vec<Vec<usize>> {
        order.sort_by_key(|&index| crops[index].size);
        order
            .chunk_by(|&a, &b| crops[a].size == crops[b].size)
            .flat_map(|group| {
                let most = self.batch_pixels / crops[group[0]].size.pixels().max(1);
                group.chunks(most.max(1)).map(<[usize]>::to_vec)
            })
            .collect()
    }

    /// One pass through the network for images of one size, each 8-bit RGB and the width of its
    /// pixels.
    pub(super) fn forward<I: AsRef<[u8]>>(
        &self,
        size: TargetSize,
        images: &[(I, u32)],
    ) -> Result<Vec<Result<Emissions>>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let (height, width) = (size.height as usize, size.width as usize);
        let mut input = Vec::with_capacity(images.len() * 3 * height * width);
        for (image, pixels) in images {
            self.config.resizing.normalize(image.as_ref(), *pixels, size, &mut input);
        }
        let shape = [images.len(), 3, height, width];
        let (logits, attention) = self.backend.forward_with_attention(&input, shape)?;
        let ([_, frames, classes], [_, _, rows, reach]) = (logits.shape, attention.shape);
        let emissions = |logits: Vec<f32>, attention: Vec<f32>| {
            let log_probs = LogProbs::from_logits(frames, classes, logits)?;
            Ok(Emissions { log_probs, attention: Attention::new(frames, rows, attention) })
        };
        if images.len() == 1 {
            // Thousands of classes are megabytes: they are not copied.
            return Ok(vec![emissions(logits.values, attention.values)]);
        }
        let logits = logits.values.chunks_exact((frames * classes).max(1));
        let len = frames * rows * reach;
        let copied = logits.enumerate().map(|(index, logits)| {
            emissions(logits.to_vec(), attention.values[index * len..][..len].to_vec())
        });
        Ok(copied.collect())
    }
}
