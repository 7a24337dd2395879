//! One set of names for the tensors of every file.

use std::collections::{BTreeMap, BTreeSet};

use super::tensor::StoredTensor;
use crate::error::{Result, WeightsError};

/// Prefixes that training frameworks put before every name.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];
/// The feature rearrangement module's prefix in checkpoints trained with semantic guidance.
const GUIDED_FRM: &str = "decoder.ctc_decoder.";
/// The semantic guidance module's prefix.
const GUIDANCE: &str = "decoder.gtc_decoder.";
const FRM: &str = "decoder.";
/// Prefixes of what this crate's training checkpoints hold besides the network.
pub(crate) const TRAINING: [&str; 2] = ["optimizer.", "average."];
/// Batch norm's counter of training steps.
const COUNTER: &str = ".num_batches_tracked";

/// Maps a file's tensors to the published names.
///
/// Prefixes of training frameworks are dropped, the feature rearrangement module is found under
/// either of its prefixes, and what inference does not need (semantic guidance, counters, the state
/// of training) is left out.
pub(super) fn canonical(
    tensors: BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, StoredTensor>> {
    let mut canonical = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(name) = canonical_name(&name) else {
            continue;
        };
        if canonical.insert(name.clone(), tensor).is_some() {
            return Err(WeightsError::Duplicate(name).into());
        }
    }
    Ok(canonical)
}

fn canonical_name(name: &str) -> Option<String> {
    let mut name = name;
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    let training = TRAINING.iter().any(|prefix| name.starts_with(prefix));
    if training || name.ends_with(COUNTER) || name.starts_with(GUIDANCE) {
        return None;
    }
    match name.strip_prefix(GUIDED_FRM) {
        Some(rest) => Some(format!("{FRM}{rest}")),
        None => Some(name.to_owned()),
    }
}

/// The indices of a stage's blocks, in order.
pub(super) fn block_indices<T>(tensors: &BTreeMap<String, T>, stage: usize) -> Vec<usize> {
    let prefix = format!("encoder.stages.{stage}.blocks.");
    let indices: BTreeSet<usize> = tensors
        .keys()
        .filter_map(|name| name.strip_prefix(&prefix)?.split('.').next()?.parse().ok())
        .collect();
    indices.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("module.encoder.a", Some("encoder.a")),
            ("module.model.encoder.a", Some("encoder.a")),
            ("decoder.fc.weight", Some("decoder.fc.weight")),
            ("decoder.ctc_decoder.fc.weight", Some("decoder.fc.weight")),
            ("module.decoder.gtc_decoder.norm_pred.bias", None),
            ("encoder.pope.patch_embed.0.norm.num_batches_tracked", None),
            ("optimizer.mean.decoder.fc.weight", None),
        ];
        for (name, expected) in cases {
            assert_eq!(canonical_name(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_name_twice() {
        let tensor = StoredTensor::computed(vec![1.0], vec![1]);
        let tensors = [("a".to_owned(), tensor.clone()), ("module.a".to_owned(), tensor)];
        assert!(canonical(tensors.into()).unwrap_err().to_string().contains("twice"));
    }
}
