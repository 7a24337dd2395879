//! T, S and B compute what the reference implementation computes, on weights that a formula
//! gives.

mod support;

#[cfg(feature = "candle")]
use candle_core::{DType, Device, Tensor};
#[cfg(feature = "candle")]
use support::values;
use support::{Reference, fixture, max_difference, pattern_input, pattern_weights};
use svtrv2::model::Config;

/// Largest absolute differences, of numbers whose magnitude is about 1. Measured over both paths,
/// all variants and shapes: 7.2e-6, 5.0e-6 and 2.9e-6.
const LOGITS: f32 = 5e-5;
const FEATURES: f32 = 4e-5;
const STATISTICS: f32 = 2e-5;

const SHAPES: [(usize, usize, usize); 5] =
    [(2, 32, 128), (1, 64, 64), (1, 48, 96), (1, 40, 112), (1, 32, 256)];

/// Logits with their shape, and features, of images.
type Forward<'a> = &'a dyn Fn(&[f32], [usize; 4]) -> (Vec<f32>, Vec<usize>, Vec<f32>);

fn check(letter: &str, config: Config) {
    let reference = Reference::open(fixture("architectures.safetensors"));
    let weights = pattern_weights(&config);
    assert_eq!(weights.config(), &config, "the configuration inferred from the tensors");
    let native = weights.model().unwrap();
    check_model(&format!("{letter}, native"), letter, &reference, &|images, shape| {
        let logits = native.forward(images, shape).unwrap();
        let features = native.features(images, shape).unwrap();
        (logits.values, logits.shape.to_vec(), features.values)
    });
    #[cfg(feature = "candle")]
    {
        let candle = weights.candle_model(DType::F32, &Device::Cpu).unwrap();
        check_model(&format!("{letter}, candle"), letter, &reference, &|images, shape| {
            let images = Tensor::from_slice(images, &shape, &Device::Cpu).unwrap();
            let logits = candle.forward(&images).unwrap();
            let features = candle.features(&images).unwrap();
            (values(&logits), logits.dims().to_vec(), values(&features))
        });
    }
}

fn check_model(path: &str, letter: &str, reference: &Reference, forward: Forward) {
    for (batch, height, width) in SHAPES {
        let row = format!("{letter}/{batch}x{height}x{width}");
        let (images, shape) = pattern_input(batch, height, width);
        let (logits, logits_shape, features) = forward(&images, shape);

        let (shape, expected) = reference.f32(&format!("{row}/logits"));
        assert_eq!(logits_shape, shape, "{row}");
        let difference = max_difference(&logits, &expected);
        println!("{path}, {row}: logits differ by {difference:.1e} at most");
        assert!(difference <= LOGITS, "{path}, {row}: logits differ by {difference}");

        let name = format!("{row}/features");
        if reference.names().contains(&name) {
            let difference = max_difference(&features, &reference.f32(&name).1);
            println!("{path}, {row}: features differ by {difference:.1e} at most");
            assert!(difference <= FEATURES, "{path}, {row}: features differ by {difference}");
        }
        let (_, expected) = reference.f32(&format!("{row}/feature_stats"));
        let difference = max_difference(&statistics(&features), &expected);
        println!("{path}, {row}: feature statistics differ by {difference:.1e} at most");
        assert!(
            difference <= STATISTICS,
            "{path}, {row}: feature statistics differ by {difference}"
        );
    }
}

/// Mean, standard deviation, largest magnitude, first and last.
fn statistics(x: &[f32]) -> Vec<f32> {
    let count = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares: f64 = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
    let largest = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let deviation = (squares / (count - 1.0)).sqrt();
    vec![mean as f32, deviation as f32, largest, x[0], x[x.len() - 1]]
}

#[test]
fn tiny() {
    check("t", Config::tiny());
}

#[test]
fn small() {
    check("s", Config::small());
}

#[test]
fn base() {
    check("b", Config::base());
}

#[test]
fn parameter_counts() {
    // As published, with batch norm unfolded.
    for (config, published) in
        [(Config::tiny(), 5_128_255), (Config::small(), 11_251_247), (Config::base(), 19_755_551)]
    {
        let count: usize = support::pattern_checkpoint(&config)
            .iter()
            .filter(|(name, ..)| !name.contains("running"))
            .map(|(_, _, values)| values.len())
            .sum();
        assert_eq!(count, published);
    }
}
