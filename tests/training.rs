//! Losses, gradients and optimisation are the reference's, and the tape's gradients are candle's.

mod support;

use candle_core::{DType, Device, Tensor, Var};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;
use support::{
    Reference, fixture, pattern_values, pattern_weight, toy_config, toy_line_configs, values,
};
use svtrv2::Charset;
use svtrv2::model::Config;
use svtrv2::train::{
    AdamW, AdamWOptions, BatchNormMode, Network, PassOptions, Precision, Schedule, SgmLabels,
    ctc_loss,
};

/// Relative to the largest number of a tensor.
const TOLERANCE: f32 = 1e-4;

fn numbers() -> Reference {
    Reference::open(fixture("training.safetensors"))
}

fn description() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("training.json")).unwrap()).unwrap()
}

/// Returns the largest error, relative to the largest expected number.
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, row: &str) -> f32 {
    assert_eq!(found.len(), expected.len(), "{row}");
    let scale = expected.iter().fold(1e-3f32, |scale, x| scale.max(x.abs()));
    let mut largest = 0.0f32;
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / scale;
        assert!(error <= tolerance, "{row}: {found} instead of {expected} at {i}");
        largest = largest.max(error);
    }
    largest
}

fn norm(tensor: &Tensor) -> f32 {
    values(tensor).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32
}

fn labels(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn ctc_loss_and_gradients() {
    let (numbers, description) = (numbers(), description());
    for case in ["a", "b", "c", "inf"] {
        let name = format!("ctc/{case}");
        let shape: Vec<usize> =
            serde_json::from_value(description[&name]["shape"].clone()).unwrap();
        let input = pattern_values(&name, shape.iter().product());
        let input: Vec<f32> = input.iter().map(|x| 3.0 * x).collect();
        let logits = Var::from_vec(input, shape, &Device::Cpu).unwrap();
        let losses = ctc_loss(&logits, &labels(&description[&name]["labels"]), true).unwrap();
        let (_, expected) = numbers.f32(&format!("{name}/loss"));
        assert_close(&values(&losses), &expected, TOLERANCE, &name);
        let gradients = losses.mean(0).unwrap().backward().unwrap();
        let (_, expected) = numbers.f32(&format!("{name}/grad_of_mean"));
        assert_close(&values(gradients.get(&logits).unwrap()), &expected, TOLERANCE, &name);
    }
}

fn classes_of(words: &[&str]) -> Vec<Vec<u32>> {
    let charset = Charset::english();
    let class = |symbol: char| charset.class(&symbol.to_string()).unwrap() as u32;
    words.iter().map(|word| word.chars().map(class).collect()).collect()
}

#[test]
fn sgm_labels() {
    let description = &description()["sgm"];
    let words: Vec<&str> =
        description["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let found = SgmLabels::new::<Pcg64Mcg>(&classes_of(&words), 95, None);
    for (side, targets) in [("left", &found.left), ("right", &found.right)] {
        let contexts: Vec<Vec<[u32; 5]>> =
            serde_json::from_value(description[format!("{side}_substrings")].clone()).unwrap();
        let answers = labels(&description[format!("{side}_next")]);
        for (index, targets) in targets.iter().enumerate() {
            let count = targets.targets.len();
            assert_eq!(targets.contexts, contexts[index][..count], "{side} {index}");
            assert_eq!(targets.targets, answers[index][..count], "{side} {index}");
            assert!(answers[index][count..].iter().all(|&answer| answer == 98));
        }
    }
}

#[test]
fn sgm_loss_and_gradients() {
    let (numbers, description) = (numbers(), description());
    let mut network = Network::new(&Config::tiny(), &Device::Cpu, 0).unwrap();
    network.add_sgm().unwrap();
    let prefix = "decoder.gtc_decoder.";
    let parameters = description["sgm"]["params"].as_object().unwrap();
    let own = network.parameters().filter(|(name, _)| name.starts_with(prefix)).count();
    assert_eq!(own, parameters.len());
    for (name, shape) in parameters {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let pattern = pattern_weight(&format!("sgm.{name}"), &shape);
        let tensor = Tensor::from_vec(pattern, shape, &Device::Cpu).unwrap();
        network.set(&format!("{prefix}{name}"), &tensor).unwrap();
    }
    let features = pattern_values("sgm/features", 3 * 256 * 128);
    let features = Tensor::from_vec(features, (3, 256, 128), &Device::Cpu).unwrap();
    let features = Var::from_tensor(&features.transpose(1, 2).unwrap().contiguous().unwrap());
    let features = features.unwrap();
    let labels = classes_of(&["Hotel", "2go", "CANDLEWICK"]);
    let labels = SgmLabels::new::<Pcg64Mcg>(&labels, 95, None);
    let loss = network.sgm().unwrap().loss(&features, &labels).unwrap();
    let (_, expected) = numbers.f32("sgm/loss");
    assert_close(&values(&loss), &expected, TOLERANCE, "loss");
    let gradients = loss.backward().unwrap();
    let (_, expected) = numbers.f32("sgm/grad_features");
    assert_close(&values(gradients.get(&features).unwrap()), &expected, TOLERANCE, "features");
    for (name, parameter) in network.parameters().filter(|(name, _)| name.starts_with(prefix)) {
        let short = &name[prefix.len()..];
        let (_, expected) = numbers.f32(&format!("sgm/grad/{short}/norm"));
        assert_close(&[norm(gradients.get(parameter).unwrap())], &expected, TOLERANCE, short);
    }
}

/// A network with pattern weights, batch norms unfolded.
fn pattern_network(config: &Config) -> Network {
    let mut network = Network::new(config, &Device::Cpu, 0).unwrap();
    let shapes: Vec<(String, Vec<usize>)> =
        network.parameters().map(|(name, p)| (name.to_owned(), p.dims().to_vec())).collect();
    for (name, shape) in shapes {
        let pattern = pattern_weight(&name, &shape);
        network.set(&name, &Tensor::from_vec(pattern, shape, &Device::Cpu).unwrap()).unwrap();
    }
    network
}

fn images(name: &str, batch: usize, height: usize, width: usize) -> Tensor {
    let input = pattern_values(name, batch * 3 * height * width);
    Tensor::from_vec(input, (batch, 3, height, width), &Device::Cpu).unwrap()
}

/// PyTorch 1.13, which the reference numbers were made with, gives other gradients of the patch
/// embedding with oneDNN than without, and others with every run. These are those without
/// (`torch.backends.mkldnn`), which finite differences confirm.
const PATCH_EMBED: [(&str, f32); 6] = [
    ("encoder.pope.patch_embed.0.conv.weight", 38.883_2),
    ("encoder.pope.patch_embed.0.norm.weight", 18.864_119),
    ("encoder.pope.patch_embed.0.norm.bias", 50.647_293),
    ("encoder.pope.patch_embed.1.conv.weight", 280.449_95),
    ("encoder.pope.patch_embed.1.norm.weight", 26.368_95),
    ("encoder.pope.patch_embed.1.norm.bias", 115.947_58),
];

#[test]
fn whole_model_gradients() {
    let numbers = numbers();
    let network = pattern_network(&Config::tiny());
    let images = images("train/input", 2, 32, 128);
    let labels = classes_of(&["Hotel", "2go"]);
    for tape in [true, false] {
        let options = PassOptions { tape, ..PassOptions::evaluation() };
        let pass = network.forward(&images, &options).unwrap();
        let loss = ctc_loss(pass.logits(), &labels, true).unwrap().mean(0).unwrap();
        let (_, expected) = numbers.f32("model_t/loss");
        assert_close(&values(&loss), &expected, TOLERANCE, "loss");
        let gradients = pass.backward(&loss).unwrap();
        for (name, _) in network.parameters().filter(|(name, _)| network.trains(name)) {
            let expected = match PATCH_EMBED.iter().find(|(other, _)| *other == name) {
                Some(&(_, norm)) => vec![norm],
                None => numbers.f32(&format!("model_t/grad/{name}/norm")).1,
            };
            let found = norm(gradients.get(name).unwrap());
            assert_close(&[found], &expected, TOLERANCE, &format!("{name}, tape: {tape}"));
        }
    }
}

#[test]
fn tape_and_candle_have_the_same_gradients() {
    let config = toy_config();
    for (height, width) in [(32, 128), (64, 64), (48, 96), (40, 112), (32, 40)] {
        let images = images("gradients", 3, height, width);
        let labels = vec![vec![1, 2], vec![3], vec![2, 2, 1]];
        let mut found = Vec::new();
        for tape in [true, false] {
            let mut network = pattern_network(&config);
            network.add_sgm().unwrap();
            let batch_norm = BatchNormMode::Batch;
            let options =
                PassOptions { drop_path: 0.5, batch_norm, seed: 5, tape, ..Default::default() };
            let pass = network.forward(&images, &options).unwrap();
            let ctc = ctc_loss(pass.logits(), &labels, true).unwrap().mean(0).unwrap();
            let targets = SgmLabels::new::<Pcg64Mcg>(&labels, config.num_classes, None);
            let sgm = network.sgm().unwrap().loss(pass.features(), &targets).unwrap();
            let gradients = pass.backward(&(ctc + sgm).unwrap()).unwrap();
            found.push((network, gradients));
        }
        let (tape, candle) = (&found[0], &found[1]);
        let mut largest = 0.0f32;
        assert_eq!(tape.1.iter().count(), candle.1.iter().count());
        for (name, expected) in candle.1.iter() {
            let gradient = values(tape.1.get(name).unwrap());
            let row = format!("{name} at {height}x{width}");
            // Measured: 1.4e-5.
            let error = assert_close(&gradient, &values(expected), 1e-4, &row);
            largest = largest.max(error);
        }
        println!("{height}x{width}: gradients differ by {largest:.1e} of the largest at most");
        for ((name, a), (_, b)) in tape.0.parameters().zip(candle.0.parameters()) {
            assert_close(&values(a), &values(b), 1e-5, &format!("{name} after the pass"));
        }
    }
}

/// A pass that is aware of quantisation computes what int8 inference does, on the tape and with
/// candle; gradients pass straight through the rounding.
///
/// A difference in the last bit makes a number round the other way now and then, which moves the
/// logits of so narrow a network by a part of what all rounding does: candle's are nearer to int8
/// than to f32, the tape's, which has the same kernels, nearly equal.
#[test]
fn quantization_aware_passes_compute_as_int8() {
    let config = toy_config();
    let (input, shape) = support::pattern_input(2, 32, 64);
    let weights = support::pattern_weights(&config);
    let int8 = weights.int8_model().unwrap().forward(&input, shape).unwrap().values;
    let exact = weights.model().unwrap().forward(&input, shape).unwrap().values;
    let distance = |a: &[f32], b: &[f32]| -> f64 {
        let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let of_rounding = distance(&int8, &exact);
    let images = Tensor::from_vec(input, &shape, &Device::Cpu).unwrap();
    let gradients = [(true, 0.05), (false, 0.5)].map(|(tape, share)| {
        let network = Network::from_weights(&weights, &Device::Cpu, 0).unwrap();
        let options = PassOptions { tape, quantization_aware: true, ..PassOptions::evaluation() };
        let pass = network.forward(&images, &options).unwrap();
        let error = distance(&values(pass.logits()), &int8);
        println!("tape: {tape}: {error:.1e} from int8, which is {of_rounding:.1e} from f32");
        assert!(error < share * of_rounding, "tape: {tape}");
        let loss = ctc_loss(pass.logits(), &[vec![1, 2], vec![3]], true).unwrap();
        pass.backward(&loss.mean(0).unwrap()).unwrap()
    });
    let [tape, candle] = &gradients;
    let (mut apart, mut all) = (0.0, 0.0);
    for (name, expected) in candle.iter() {
        let (found, expected) = (values(tape.get(name).unwrap()), values(expected));
        apart += distance(&found, &expected).powi(2);
        all += distance(&expected, &vec![0.0; expected.len()]).powi(2);
    }
    println!("gradients differ by {:.1e} of their length", (apart / all).sqrt());
    assert!(apart < 0.01 * all);
}

/// Of every parameter some elements' gradients, of a sum of logits with pattern factors, equal
/// differences of the network in 64 bits: of every kind of encoder and head.
#[test]
fn whole_model_gradients_equal_differences() {
    for (name, config) in [("SVTRv2", toy_config())].into_iter().chain(toy_line_configs()) {
        gradients_equal_differences(name, &config);
    }
}

fn gradients_equal_differences(network_name: &str, config: &Config) {
    /// Elements of every parameter.
    const ELEMENTS: usize = 4;
    /// Relative to the largest gradient of a parameter; measured: 1.4e-4.
    const TOLERANCE: f64 = 5e-4;
    // Short where few values may cross the kink of a ReLU or change a maximum; longer where the rounding
    // of folded batch norms must not count.
    let step = if config.stages().is_some() { 1e-3 } else { 2e-5 };
    let (batch, height, width) = (2, 32, 40);
    let (input, shape) = support::pattern_input(batch, height, width);
    let images = Tensor::from_vec(input, &shape, &Device::Cpu).unwrap();
    let charset = Charset::new(support::symbols(config.num_classes - 1)).unwrap();
    let mut network = pattern_network(config);
    let evaluation = PassOptions::evaluation();
    let logits = network.forward(&images, &evaluation).unwrap().logits().clone();
    let factors = pattern_values("factors", logits.elem_count());
    let factors = Tensor::from_vec(factors, logits.shape(), &Device::Cpu).unwrap();
    let gradients = [true, false].map(|tape| {
        let pass = network.forward(&images, &PassOptions { tape, ..evaluation }).unwrap();
        let loss = (pass.logits() * &factors).unwrap().sum_all().unwrap();
        pass.backward(&loss).unwrap()
    });
    let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
    let (images, factors) = (wide(&images), wide(&factors));
    let loss = |network: &Network| -> f64 {
        let weights = network.to_weights(&charset).unwrap();
        let logits =
            weights.candle_model(DType::F64, &Device::Cpu).unwrap().forward(&images).unwrap();
        (logits * &factors).unwrap().sum_all().unwrap().to_vec0::<f64>().unwrap()
    };
    let (mut largest_error, mut checked) = (0.0f64, 0);
    let names: Vec<String> = network.parameters().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| gradients[0].get(name).is_some()) {
        let [tape, candle] = gradients.each_ref().map(|g| values(g.get(name).unwrap()));
        let scale = candle.iter().fold(1e-3f64, |scale, x| scale.max(f64::from(x.abs())));
        let parameter = network.parameters().find(|(other, _)| other == name).unwrap().1;
        let (start, shape) = (values(parameter), parameter.shape().clone());
        let count = tape.len();
        for element in (0..ELEMENTS.min(count)).map(|i| i * 7919 % count) {
            let mut at = |value: f32| {
                let mut moved = start.clone();
                moved[element] = value;
                network.set(name, &Tensor::from_vec(moved, &shape, &Device::Cpu).unwrap()).unwrap();
                (f64::from(value), loss(&network))
            };
            let ((high, above), (low, below)) =
                (at(start[element] + step), at(start[element] - step));
            at(start[element]);
            let slope = (above - below) / (high - low);
            for (way, found) in [("tape", tape[element]), ("candle", candle[element])] {
                let error = (f64::from(found) - slope).abs() / scale;
                largest_error = largest_error.max(error);
                assert!(
                    error <= TOLERANCE,
                    "{network_name}: {name}[{element}], {way}: {found}, not {slope}"
                );
            }
            checked += 1;
        }
    }
    println!("{network_name}: {checked} gradients differ by {largest_error:.1e} of the largest");
    assert!(checked > 100);
}

/// The angles between gradients in bfloat16 and in f32 are small, and so is the difference in what
/// comes out: on the tape, where this CPU multiplies bfloat16, and with candle.
#[test]
fn mixed_precision() {
    for tape in [true, false] {
        mixed_precision_is_close(tape);
    }
}

fn mixed_precision_is_close(tape: bool) {
    let images = images("gradients", 4, 32, 128);
    let labels = vec![vec![1, 2], vec![3], vec![2, 2, 1], vec![1]];
    let [full, mixed] = [Precision::F32, Precision::Bf16].map(|precision| {
        let mut network = pattern_network(&toy_config());
        network.freeze(&["encoder.stages.0"]).unwrap();
        let options = PassOptions { precision, seed: 5, tape, ..Default::default() };
        let pass = network.forward(&images, &options).unwrap();
        assert_eq!(pass.logits().dtype(), DType::F32);
        let loss = ctc_loss(pass.logits(), &labels, true).unwrap().mean(0).unwrap();
        let value = loss.to_vec0::<f32>().unwrap();
        (value, pass.backward(&loss).unwrap(), network)
    });
    assert!((mixed.0 / full.0 - 1.0).abs() < 0.01, "{} and {}", mixed.0, full.0);
    assert!(tape || mixed.0 != full.0);
    assert_eq!(full.1.iter().count(), mixed.1.iter().count());
    let (mut product, mut squares) = (0.0, [0.0; 2]);
    for (name, gradient) in full.1.iter() {
        let found = mixed.1.get(name).unwrap();
        assert_eq!(found.dtype(), DType::F32, "{name}");
        for (a, b) in values(gradient).into_iter().zip(values(found)) {
            let (a, b) = (f64::from(a), f64::from(b));
            product += a * b;
            squares = [squares[0] + a * a, squares[1] + b * b];
        }
    }
    let cosine = product / (squares[0] * squares[1]).sqrt();
    assert!(cosine > 0.99, "{cosine}");
    for ((name, a), (_, b)) in full.2.parameters().zip(mixed.2.parameters()) {
        assert_close(&values(b), &values(a), 0.02, &format!("{name} after the pass"));
    }
}

/// Along its own direction, the loss grows as fast as the gradient is long.
#[test]
fn patch_embed_gradients_equal_differences() {
    const STEP: f32 = 1e-3;
    let images = images("train/input", 2, 32, 128);
    let labels = classes_of(&["Hotel", "2go"]);
    for (name, expected) in PATCH_EMBED {
        let mut network = pattern_network(&Config::tiny());
        let options = PassOptions::evaluation();
        let pass = network.forward(&images, &options).unwrap();
        let loss = ctc_loss(pass.logits(), &labels, true).unwrap().mean(0).unwrap();
        let gradient = pass.backward(&loss).unwrap().get(name).unwrap().clone();
        let unit = (gradient.clone() / f64::from(norm(&gradient))).unwrap();
        let start = network.parameters().find(|(n, _)| *n == name).unwrap().1.copy().unwrap();
        let mut moved = |by: f32| {
            let by = (&unit * f64::from(by)).unwrap();
            network.set(name, &(&start + by).unwrap()).unwrap();
            let pass = network.forward(&images, &options).unwrap();
            let loss = ctc_loss(pass.logits(), &labels, true).unwrap().mean(0).unwrap();
            loss.to_vec0::<f32>().unwrap()
        };
        let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        assert!((slope / expected - 1.0).abs() < 5e-3, "{name}: {slope} instead of {expected}");
    }
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let mut network = pattern_network(&toy_config());
    network.freeze(&["encoder.pope", "encoder.stages.0", "decoder.fc.bias"]).unwrap();
    let images = images("gradients", 2, 32, 64);
    for tape in [true, false] {
        let options = PassOptions { tape, ..PassOptions::default() };
        let pass = network.forward(&images, &options).unwrap();
        let loss = ctc_loss(pass.logits(), &[vec![1], vec![2]], true).unwrap().mean(0).unwrap();
        let gradients = pass.backward(&loss).unwrap();
        for (name, _) in network.parameters() {
            let frozen = name.starts_with("encoder.pope")
                || name.starts_with("encoder.stages.0.")
                || name == "decoder.fc.bias";
            assert_eq!(gradients.get(name).is_none(), frozen, "{name}, tape: {tape}");
        }
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let network = pattern_network(&toy_config());
    let images = images("gradients", 5, 32, 128);
    let labels = vec![vec![1, 2]; 5];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let options = PassOptions { seed: 1, ..PassOptions::default() };
            let pass = network.forward(&images, &options).unwrap();
            let loss = ctc_loss(pass.logits(), &labels, true).unwrap().mean(0).unwrap();
            let gradients = pass.backward(&loss).unwrap();
            gradients.iter().map(|(name, g)| (name.to_owned(), values(g))).collect::<Vec<_>>()
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn adamw_and_one_cycle() {
    let numbers = numbers();
    let (_, rates) = numbers.f32("opt/lr");
    let (_, trajectory) = numbers.f32("opt/param_after_step");
    let peak = f64::from(rates[2]);
    // Eight parameters of a matrix whose gradients are themselves.
    let mut network = Network::new(&toy_config(), &Device::Cpu, 0).unwrap();
    let name = "decoder.fc_kv.weight";
    let shape = network.parameters().find(|(n, _)| *n == name).unwrap().1.dims().to_vec();
    let count: usize = shape.iter().product();
    let mut start = pattern_values("opt/p", 8);
    start.resize(count, 0.0);
    network.set(name, &Tensor::from_vec(start, shape.clone(), &Device::Cpu).unwrap()).unwrap();
    let mut optimizer = AdamW::new(AdamWOptions::default());
    for (step, expected) in trajectory.chunks_exact(8).enumerate() {
        let rate = Schedule::default().rate(peak, step, rates.len());
        assert_close(&[rate as f32], &rates[step..=step], TOLERANCE, "rate");
        let value = network.parameters().find(|(n, _)| *n == name).unwrap().1.clone();
        let gradients = [(name.to_owned(), value.copy().unwrap())].into_iter().collect();
        optimizer.step(&mut network, &gradients, rate).unwrap();
        let found = values(network.parameters().find(|(n, _)| *n == name).unwrap().1);
        assert_close(&found[..8], expected, TOLERANCE, &format!("step {step}"));
    }
}
