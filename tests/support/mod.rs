//! What several test files share: reference numbers, pattern weights, and where outside data lies.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use svtrv2::model::{
    Config, EncoderConfig, FrmConfig, HeadConfig, LightSvtrConfig, LocalMixer, PooledConfig,
    RepVitBlock, RepVitConfig, RepVitKind, RepVitStem, StageConfig, SvtrConfig, SvtrNeckConfig,
    parameter_shapes,
};
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Charset, Conversion, Crop, DecodeOptions};

/// The value in [-1, 1) of element `i` (from 1) of the pattern tensor `name`.
fn pattern(name: &str, i: u64) -> f64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut z = hash.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f64 / f64::from(1 << 23) - 1.0
}

/// `count` plain pattern values: the network's input under the name `input/BxHxW`.
pub fn pattern_values(name: &str, count: usize) -> Vec<f32> {
    (1..=count as u64).map(|i| pattern(name, i) as f32).collect()
}

/// The pattern weight `name`, scaled by the rules for its kind.
pub fn pattern_weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape.iter().skip(1).product();
    let scale: Box<dyn Fn(f64) -> f64> = if name.ends_with("running_var") {
        Box::new(|v| 1.0 + 0.2 * v)
    } else if name.ends_with("running_mean") {
        Box::new(|v| 0.1 * v)
    } else if shape.len() == 1 && name.ends_with(".weight") {
        Box::new(|v| 1.0 + 0.1 * v)
    } else if shape.len() == 1 {
        Box::new(|v| 0.1 * v)
    } else {
        Box::new(move |v| v * (3.0 / fan_in as f64).sqrt())
    };
    let count: usize = shape.iter().product();
    (1..=count as u64).map(|i| scale(pattern(name, i)) as f32).collect()
}

/// Named tensors: name, shape, values.
pub type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// The pattern weights of a network as a published checkpoint holds them: batch norms and the branches
/// of reparameterised convolutions by themselves.
pub fn pattern_checkpoint(config: &Config) -> Tensors {
    let server = matches!(&config.encoder, EncoderConfig::Svtr(svtr)
        if svtr.local_mixer == LocalMixer::One5x5);
    let mut shapes = Vec::new();
    for (name, shape) in parameter_shapes(config).unwrap() {
        let mut batch_norm = |name: &str| {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                shapes.push((format!("{name}.{part}"), shape.clone()));
            }
        };
        if let Some(mixer) = name.strip_suffix(".conv.c.bias") {
            batch_norm(&format!("{mixer}.conv.bn"));
            batch_norm(&format!("{mixer}.bn"));
            shapes.push((format!("{mixer}.conv1.weight"), vec![shape[0], 1, 1, 1]));
            shapes.push((format!("{mixer}.conv1.bias"), shape));
        } else if let Some(layer) = name.strip_suffix(".c.bias") {
            batch_norm(&format!("{layer}.bn"));
        } else if let Some(layer) = name.strip_suffix(".conv.bias")
            && (name.contains("patch_embed") || name.contains("svtr_encoder"))
        {
            batch_norm(&format!("{layer}.norm"));
            if server && name.contains("patch_embed") {
                shapes.push((name, shape));
            }
        } else {
            shapes.push((name, shape));
        }
    }
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = pattern_weight(&name, &shape);
            (name, shape, values)
        })
        .collect()
}

/// Tensors as the bytes of a safetensors file.
pub fn to_safetensors(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// The pattern weights of a network.
pub fn pattern_weights(config: &Config) -> Weights {
    Weights::from_bytes(to_safetensors(&pattern_checkpoint(config))).unwrap()
}

/// The smallest network with every kind of block, for tests of everything but the numbers. The
/// fixtures `toy*` hold its pattern weights.
pub fn toy_config() -> Config {
    let stages = [(8, 1, 0), (8, 1, 1), (16, 0, 1)]
        .map(|(dim, local, global)| StageConfig::new(dim, 1, local, global));
    Config::svtr(SvtrConfig::new(stages), FrmConfig { heads: 1, mlp_dim: 64 })
}

/// The smallest networks that take lines, of every kind of encoder, stem and head, with seven classes.
pub fn toy_line_configs() -> Vec<(&'static str, Config)> {
    let block = |dim, squeeze_excite, row_stride| RepVitBlock {
        dim,
        squeeze_excite,
        row_stride,
        column_stride: 1,
    };
    let blocks =
        vec![block(8, true, 1), block(12, false, 2), block(12, true, 1), block(12, false, 1)];
    let rep_vit = |kind, stem| {
        EncoderConfig::RepVit(RepVitConfig { kind, stem, stem_dim: 8, blocks: blocks.clone() })
    };
    let stages = [(8, 1, 0), (8, 1, 1), (16, 0, 1)]
        .map(|(dim, local, global)| StageConfig::new(dim, 1, local, global));
    let svtr = SvtrConfig {
        local_mixer: LocalMixer::One5x5,
        row_strides: [2, 2],
        ..SvtrConfig::new(stages)
    };
    let neck = SvtrNeckConfig { dim: 8, heads: 2, mlp_dim: 12, blocks: 1 };
    let light = LightSvtrConfig { dim: 8, heads: 2, mlp_dim: 12, blocks: 1, taps: 3 };
    let pooled = PooledConfig { dim: 8, taps: 3 };
    let config =
        |encoder, head| Config { encoder, head, num_classes: 7, ..Config::open_ocr_server() };
    let (rep_svtr, pp_ocr) = (RepVitKind::RepSvtr, RepVitKind::PpOcr);
    let (plain, branched) = (RepVitStem::Plain, RepVitStem::Branched);
    vec![
        ("server", config(EncoderConfig::Svtr(svtr), HeadConfig::SvtrNeck(neck))),
        ("mobile", config(rep_vit(rep_svtr, plain), HeadConfig::SvtrNeck(neck))),
        ("PP-OCRv6 small", config(rep_vit(pp_ocr, branched), HeadConfig::LightSvtr(light))),
        ("PP-OCRv6 tiny", config(rep_vit(pp_ocr, plain), HeadConfig::Pooled(pooled))),
    ]
}

/// So many different symbols.
pub fn symbols(count: usize) -> Vec<String> {
    ('!'..).take(count).map(String::from).collect()
}

/// The toy network with the English charset, as this crate's own file.
pub fn toy_file(folder: &std::path::Path) -> PathBuf {
    let path = folder.join("toy.safetensors");
    let weights = pattern_weights(&toy_config()).with_charset(Charset::english()).unwrap();
    weights.save(&path, StorageType::F32).unwrap();
    path
}

/// A pseudo-random crop: smooth enough to be resized, different for every seed.
pub fn random_crop(seed: u64, width: u32, height: u32) -> image::RgbImage {
    let name = format!("crop/{seed}");
    let waves: Vec<f64> = (1..=12).map(|i| pattern(&name, i)).collect();
    image::RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x), f64::from(y));
        let channel = |c: usize| {
            let w = &waves[c * 4..];
            let value = (w[0] * x + w[1] * y + w[2] * 9.0).sin() * 90.0 + w[3] * 30.0 + 128.0;
            value.clamp(0.0, 255.0) as u8
        };
        image::Rgb([channel(0), channel(1), channel(2)])
    })
}

/// The numbers of a safetensors file.
pub struct Reference {
    bytes: Vec<u8>,
}

impl Reference {
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("reference file {}: {error}", path.display()));
        Reference { bytes }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.file().names().into_iter().map(String::from).collect();
        names.sort();
        names
    }

    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = self.file();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        let values =
            view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (view.shape().to_vec(), values)
    }

    pub fn u8(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let file = self.file();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::U8, "{name}");
        (view.shape().to_vec(), view.data().to_vec())
    }
}

/// A file of the repository's `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A file or folder given by an environment variable, for the tests that need data from outside
/// the repository. They are marked `#[ignore]`, and fail without it.
pub fn outside(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => panic!("{variable} is not set; see \"Tests\" in README.md"),
    }
}

/// The folder with the reference implementation's numbers and crops.
pub fn reference_folder() -> PathBuf {
    outside("SVTRV2_REFERENCE")
}

/// One of the reference's crops, converted to RGB as the reference implementation does.
pub fn reference_crop(name: &str) -> Crop<'static> {
    let options = DecodeOptions { conversion: Conversion::Reference, ..DecodeOptions::default() };
    Crop::open_with(reference_folder().join("crops").join(name), options).unwrap()
}

/// The trained SVTRv2-B in this crate's format.
pub fn trained_weights() -> PathBuf {
    outside("SVTRV2_WEIGHTS")
}

/// The largest absolute difference; fails if a number on either side is NaN.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut largest = 0.0f32;
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let difference = (a - b).abs();
        assert!(!difference.is_nan(), "{a} and {b} at {index}");
        largest = largest.max(difference);
    }
    largest
}

/// A tensor's values in row-major order, in f32.
#[cfg(feature = "candle")]
pub fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(candle_core::DType::F32).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The pattern input `[batch, 3, height, width]` and its shape.
pub fn pattern_input(batch: usize, height: usize, width: usize) -> (Vec<f32>, [usize; 4]) {
    let name = format!("input/{batch}x{height}x{width}");
    (pattern_values(&name, batch * 3 * height * width), [batch, 3, height, width])
}

/// Values of a tensor of integers of 64 bits.
impl Reference {
    pub fn i64(&self, name: &str) -> (Vec<usize>, Vec<i64>) {
        let file = self.file();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I64, "{name}");
        let (values, _) = tensor.data().as_chunks::<8>();
        (tensor.shape().to_vec(), values.iter().map(|v| i64::from_le_bytes(*v)).collect())
    }
}
