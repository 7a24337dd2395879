//! Inference with products in int8, against f32.

mod support;

use svtrv2::inference::{Model, Precision};
use svtrv2::model::Config;
use svtrv2::quantize::{CalibratedLayer, CalibrationOptions, QuantizeOptions, Rate};
use svtrv2::weights::{ActivationBits, StorageType, Weights};
use svtrv2::{Charset, Crop, Options, Recognizer, ResizedCrop};

use support::{pattern_weights, toy_config};

/// Weights of the embedded model, for f32: a trained network, small enough for a test.
fn weights() -> Weights {
    Weights::embedded().unwrap().with_precision(Precision::F32).unwrap()
}

fn images(count: usize) -> (Vec<f32>, [usize; 4]) {
    let shape = [count, 3, 32, 128];
    let values = (0..shape.iter().product::<usize>()).map(|i| (0.37 * i as f32).sin() * 0.9);
    (values.collect(), shape)
}

/// The mean over time steps of the divergence of the probabilities of `b` from those of `a`, in nats.
fn divergence(a: &[f32], b: &[f32], classes: usize) -> f64 {
    let log_probs = |row: &[f32]| -> Vec<f64> {
        let most = row.iter().fold(f32::MIN, |most, &x| most.max(x));
        let sum: f64 = row.iter().map(|x| f64::from(x - most).exp()).sum();
        row.iter().map(|x| f64::from(x - most) - sum.ln()).collect()
    };
    let rows = a.chunks_exact(classes).zip(b.chunks_exact(classes));
    let total: f64 = rows
        .map(|(a, b)| {
            let (a, b) = (log_probs(a), log_probs(b));
            a.iter().zip(&b).map(|(a, b)| a.exp() * (a - b)).sum::<f64>()
        })
        .sum();
    total / (a.len() / classes) as f64
}

#[test]
fn logits_are_close_to_those_in_f32() {
    let weights = weights();
    let (images, shape) = images(4);
    let exact = weights.model().unwrap().forward(&images, shape).unwrap();
    let model = weights.int8_model().unwrap();
    assert_eq!(model.precision(), Precision::Int8);
    let found = model.forward(&images, shape).unwrap();
    assert_eq!(found.shape, exact.shape);
    assert!(found.values != exact.values);
    let divergence = divergence(&exact.values, &found.values, exact.shape[2]);
    println!("{divergence:.1e} nats a time step");
    assert!(divergence < 4e-4, "{divergence}");
}

/// The result for an image does not depend on the others or on threads.
#[test]
fn batches_and_threads_change_nothing() {
    let model = weights().int8_model().unwrap();
    let (images, shape) = images(5);
    let run = |images: &[f32], count: usize| {
        model.forward(images, [count, shape[1], shape[2], shape[3]]).unwrap().values
    };
    let all = run(&images, 5);
    let image_len = images.len() / 5;
    for (i, image) in images.chunks_exact(image_len).enumerate() {
        let len = all.len() / 5;
        assert!(run(image, 1) == all[i * len..][..len], "image {i}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| run(&images, 5)) == all, "{threads} threads");
    }
}

/// Other architectures than the trained one, with weights of a pattern.
#[test]
fn other_architectures() {
    for config in [toy_config(), Config::tiny()] {
        let weights = pattern_weights(&config);
        let (images, shape) = images(1);
        let check = |model: &Model| {
            let logits = model.forward(&images, shape).unwrap();
            assert_eq!(logits.shape, [1, 32, config.num_classes]);
            assert!(logits.values.iter().all(|x| x.is_finite()));
            logits.values
        };
        let exact = check(&weights.model().unwrap());
        let found = check(&weights.int8_model().unwrap());
        assert!(divergence(&exact, &found, config.num_classes) < 0.03);
    }
}

/// A file that states int8 runs in int8, unless the options say otherwise, and holds the integers.
#[test]
fn files_state_the_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.safetensors");
    let exact = weights();
    assert_eq!(exact.precision(), Precision::F32);
    let stated = exact.clone().with_precision(Precision::Int8).unwrap();
    let options = QuantizeOptions::int8();
    stated.save_quantized(&path, &options).unwrap();
    let read = Weights::open(&path).unwrap();
    assert_eq!(read.precision(), Precision::Int8);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let parameters: usize =
        read.names().map(|name| read.tensor(name).unwrap().unwrap().0.len()).sum();
    assert!((bytes as f64) < 1.05 * parameters as f64, "{bytes} bytes, {parameters} parameters");
    // A second reading is the same to the bit.
    let (images, shape) = images(1);
    let run = |weights: &Weights| weights.int8_model().unwrap().forward(&images, shape).unwrap();
    assert!(run(&read).values == run(&Weights::open(&path).unwrap()).values);

    let crop = Crop::open("examples/crops/harbour.png").unwrap();
    let recognize = |weights: &Weights, precision| {
        let options = Options { precision, ..Options::default() };
        Recognizer::new(weights, options).unwrap().recognize(&crop).unwrap()
    };
    let by_default = recognize(&read, None);
    assert_eq!(by_default.text, "Harbour");
    assert_eq!(by_default.score, recognize(&read, Some(Precision::Int8)).score);
    assert!(by_default.score != recognize(&read, Some(Precision::F32)).score);
    // An exact file is for f32.
    read.save(&path, StorageType::F32).unwrap();
    assert_eq!(Weights::open(&path).unwrap().precision(), Precision::F32);
    assert!(exact.with_precision(Precision::F16).is_err());
    assert_eq!(read.charset(), Some(&Charset::english()));
}

/// Exact weights are rounded for int8, whether they or the options ask for it.
#[test]
fn stated_precision_and_options_are_the_same() {
    let exact = pattern_weights(&toy_config()).with_charset(Charset::english()).unwrap();
    let crop = Crop::open("examples/crops/harbour.png").unwrap();
    let scores = |weights: &Weights, precision| {
        let options = Options { precision, ..Options::default() };
        let recognizer = Recognizer::new(weights, options).unwrap();
        let crops = recognizer.resize(&crop).unwrap();
        recognizer.emissions(&crops).unwrap()[0].log_probs.as_slice().to_vec()
    };
    let stated = exact.clone().with_precision(Precision::Int8).unwrap();
    let rounded = scores(&exact, Some(Precision::Int8));
    assert!(scores(&stated, None) == rounded);
    assert!(scores(&exact, None) != rounded);
    assert!(scores(&stated, Some(Precision::F32)) == scores(&exact, None));

    // What a file keeps in f32 stays so, whatever precision the file states.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.safetensors");
    let options = QuantizeOptions { keep: vec!["mlp".to_owned()], ..QuantizeOptions::int8() };
    let of_file = |weights: &Weights| {
        weights.save_quantized(&path, &options).unwrap();
        scores(&Weights::open(&path).unwrap(), Some(Precision::Int8))
    };
    let kept = of_file(&exact);
    assert!(kept == of_file(&stated));
    let all = QuantizeOptions { keep: Vec::new(), ..options.clone() };
    exact.save_quantized(&path, &all).unwrap();
    assert!(scores(&Weights::open(&path).unwrap(), Some(Precision::Int8)) != kept);
}

/// Layers whose parameters are kept compute in f32: closer to the network in f32.
#[test]
fn kept_parameters_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.safetensors");
    let exact = weights().with_precision(Precision::Int8).unwrap();
    let (images, shape) = images(2);
    let expected = exact.model().unwrap().forward(&images, shape).unwrap();
    let distance = |keep: &[&str]| {
        let keep = keep.iter().map(|&text| text.to_owned()).collect();
        exact.save_quantized(&path, &QuantizeOptions { keep, ..Default::default() }).unwrap();
        let kept = Weights::open(&path).unwrap().int8_model().unwrap();
        let found = kept.forward(&images, shape).unwrap();
        divergence(&expected.values, &found.values, expected.shape[2])
    };
    let (none, some, all) = (distance(&[]), distance(&["mlp"]), distance(&["weight"]));
    println!("{none:.1e}, {some:.1e}, {all:.1e} nats a time step");
    assert!(all < 1e-5 && all < some && some < none, "{none}, {some}, {all}");
}

/// Calibration on crops finds which layers int8 damages, and a file with what it found is nearer to
/// the network in f32.
#[test]
fn calibration() {
    let weights = weights();
    let recognizer = Recognizer::new(&weights, Options::default()).unwrap();
    let mut crops = Vec::new();
    for name in ["harbour.png", "hours.png", "open.png", "restaurant.png", "international.png"] {
        let crop = Crop::open(format!("examples/crops/{name}")).unwrap();
        crops.extend(recognizer.resize(&crop).unwrap());
    }
    let calibrate = |weights: &Weights, crops: &[ResizedCrop], f32_share| {
        let mut told = Vec::new();
        let options = CalibrationOptions {
            f32_share,
            twelve_bit_share: 0.2,
            ..CalibrationOptions::default()
        };
        let found =
            weights.calibrate_int8(crops, options, |done, all| told.push((done, all))).unwrap();
        assert_eq!(told.len(), found.layers.len() + 1);
        assert_eq!(told.last(), Some(&(found.layers.len(), found.layers.len())));
        found
    };
    let found = calibrate(&weights, &crops, 0.1);
    let kept: f64 = found.layers.iter().filter(|l| l.keep).map(|l| l.share).sum();
    let fine = found.layers.iter().filter(|l| l.activation_bits == ActivationBits::Twelve);
    let fine: f64 = fine.map(|l| l.share).sum();
    let smoothed = found.layers.iter().filter(|l| l.smoothing_scales.is_some()).count();
    let (before, after) = (found.uncalibrated_error, found.error);
    println!(
        "{before:.1e}, {after:.1e}; {kept} kept, {fine} with 12 bits, {smoothed} with factors"
    );
    assert!(found.layers.is_sorted_by(|a, b| a.error >= b.error));
    assert!((found.layers.iter().map(|l| l.share).sum::<f64>() - 1.0).abs() < 0.05);
    assert!(kept > 0.0 && kept <= 0.1 && smoothed > 5);
    assert!(fine > 0.1 && fine <= 0.2);
    let square = |of: fn(&CalibratedLayer) -> f64| -> f64 {
        found.layers.iter().map(|l| of(l).powi(2)).sum()
    };
    assert!(square(|l| l.twelve_bit_error) < 0.8 * square(|l| l.error));
    assert!(after < 0.95 * before, "{after} of {before}");

    // The file computes nearly what was measured: it rounds the weights of vertical attention, too.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibrated.safetensors");
    let mut options = QuantizeOptions::int8();
    found.apply(&mut options);
    weights
        .clone()
        .with_precision(Precision::Int8)
        .unwrap()
        .save_quantized(&path, &options)
        .unwrap();
    let read = Weights::open(&path).unwrap();
    let margins = |weights: &Weights, precision, at: &[(usize, usize)]| -> Vec<f64> {
        let options = Options { precision: Some(precision), ..Options::default() };
        let emissions = Recognizer::new(weights, options).unwrap().emissions(&crops).unwrap();
        let classes = weights.config().num_classes;
        let frames = emissions.iter().flat_map(|e| e.log_probs.as_slice().chunks_exact(classes));
        frames.zip(at).map(|(x, &(a, b))| f64::from(x[a]) - f64::from(x[b])).collect()
    };
    let emissions = recognizer.emissions(&crops).unwrap();
    let best: Vec<(usize, usize)> = emissions
        .iter()
        .flat_map(|e| e.log_probs.as_slice().chunks_exact(weights.config().num_classes))
        .map(|frame| {
            let mut order: Vec<usize> = (0..frame.len()).collect();
            order.sort_by(|&a, &b| frame[b].total_cmp(&frame[a]));
            (order[0], order[1])
        })
        .collect();
    let exact = margins(&weights, Precision::F32, &best);
    let of_file = margins(&read, Precision::Int8, &best);
    let changes = exact.iter().zip(&of_file).map(|(a, b)| (a - b).abs()).sum::<f64>();
    let of_file = changes / exact.len() as f64;
    println!("{of_file:.1e} with the file");
    assert!((of_file - after).abs() < 0.5 * after, "{of_file}, {after}");

    // Weights of fewer bits have one more where the input has 12.
    let mut options = QuantizeOptions { rate: Rate::Bits(6), ..QuantizeOptions::default() };
    found.apply(&mut options);
    weights.save_quantized(&path, &options).unwrap();
    let read = Weights::open(&path).unwrap();
    for layer in found.layers.iter().filter(|layer| !layer.keep) {
        let levels = read.quantized_tensor(&layer.name).unwrap().unwrap().levels;
        let most = levels.iter().map(|level| level.unsigned_abs()).max();
        let expected = if layer.activation_bits == ActivationBits::Twelve { 63 } else { 31 };
        assert_eq!(most, Some(expected), "{}", layer.name);
    }

    assert!(calibrate(&pattern_weights(&toy_config()), &crops, 1.0).error < 1e-6);
    let default = CalibrationOptions::default();
    let twelve_bit_share = |share| CalibrationOptions { twelve_bit_share: share, ..default };
    for (crops, options) in [
        (&crops[..0], default),
        (&crops, twelve_bit_share(-0.1)),
        (&crops, twelve_bit_share(f64::NAN)),
        (&crops, CalibrationOptions { weight_bits: 1, ..default }),
        (&crops, CalibrationOptions { weight_bits: 9, ..default }),
    ] {
        assert!(weights.calibrate_int8(crops, options, |_, _| {}).is_err());
    }
}

#[test]
fn not_a_number_gives_not_a_number() {
    let model = weights().int8_model().unwrap();
    let (mut images, shape) = images(2);
    images[5] = f32::NAN;
    let logits = model.forward(&images, shape).unwrap().values;
    let (first, second) = logits.split_at(logits.len() / 2);
    assert!(first.iter().any(|x| x.is_nan()));
    assert!(second.iter().all(|x| x.is_finite()));
}
