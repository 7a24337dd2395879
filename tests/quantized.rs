//! Quantised weights files: what comes back, how large they are, and that damaged ones are refused.

mod support;

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use support::{
    max_difference, pattern_checkpoint, pattern_input, pattern_weight, pattern_weights,
    random_crop, to_safetensors, toy_config,
};
use svtrv2::model::{Config, EncoderConfig, FrmConfig, StageConfig, SvtrConfig};
use svtrv2::quantize::{Coding, QuantizeOptions, Rate};
use svtrv2::weights::{ActivationBits, QuantizedTensor, Weights};
use svtrv2::{Charset, Crop, Error, Options, Precision, Recognizer, WeightsError};

/// A linear layer of the toy network.
const LAYER: &str = "encoder.stages.0.blocks.0.mlp.fc1.weight";

fn toy() -> Weights {
    pattern_weights(&toy_config()).with_charset(Charset::english()).unwrap()
}

fn options(rate: Rate, coding: Coding) -> QuantizeOptions {
    QuantizeOptions { rate, coding, ..QuantizeOptions::default() }
}

fn quantized(options: &QuantizeOptions) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quantized.safetensors");
    toy().save_quantized(&path, options).unwrap();
    std::fs::read(path).unwrap()
}

fn open(bytes: &[u8]) -> svtrv2::Result<Weights> {
    Weights::from_bytes(bytes.to_vec())
}

fn values(tensor: &QuantizedTensor) -> Vec<f32> {
    let columns = tensor.levels.len() / tensor.scales.len();
    let scale = |i: usize| tensor.scales[i / columns];
    tensor.levels.iter().enumerate().map(|(i, &level)| f32::from(level) * scale(i)).collect()
}

/// Log-probabilities of a crop.
fn emissions(weights: &Weights) -> Vec<f32> {
    let recognizer = Recognizer::new(weights, Options::default()).unwrap();
    let image = image::DynamicImage::from(random_crop(3, 96, 32));
    let crops = recognizer.resize(&Crop::try_from(&image).unwrap()).unwrap();
    recognizer.emissions(&crops).unwrap()[0].log_probs.as_slice().to_vec()
}

#[test]
fn weights_come_back_rounded() {
    let original = toy();
    let expected = emissions(&original);
    let mut errors = Vec::new();
    for bits in [8, 6, 4, 2] {
        let bytes = quantized(&options(Rate::Bits(bits), Coding::Entropy));
        let weights = open(&bytes).unwrap();
        assert!(weights.is_quantized());
        assert_eq!(weights.config(), original.config());
        assert_eq!(weights.charset(), original.charset());
        assert!(weights.names().eq(original.names()));
        let layer = weights.quantized_tensor(LAYER).unwrap().unwrap();
        let exact = pattern_weight(LAYER, &layer.shape);
        let rows = exact.chunks_exact(layer.levels.len() / layer.scales.len());
        for ((exact, rounded), &scale) in rows
            .zip(values(&layer).chunks_exact(exact.len() / layer.scales.len()))
            .zip(&layer.scales)
        {
            // No weight but a clipped one is further off than half a scale.
            let edge = scale * ((1 << (bits - 1)) - 1) as f32;
            for (&exact, &rounded) in exact.iter().zip(rounded) {
                let off = (exact.clamp(-edge, edge) - rounded).abs();
                assert!(off <= 0.5001 * scale, "{bits} bits: {rounded} for {exact} at {scale}");
            }
        }
        errors.push(max_difference(&emissions(&weights), &expected));
        assert!(
            weights.quantized_tensor("encoder.stages.0.blocks.0.norm1.weight").unwrap().is_none()
        );
    }
    assert!(errors.is_sorted() && errors[0] > 0.0 && errors[0] < 0.1, "{errors:?}");
}

/// The stem of a RepViT encoder computes in f32 wherever the network runs in int8.
#[test]
fn stems_compute_in_f32() {
    let mut config = Config { num_classes: 95, ..Config::pp_ocr_v6_tiny() };
    let EncoderConfig::RepVit(encoder) = &mut config.encoder else { panic!("{config:?}") };
    // Blocks with a residual. Without their weights that int8 would round, what differs is the stem's.
    encoder.blocks.truncate(2);
    let mut checkpoint = pattern_checkpoint(&config);
    for (name, _, values) in &mut checkpoint {
        if name.contains("channel_mixer") && name.ends_with(".c.weight") {
            values.fill(0.0);
        }
    }
    let exact = Weights::from_bytes(to_safetensors(&checkpoint)).unwrap();
    let exact = exact.with_charset(Charset::english()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let save = |weights: &Weights, options: &QuantizeOptions| {
        let path = folder.path().join("quantized.safetensors");
        weights.save_quantized(&path, options).unwrap();
        open(&std::fs::read(path).unwrap()).unwrap()
    };
    let rounded = save(&exact, &options(Rate::Bits(8), Coding::Entropy));
    let int8 =
        save(&exact.clone().with_precision(Precision::Int8).unwrap(), &QuantizeOptions::int8());
    for (name, is_quantized) in [
        ("encoder.features.0.0.c.weight", false),
        ("encoder.features.0.2.c.weight", false),
        ("encoder.features.1.channel_mixer.m.0.c.weight", true),
    ] {
        assert!(rounded.quantized_tensor(name).unwrap().is_some(), "{name}");
        assert_eq!(int8.quantized_tensor(name).unwrap().is_some(), is_quantized, "{name}");
    }
    let (image, shape) = pattern_input(1, 48, 96);
    for (kind, weights) in [("exact", exact), ("rounded", rounded), ("int8", int8)] {
        let expected = weights.model().unwrap().features(&image, shape).unwrap().values;
        let found = weights.int8_model().unwrap().features(&image, shape).unwrap().values;
        let scale = expected.iter().fold(0.0f32, |scale, x| scale.max(x.abs()));
        let difference = max_difference(&found, &expected);
        assert!(difference <= 1e-6 * scale, "{kind}: {difference} of {scale}");
    }
}

#[test]
fn both_codings_hold_the_same() {
    let coded = open(&quantized(&options(Rate::Bits(6), Coding::Entropy))).unwrap();
    let plain = open(&quantized(&options(Rate::Bits(6), Coding::Plain))).unwrap();
    for name in coded.names() {
        let (coded, plain) = (coded.quantized_tensor(name), plain.quantized_tensor(name));
        assert_eq!(coded.unwrap(), plain.unwrap(), "{name}");
    }
    assert_eq!(emissions(&coded), emissions(&plain));
}

#[test]
fn borrowed_bytes_open_as_owned_ones_do() {
    let bytes = quantized(&QuantizeOptions::default());
    let owned = emissions(&open(&bytes).unwrap());
    let borrowed: &'static [u8] = bytes.leak();
    assert_eq!(emissions(&Weights::from_bytes(borrowed).unwrap()), owned);
}

#[test]
fn files_are_as_large_as_they_may_be() {
    let coarse = quantized(&options(Rate::Bits(4), Coding::Entropy)).len();
    let expected = emissions(&toy());
    let mut errors = Vec::new();
    for most in [coarse, coarse + 500, coarse + 1_000, coarse + 2_000] {
        let bytes = quantized(&options(Rate::Bytes(most as u64), Coding::Entropy));
        assert!(bytes.len() <= most && bytes.len() + 150 > most, "{} of {most}", bytes.len());
        errors.push(max_difference(&emissions(&open(&bytes).unwrap()), &expected));
    }
    assert!(errors[3] < errors[0], "{errors:?}");
    for (name, rate) in [
        ("too few bytes", Rate::Bytes(1_000)),
        ("one bit", Rate::Bits(1)),
        ("nine bits", Rate::Bits(9)),
    ] {
        let path = std::env::temp_dir().join("never-written.safetensors");
        let error = toy().save_quantized(path, &options(rate, Coding::Entropy)).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{name}: {error}");
    }
}

#[test]
fn extra_bits_go_where_they_are_asked_for() {
    let extra_bits = vec![("mlp.fc1".to_owned(), 3.0)];
    let finer = QuantizeOptions { extra_bits, ..options(Rate::Bits(4), Coding::Entropy) };
    let most = |weights: &Weights, name: &str| {
        let tensor = weights.quantized_tensor(name).unwrap().unwrap();
        tensor.levels.iter().map(|level| level.unsigned_abs()).max()
    };
    let weights = open(&quantized(&finer)).unwrap();
    assert_eq!(most(&weights, LAYER), Some(63));
    assert_eq!(most(&weights, "decoder.fc.weight"), Some(7));
}

/// Weights are divided by the factors of the input before they are rounded, and come back as they were.
#[test]
fn smoothing_scales() {
    const CONV: &str = "encoder.stages.0.blocks.0.mixer.0.weight";
    let factor = |i: usize| [0.25f32, 1.0, 3.0][i % 3];
    let stages = [(8, 2, 1, 0), (8, 1, 1, 1), (16, 1, 0, 1)]
        .map(|(dim, heads, local, global)| StageConfig::new(dim, heads, local, global));
    let frm = FrmConfig { heads: 1, mlp_dim: 64 };
    let config = Config::svtr(SvtrConfig::new(stages), frm);
    let original = pattern_weights(&config).with_charset(Charset::english()).unwrap();
    let shape = |name| original.tensor(name).unwrap().unwrap().1;
    let (linear, conv) = (shape(LAYER), shape(CONV));
    // The convolution's groups have their channels one behind the other.
    let groups = conv[0] / conv[1];
    assert!(groups > 1 && linear.len() == 2, "{conv:?}, {linear:?}");
    let of_conv: Vec<f32> = (0..groups * conv[1]).map(factor).collect();
    let of_linear: Vec<f32> = (0..linear[1]).map(factor).collect();
    let options = QuantizeOptions {
        smoothing_scales: BTreeMap::from([
            (CONV.to_owned(), of_conv.clone()),
            (LAYER.to_owned(), of_linear.clone()),
        ]),
        ..options(Rate::Bits(8), Coding::Plain)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("factors.safetensors");
    original.save_quantized(&path, &options).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(Parts::of(&bytes).metadata["quantized"]["version"], json!(2));
    let weights = open(&bytes).unwrap();
    for (name, factors, taps) in [(CONV, &of_conv, 9), (LAYER, &of_linear, 1)] {
        let stored = weights.quantized_tensor(name).unwrap().unwrap();
        assert_eq!(stored.smoothing_scales.as_ref(), Some(factors));
        let found = weights.tensor(name).unwrap().unwrap().0;
        let exact = pattern_weight(name, &stored.shape);
        let (rows, channels) = (stored.shape[0], stored.shape[1]);
        let groups = factors.len() / channels;
        for (i, (found, exact)) in found.iter().zip(&exact).enumerate() {
            let (row, channel) = (i / (channels * taps), i / taps % channels);
            let factor = factors[row * groups / rows * channels + channel];
            let edge = 127.0 * stored.scales[row] * factor;
            let off = (found - exact.clamp(-edge, edge)).abs();
            assert!(off <= 0.5001 * stored.scales[row] * factor, "{name}[{i}]: {found}, {exact}");
        }
    }
    // Inference in int8 takes the factors for its input.
    let (input, shape) = support::pattern_input(2, 32, 64);
    let off = |weights: &Weights| {
        let exact = weights.model().unwrap().forward(&input, shape).unwrap();
        let int8 = weights.int8_model().unwrap().forward(&input, shape).unwrap();
        max_difference(&exact.values, &int8.values)
    };
    let (with_factors, without) = (off(&weights), off(&original));
    println!("int8 is off by {with_factors} with factors, by {without} without");
    assert!(with_factors > 0.0 && with_factors < 3.0 * without);

    let attempt = |factors: Vec<f32>| {
        let smoothing_scales = BTreeMap::from([(LAYER.to_owned(), factors)]);
        let path = folder.path().join("never-written.safetensors");
        original.save_quantized(
            path,
            &QuantizeOptions { smoothing_scales, ..QuantizeOptions::default() },
        )
    };
    // Inputs of 12 bits.
    let twelve_bit_inputs = options.smoothing_scales.keys().cloned().collect();
    let options = QuantizeOptions { twelve_bit_inputs, ..options };
    original.save_quantized(&path, &options).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(Parts::of(&bytes).metadata["quantized"]["version"], json!(3));
    let finer = open(&bytes).unwrap();
    let bits = |name| finer.quantized_tensor(name).unwrap().unwrap().activation_bits;
    assert_eq!([CONV, LAYER].map(bits), [ActivationBits::Twelve; 2]);
    assert_eq!(bits("decoder.fc.weight"), ActivationBits::Eight);
    assert!(off(&finer) != with_factors);
    for bad in [vec![], vec![1.0; linear[1] + 1], vec![1.0; 2 * linear[1]], vec![0.0; linear[1]]] {
        assert!(matches!(attempt(bad).unwrap_err(), Error::Config(_)));
    }
}

/// With the covariances of its inputs a layer's outputs are nearer to the exact ones.
#[test]
fn input_covariances() {
    let config = toy_config();
    let original = pattern_weights(&config).with_charset(Charset::english()).unwrap();
    let shape = original.tensor(LAYER).unwrap().unwrap().1;
    let (rows, columns) = (shape[0], shape[1]);
    // Inputs that are nearly all alike.
    let at = |i: usize| if i / columns == i % columns { 1.0f32 } else { 0.9 };
    let covariances: Vec<f32> = (0..columns * columns).map(at).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rounded.safetensors");
    let exact = pattern_weight(LAYER, &shape);
    // The mean square error of the outputs.
    let error = |covariances: Option<&Vec<f32>>| {
        let input_covariances = covariances.map(|values| (LAYER.to_owned(), values.clone()));
        let options = QuantizeOptions {
            input_covariances: input_covariances.into_iter().collect(),
            ..options(Rate::Bits(4), Coding::Plain)
        };
        original.save_quantized(&path, &options).unwrap();
        let found = Weights::open(&path).unwrap().tensor(LAYER).unwrap().unwrap().0;
        let pairs = exact.chunks_exact(columns).zip(found.chunks_exact(columns));
        let of_row = |(exact, found): (&[f32], &[f32])| {
            let errors: Vec<f32> = exact.iter().zip(found).map(|(a, b)| a - b).collect();
            let products =
                (0..columns * columns).map(|i| at(i) * errors[i / columns] * errors[i % columns]);
            products.sum::<f32>()
        };
        pairs.map(of_row).sum::<f32>() / rows as f32
    };
    let (plain, fed_back) = (error(None), error(Some(&covariances)));
    println!("mean square errors: {plain} plain, {fed_back} with covariances");
    assert!(fed_back < 0.5 * plain);

    for bad in [vec![], vec![1.0; columns * columns + 1], vec![f32::NAN; columns * columns]] {
        let input_covariances = BTreeMap::from([(LAYER.to_owned(), bad)]);
        let options = QuantizeOptions { input_covariances, ..QuantizeOptions::default() };
        let path = folder.path().join("never-written.safetensors");
        assert!(matches!(original.save_quantized(path, &options).unwrap_err(), Error::Config(_)));
    }
}

/// A safetensors file taken apart.
#[derive(Clone)]
struct Parts {
    metadata: Value,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let metadata = &header.metadata().as_ref().unwrap()["svtrv2"];
        let file = SafeTensors::deserialize(bytes).unwrap();
        let part = |(name, view): (String, TensorView)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Parts {
            metadata: serde_json::from_str(metadata).unwrap(),
            tensors: file.tensors().into_iter().map(part).collect(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let metadata = HashMap::from([("svtrv2".to_owned(), self.metadata.to_string())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }

    fn shape(&mut self) -> &mut Value {
        &mut self.metadata["quantized"]["shapes"][LAYER]
    }

    /// The bytes of a part of [`LAYER`], with another length where the closure changes it.
    fn edit(&mut self, part: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let (dtype, shape, bytes) = self.tensors.get_mut(&format!("{LAYER}{part}")).unwrap();
        change(bytes);
        let size = match *dtype {
            Dtype::F16 => 2,
            _ => 1,
        };
        if shape.len() == 1 {
            *shape = vec![bytes.len() / size];
        }
    }
}

/// What opening a file, or reading all of it, gives.
fn fault(bytes: &[u8]) -> Option<Error> {
    let read = || -> svtrv2::Result<()> {
        let weights = open(bytes)?;
        for name in weights.names() {
            weights.quantized_tensor(name)?;
        }
        Recognizer::new(&weights, Options::default())?;
        Ok(())
    };
    read().err()
}

#[test]
fn hostile_files() {
    let coded = Parts::of(&quantized(&options(Rate::Bits(6), Coding::Entropy)));
    let plain = Parts::of(&quantized(&options(Rate::Bits(6), Coding::Plain)));
    assert!(fault(&coded.bytes()).is_none() && fault(&plain.bytes()).is_none());
    let scales = format!("{LAYER}.scales");
    let rans = format!("{LAYER}.rans");
    let with_factors = |value: f32, count: usize| {
        move |p: &mut Parts| {
            let bytes = (0..count).flat_map(|_| value.to_le_bytes()).collect();
            p.tensors.insert(format!("{LAYER}.input_factors"), (Dtype::F32, vec![count], bytes));
        }
    };
    let columns = plain.tensors[LAYER].1[1];
    assert!({
        let mut parts = plain.clone();
        with_factors(0.5, columns)(&mut parts);
        fault(&parts.bytes()).is_none()
    });
    let no_fit = "smoothing scales do not fit";
    type Attack<'a> = &'a dyn Fn(&mut Parts);
    let attacks: &[(&str, &Parts, Attack, &str)] = &[
        (
            "unknown version",
            &coded,
            &|p| p.metadata["quantized"]["version"] = json!(4),
            "version 4",
        ),
        (
            "an input of 12 bits of nothing",
            &coded,
            &|p| p.metadata["quantized"]["twelve_bit_inputs"] = json!(["none"]),
            "no integers",
        ),
        ("no version", &coded, &|p| p.metadata["quantized"] = json!({}), "version"),
        ("negative size", &coded, &|p| *p.shape() = json!([-1, 8]), "metadata entry"),
        ("scales missing", &coded, &|p| drop(p.tensors.remove(&scales)), "no scales"),
        ("integers missing", &coded, &|p| drop(p.tensors.remove(&rans)), "no integers"),
        (
            "integers twice",
            &coded,
            &|p| drop(p.tensors.insert(LAYER.into(), plain.tensors[LAYER].clone())),
            "integers twice",
        ),
        (
            "integers of no parameter",
            &coded,
            &|p| drop(p.metadata["quantized"]["shapes"].as_object_mut().unwrap().remove(LAYER)),
            "do not fit the network",
        ),
        (
            "a scale less",
            &coded,
            &|p| p.edit(".scales", |b| b.truncate(b.len() - 2)),
            "scale a row",
        ),
        ("a scale more", &coded, &|p| p.edit(".scales", |b| b.extend([0, 60])), "scale a row"),
        ("scale NaN", &coded, &|p| p.edit(".scales", |b| b[..2].copy_from_slice(&[0, 126])), "NaN"),
        (
            "scales in integers",
            &coded,
            &|p| p.tensors.get_mut(&scales).unwrap().0 = Dtype::I16,
            "no floating-point vector",
        ),
        ("a factor less", &plain, &with_factors(1.0, columns - 1), no_fit),
        ("two factors a channel", &plain, &with_factors(1.0, 2 * columns), no_fit),
        ("no factors", &plain, &with_factors(1.0, 0), no_fit),
        ("factors of 0", &plain, &with_factors(0.0, columns), no_fit),
        ("factors below 0", &plain, &with_factors(-1.0, columns), no_fit),
        ("factors without end", &plain, &with_factors(f32::INFINITY, columns), "inf"),
        ("shape overflows", &coded, &|p| *p.shape() = json!([usize::MAX, 9]), "overflows"),
        ("no shape", &coded, &|p| *p.shape() = json!([]), "scale a row"),
        ("no columns", &coded, &|p| *p.shape() = json!([32, 0]), "scale a row"),
        (
            "more than the bytes hold",
            &coded,
            &|p| *p.shape() = json!([32, 1u64 << 40]),
            "do not fit",
        ),
        ("another network's shape", &coded, &|p| *p.shape() = json!([32, 9]), "instead of"),
        ("no bytes", &coded, &|p| p.edit(".rans", Vec::clear), "do not fit its shape"),
        ("highest integer 0", &coded, &|p| p.edit(".rans", |b| b[0] = 0), "1..=127"),
        ("highest integer 128", &coded, &|p| p.edit(".rans", |b| b[0] = 128), "1..=127"),
        ("another alphabet", &coded, &|p| p.edit(".rans", |b| b[0] -= 1), LAYER),
        ("stream cut", &coded, &|p| p.edit(".rans", |b| b.truncate(b.len() - 2)), "end where"),
        ("stream longer", &coded, &|p| p.edit(".rans", |b| b.extend([0; 2])), "end where"),
        ("frequency 4096", &coded, &|p| p.edit(".rans", |b| b[1..3].fill(255)), LAYER),
        ("an integer of -128", &plain, &|p| p.edit("", |b| b[5] = 128), "-128"),
        (
            "plain integers unsigned",
            &plain,
            &|p| p.tensors.get_mut(LAYER).unwrap().0 = Dtype::U8,
            "do not fit its shape",
        ),
        (
            "plain integers turned",
            &plain,
            &|p| p.tensors.get_mut(LAYER).unwrap().1.reverse(),
            "do not fit its shape",
        ),
    ];
    for (name, file, attack, expected) in attacks {
        let mut parts = (*file).clone();
        attack(&mut parts);
        match fault(&parts.bytes()) {
            Some(Error::Weights(error)) => {
                let message = error.to_string();
                assert!(message.contains(expected), "{name}: {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn truncated_anywhere() {
    let bytes = quantized(&QuantizeOptions::default());
    for len in (0..bytes.len()).step_by(97) {
        match open(&bytes[..len]) {
            Err(Error::Weights(WeightsError::Malformed { .. } | WeightsError::Empty))
            | Err(Error::Weights(WeightsError::UnknownFormat { .. })) => {}
            other => panic!("cut to {len}: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bytes_never_panic(at in 0.0..1.0f64, to in 0u8..=255, plain in any::<bool>()) {
        let coding = if plain { Coding::Plain } else { Coding::Entropy };
        static FILES: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
        let files = FILES.get_or_init(|| {
            [Coding::Plain, Coding::Entropy].map(|coding| quantized(&options(Rate::Bits(5), coding)))
        });
        let mut bytes = files[usize::from(coding == Coding::Entropy)].clone();
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] = to;
        if let Some(error) = fault(&bytes) {
            prop_assert!(
                matches!(error, Error::Weights(_) | Error::Charset(_) | Error::Config(_)),
                "{error:?}"
            );
        }
    }
}
