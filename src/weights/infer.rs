//! The configuration of a network, told from its tensors.

use std::collections::BTreeMap;

use super::names::block_indices;
use super::tensor::StoredTensor;
use crate::error::{Result, WeightsError};
use crate::model::{
    Config, EncoderConfig, FrmConfig, HEAD_DIM, HeadConfig, LightSvtrConfig, LocalMixer,
    PooledConfig, RepVitBlock, RepVitConfig, RepVitKind, RepVitStem, StageConfig, SvtrConfig,
    SvtrNeckConfig, block_index,
};

type Tensors = BTreeMap<String, StoredTensor>;

/// Reads the configuration off names and shapes.
///
/// Widths, depths, kinds of block, MLP widths, groups and classes show there. Heads of attention do not
/// (they are taken as the published 32 channels each, or 8), nor do strides (where the channels change, or
/// as in the published network that fits), nor the ratio limit.
pub(super) fn config(tensors: &Tensors) -> Result<Config> {
    let head = head(tensors)?;
    let encoder = if has_prefix(tensors, "encoder.stages.") {
        EncoderConfig::Svtr(svtr(tensors, &head)?)
    } else if has_prefix(tensors, "encoder.features.") {
        EncoderConfig::RepVit(repvit(tensors)?)
    } else {
        return Err(foreign(describe_foreign(tensors)));
    };
    let published = match &head {
        HeadConfig::Frm(_) => Config::tiny(),
        _ => Config::pp_ocr_v6_small(),
    };
    let num_classes = dimension(tensors, "decoder.fc.weight", 0)?;
    Ok(Config { encoder, head, num_classes, ..published })
}

fn has_prefix(tensors: &Tensors, prefix: &str) -> bool {
    tensors.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
}

fn head(tensors: &Tensors) -> Result<HeadConfig> {
    let has = |name: &str| tensors.contains_key(name);
    let neck = |part: &str| format!("decoder.svtr_encoder.{part}");
    let classifier = || dimension(tensors, "decoder.fc.weight", 1);
    // The blocks of both necks, and their MLPs' hidden units.
    let blocks = || -> Result<(usize, usize)> {
        let has_block = |i: &usize| has(&neck(&format!("svtr_block.{i}.norm1.weight")));
        let blocks = (0..tensors.len()).take_while(has_block).count();
        let mlp_dim = match blocks {
            0 => 2 * classifier()?,
            _ => dimension(tensors, &neck("svtr_block.0.mlp.fc1.weight"), 0)?,
        };
        Ok((blocks, mlp_dim))
    };
    if has(&neck("skip.conv.weight")) {
        let (blocks, mlp_dim) = blocks()?;
        let taps = dimension(tensors, &neck("mix.conv.weight"), 3)?;
        let heads = LightSvtrConfig::published().heads;
        return Ok(HeadConfig::LightSvtr(LightSvtrConfig {
            dim: classifier()?,
            heads,
            mlp_dim,
            blocks,
            taps,
        }));
    }
    if has(&neck("conv1.conv.weight")) {
        let (blocks, mlp_dim) = blocks()?;
        let heads = SvtrNeckConfig::published().heads;
        let dim = classifier()?;
        return Ok(HeadConfig::SvtrNeck(SvtrNeckConfig { dim, heads, mlp_dim, blocks }));
    }
    if has(&neck("point.conv.weight")) {
        let taps = dimension(tensors, &neck("mix.conv.weight"), 3)?;
        return Ok(HeadConfig::Pooled(PooledConfig { dim: classifier()?, taps }));
    }
    if !has_prefix(tensors, "encoder.") {
        return Err(foreign(describe_foreign(tensors)));
    }
    let mlp_dim = dimension(tensors, "decoder.w_atten_block.mlp.fc1.weight", 0)?;
    let heads = (classifier()? / HEAD_DIM).max(1);
    Ok(HeadConfig::Frm(FrmConfig { heads, mlp_dim }))
}

fn svtr(tensors: &Tensors, head: &HeadConfig) -> Result<SvtrConfig> {
    let stages = [stage(tensors, 0)?, stage(tensors, 1)?, stage(tensors, 2)?];
    let local = stages.iter().position(|stage| stage.local_blocks > 0);
    let two = local.is_none_or(|stage| {
        tensors.contains_key(&format!("encoder.stages.{stage}.blocks.0.mixer.1.weight"))
    });
    let local_mixer = if two { LocalMixer::Two3x3 } else { LocalMixer::One5x5 };
    let row_strides = match head {
        HeadConfig::Frm(_) => [1, 2],
        _ => [2, 2],
    };
    Ok(SvtrConfig { stages, local_mixer, row_strides })
}

fn stage(tensors: &Tensors, stage: usize) -> Result<StageConfig> {
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

fn repvit(tensors: &Tensors) -> Result<RepVitConfig> {
    let has = |name: String| tensors.contains_key(&name);
    let stem_weight = |index: usize| format!("encoder.features.0.{index}.c.weight");
    let (stem, last) = match has(stem_weight(4)) {
        true => (RepVitStem::Branched, 4),
        false => (RepVitStem::Plain, 2),
    };
    let stem_dim = dimension(tensors, &stem_weight(last), 0)?;
    let mut kind = RepVitKind::PpOcr;
    let mut blocks = Vec::new();
    for index in 1.. {
        let part = |part: &str| format!("encoder.features.{index}.{part}");
        let keeps = has(part("token_mixer.0.conv.c.weight"));
        if !keeps && !has(part("token_mixer.0.c.weight")) {
            break;
        }
        if has(part("token_mixer.2.c.weight")) {
            kind = RepVitKind::RepSvtr;
        }
        blocks.push(RepVitBlock {
            dim: dimension(tensors, &part("channel_mixer.m.2.c.weight"), 0)?,
            squeeze_excite: has(part("token_mixer.1.fc1.weight")),
            row_stride: if keeps { 1 } else { 2 },
            column_stride: 1,
        });
    }
    let found = RepVitConfig { kind, stem, stem_dim, blocks };
    let shape = |config: &RepVitConfig| {
        let blocks = config.blocks.iter().map(|block| (block.dim, block.squeeze_excite));
        (config.kind, config.stem, config.stem_dim, blocks.collect::<Vec<_>>())
    };
    let published = [
        RepVitConfig::rep_svtr(),
        RepVitConfig::pp_ocr_v6_tiny(),
        RepVitConfig::pp_ocr_v6_small(),
        RepVitConfig::pp_ocr_v6_medium(),
    ];
    let fits = published.into_iter().find(|published| shape(published) == shape(&found));
    Ok(fits.unwrap_or(found))
}

fn dimension(tensors: &Tensors, name: &str, axis: usize) -> Result<usize> {
    let tensor = tensors.get(name).ok_or_else(|| WeightsError::Misfit {
        missing: vec![name.to_owned()],
        misshapen: Vec::new(),
        unexpected: Vec::new(),
    })?;
    let size = tensor.shape().get(axis).copied();
    size.ok_or_else(|| foreign(format!("{name} has the shape {:?}", tensor.shape())))
}

fn foreign(detail: String) -> crate::Error {
    WeightsError::NotSvtrv2 { detail }.into()
}

/// What is known, and what the file holds instead.
fn describe_foreign(tensors: &Tensors) -> String {
    if tensors.is_empty() {
        return "the file holds no tensors".to_owned();
    }
    let first: Vec<&str> = tensors.keys().take(3).map(String::as_str).collect();
    format!(
        "no tensor is named encoder.stages.* (SVTRv2, OpenOCR's server) or encoder.features.* (OpenOCR's \
         mobile, PP-OCRv6); the first are {}",
        first.join(", ")
    )
}
