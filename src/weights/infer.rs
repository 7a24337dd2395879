//! The configuration of a network, told from its tensors.

use std::collections::BTreeMap;

use super::names::block_indices;
use super::tensor::StoredTensor;
use crate::error::{Result, WeightsError};
use crate::model::{Config, HEAD_DIM, SHORT_TEXT_RATIO, StageConfig, block_index};

/// Reads the configuration off names and shapes.
///
/// Widths, depths, kinds of block, MLP widths, groups and classes show there. Heads of attention do not (they
/// are taken as the published 32 channels each), nor does the ratio limit (4).
pub(super) fn config(tensors: &BTreeMap<String, StoredTensor>) -> Result<Config> {
    if !tensors.keys().any(|name| name.starts_with("encoder.stages.")) {
        return Err(foreign(describe_foreign(tensors)));
    }
    let stages = [stage(tensors, 0)?, stage(tensors, 1)?, stage(tensors, 2)?];
    let classes = dimension(tensors, "decoder.fc.weight", 0)?;
    Ok(Config {
        frm_heads: (stages[2].dim / HEAD_DIM).max(1),
        frm_mlp_dim: dimension(tensors, "decoder.w_atten_block.mlp.fc1.weight", 0)?,
        stages,
        num_classes: classes,
        max_ratio: SHORT_TEXT_RATIO,
    })
}

fn stage(tensors: &BTreeMap<String, StoredTensor>, stage: usize) -> Result<StageConfig> {
    let prefix = format!("encoder.stages.{stage}");
    let indices = block_indices(tensors, stage);
    let has = |index: usize, part: &str| {
        tensors.contains_key(&format!("{prefix}.blocks.{index}.mixer.{part}"))
    };
    let local_blocks = indices.iter().take_while(|&&index| has(index, "0.weight")).count();
    let global_blocks = indices.len() - local_blocks;
    let dim = match indices.first() {
        Some(first) => dimension(tensors, &format!("{prefix}.blocks.{first}.norm1.weight"), 0)?,
        None => return Err(foreign(format!("stage {stage} of the encoder has no blocks"))),
    };
    let heads = if local_blocks > 0 {
        let group = dimension(tensors, &format!("{prefix}.blocks.0.mixer.0.weight"), 1)?;
        dim.checked_div(group).unwrap_or(0)
    } else {
        (dim / HEAD_DIM).max(1)
    };
    let first = indices.first().copied().unwrap_or(0);
    let mlp_dim = dimension(tensors, &format!("{prefix}.blocks.{first}.mlp.fc1.weight"), 0)?;
    let config = StageConfig { dim, heads, local_blocks, global_blocks, mlp_dim };
    // Global before local blocks, or gaps elsewhere than between the two.
    let expected = (0..indices.len()).map(|block| block_index(&config, block));
    let ordered = indices.iter().skip(local_blocks).all(|&index| !has(index, "0.weight"));
    if !ordered || !expected.eq(indices.iter().copied()) {
        return Err(foreign(format!("the blocks of stage {stage} are numbered {indices:?}")));
    }
    Ok(config)
}

fn dimension(tensors: &BTreeMap<String, StoredTensor>, name: &str, axis: usize) -> Result<usize> {
    let tensor = tensors.get(name).ok_or_else(|| WeightsError::Misfit {
        missing: vec![name.to_owned()],
        misshapen: Vec::new(),
        unexpected: Vec::new(),
    })?;
    let size = tensor.shape().get(axis).copied();
    size.ok_or_else(|| foreign(format!("{name} has the shape {:?}", tensor.shape())))
}

fn foreign(detail: String) -> crate::Error {
    WeightsError::NotSvtrv2(detail).into()
}

fn describe_foreign(tensors: &BTreeMap<String, StoredTensor>) -> String {
    if tensors.is_empty() {
        return "the file holds no tensors".to_owned();
    }
    let first: Vec<&str> = tensors.keys().take(3).map(String::as_str).collect();
    format!("no tensor is named encoder.stages.*; the first are {}", first.join(", "))
}
