//! Writes small valid inputs as the first corpus: `seeds FOLDER`.

use std::path::Path;

use svtrv2::Charset;
use svtrv2::decode::{CompactNgram, Ngram};
use svtrv2::model::{Config, StageConfig, parameter_shapes};
use svtrv2::weights::{Coding, QuantizeOptions, Rate, StorageType, Weights};
use svtrv2_fuzz::crafted::safetensors;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: seeds FOLDER")?;
    let folder = Path::new(&folder);
    let weights = network()?;
    let target = folder.join("safetensors");
    std::fs::create_dir_all(&target)?;
    weights.save(target.join("f32"), StorageType::F32)?;
    weights.save(target.join("f16"), StorageType::F16)?;
    for (name, coding) in [("coded", Coding::Entropy), ("plain", Coding::Plain)] {
        let options = QuantizeOptions { rate: Rate::Bits(4), coding, ..QuantizeOptions::default() };
        weights.save_quantized(target.join(name), &options)?;
    }
    let target = folder.join("ngram");
    std::fs::create_dir_all(&target)?;
    let charset = Charset::from_characters("abc")?;
    let model = Ngram::from_words(&charset, &[("abc", 3), ("ab", 1), ("cc", 2)], 3)?;
    model.save(target.join("arpa"))?;
    std::fs::write(target.join("compact"), CompactNgram::encode(&model)?)?;
    Ok(())
}

/// A network of the smallest size, its parameters all alike.
fn network() -> svtrv2::Result<Weights> {
    let stage = |local, global| StageConfig { mlp_dim: 2, ..StageConfig::new(2, 1, local, global) };
    let config = Config {
        stages: [stage(1, 0), stage(0, 1), stage(0, 1)],
        frm_heads: 1,
        frm_mlp_dim: 2,
        num_classes: 3,
        max_ratio: 4,
    };
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape) in parameter_shapes(&config)? {
        let (start, count) = (data.len(), shape.iter().product::<usize>());
        data.extend((0..count).flat_map(|i| (0.1f32 + i as f32 * 0.01).to_le_bytes()));
        let end = data.len();
        let entry = format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#);
        entries.push(entry);
    }
    let file = safetensors(&format!("{{{}}}", entries.join(",")), &data);
    Weights::from_bytes(file)?.with_charset(Charset::from_characters("ab")?)
}
