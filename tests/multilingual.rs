//! OpenOCR's multilingual networks compute what the reference implementation computes, on weights that a
//! formula gives.

mod support;

#[cfg(feature = "candle")]
use candle_core::{DType, Device, Tensor};
#[cfg(feature = "candle")]
use support::values;
use support::{
    Reference, fixture, max_difference, pattern_input, pattern_weights, reference_folder,
};
use svtrv2::model::Config;

/// Best classes of each frame in the references.
const BEST: usize = 5;
/// First logits of each frame in the references.
const FIRST: usize = 64;

/// A network and how far its logits may be off, as a share of their largest magnitude.
struct Case {
    name: &'static str,
    config: Config,
    tolerance: f32,
}

fn cases() -> [Case; 2] {
    [
        // Measured on both paths, at all sizes: 2.4e-6 and 4.3e-6.
        Case { name: "ch", config: Config::open_ocr_server(), tolerance: 1e-5 },
        Case { name: "mobile", config: Config::open_ocr_mobile(), tolerance: 1e-5 },
    ]
}

/// The logits of images with their shape.
type Forward<'a> = &'a dyn Fn(&[f32], [usize; 4]) -> (Vec<f32>, Vec<usize>);

fn check(case: &Case, reference: &Reference, shapes: &[(usize, usize, usize)]) {
    let weights = pattern_weights(&case.config);
    assert_eq!(weights.config(), &case.config, "the configuration inferred from the tensors");
    let native = weights.model().unwrap();
    check_model(case, "native", reference, shapes, &|images, shape| {
        let logits = native.forward(images, shape).unwrap();
        (logits.values, logits.shape.to_vec())
    });
    #[cfg(feature = "candle")]
    {
        let candle = weights.candle_model(DType::F32, &Device::Cpu).unwrap();
        check_model(case, "candle", reference, shapes, &|images, shape| {
            let images = Tensor::from_slice(images, &shape, &Device::Cpu).unwrap();
            let logits = candle.forward(&images).unwrap();
            (values(&logits), logits.dims().to_vec())
        });
    }
}

fn check_model(
    case: &Case,
    path: &str,
    reference: &Reference,
    shapes: &[(usize, usize, usize)],
    forward: Forward,
) {
    for &(batch, height, width) in shapes {
        let row = format!("{}/{batch}x{height}x{width}", case.name);
        let (images, shape) = pattern_input(batch, height, width);
        let (logits, shape) = forward(&images, shape);
        let (expected_shape, first) = reference.f32(&format!("{row}/logits_first64"));
        let classes = case.config.num_classes;
        assert_eq!(shape, [batch, expected_shape[1], classes], "{row}");

        let frames: Vec<&[f32]> = logits.chunks_exact(classes).collect();
        let (_, best) = reference.i64(&format!("{row}/top5_index"));
        for (frame, best) in frames.iter().zip(best.chunks_exact(BEST)) {
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| frame[b].total_cmp(&frame[a]));
            let found: Vec<i64> = order[..BEST].iter().map(|&class| class as i64).collect();
            assert_eq!(found, best, "{path}, {row}: best classes");
        }
        let found: Vec<f32> = frames.iter().flat_map(|frame| &frame[..FIRST]).copied().collect();
        let largest = logits.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let difference = max_difference(&found, &first) / largest;
        println!("{path}, {row}: logits differ by {difference:.1e} of {largest:.1} at most");
        assert!(difference <= case.tolerance, "{path}, {row}: logits differ by {difference:e}");
    }
}

#[test]
fn reference_numbers() {
    let reference = Reference::open(fixture("architectures.safetensors"));
    for case in cases() {
        check(&case, &reference, &[(2, 48, 192), (1, 48, 320)]);
    }
}

#[test]
#[ignore = "needs the reference: SVTRV2_REFERENCE"]
fn reference_numbers_of_odd_widths() {
    let reference = Reference::open(reference_folder().join("section5.safetensors"));
    for case in cases() {
        check(&case, &reference, &[(1, 48, 333), (2, 48, 101), (1, 48, 58)]);
    }
}
