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
/// Prefixes of PaddleOCR's models, and what takes their place.
const PADDLE: [(&str, &str); 4] = [
    ("backbone.", "encoder."),
    ("head.ctc_encoder.encoder.", "decoder.svtr_encoder."),
    ("head.ctc_head.fc.", "decoder.fc."),
    ("head.fc.", "decoder.fc."),
];
/// Prefixes of what PaddleOCR's models hold for training alone.
const PADDLE_GUIDANCE: [&str; 2] = ["head.gtc_head.", "head.before_gtc."];
/// Ends of names of PaddleOCR's models, and what takes their place: batch norms' statistics.
const PADDLE_STATISTICS: [(&str, &str); 2] =
    [("._mean", ".running_mean"), ("._variance", ".running_var")];
/// Prefixes of what this crate's training checkpoints hold besides the network.
pub(crate) const TRAINING: [&str; 2] = ["optimizer.", "average."];
/// Batch norm's counter of training steps.
const COUNTER: &str = ".num_batches_tracked";

/// Maps a file's tensors to the published names.
///
/// Prefixes of training frameworks are dropped, the head is found under either of its prefixes, and what
/// inference does not need (semantic guidance, counters, the state of training) is left out. Names of
/// PaddleOCR's models, and of convolutions that were folded before they were written, become those of the
/// published checkpoints.
pub(super) fn canonical(
    tensors: BTreeMap<String, StoredTensor>,
) -> Result<BTreeMap<String, StoredTensor>> {
    let mut canonical = BTreeMap::new();
    let strided = strided_blocks(tensors.keys());
    for (name, tensor) in tensors {
        let Some(name) = canonical_name(&name) else {
            continue;
        };
        let name = match module_of_folded(&name, &strided) {
            Some(module) => module,
            None => name,
        };
        if canonical.insert(name.clone(), tensor).is_some() {
            return Err(WeightsError::Duplicate { name }.into());
        }
    }
    Ok(canonical)
}

pub(super) fn canonical_name(name: &str) -> Option<String> {
    let mut name = name;
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    let training = TRAINING.iter().any(|prefix| name.starts_with(prefix));
    if training || name.ends_with(COUNTER) || name.starts_with(GUIDANCE) {
        return None;
    }
    if PADDLE_GUIDANCE.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let mut name = match name.strip_prefix(GUIDED_FRM) {
        Some(rest) => format!("{FRM}{rest}"),
        None => {
            let paddle = PADDLE.iter().find_map(|(paddle, published)| {
                Some(format!("{published}{}", name.strip_prefix(paddle)?))
            });
            paddle.unwrap_or_else(|| name.to_owned())
        }
    };
    for (paddle, published) in PADDLE_STATISTICS {
        if let Some(start) = name.strip_suffix(paddle) {
            name = format!("{start}{published}");
        }
    }
    // The one convolution of a local mixer, which is the first of a list in OpenOCR's checkpoints.
    if name.starts_with("encoder.stages.") {
        for part in ["weight", "bias"] {
            if let Some(start) = name.strip_suffix(&format!(".mixer.{part}")) {
                name = format!("{start}.mixer.0.{part}");
            }
        }
    }
    Some(name)
}

/// The start of the names of a RepViT block's parameters.
const BLOCKS: &str = "encoder.features.";

/// Numbers of the RepViT blocks whose token mixer changes the channels: it ends in a 1x1 convolution.
fn strided_blocks<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let strided = names.filter_map(|name| {
        let name = canonical_name(name)?;
        let (number, part) = name.strip_prefix(BLOCKS)?.split_once('.')?;
        part.starts_with("token_mixer.2.").then(|| number.to_owned())
    });
    strided.collect()
}

/// The name of a RepViT block's convolution that took the place of convolution and batch norm, and so
/// lost the name of the former: `encoder.features.0.2.weight` is `encoder.features.0.2.c.weight`.
fn module_of_folded(name: &str, strided: &BTreeSet<String>) -> Option<String> {
    let (module, part) = name.strip_prefix(BLOCKS)?.rsplit_once('.')?;
    let (number, layer) = module.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let conv = match layer {
        "token_mixer.0" if strided.contains(number) => "c",
        "token_mixer.0" => "conv.c",
        "token_mixer.2" | "channel_mixer.m.0" | "channel_mixer.m.2" => "c",
        layer if number == "0" && digits(layer) => "c",
        _ => return None,
    };
    Some(format!("{BLOCKS}{module}.{conv}.{part}"))
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
            (
                "backbone.stages.0.blocks.1.mixer.bias",
                Some("encoder.stages.0.blocks.1.mixer.0.bias"),
            ),
            (
                "backbone.stages.0.blocks.1.mixer.qkv.weight",
                Some("encoder.stages.0.blocks.1.mixer.qkv.weight"),
            ),
            (
                "head.ctc_encoder.encoder.conv1.norm._variance",
                Some("decoder.svtr_encoder.conv1.norm.running_var"),
            ),
            ("head.ctc_head.fc.weight", Some("decoder.fc.weight")),
            ("head.gtc_head.embedding.weight", None),
        ];
        for (name, expected) in cases {
            assert_eq!(canonical_name(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn convolutions_that_were_folded_before() {
        let strided =
            strided_blocks(["module.encoder.features.4.token_mixer.2.weight".to_owned()].iter());
        let cases = [
            ("encoder.features.0.2.weight", Some("encoder.features.0.2.c.weight")),
            (
                "encoder.features.3.token_mixer.0.bias",
                Some("encoder.features.3.token_mixer.0.conv.c.bias"),
            ),
            (
                "encoder.features.4.token_mixer.0.bias",
                Some("encoder.features.4.token_mixer.0.c.bias"),
            ),
            (
                "encoder.features.4.token_mixer.2.weight",
                Some("encoder.features.4.token_mixer.2.c.weight"),
            ),
            (
                "encoder.features.3.channel_mixer.m.2.bias",
                Some("encoder.features.3.channel_mixer.m.2.c.bias"),
            ),
            ("encoder.features.3.token_mixer.1.fc1.weight", None),
            ("encoder.features.0.2.c.weight", None),
            ("encoder.stages.0.blocks.0.mixer.0.weight", None),
        ];
        for (name, expected) in cases {
            assert_eq!(module_of_folded(name, &strided).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_name_twice() {
        let tensor = StoredTensor::computed(vec![1.0], vec![1]);
        let tensors = [("a".to_owned(), tensor.clone()), ("module.a".to_owned(), tensor)];
        assert!(canonical(tensors.into()).unwrap_err().to_string().contains("twice"));
    }
}
