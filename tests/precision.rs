//! Candle in 16 bits, and the attention that boxes come from, agree with the native network in f32.

mod support;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, VarBuilder, VarMap};
use support::{
    max_difference, pattern_input, pattern_weights, random_crop, toy_config, toy_line_configs,
    values,
};
use svtrv2::inference::CandleModel;
use svtrv2::model::Config;
use svtrv2::{Charset, Options, Precision, Recognizer};

/// Type, and the largest absolute differences of logits (whose magnitude is about 1) and of
/// attention weights (0..=1) from the native ones. Measured: 5.0e-6 and 2.5e-8 in f32, 9.8e-3 and
/// 3.3e-5 in f16, 8.1e-2 and 2.8e-4 in bf16.
const CASES: [(DType, f32, f32); 3] =
    [(DType::F32, 3e-5, 2e-7), (DType::F16, 5e-2, 2e-4), (DType::BF16, 4e-1, 1.5e-3)];

#[test]
fn candle_equals_native() {
    let weights = pattern_weights(&Config::tiny());
    let native = weights.model().unwrap();
    for (dtype, logits_tolerance, attention_tolerance) in CASES {
        let candle = weights.candle_model(dtype, &Device::Cpu).unwrap();
        for (batch, height, width) in [(2, 32, 128), (1, 48, 96)] {
            let row = format!("{dtype:?}, {height}x{width}");
            let (images, shape) = pattern_input(batch, height, width);
            let (expected, expected_attention) =
                native.forward_with_attention(&images, shape).unwrap();
            let images = Tensor::from_vec(images, &shape, &Device::Cpu).unwrap();
            let images = images.to_dtype(dtype).unwrap();
            let (logits, attention) = candle.forward_with_attention(&images).unwrap();
            assert_eq!((logits.dtype(), logits.dims()), (dtype, &expected.shape[..]), "{row}");
            assert_eq!(attention.dims(), expected_attention.shape, "{row}");

            let difference = max_difference(&values(&logits), &expected.values);
            let of_attention = max_difference(&values(&attention), &expected_attention.values);
            println!("{row}: logits differ by {difference:.1e}, attention by {of_attention:.1e}");
            assert!(difference <= logits_tolerance, "{row}: logits differ by {difference}");
            let fits = of_attention <= attention_tolerance;
            assert!(fits, "{row}: attention differs by {of_attention}");
            let rounded = dtype == DType::F32 || difference > 0.0;
            assert!(rounded, "{row}: not computed in this precision");
        }
    }
}

/// Text, scores and boxes of the recogniser in every precision.
#[test]
fn recognition_in_every_precision() {
    let weights = pattern_weights(&toy_config());
    let [full, half, brain] = [Precision::F32, Precision::F16, Precision::Bf16].map(|precision| {
        let charset = Some(Charset::english());
        let options = Options { charset, precision: Some(precision), ..Options::default() };
        Recognizer::new(&weights, options).unwrap()
    });
    let crop = random_crop(3, 200, 50);
    let resized = full.resize(&svtrv2::Crop::from_rgb(&crop).unwrap()).unwrap();
    let probabilities = |recognizer: &Recognizer| -> Vec<f32> {
        let emissions = &recognizer.emissions(&resized).unwrap()[0];
        emissions.log_probs.as_slice().iter().map(|p| p.exp()).collect()
    };
    let expected = probabilities(&full);
    // Measured: 5.2e-4 and 3.3e-3.
    for (name, recognizer, tolerance) in [("f16", &half, 3e-3), ("bf16", &brain, 2e-2)] {
        let difference = max_difference(&probabilities(recognizer), &expected);
        println!("{name}: probabilities differ by {difference:.1e} at most");
        assert!(difference > 0.0 && difference <= tolerance, "{name}: {difference}");
        assert!(recognizer.recognize(&crop).is_ok());
    }
}

/// Tensors from a candle program and to one are those of the file.
#[test]
fn candle_programs_hand_over_tensors() {
    for (name, config) in toy_line_configs() {
        let weights = pattern_weights(&config);
        let config = weights.config();
        let builder = weights.var_builder(DType::F32, &Device::Cpu);
        let (images, shape) = pattern_input(1, 48, 96);
        let images = Tensor::from_vec(images, &shape, &Device::Cpu).unwrap();
        let expected = weights.candle_model(DType::F32, &Device::Cpu).unwrap();
        let model = CandleModel::from_var_builder(config, builder).unwrap();
        let expected = values(&expected.forward(&images).unwrap());
        assert_eq!(values(&model.forward(&images).unwrap()), expected, "{name}");
    }

    let weights = pattern_weights(&toy_config());
    let builder = weights.var_builder(DType::F32, &Device::Cpu);
    let (bias, shape) = weights.tensor("decoder.fc.bias").unwrap().unwrap();
    let classifier = candle_nn::linear(16, shape[0], builder.pp("decoder.fc")).unwrap();
    let zeros = Tensor::zeros((1, 16), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(values(&classifier.forward(&zeros).unwrap()), bias);
    assert!(builder.contains_tensor("decoder.fc.bias") && !builder.contains_tensor("decoder.fc"));

    let missing = builder.get(3, "decoder.fb.bias").unwrap_err();
    assert!(missing.to_string().contains("decoder.fb.bias"), "{missing}");
    let misshapen = builder.get(3, "decoder.fc.bias").unwrap_err();
    assert!(misshapen.to_string().contains("decoder.fc.bias"), "{misshapen}");
    let below = CandleModel::from_var_builder(&toy_config(), builder.pp("recognizer"));
    assert!(matches!(below, Err(svtrv2::Error::Compute(_))), "{below:?}");
    let wide = Config { num_classes: 7, ..toy_config() };
    let misfit = CandleModel::from_var_builder(&wide, builder);
    assert!(matches!(misfit, Err(svtrv2::Error::Compute(_))), "{misfit:?}");
}

/// A network whose parameters are a candle program's variables: the composed operations, which have gradients,
/// compute what the fused ones do, and every variable gets a gradient.
#[test]
fn gradients_reach_a_candle_program_s_variables() {
    let mut configs = toy_line_configs();
    configs.push(("toy", toy_config()));
    for (name, config) in configs {
        let weights = pattern_weights(&config);
        let config = weights.config();
        let mut variables = VarMap::new();
        let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let model = CandleModel::from_var_builder(config, builder).unwrap();
        let tensors: Vec<(String, Tensor)> = weights
            .names()
            .map(|name| {
                let (values, shape) = weights.tensor(name).unwrap().unwrap();
                (name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
            })
            .collect();
        variables.set(tensors.into_iter()).unwrap();

        let (images, shape) = pattern_input(2, 32, 128);
        let images = Tensor::from_vec(images, &shape, &Device::Cpu).unwrap();
        let fused = weights.candle_model(DType::F32, &Device::Cpu).unwrap();
        let fused = fused.forward(&images).unwrap();
        let composed = model.forward(&images).unwrap();
        let difference = max_difference(&values(&fused), &values(&composed));
        println!("{name}: fused operations differ by {difference:.1e}");
        assert!(!fused.track_op() && composed.track_op());
        assert!(difference <= 3e-5, "{name}: {difference}");

        let loss = composed.sqr().unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let data = variables.data().lock().unwrap();
        assert_eq!(data.len(), weights.names().count(), "{name}");
        for (variable, var) in &*data {
            assert!(gradients.get(var).is_some(), "{name}: no gradient for {variable}");
        }
    }
}
