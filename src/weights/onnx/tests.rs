//! Graphs that are told by their structure.

use std::collections::BTreeMap;

use super::super::buffer::Buffer;
use super::super::tensor::StoredTensor;
use super::super::{fold, names};
use super::*;
use crate::support::crafted::{field, initializer, onnx};
use crate::support::graphs::{
    CLASSES, Network, attribute_int, attribute_ints, attribute_text, detector_graph, metadata,
    operation, pp_ocr, pp_ocr_graph,
};

type Tensors = BTreeMap<String, StoredTensor>;

fn open(bytes: Vec<u8>) -> Result<(Tensors, Option<Charset>)> {
    let file = read(Buffer::Owned(bytes), Purpose::Recognition)?;
    Ok((fold::fold(names::canonical(file.tensors)?)?, file.charset))
}

fn message(bytes: Vec<u8>) -> String {
    open(bytes).unwrap_err().to_string()
}

/// Shapes of a network's parameters, written down from the description of PP-OCRv6.
fn expected(small: bool) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    let mut put = |name: &str, shape: &[usize]| {
        shapes.insert(format!("{name}.weight"), shape.to_vec());
        shapes.insert(format!("{name}.bias"), vec![shape[0]]);
    };
    let stem: &[(usize, &[usize])] = match small {
        true => &[
            (0, &[4, 3, 3, 3]),
            (1, &[2, 4, 2, 2]),
            (2, &[4, 2, 2, 2]),
            (3, &[4, 8, 3, 3]),
            (4, &[8, 4]),
        ],
        false => &[(0, &[4, 3, 3, 3]), (2, &[8, 4, 3, 3])],
    };
    for (number, shape) in stem {
        put(&format!("encoder.features.0.{number}.c"), shape);
    }
    let blocks = [(8, 8, true), (8, 8, false), (8, 12, false), (12, 16, false), (16, 16, true)];
    for (number, (from, to, squeeze)) in (1..).zip(blocks) {
        let block = |part: &str| format!("encoder.features.{number}.{part}");
        let conv = if from == to { "token_mixer.0.conv.c" } else { "token_mixer.0.c" };
        put(&block(conv), &[from, 1, 3, 3]);
        if squeeze {
            put(&block("token_mixer.1.fc1"), &[from / 4, from]);
            put(&block("token_mixer.1.fc2"), &[from, from / 4]);
        }
        put(&block("channel_mixer.m.0.c"), &[2 * from, from]);
        put(&block("channel_mixer.m.2.c"), &[to, 2 * from]);
    }
    let neck = |part: &str| format!("decoder.svtr_encoder.{part}");
    if small {
        put(&neck("skip.conv"), &[16, 16]);
        put(&neck("reduce.conv"), &[16, 16]);
        put(&neck("mix.conv"), &[16, 1, 1, 7]);
        for block in ["svtr_block.0", "svtr_block.1"] {
            let layers: [(&str, &[usize]); 6] = [
                ("norm1", &[16]),
                ("mixer.qkv", &[48, 16]),
                ("mixer.proj", &[16, 16]),
                ("norm2", &[16]),
                ("mlp.fc1", &[32, 16]),
                ("mlp.fc2", &[16, 32]),
            ];
            for (layer, shape) in layers {
                put(&neck(&format!("{block}.{layer}")), shape);
            }
        }
        put(&neck("norm"), &[16]);
        put("decoder.fc", &[5, 16]);
    } else {
        put(&neck("mix.conv"), &[16, 1, 1, 5]);
        put(&neck("point.conv"), &[16, 16]);
        put("decoder.reduce", &[6, 16]);
        put("decoder.fc", &[5, 6]);
    }
    shapes
}

#[test]
fn both_spellings_of_both_networks() {
    for small in [true, false] {
        let [spelled, fused] = [false, true].map(|fused| {
            let (tensors, charset) = open(pp_ocr(Network { small, fused })).unwrap();
            assert_eq!(charset.unwrap().symbols(), ["a", "b", "c", " "]);
            let shapes: BTreeMap<String, Vec<usize>> = tensors
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shape().to_vec()))
                .collect();
            assert_eq!(shapes, expected(small), "small: {small}, fused: {fused}");
            tensors
        });
        for (name, tensor) in &spelled {
            assert_eq!(tensor.values(name).unwrap(), fused[name].values(name).unwrap(), "{name}");
        }
    }
}

/// No parameter is taken for another one: each has the values that it was written with.
#[test]
fn values_are_those_of_the_graph() {
    let (tensors, _) = open(pp_ocr(Network { small: false, fused: true })).unwrap();
    let value =
        |number: usize, element: usize| ((number * 131) as f32 + element as f32 * 0.37).sin();
    // Parameters in the order in which the graph was written.
    for (number, name) in (1..).zip([
        "encoder.features.0.0.c.weight",
        "encoder.features.0.0.c.bias",
        "encoder.features.0.2.c.weight",
        "encoder.features.0.2.c.bias",
        "encoder.features.1.token_mixer.0.conv.c.weight",
        "encoder.features.1.token_mixer.0.conv.c.bias",
        "encoder.features.1.token_mixer.1.fc1.weight",
    ]) {
        let values = tensors[name].values(name).unwrap();
        assert_eq!(values[..2], [value(number, 0), value(number, 1)], "{name}");
    }
    let name = "decoder.fc.weight";
    let values = tensors[name].values(name).unwrap();
    let number = tensors.len() - 1;
    assert_eq!(values[..2], [value(number, 0), value(number, 1)], "{name}");
}

#[test]
fn dictionaries() {
    let network = Network { small: false, fused: true };
    let model = |dictionary: &str| {
        [onnx(&pp_ocr_graph(network)), metadata("character", dictionary)].concat()
    };
    // All symbols, or all but the space.
    for dictionary in ["a\nb\nc\nd", "a\nb\nc", "a\r\nb\r\nc\r\n"] {
        let (_, charset) = open(model(dictionary)).unwrap();
        assert_eq!(charset.unwrap().classes() as u64, CLASSES, "{dictionary:?}");
    }
    assert!(open(onnx(&pp_ocr_graph(network))).unwrap().1.is_none());
    for (dictionary, part) in [
        ("a\nb", "3 symbols makes 4 classes"),
        ("a\nb\nc\nd\ne", "6 symbols makes 7 classes"),
        ("a\nb\na", "repeats"),
        ("", "the charset is empty"),
    ] {
        let message = message(model(dictionary));
        assert!(message.contains(part), "{dictionary:?}: {message}");
    }
    let twice = [model("a\nb\nc"), metadata("character", "a\nb\nc")].concat();
    assert!(message(twice).contains("several dictionaries"));
}

/// Each replaces the bytes of a node or attribute of the right graph.
#[test]
fn other_graphs_are_refused() {
    let replaced = |network: Network, from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut bytes = pp_ocr(network);
        let at = bytes.windows(from.len()).position(|window| window == from);
        let at = at.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(from)));
        bytes[at..at + from.len()].copy_from_slice(to);
        message(bytes)
    };
    let tiny = Network { small: false, fused: true };
    let small = Network { small: true, fused: false };
    let float = |value: f32| value.to_le_bytes().to_vec();
    let cases: [(Network, Vec<u8>, Vec<u8>, &str); 6] = [
        (tiny, b"Gelu".to_vec(), b"Tanh".to_vec(), "the stem's GELU"),
        (tiny, b"HardSwish".to_vec(), b"LeakyRelu".to_vec(), "hard swish"),
        (tiny, float(1.0 / 6.0), float(0.2), "squeeze-excite"),
        (small, float(1e-6), float(1e-5), "an epsilon of 1e-6"),
        (small, float(0.5f32.sqrt()), float(0.25), "8 heads"),
        (small, b"Sigmoid".to_vec(), b"Softsig".to_vec(), "squeeze-excite"),
    ];
    for (network, from, to, part) in cases {
        let message = replaced(network, &from, &to);
        assert!(message.contains("none of those that are known"), "{message}");
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn damaged_graphs() {
    let weight = || initializer("w", &[4, 3, 3, 3], &[0; 432]);
    let input = || graphs_field(11, "x");
    let output = || graphs_field(12, "y");
    let conv = |input: &str, output: &str| operation("Conv", &[input, "w"], &[output], &[]);
    let cases: [(&str, Vec<Vec<u8>>, &str); 8] = [
        (
            "a loop",
            vec![input(), weight(), conv("z", "y"), conv("y", "z"), output()],
            "no node before",
        ),
        ("its own input", vec![input(), weight(), conv("y", "y"), output()], "no node before"),
        (
            "computed twice",
            vec![input(), weight(), conv("x", "y"), conv("x", "y"), output()],
            "twice",
        ),
        ("no output", vec![input(), weight(), conv("x", "y")], "0 outputs"),
        ("two outputs", vec![input(), weight(), conv("x", "y"), output(), output()], "2 outputs"),
        (
            "an unknown output",
            vec![input(), weight(), conv("x", "z"), output()],
            "computes the output y",
        ),
        (
            "one convolution",
            vec![input(), weight(), conv("x", "y"), output()],
            "(Conv) is not the classifier",
        ),
        (
            "the input",
            vec![weight(), conv("", ""), graphs_field(11, "y"), output()],
            "the graph's input is not",
        ),
    ];
    for (name, graph, part) in cases {
        let message = message(onnx(&graph));
        assert!(message.contains(part), "{name}: {message}");
    }
    let mut many = vec![input(), weight()];
    many.extend((0..graph::MAX_NODES).map(|i| conv("x", &format!("v{i}"))));
    many.push(conv("x", "y"));
    assert!(message(onnx(&many)).contains("more than 65536 nodes"));
}

#[test]
fn kernels_that_do_not_fit_their_weights() {
    let first = |kernel: i64| {
        let attributes = [
            attribute_ints("kernel_shape", &[kernel, kernel]),
            attribute_ints("strides", &[2, 2]),
            attribute_int("group", 1),
            attribute_ints("pads", &[1; 4]),
        ];
        operation("Conv", &["x", "c1", "c2"], &["v3"], &attributes)
    };
    let graph = pp_ocr_graph(Network { small: false, fused: true });
    let at = graph.iter().position(|field| *field == first(3)).unwrap();
    for kernel in [1, 1 << 31, i64::MIN] {
        let mut graph = graph.clone();
        graph[at] = first(kernel);
        let message = message(onnx(&graph));
        assert!(message.contains("the first convolution, of 3x3"), "{kernel}: {message}");
    }
}

/// The name of a graph's input (11) or output (12).
fn graphs_field(number: u64, name: &str) -> Vec<u8> {
    field(number, &field(1, name.as_bytes()))
}

fn detector(bytes: Vec<u8>) -> Result<WeightsFile> {
    read(Buffer::Owned(bytes), Purpose::Detection)
}

/// Parameters of a detector have the same values in both spellings, and the network is told from the graph.
#[test]
fn detectors() {
    let [spelled, fused] = [false, true].map(|fused| {
        let file = detector(onnx(&detector_graph(fused))).unwrap();
        let config = file.detector.unwrap();
        assert_eq!((config.dim, config.kernel), (32, 3));
        let blocks: Vec<_> = (config.encoder.blocks.iter())
            .map(|block| (block.dim, block.squeeze_excite, block.row_stride, block.column_stride))
            .collect();
        let expected = [
            (8, true, 1, 1),
            (12, false, 2, 2),
            (16, false, 2, 2),
            (16, true, 1, 1),
            (20, false, 2, 2),
        ];
        assert_eq!(blocks, expected);
        file.tensors
    });
    assert_eq!(spelled.keys().collect::<Vec<_>>(), fused.keys().collect::<Vec<_>>());
    for (name, tensor) in &spelled {
        assert_eq!(tensor.shape(), fused[name].shape(), "{name}");
        assert_eq!(tensor.values(name).unwrap(), fused[name].values(name).unwrap(), "{name}");
    }
    // The weight [input, output, row, column] of a transposed convolution, the four pixels one after the other.
    let up = spelled["head.up.0.weight"].values("").unwrap();
    let of_graph = |input: usize, output: usize, pixel: usize| (input * 8 + output) * 4 + pixel;
    let value = |element: usize| up[element];
    let start = value(0);
    let number = (0..1000).find(|n| (((n * 131) as f32).sin() - start).abs() < 1e-6).unwrap();
    for (pixel, output, input) in [(0, 0, 1), (1, 0, 0), (3, 2, 1), (2, 3, 3)] {
        let expected = ((number * 131) as f32 + of_graph(input, output, pixel) as f32 * 0.37).sin();
        assert_eq!(value((pixel * 8 + output) * 8 + input), expected);
    }
}

#[test]
fn detectors_that_do_not_fit() {
    let message = |bytes: Vec<u8>| detector(bytes).map(|_| ()).unwrap_err().to_string();
    let network = Network { small: true, fused: true };
    assert!(message(pp_ocr(network)).contains("is not a transposed convolution"));
    let graph = detector_graph(true);
    let nodes = |from: &[u8], to: &[u8]| -> Vec<u8> {
        let bytes = onnx(&graph);
        let at = bytes.windows(from.len()).position(|found| found == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    // Nodes without inputs.
    for (kind, fused) in
        [("Upsample", true), ("Resize", false), ("ConvTranspose", true), ("Concat", true)]
    {
        let mut graph = detector_graph(fused);
        let is_kind = |field: &[u8]| field.windows(kind.len()).any(|part| part == kind.as_bytes());
        for field in graph.iter_mut().filter(|field| is_kind(field)) {
            // The name of the output: field 2, a letter and digits.
            let at = field.windows(3).position(|w| (w[0], w[2]) == (0x12, b'v')).unwrap();
            let output = field[at + 2..][..usize::from(field[at + 1])].to_vec();
            let output = String::from_utf8(output).unwrap();
            *field = operation(kind, &[], &[&output], &[attribute_text("mode", "nearest")]);
        }
        let message = message(onnx(&graph));
        assert!(message.contains("none of those that are known"), "{kind}: {message}");
    }
    for (from, to, part) in [
        ("ConvTranspose", "ConvTransposX", "a transposed convolution"),
        ("Concat", "ConcaX", "a pooled and a convolved branch"),
        ("Upsample", "UpsamplX", "with the coarser one added"),
        ("HardSigmoid", "HardSigmoiX", "a squeeze-excite"),
        ("GlobalAveragePool", "GlobalAveragePooX", "a squeeze-excite"),
    ] {
        let message = message(nodes(from.as_bytes(), to.as_bytes()));
        assert!(message.contains(part), "{from}: {message}");
    }
}
