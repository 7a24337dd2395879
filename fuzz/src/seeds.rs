//! Small valid inputs as the first corpus.

use std::path::Path;

use svtrv2::decode::{CompactNgram, Ngram};
use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig, parameter_shapes};
use svtrv2::quantize::{Coding, QuantizeOptions, Rate};
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Charset, Precision};

use crate::crafted::{dictionary, initializer, ints, node, onnx, pth, safetensors, tensor, text};
use crate::graphs::{Network, pp_ocr};

/// Writes them to a folder, one below it for each target.
pub fn write(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let weights = network()?;
    let target = folder.join("safetensors");
    std::fs::create_dir_all(&target)?;
    weights.save(target.join("f32"), StorageType::F32)?;
    weights.save(target.join("f16"), StorageType::F16)?;
    for (name, coding) in [("coded", Coding::Entropy), ("plain", Coding::Plain)] {
        let options = QuantizeOptions { rate: Rate::Bits(4), coding, ..QuantizeOptions::default() };
        weights.save_quantized(target.join(name), &options)?;
    }
    let options = QuantizeOptions { rate: Rate::Bits(8), ..QuantizeOptions::default() };
    let weights = weights.with_precision(Precision::Int8)?;
    weights.save_quantized(target.join("int8"), &options)?;
    let matrices = parameter_shapes(weights.config())?.into_iter().filter(|(_, s)| s.len() == 2);
    let smoothing_scales = matrices.map(|(name, shape)| (name, vec![0.5; shape[1]])).collect();
    let options = QuantizeOptions { smoothing_scales, ..options };
    weights.save_quantized(target.join("int8_factors"), &options)?;
    let twelve_bit_inputs = options.smoothing_scales.keys().cloned().collect();
    let options = QuantizeOptions { twelve_bit_inputs, ..options };
    weights.save_quantized(target.join("int8_twelve_bits"), &options)?;
    std::fs::write(target.join("parts"), [1])?;
    for (name, bytes) in [("pth", pytorch()?), ("onnx", exported()?)] {
        let target = folder.join(name);
        std::fs::create_dir_all(&target)?;
        Weights::from_bytes(bytes.clone())?;
        std::fs::write(target.join("network"), bytes)?;
    }
    for small in [true, false] {
        for fused in [true, false] {
            let name = format!("pp_ocr_{}_{fused}", if small { "small" } else { "tiny" });
            std::fs::write(folder.join("onnx").join(name), pp_ocr(Network { small, fused }))?;
        }
    }
    let target = folder.join("ngram");
    std::fs::create_dir_all(&target)?;
    let charset = Charset::from_characters("abc")?;
    let model = Ngram::from_words(&charset, &[("abc", 3), ("ab", 1), ("cc", 2)], 3)?;
    model.save(target.join("arpa"))?;
    std::fs::write(target.join("compact"), CompactNgram::encode(&model)?)?;
    Ok(())
}

/// The smallest network of all kinds of blocks.
pub fn smallest_config() -> Config {
    let stage = |local, global| StageConfig { mlp_dim: 2, ..StageConfig::new(2, 1, local, global) };
    let encoder = SvtrConfig::new([stage(1, 0), stage(0, 1), stage(0, 1)]);
    let frm = FrmConfig { heads: 1, mlp_dim: 2 };
    Config { num_classes: 3, max_ratio: 4, ..Config::svtr(encoder, frm) }
}

/// Its parameters: names, shapes, bytes of f32.
fn parameters() -> svtrv2::Result<Vec<(String, Vec<usize>, Vec<u8>)>> {
    let shapes = parameter_shapes(&smallest_config())?.into_iter();
    let bytes = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        (0..count).flat_map(|i| (0.1f32 + i as f32 * 0.01).to_le_bytes()).collect()
    };
    Ok(shapes.map(|(name, shape)| (name, shape.clone(), bytes(&shape))).collect())
}

fn network() -> svtrv2::Result<Weights> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape, bytes) in parameters()? {
        let start = data.len();
        data.extend(bytes);
        let end = data.len();
        let entry = format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
        entries.push(entry);
    }
    let file = safetensors(&format!("{{{}}}", entries.join(",")), &data);
    Weights::from_bytes(file)?.with_charset(Charset::from_characters("ab")?)
}

/// The network as a PyTorch file, its tensors one behind the other in a storage.
fn pytorch() -> svtrv2::Result<Vec<u8>> {
    let (mut items, mut data) = (Vec::new(), Vec::new());
    for (name, shape, bytes) in parameters()? {
        let offset = data.len() as i64 / 4;
        data.extend(bytes);
        let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        let strides: Vec<i64> =
            (0..shape.len()).map(|axis| sizes[axis + 1..].iter().product()).collect();
        items.push((text(&name), tensor("0", offset, &ints(&sizes), &ints(&strides))));
    }
    Ok(pth(&dictionary(&items), &[("0", &data)]))
}

/// The network as an ONNX file; linear layers have nodes, which transpose their weights.
fn exported() -> svtrv2::Result<Vec<u8>> {
    let mut graph = Vec::new();
    for (number, (name, shape, bytes)) in parameters()?.into_iter().enumerate() {
        let mut dims: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        match name.strip_suffix(".weight").filter(|_| dims.len() == 2) {
            Some(module) => {
                dims.reverse();
                let own = format!("onnx::MatMul_{number}");
                let path = format!("/{}/MatMul", module.replace('.', "/"));
                graph.push(node(&path, "MatMul", &["x", &own]));
                graph.push(initializer(&own, &dims, &bytes));
            }
            None => graph.push(initializer(&name, &dims, &bytes)),
        }
    }
    Ok(onnx(&graph))
}
