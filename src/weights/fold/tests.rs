use super::*;

/// A deterministic value in -1..1.
fn value(seed: usize) -> f32 {
    (seed as f32 * 12.9898).sin()
}

fn tensor(shape: &[usize], seed: usize) -> StoredTensor {
    let count: usize = shape.iter().product();
    StoredTensor::computed((0..count).map(|i| value(i + seed)).collect(), shape.to_vec())
}

fn norm(tensors: &mut Tensors, name: &str, channels: usize, seed: usize) {
    for (part, shift) in [("weight", 0), ("bias", 10), ("running_mean", 20)] {
        tensors.insert(format!("{name}.{part}"), tensor(&[channels], seed + shift));
    }
    let variance = (0..channels).map(|i| 1.0 + value(i + seed).abs()).collect();
    let variance = StoredTensor::computed(variance, vec![channels]);
    tensors.insert(format!("{name}.running_var"), variance);
}

fn values(tensors: &Tensors, name: &str) -> Vec<f64> {
    tensors[name].values(name).unwrap().into_iter().map(f64::from).collect()
}

/// The batch norm of a number, from its definition.
fn normed(tensors: &Tensors, norm: &str, channel: usize, x: f64) -> f64 {
    let part = |part: &str| values(tensors, &format!("{norm}.{part}"))[channel];
    (x - part("running_mean")) / (part("running_var") + 1e-5).sqrt() * part("weight") + part("bias")
}

#[test]
fn convolutions_with_batch_norm() {
    for (conv, norm_name) in [("a.conv", "a.norm"), ("b.0.c", "b.0.bn")] {
        for with_bias in [false, true] {
            let mut tensors = Tensors::new();
            tensors.insert(format!("{conv}.weight"), tensor(&[3, 2, 1, 2], 1));
            if with_bias {
                tensors.insert(format!("{conv}.bias"), tensor(&[3], 5));
            }
            norm(&mut tensors, norm_name, 3, 7);
            let folded = fold(tensors.clone()).unwrap();
            let names: Vec<&String> = folded.keys().collect();
            assert_eq!(names, [&format!("{conv}.bias"), &format!("{conv}.weight")]);
            let input = [0.3, -0.7, 0.2, 0.9];
            for channel in 0..3 {
                let apply = |tensors: &Tensors, bias: bool| {
                    let weight = values(tensors, &format!("{conv}.weight"));
                    let products = weight[channel * 4..].iter().zip(&input).map(|(w, x)| w * x);
                    let bias =
                        if bias { values(tensors, &format!("{conv}.bias"))[channel] } else { 0.0 };
                    products.sum::<f64>() + bias
                };
                let expected = normed(&tensors, norm_name, channel, apply(&tensors, with_bias));
                let found = apply(&folded, true);
                assert!((found - expected).abs() < 1e-6, "{conv}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn branches_of_a_depthwise_convolution() {
    let channels = 2;
    for own_norm in [true, false] {
        let mut tensors = Tensors::new();
        tensors.insert("x.conv.c.weight".into(), tensor(&[channels, 1, 3, 3], 3));
        tensors.insert("x.conv1.weight".into(), tensor(&[channels, 1, 1, 1], 40));
        tensors.insert("x.conv1.bias".into(), tensor(&[channels], 50));
        if own_norm {
            norm(&mut tensors, "x.conv.bn", channels, 60);
        } else {
            tensors.insert("x.conv.c.bias".into(), tensor(&[channels], 70));
        }
        norm(&mut tensors, "x.bn", channels, 80);
        let folded = fold(tensors.clone()).unwrap();
        let names: Vec<&String> = folded.keys().collect();
        assert_eq!(names, ["x.conv.c.bias", "x.conv.c.weight"]);
        assert_eq!(folded["x.conv.c.weight"].shape(), [channels, 1, 3, 3]);
        // The 9 inputs under the kernel, the centre is the fifth.
        let input: Vec<f64> = (0..9).map(|i| f64::from(value(i + 90))).collect();
        for channel in 0..channels {
            let product = |weight: &[f64]| {
                weight[channel * 9..].iter().zip(&input).map(|(w, x)| w * x).sum::<f64>()
            };
            let depthwise = product(&values(&tensors, "x.conv.c.weight"));
            let depthwise = match own_norm {
                true => normed(&tensors, "x.conv.bn", channel, depthwise),
                false => depthwise + values(&tensors, "x.conv.c.bias")[channel],
            };
            let point = values(&tensors, "x.conv1.weight")[channel] * input[4]
                + values(&tensors, "x.conv1.bias")[channel];
            let expected = normed(&tensors, "x.bn", channel, depthwise + point + input[4]);
            let found = product(&values(&folded, "x.conv.c.weight"))
                + values(&folded, "x.conv.c.bias")[channel];
            assert!((found - expected).abs() < 1e-6, "channel {channel}: {found} for {expected}");
        }
    }
}

#[test]
fn matrices() {
    let mut tensors = Tensors::new();
    tensors.insert("a.weight".into(), tensor(&[3, 2, 1, 1], 0));
    tensors.insert("b.weight".into(), tensor(&[3, 2, 1, 3], 0));
    tensors.insert("c".into(), tensor(&[3, 2, 1, 1], 0));
    let folded = fold(tensors.clone()).unwrap();
    assert_eq!(folded["a.weight"].shape(), [3, 2]);
    assert_eq!(values(&folded, "a.weight"), values(&tensors, "a.weight"));
    assert_eq!(folded["b.weight"].shape(), [3, 2, 1, 3]);
    assert_eq!(folded["c"].shape(), [3, 2, 1, 1]);
}

#[test]
fn faults() {
    type Spoil = fn(&mut Tensors);
    let cases: [(Spoil, &str); 6] = [
        (|t| drop(t.remove("a.conv.weight")), "missing a.conv.weight"),
        (|t| drop(t.remove("a.norm.weight")), "missing a.norm.weight"),
        (|t| drop(t.insert("a.norm.bias".into(), tensor(&[4], 0))), "[4] instead of [3]"),
        (|t| drop(t.insert("a.conv.weight".into(), tensor(&[], 0))), "no dimensions"),
        (|t| norm(t, "a.other", 3, 0), "a.other.running_var follows no convolution"),
        (
            |t| {
                norm(t, "x.bn", 2, 0);
                t.insert("x.conv.c.weight".into(), tensor(&[2, 1, 2, 2], 0));
                t.insert("x.conv1.weight".into(), tensor(&[2, 1, 1, 1], 0));
            },
            "[2, 1, 2, 2] instead of [2, 1, 3, 3]",
        ),
    ];
    for (spoil, part) in cases {
        let mut tensors = Tensors::new();
        tensors.insert("a.conv.weight".into(), tensor(&[3, 2, 3, 3], 0));
        norm(&mut tensors, "a.norm", 3, 9);
        spoil(&mut tensors);
        let message = fold(tensors).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
