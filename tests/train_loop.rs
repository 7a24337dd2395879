//! The training loop: it learns, resumes where it was, survives bad samples, and starts from trained
//! networks.

mod support;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use image::RgbImage;
use support::values;
use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig};
use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, Texts};
use svtrv2::train::{
    Initialization, LabelledCrop, LoaderOptions, Network, Recipe, Schedule, Source, TrainError,
    Trainer, WeightedSource,
};
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Charset, Crop, Options, Recognizer};

const SYMBOLS: &str = "abcdehikmnostuwxyz";

/// Crops that were rendered before.
#[derive(Clone)]
struct Rendered(Vec<LabelledCrop>);

impl Source for Rendered {
    fn len(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        Ok(self.0[index as usize].clone())
    }
}

/// Clean words; `symbols` must not need case to be told apart.
fn words(symbols: &str, count: u64, seed: u64) -> Rendered {
    let options = SynthOptions {
        size: [20.0, 30.0],
        spacing: [0.0, 0.1],
        margin: [0.05, 0.2],
        rotation: 2.0,
        shear: 0.1,
        perspective: 0.05,
        curved: 0.0,
        outlined: 0.0,
        shadowed: 0.0,
        textured: 0.0,
        contrast: 0.4,
        blur: 0.3,
        noise: 0.01,
        shrunk: 0.0,
        jpeg: 0.0,
        ..SynthOptions::default()
    };
    let fonts = Fonts::system_where(|name| name == "DejaVuSans");
    let fonts = fonts.expect("these tests need DejaVu Sans: package fonts-dejavu-core");
    let texts = Texts::random(symbols, 2..=4).unwrap();
    let synthesizer = Synthesizer::new(fonts, texts, options).unwrap();
    Rendered((seed..seed + count).map(|seed| synthesizer.crop(seed).unwrap()).collect())
}

fn config(charset: &Charset) -> Config {
    let stage = StageConfig::new;
    let encoder = SvtrConfig::new([stage(16, 1, 1, 0), stage(32, 1, 1, 1), stage(64, 2, 0, 2)]);
    let frm = FrmConfig { heads: 2, mlp_dim: 256 };
    Config { num_classes: charset.classes(), max_ratio: 4, ..Config::svtr(encoder, frm) }
}

fn fresh(charset: &Charset, seed: u64) -> Network {
    let config = config(charset);
    Network::with_initialization(&config, Initialization::FanIn, &Device::Cpu, seed).unwrap()
}

fn recipe(steps: u64) -> Recipe {
    Recipe {
        steps,
        // At batches of 8.
        learning_rate: 1e-3 * 128.0,
        batch_size: 8,
        drop_path: 0.0,
        weight_decay: 0.01,
        schedule: Schedule::OneCycle { warm_up: 0.1, div_factor: 10.0, final_div_factor: 10.0 },
        ..Recipe::default()
    }
}

fn loading() -> LoaderOptions {
    LoaderOptions { augment: false, ..LoaderOptions::default() }
}

fn trainer(source: Rendered, recipe: Recipe, loading: LoaderOptions) -> Trainer {
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let network = fresh(&charset, recipe.seed);
    Trainer::new(network, charset, recipe, vec![(Arc::new(source), 1.0)], loading).unwrap()
}

/// The share of crops that weights read without a fault.
fn read(weights: &Weights, crops: &Rendered) -> f64 {
    let recognizer = Recognizer::new(weights, Options::default()).unwrap();
    let right = crops.0.iter().filter(|crop| {
        let recognition = recognizer.recognize(&Crop::from_rgb(&crop.image).unwrap()).unwrap();
        recognition.text == crop.label
    });
    right.count() as f64 / crops.0.len() as f64
}

#[test]
fn over_fits_in_both_stages() {
    let crops = || words(SYMBOLS, 24, 0);
    // With the batch's statistics a crop that is alone in its size would be normalised by itself in
    // training, and by what the others left when it is read.
    let recipe = |steps| Recipe { freeze_batch_norm: true, ..recipe(steps) };
    let mut first = trainer(crops(), recipe(800), loading());
    while !first.is_done() {
        first.step().unwrap();
    }
    let weights = first.weights().unwrap();
    assert_eq!(read(&weights, &crops()), 1.0, "after the first stage");

    // The second stage from the first, and on its own from the start: by guidance and CTC alike.
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("first.safetensors");
    first.save(&checkpoint).unwrap();
    let (network, charset) = Network::open(&checkpoint, &Device::Cpu, 0).unwrap();
    let guided = Recipe { sgm_weight: 1.0, ctc_weight: 0.1, ..recipe(200) };
    let sources: Vec<WeightedSource> = vec![(Arc::new(crops()), 1.0)];
    let mut second = Trainer::new(network, charset.unwrap(), guided, sources, loading()).unwrap();
    let mut losses = Vec::new();
    while !second.is_done() {
        losses.push(second.step().unwrap().sgm.unwrap());
    }
    assert!(losses[199] < 0.5 * losses[0], "{} .. {}", losses[0], losses[199]);
    let weights = second.weights().unwrap();
    assert!(weights.names().all(|name| !name.contains("gtc_decoder")));
    assert_eq!(read(&weights, &crops()), 1.0, "after the second stage");
}

#[test]
fn goes_on_to_the_bit() {
    let recipe = Recipe {
        sgm_weight: 1.0,
        accumulate: 2,
        drop_path: 0.3,
        average: 0.9,
        batch_size: 5,
        ..recipe(8)
    };
    let sources = || words(SYMBOLS, 40, 100);
    let augmented = |workers| LoaderOptions { augment: true, workers, ..loading() };
    let mut whole = trainer(sources(), recipe.clone(), augmented(0));
    let losses: Vec<f64> = (0..8).map(|_| whole.step().unwrap().loss).collect();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let mut found = Vec::new();
    let mut first = trainer(sources(), recipe, augmented(2));
    pool.install(|| (0..3).for_each(|_| found.push(first.step().unwrap().loss)));
    first.save(&path).unwrap();
    drop(first);
    let again: Vec<WeightedSource> = vec![(Arc::new(sources()), 1.0)];
    let mut second = Trainer::resume(&path, again, augmented(1), &Device::Cpu).unwrap();
    assert_eq!(second.steps(), 3);
    while !second.is_done() {
        found.push(second.step().unwrap().loss);
    }
    assert_eq!(found, losses);
    for ((name, a), (_, b)) in whole.network().parameters().zip(second.network().parameters()) {
        assert!(values(a) == values(b), "{name}");
    }
    let (a, b) = (whole.weights().unwrap(), second.weights().unwrap());
    for name in a.names() {
        let tensor = |weights: &Weights| weights.tensor(name).unwrap().unwrap();
        assert!(tensor(&a) == tensor(&b), "average of {name}");
    }
    // A checkpoint is a weights file, too.
    Weights::open(&path).unwrap();
    // Not of these sources, and no checkpoint at all.
    let others: Vec<WeightedSource> = vec![(Arc::new(words(SYMBOLS, 7, 1)), 1.0)];
    let fault = Trainer::resume(&path, others, augmented(1), &Device::Cpu).err().unwrap();
    assert!(matches!(fault, TrainError::Options { .. }), "{fault}");
    a.save(&path, Default::default()).unwrap();
    let again: Vec<WeightedSource> = vec![(Arc::new(sources()), 1.0)];
    let fault = Trainer::resume(&path, again, augmented(1), &Device::Cpu).err().unwrap();
    assert!(matches!(fault, TrainError::Checkpoint { .. }), "{fault}");
}

/// A checkpoint whose state was changed by hand.
fn crafted(checkpoint: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    edited(checkpoint, |_, metadata| change(&mut metadata["training"]))
}

/// A checkpoint whose header (all but the metadata) and metadata were changed by hand.
fn edited(
    checkpoint: &[u8],
    change: impl FnOnce(&mut serde_json::Value, &mut serde_json::Value),
) -> Vec<u8> {
    let len = u64::from_le_bytes(checkpoint[..8].try_into().unwrap()) as usize;
    let (header, data) = checkpoint[8..].split_at(len);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let json = header["__metadata__"]["svtrv2"].as_str().unwrap();
    let mut metadata: serde_json::Value = serde_json::from_str(json).unwrap();
    change(&mut header, &mut metadata);
    header["__metadata__"]["svtrv2"] = metadata.to_string().into();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Adds a tensor without values, or with one, behind all others.
fn with_shape(shape: &[u64]) -> impl Fn(&mut serde_json::Value, &mut serde_json::Value) {
    let shape = shape.to_vec();
    move |header, _| {
        // The last tensor's place: one of four bytes is taken from it.
        let tensors = header.as_object_mut().unwrap();
        let ends = tensors.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
        let end = ends.max().unwrap();
        let size = 4 * shape.iter().product::<u64>();
        let last = tensors.values_mut().find(|tensor| tensor["data_offsets"][1] == end).unwrap();
        let start = last["data_offsets"][0].as_u64().unwrap();
        *last = serde_json::json!({
            "dtype": "F32", "shape": [(end - size - start) / 4], "data_offsets": [start, end - size],
        });
        let added = serde_json::json!({
            "dtype": "F32", "shape": shape, "data_offsets": [end - size, end],
        });
        tensors.insert("added".to_owned(), added);
    }
}

#[test]
fn crafted_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let recipe = Recipe { average: 0.9, ..recipe(8) };
    let mut trainer = trainer(words(SYMBOLS, 12, 0), recipe, loading());
    trainer.step().unwrap();
    trainer.save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let resume = || {
        let sources: Vec<WeightedSource> = vec![(Arc::new(words(SYMBOLS, 12, 0)), 1.0)];
        Trainer::resume(&path, sources, loading(), &Device::Cpu)
    };
    assert_eq!(resume().unwrap().steps(), 1);
    std::fs::write(&path, crafted(&good, |_| ())).unwrap();
    assert_eq!(resume().unwrap().steps(), 1);
    const MAX: u64 = u64::MAX;
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change); 12] = [
        ("step", |s| s["step"] = MAX.into()),
        ("steps of the optimiser", |s| s["optimizer_steps"] = MAX.into()),
        ("no step of the optimiser", |s| s["optimizer_steps"] = 0.into()),
        ("batch size", |s| s["recipe"]["batch_size"] = MAX.into()),
        ("steps of the recipe", |s| s["recipe"]["steps"] = MAX.into()),
        ("drawn", |s| s["loader"]["sampler"]["drawn"] = MAX.into()),
        ("counts", |s| s["loader"]["sampler"]["counts"] = vec![MAX].into()),
        ("no counts", |s| s["loader"]["sampler"]["counts"] = serde_json::json!([])),
        ("weights", |s| s["loader"]["sampler"]["weights"] = serde_json::json!([-1.0])),
        ("a source that is not there", |s| {
            let pending = serde_json::json!([{ "number": 0, "source": 7, "index": 0 }]);
            s["loader"]["pending"] = pending;
        }),
        ("a sample that is not there", |s| {
            let pending = serde_json::json!([{ "number": 0, "source": 0, "index": 12 }]);
            s["loader"]["pending"] = pending;
        }),
        ("many that wait", |s| {
            let draw = serde_json::json!({ "number": 0, "source": 0, "index": 0 });
            s["loader"]["pending"] = vec![draw; 1000].into();
        }),
    ];
    for (name, change) in cases {
        std::fs::write(&path, crafted(&good, change)).unwrap();
        let fault = resume().err();
        let typed =
            matches!(fault, Some(TrainError::Checkpoint { .. } | TrainError::Options { .. }));
        assert!(typed, "{name}: {fault:?}");
    }
    // Nothing that a checkpoint lacks is initialised: a few bytes could ask for a large network.
    let renamed = |header: &mut serde_json::Value, from: &str, to: &str| {
        let tensors = header.as_object_mut().unwrap();
        for prefix in ["", "average.", "optimizer.mean.", "optimizer.square."] {
            let tensor = tensors.remove(&format!("{prefix}{from}")).unwrap();
            tensors.insert(format!("{prefix}{to}"), tensor);
        }
    };
    let tensors: [(&str, Vec<u8>); 4] = [
        (
            "there is no parameter decoder.fc.bias",
            edited(&good, |header, _| renamed(header, "decoder.fc.bias", "decoder.fc.bia")),
        ),
        (
            "does not fit the network",
            edited(&good, |_, metadata| {
                let stage = StageConfig::new(16384, 1, 0, 1);
                metadata["config"]["encoder"]["stages"][2] = serde_json::to_value(stage).unwrap();
            }),
        ),
        ("has the shape [0, ", edited(&good, with_shape(&[0, 1 << 40, 1 << 40]))),
        ("has the shape [1, 1, ", edited(&good, with_shape(&[1; 100]))),
    ];
    for (message, bytes) in tensors {
        std::fs::write(&path, bytes).unwrap();
        let fault = resume().err();
        assert!(matches!(fault, Some(TrainError::Checkpoint { .. })), "{message}: {fault:?}");
        assert!(fault.unwrap().to_string().contains(message), "{message}");
    }
    // A count at the end of its range stays there.
    let sources =
        || -> Vec<WeightedSource> { vec![(Arc::new(Spoilt(words(SYMBOLS, 12, 0))), 1.0)] };
    let change: Change = |s| s["loader"]["skipped"]["unreadable"] = MAX.into();
    std::fs::write(&path, crafted(&good, change)).unwrap();
    let mut resumed = Trainer::resume(&path, sources(), loading(), &Device::Cpu).unwrap();
    while !resumed.is_done() {
        resumed.step().unwrap();
    }
    assert_eq!(resumed.skipped().unreadable, MAX);
    // A checkpoint without averages says that it has some.
    let without = Recipe { average: 0.0, ..trainer.recipe().clone() };
    let mut trainer = self::trainer(words(SYMBOLS, 12, 0), without, loading());
    trainer.step().unwrap();
    trainer.save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let change: Change = |s| s["recipe"]["average"] = 0.5.into();
    std::fs::write(&path, crafted(&good, change)).unwrap();
    let fault = resume().err();
    assert!(matches!(fault, Some(TrainError::Checkpoint { .. })), "{fault:?}");
}

#[test]
fn loading_out_of_range() {
    for (message, options) in [
        ("workers = 100000", LoaderOptions { workers: 100_000, ..loading() }),
        ("longest_label = 0", LoaderOptions { longest_label: 0, ..loading() }),
    ] {
        let charset = Charset::from_characters(SYMBOLS).unwrap();
        let sources: Vec<WeightedSource> = vec![(Arc::new(words(SYMBOLS, 3, 0)), 1.0)];
        let fault = Trainer::new(fresh(&charset, 0), charset, recipe(1), sources, options);
        let fault = fault.err().unwrap();
        assert!(matches!(fault, TrainError::Options { .. }), "{fault}");
        assert!(fault.to_string().contains(message), "{fault}");
    }
}

/// Crops of which most cannot be used.
struct Spoilt(Rendered);

impl Source for Spoilt {
    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        let crop = self.0.crop(index)?;
        Ok(match index % 5 {
            0 => return Err(format!("sample {index} is damaged")),
            1 => LabelledCrop { label: "abc".repeat(12), ..crop },
            2 => LabelledCrop { label: "a?".to_owned(), ..crop },
            3 => LabelledCrop { image: RgbImage::new(0, 7), ..crop },
            _ if index % 25 == 4 => panic!("a source that panics"),
            _ => crop,
        })
    }
}

#[test]
fn bad_samples_are_counted_and_skipped() {
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let start = |source: Spoilt| {
        let network = Network::new(&config(&charset), &Device::Cpu, 0).unwrap();
        let sources: Vec<WeightedSource> = vec![(Arc::new(source), 1.0)];
        Trainer::new(network, charset.clone(), recipe(3), sources, loading()).unwrap()
    };
    let mut trainer = start(Spoilt(words(SYMBOLS, 100, 0)));
    while !trainer.is_done() {
        assert!(trainer.step().unwrap().loss.is_finite());
    }
    let skipped = trainer.skipped();
    assert!(skipped.total() > 0);
    let counts = [skipped.unreadable, skipped.too_long, skipped.unknown];
    assert!(counts.iter().all(|&count| count > 0), "{skipped:?}");
    // Two of five are unreadable, one is too long, one has an unknown symbol.
    assert!(skipped.unreadable > skipped.too_long, "{skipped:?}");
}

#[test]
fn nothing_to_train_on() {
    struct Damaged;
    impl Source for Damaged {
        fn len(&self) -> Option<u64> {
            Some(3)
        }
        fn crop(&self, _: u64) -> Result<LabelledCrop, String> {
            Err("damaged".to_owned())
        }
    }
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let start = |sources: Vec<WeightedSource>| {
        let network = Network::new(&config(&charset), &Device::Cpu, 0).unwrap();
        Trainer::new(network, charset.clone(), recipe(3), sources, loading())
    };
    let fault = start(vec![(Arc::new(Damaged), 1.0)]).unwrap().step().err().unwrap();
    assert!(matches!(fault, TrainError::NoSamples { .. }), "{fault}");
    assert!(start(Vec::new()).is_err());
    assert!(start(vec![(Arc::new(Rendered(Vec::new())), 1.0)]).is_err());
    assert!(start(vec![(Arc::new(Damaged), f64::NAN)]).is_err());
}

#[test]
fn the_end_can_be_moved() {
    let mut trainer = trainer(words(SYMBOLS, 12, 0), recipe(4), loading());
    trainer.step().unwrap();
    let near_the_peak = trainer.step().unwrap().learning_rate;
    let mut longer = trainer.with_steps(1000).unwrap();
    // The schedule is that of the longer training: it still warms up.
    assert!(longer.step().unwrap().learning_rate < 0.5 * near_the_peak);
    assert!(!longer.is_done());
    let shorter = longer.with_steps(3).unwrap();
    assert!(shorter.is_done() && shorter.steps() == 3 && shorter.recipe().steps == 3);
    assert!(matches!(shorter.with_steps(0), Err(TrainError::Options { .. })));
}

#[test]
fn losses_that_are_not_finite_name_the_batch() {
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let mut network = Network::new(&config(&charset), &Device::Cpu, 0).unwrap();
    let bias = Tensor::full(f32::NAN, charset.classes(), &Device::Cpu).unwrap();
    network.set("decoder.fc.bias", &bias).unwrap();
    let sources: Vec<WeightedSource> = vec![(Arc::new(words(SYMBOLS, 20, 0)), 1.0)];
    let mut trainer = Trainer::new(network, charset, recipe(3), sources, loading()).unwrap();
    match trainer.step() {
        Err(TrainError::NotFinite { step: 0, samples, .. }) => {
            assert_eq!(samples.len(), 8);
            assert!(samples[0].contains("synthetic"), "{}", samples[0]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(trainer.steps(), 0);
}

#[test]
fn another_charset_keeps_rows() {
    let (from, to) = ("abcdehik", "xkab-e");
    let [from, to] = [from, to].map(|symbols| Charset::from_characters(symbols).unwrap());
    let mut network = Network::new(&config(&from), &Device::Cpu, 3).unwrap();
    network.add_sgm().unwrap();
    let rows = |network: &Network, name: &str| -> Vec<Vec<f32>> {
        let tensor = network.parameters().find(|(n, _)| *n == name).unwrap().1.clone();
        let width = tensor.elem_count() / tensor.dim(0).unwrap();
        values(&tensor).chunks(width).map(<[f32]>::to_vec).collect()
    };
    let names = ["decoder.fc.weight", "decoder.fc.bias"];
    let old = names.map(|name| rows(&network, name));
    let before = values(&network.parameters().next().unwrap().1.clone());
    let change = network.change_charset(&from, &to).unwrap();
    assert_eq!(change.kept, ["k", "a", "b", "e"]);
    assert_eq!(change.added, ["x", "-"]);
    assert_eq!(change.dropped, ["c", "d", "h", "i"]);
    for (name, old) in names.into_iter().zip(old) {
        let new = rows(&network, name);
        assert_eq!(new.len(), to.classes());
        assert!(new[0] == old[0], "the blank's row");
        for symbol in &change.kept {
            let (new, old) = (&new[to.class(symbol).unwrap()], &old[from.class(symbol).unwrap()]);
            assert!(new == old, "{name} of {symbol}");
        }
    }
    assert!(network.sgm().is_none());
    assert!(values(&network.parameters().next().unwrap().1.clone()) == before);
    assert!(network.change_charset(&from, &to).is_err(), "from a charset it no longer has");
}

#[test]
fn fine_tunes_frozen_to_new_symbols() {
    let small = Charset::from_characters("abcdeh").unwrap();
    let large = Charset::from_characters("abcdehxz").unwrap();
    let network = fresh(&small, 0);
    let sources: Vec<WeightedSource> = vec![(Arc::new(words("abcdeh", 200, 0)), 1.0)];
    let mut first = Trainer::new(network, small.clone(), recipe(1200), sources, loading()).unwrap();
    while !first.is_done() {
        first.step().unwrap();
    }
    let weights = first.weights().unwrap();
    let mut network = Network::from_weights(&weights, &Device::Cpu, 1).unwrap();
    network.change_charset(&small, &large).unwrap();
    let frozen =
        values(network.parameters().find(|(n, _)| n.starts_with("encoder.pope")).unwrap().1);
    let tuning = Recipe { freeze: vec!["encoder.pope".to_owned()], ..recipe(800) };
    let sources: Vec<WeightedSource> = vec![(Arc::new(words("abcdehxz", 300, 900)), 1.0)];
    let mut second = Trainer::new(network, large, tuning, sources, loading()).unwrap();
    while !second.is_done() {
        second.step().unwrap();
    }
    let weights = second.weights().unwrap();
    let same = |name: &&str| name.starts_with("encoder.pope");
    let name = weights.names().find(same).unwrap().to_owned();
    let (values, _) = weights.tensor(&name).unwrap().unwrap();
    assert!(values == frozen, "{name} moved");
    let held = words("abcdehxz", 100, 5000);
    let accuracy = read(&weights, &held);
    assert!(accuracy > 0.8, "{accuracy} on words it has not seen");
}

/// Every encoder and head of lines, from weights with folded branches, for more symbols.
#[test]
fn fine_tunes_line_networks() {
    let small = Charset::from_characters("abcdeh").unwrap();
    let large = Charset::from_characters("abcdehxz").unwrap();
    let crops = words("abcdehxz", 40, 0);
    for (name, config) in support::toy_line_configs() {
        let start = Network::with_initialization(&config, Initialization::FanIn, &Device::Cpu, 3);
        let start = start.unwrap().to_weights(&small).unwrap();
        let mut network = Network::from_weights(&start, &Device::Cpu, 1).unwrap();
        network.change_charset(&small, &large).unwrap();
        let tuning = Recipe {
            learning_rate: 0.02 * 128.0,
            relative_steps: true,
            schedule: Schedule::Constant,
            ..recipe(60)
        };
        let sources: Vec<WeightedSource> = vec![(Arc::new(crops.clone()), 1.0)];
        let mut trainer = Trainer::new(network, large.clone(), tuning, sources, loading()).unwrap();
        let mut losses = Vec::new();
        while !trainer.is_done() {
            losses.push(trainer.step().unwrap().loss);
        }
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (before, after) = (mean(&losses[..5]), mean(&losses[55..]));
        println!("{name}: loss {before:.2} to {after:.2}");
        assert!(after < 0.75 * before, "{name}: {before} to {after}");
        // What was trained is what runs: the file's network gives the trained network's scores.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trained.safetensors");
        trainer.weights().unwrap().save(&file, StorageType::F32).unwrap();
        let weights = Weights::open(&file).unwrap();
        assert_eq!(weights.charset(), Some(&large), "{name}");
        let recognizer = Recognizer::new(&weights, Options::default()).unwrap();
        for crop in &crops.0[..3] {
            let found = recognizer.recognize(&Crop::from_rgb(&crop.image).unwrap()).unwrap();
            assert!(found.confidence.is_finite(), "{name}: {found:?}");
        }
    }
}

#[test]
fn students_of_some_blocks() {
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let network = Network::new(&config(&charset), &Device::Cpu, 2).unwrap();
    let (images, shape) = support::pattern_input(2, 32, 64);
    let logits = |network: &Network| {
        let weights = network.to_weights(&charset).unwrap();
        weights.model().unwrap().forward(&images, shape).unwrap().values
    };
    let all = network.with_blocks(&[vec![0], vec![0, 1], vec![0, 1]]).unwrap();
    assert!(logits(&all) == logits(&network));
    let some = network.with_blocks(&[vec![0], vec![1], vec![1]]).unwrap();
    let stages = some.config().stages().unwrap();
    assert_eq!(stages.map(|stage| stage.blocks()), [1, 1, 1]);
    assert_eq!(stages[1].local_blocks, 0);
    // Both copies are the network's own: training one leaves the other alone.
    let kept = "encoder.stages.2.blocks.1.mlp.fc1.weight";
    let source = network.parameters().find(|(name, _)| *name == kept).unwrap().1.clone();
    let copy = "encoder.stages.2.blocks.0.mlp.fc1.weight";
    let copied = some.parameters().find(|(name, _)| *name == copy).unwrap().1.clone();
    assert!(values(&source) == values(&copied));
    assert!(network.with_blocks(&[vec![1], vec![], vec![]]).is_err());
    assert!(network.with_blocks(&[vec![0], vec![1, 0], vec![0]]).is_err());

    // Under the teacher's eye a student comes closer to it.
    let teacher = network.to_weights(&charset).unwrap();
    let sources: Vec<WeightedSource> = vec![(Arc::new(words(SYMBOLS, 30, 0)), 1.0)];
    let recipe =
        Recipe { ctc_weight: 0.0, distillation_weight: 1.0, temperature: 2.0, ..recipe(60) };
    let trainer = Trainer::new(some, charset.clone(), recipe, sources, loading()).unwrap();
    let mut trainer = trainer.with_teacher(&teacher).unwrap();
    let losses: Vec<f64> = (0..60).map(|_| trainer.step().unwrap().distillation.unwrap()).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (start, end) = (mean(&losses[..5]), mean(&losses[55..]));
    assert!(end < 0.5 * start, "{start} .. {end}");
}

#[test]
fn settings_out_of_range() {
    let cases = [
        Recipe { steps: 0, ..Recipe::default() },
        Recipe { learning_rate: f64::NAN, ..Recipe::default() },
        Recipe { drop_path: 1.0, ..Recipe::default() },
        Recipe { ctc_weight: 0.0, ..Recipe::default() },
        Recipe { temperature: 0.0, ..Recipe::default() },
        Recipe { schedule: Schedule::Cosine { warm_up: 2.0, floor: 0.0 }, ..Recipe::default() },
    ];
    for recipe in cases {
        assert!(matches!(recipe.validate(), Err(TrainError::Options { .. })), "{recipe:?}");
    }
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let mistyped = Recipe { freeze: vec!["encodr".to_owned()], ..recipe(1) };
    let sources: Vec<WeightedSource> = vec![(Arc::new(words(SYMBOLS, 9, 0)), 1.0)];
    let fault = Trainer::new(fresh(&charset, 0), charset, mistyped, sources, loading());
    assert!(matches!(fault.err(), Some(TrainError::Options { .. })));
    Recipe::default().validate().unwrap();
    Recipe::guided().validate().unwrap();
}

/// Distillation without a teacher is an error, and a checkpoint knows whom it had.
#[test]
fn the_teacher_is_there_and_the_same() {
    let charset = Charset::from_characters(SYMBOLS).unwrap();
    let teacher = |seed| fresh(&charset, seed).to_weights(&charset).unwrap();
    let recipe = Recipe { distillation_weight: 1.0, ..recipe(4) };
    let crops = || words(SYMBOLS, 12, 0);
    let mut alone = trainer(crops(), recipe.clone(), loading());
    let fault = alone.step().unwrap_err();
    assert!(matches!(fault, TrainError::NoTeacher { weight: 1.0 }), "{fault}");
    assert_eq!(alone.steps(), 0);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut whole = trainer(crops(), recipe, loading()).with_teacher(&teacher(1)).unwrap();
    whole.step().unwrap();
    whole.save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let resume = || {
        let sources: Vec<WeightedSource> = vec![(Arc::new(crops()), 1.0)];
        Trainer::resume(&path, sources, loading(), &Device::Cpu).unwrap()
    };
    let fault = resume().step().unwrap_err();
    assert!(matches!(fault, TrainError::NoTeacher { .. }), "{fault}");
    let (expected, found) = (teacher(1).fingerprint().unwrap(), teacher(2).fingerprint().unwrap());
    match resume().with_teacher(&teacher(2)).err().unwrap() {
        TrainError::OtherTeacher { expected: a, found: b } => {
            assert_eq!([a, b], [expected, found]);
        }
        other => panic!("{other}"),
    }
    let mut resumed = resume().with_teacher(&teacher(1)).unwrap();
    assert_eq!(resumed.step().unwrap().loss, whole.step().unwrap().loss);
    // A checkpoint that does not say takes any.
    let old = crafted(&good, |state| drop(state.as_object_mut().unwrap().remove("teacher")));
    std::fs::write(&path, old).unwrap();
    resume().with_teacher(&teacher(2)).unwrap();
}
