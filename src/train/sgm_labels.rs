//! What the semantic guidance module is asked, and the answers.

use candle_core::{DType, Device, Result, Tensor};
use rand::{Rng, RngExt};

/// Characters to either side that make a context.
pub(super) const CONTEXT: usize = 5;

/// The module's vocabulary for a network of `classes` (blank included): the end of the text takes
/// the blank's place, behind the symbols come the tokens that only contexts hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vocabulary {
    pub left_pad: u32,
    pub right_pad: u32,
    /// Fills rows of short labels; ignored by the loss.
    pub pad: u32,
}

impl Vocabulary {
    pub(super) fn new(classes: usize) -> Self {
        // `classes` itself is the reference's token for the start, which nothing uses.
        let classes = classes as u32;
        Vocabulary { left_pad: classes + 1, right_pad: classes + 2, pad: classes + 3 }
    }

    /// Entries of the embedding.
    pub(super) fn len(classes: usize) -> usize {
        classes + 4
    }

    /// Classes that are predicted: the end, the symbols, and the reference's start.
    pub(super) fn predictions(classes: usize) -> usize {
        classes + 1
    }
}

/// The contexts of one label in one direction, and what each is followed by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SgmTargets {
    /// The five characters beside each character.
    pub contexts: Vec<[u32; CONTEXT]>,
    /// The character; 0 at the text's end.
    pub targets: Vec<u32>,
}

impl SgmTargets {
    fn push(&mut self, context: [u32; CONTEXT], target: u32) {
        self.contexts.push(context);
        self.targets.push(target);
    }

    /// Label noise: contexts beyond the first five are there once more with one random character,
    /// and themselves get one.
    fn add_noise(&mut self, classes: usize, rng: &mut impl Rng) {
        let count = self.contexts.len();
        let symbol = |rng: &mut _| -> u32 { RngExt::random_range(rng, 1..classes as u32) };
        for index in CONTEXT..count {
            let mut copy = self.contexts[index];
            copy[rng.random_range(0..CONTEXT)] = symbol(rng);
            if !self.contexts.contains(&copy) {
                self.push(copy, self.targets[index]);
            }
            self.contexts[index][rng.random_range(0..CONTEXT)] = symbol(rng);
        }
    }
}

/// The questions and answers of a batch (specification section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SgmLabels {
    /// Of every sample, what comes next after its left contexts.
    pub left: Vec<SgmTargets>,
    /// Of every sample, what comes before its right contexts.
    pub right: Vec<SgmTargets>,
}

impl SgmLabels {
    /// For labels of classes `1..classes`. With a source of random numbers, label noise is added.
    pub fn new<R: Rng>(labels: &[Vec<u32>], classes: usize, mut noise: Option<&mut R>) -> Self {
        let vocabulary = Vocabulary::new(classes);
        let mut left: Vec<SgmTargets> =
            labels.iter().map(|label| left_targets(label, vocabulary.left_pad)).collect();
        let mut right: Vec<SgmTargets> =
            labels.iter().map(|label| right_targets(label, vocabulary.right_pad)).collect();
        if let (Some(rng), true) = (noise.as_mut(), classes > 1) {
            for targets in left.iter_mut().chain(&mut right) {
                targets.add_noise(classes, rng);
            }
        }
        SgmLabels { left, right }
    }

    /// Contexts `[batch, length, 5]` and answers `[batch, length]` of a direction, as u32, short
    /// ones filled with `pad`.
    pub(super) fn tensors(
        targets: &[SgmTargets],
        pad: u32,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        let length = targets.iter().map(|t| t.targets.len()).max().unwrap_or(0);
        let mut contexts = vec![pad; targets.len() * length * CONTEXT];
        let mut answers = vec![pad; targets.len() * length];
        for (index, targets) in targets.iter().enumerate() {
            let start = index * length;
            answers[start..start + targets.targets.len()].copy_from_slice(&targets.targets);
            let flat = targets.contexts.as_flattened();
            contexts[start * CONTEXT..][..flat.len()].copy_from_slice(flat);
        }
        let batch = targets.len();
        Ok((
            Tensor::from_vec(contexts, (batch, length, CONTEXT), device)?.to_dtype(DType::U32)?,
            Tensor::from_vec(answers, (batch, length), device)?.to_dtype(DType::U32)?,
        ))
    }
}

/// From the first character to the end of the text.
fn left_targets(label: &[u32], pad: u32) -> SgmTargets {
    let mut targets = SgmTargets::default();
    for position in 0..=label.len() {
        let mut context = [pad; CONTEXT];
        let taken = position.min(CONTEXT);
        context[CONTEXT - taken..].copy_from_slice(&label[position - taken..position]);
        targets.push(context, label.get(position).copied().unwrap_or(0));
    }
    targets
}

/// From the last character to the start of the text.
fn right_targets(label: &[u32], pad: u32) -> SgmTargets {
    let mut targets = SgmTargets::default();
    for position in (0..=label.len()).rev() {
        let mut context = [pad; CONTEXT];
        let taken = (label.len() - position).min(CONTEXT);
        context[..taken].copy_from_slice(&label[position..position + taken]);
        targets.push(context, position.checked_sub(1).map_or(0, |before| label[before]));
    }
    targets
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn noise_changes_contexts_beyond_the_fifth() {
        let label: Vec<u32> = (1..=9).collect();
        let clean = left_targets(&label, 96);
        let mut rng = Pcg64Mcg::seed_from_u64(3);
        let noisy = SgmLabels::new(&[label], 95, Some(&mut rng)).left.remove(0);
        assert_eq!(noisy.contexts[..5], clean.contexts[..5]);
        assert_eq!(noisy.targets[..10], clean.targets);
        for index in 5..10 {
            let differing = |context: &[u32; CONTEXT]| {
                context.iter().zip(&clean.contexts[index]).filter(|(a, b)| a != b).count()
            };
            assert!(differing(&noisy.contexts[index]) <= 1);
        }
        assert!(noisy.contexts.len() > 10 && noisy.contexts.len() <= 15);
        assert_eq!(noisy.contexts.len(), noisy.targets.len());
    }

    #[test]
    fn empty_label() {
        let labels = SgmLabels::new::<Pcg64Mcg>(&[vec![]], 95, None);
        assert_eq!(labels.left[0].contexts, [[96; 5]]);
        assert_eq!(labels.right[0].contexts, [[97; 5]]);
        assert_eq!(labels.left[0].targets, [0]);
    }
}
