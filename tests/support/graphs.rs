//! Small ONNX graphs of the networks that are told by their structure: PP-OCRv6's recognisers and detectors,
//! with a few channels, as two exporters would write them.

#![allow(dead_code, reason = "each test file uses a part")]

use super::crafted::{field, initializer, number, onnx};

/// A network to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The branched stem and the LightSVTR neck of the small network rather than those of the tiny one.
    pub small: bool,
    /// One operation a layer, as new exporters write them, rather than additions of biases and GELU, swish,
    /// layer norm and scores spelled out, with copies between.
    pub fused: bool,
}

/// Channels behind the stem.
const DIM: u64 = 8;
/// Channels of the small network's neck: eight heads of two.
const NECK: u64 = 16;
/// The blank and four symbols.
pub const CLASSES: u64 = 5;

/// The whole file, its charset with a space behind the lines.
pub fn pp_ocr(network: Network) -> Vec<u8> {
    let dictionary = "a\nb\nc";
    [onnx(&pp_ocr_graph(network)), metadata("character", dictionary)].concat()
}

/// An entry of a model's metadata.
pub fn metadata(key: &str, value: &str) -> Vec<u8> {
    field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
}

/// The fields of the graph.
pub fn pp_ocr_graph(network: Network) -> Vec<Vec<u8>> {
    let mut graph = Writer::new(network, [2, 1]);
    graph.fields.push(field(11, &field(1, b"x")));
    let mut x = graph.stem("x".to_owned());
    for (from, to, squeeze) in
        [(DIM, DIM, true), (DIM, DIM, false), (DIM, 12, false), (12, 16, false), (16, 16, true)]
    {
        x = graph.block(x, from, to, squeeze);
    }
    let pool = [attribute_ints("kernel_shape", &[3, 2]), attribute_ints("strides", &[3, 2])];
    x = graph.operation("AveragePool", &[&x], &pool);
    let (x, dim) = if network.small { graph.light_svtr(x) } else { graph.local_neck(x) };
    let x = graph.linear(x, dim, CLASSES);
    let x = graph.operation("Softmax", &[&x], &[attribute_int("axis", 2)]);
    graph.fields.push(field(12, &field(1, x.as_bytes())));
    graph.fields
}

/// Channels of a detector's pyramid, and of what its levels bring to the head.
const PYRAMID: u64 = 32;
const SMOOTHED: u64 = 8;

/// The graph of a small detector; both exporters write the stem of the small network.
pub fn detector_graph(fused: bool) -> Vec<Vec<u8>> {
    let mut graph = Writer::new(Network { small: true, fused }, [2, 2]);
    graph.fields.push(field(11, &field(1, b"x")));
    let mut x = graph.stem("x".to_owned());
    let mut features = Vec::new();
    let mut channels = DIM;
    for (to, squeeze) in [(DIM, true), (12, false), (16, false), (16, true), (20, false)] {
        if to != channels {
            features.push((x.clone(), channels));
        }
        x = graph.block(x, channels, to, squeeze);
        channels = to;
    }
    features.push((x, channels));
    let laterals: Vec<String> =
        features.iter().map(|(x, dim)| graph.weighed(x, *dim, PYRAMID)).collect();
    let mut sums: Vec<String> = Vec::new();
    for lateral in laterals.into_iter().rev() {
        let sum = match sums.last().cloned() {
            None => lateral,
            Some(above) => {
                let repeated = graph.repeated(&above, 2);
                graph.operation("Add", &[&lateral, &repeated], &[])
            }
        };
        sums.push(sum);
    }
    let mut maps = Vec::new();
    for (sum, factor) in sums.iter().zip([8u8, 4, 2, 1]) {
        let pads = attribute_ints("pads", &[1; 4]);
        let smoothed = graph.conv(sum, [PYRAMID, 1, 3, 3], PYRAMID, [1, 1], pads);
        let map = graph.weighed(&smoothed, PYRAMID, SMOOTHED);
        maps.push(if factor == 1 { map } else { graph.repeated(&map, factor) });
    }
    let maps: Vec<&str> = maps.iter().map(String::as_str).collect();
    let x = graph.operation("Concat", &maps, &[attribute_int("axis", 1)]);
    let x =
        graph.conv(&x, [SMOOTHED, 4 * SMOOTHED, 3, 3], 1, [1, 1], attribute_ints("pads", &[1; 4]));
    let x = graph.relu(&x);
    let x = graph.transposed(&x, SMOOTHED, SMOOTHED);
    let x = graph.relu(&x);
    let x = graph.transposed(&x, SMOOTHED, 1);
    let x = graph.operation("Sigmoid", &[&x], &[]);
    graph.fields.push(field(12, &field(1, x.as_bytes())));
    graph.fields
}

struct Writer {
    network: Network,
    /// Strides of blocks that change the channels.
    halving: [i64; 2],
    fields: Vec<Vec<u8>>,
    values: usize,
    weights: usize,
}

impl Writer {
    fn new(network: Network, halving: [i64; 2]) -> Self {
        Writer { network, halving, fields: Vec::new(), values: 0, weights: 0 }
    }

    /// A 1x1 convolution without bias, its channels weighed, with a residual.
    fn weighed(&mut self, x: &str, from: u64, to: u64) -> String {
        let weights = self.values(to, from, false);
        let weight = self.constant(&[to, from, 1, 1], &weights);
        let attributes = [attribute_ints("kernel_shape", &[1, 1]), attribute_ints("pads", &[0; 4])];
        let x = self.operation("Conv", &[x, &weight], &attributes);
        let mean = self.operation("GlobalAveragePool", &[&x], &[]);
        let hidden = self.pointwise(&mean, to, to / 4);
        let hidden = self.relu(&hidden);
        let gate = self.pointwise(&hidden, to / 4, to);
        let gate = self.operation("HardSigmoid", &[&gate], &[attribute_float("alpha", 0.2)]);
        let product = self.operation("Mul", &[&x, &gate], &[]);
        self.operation("Add", &[&x, &product], &[])
    }

    /// Every position repeated to `factor` x `factor`.
    fn repeated(&mut self, x: &str, factor: u8) -> String {
        let scales = self.constant(&[4], &[1.0, 1.0, f32::from(factor), f32::from(factor)]);
        if self.network.fused {
            let attributes = [attribute_text("mode", "nearest")];
            return self.operation("Upsample", &[x, &scales], &attributes);
        }
        let empty = self.constant(&[0], &[]);
        let attributes = [
            attribute_text("mode", "nearest"),
            attribute_text("coordinate_transformation_mode", "asymmetric"),
            attribute_text("nearest_mode", "floor"),
        ];
        self.operation("Resize", &[x, &empty, &scales], &attributes)
    }

    /// A transposed convolution of 2x2 with a stride of 2.
    fn transposed(&mut self, x: &str, from: u64, to: u64) -> String {
        let weights = self.values(from, 4 * to, false);
        let weight = self.constant(&[from, to, 2, 2], &weights);
        let attributes =
            [attribute_ints("kernel_shape", &[2, 2]), attribute_ints("strides", &[2, 2])];
        if self.network.fused {
            let bias = self.vector(to, &[to]);
            return self.operation("ConvTranspose", &[x, &weight, &bias], &attributes);
        }
        let bias = self.vector(to, &[1, to, 1, 1]);
        let product = self.operation("ConvTranspose", &[x, &weight], &attributes);
        self.operation("Add", &[&product, &bias], &[])
    }

    /// Adds a node and gives the name of its first output.
    fn operation(&mut self, kind: &str, inputs: &[&str], attributes: &[Vec<u8>]) -> String {
        self.values += 1;
        let output = format!("v{}", self.values);
        self.fields.push(operation(kind, inputs, &[&output], attributes));
        if self.network.fused {
            return output;
        }
        // A copy, as Paddle's exporter leaves them.
        self.values += 1;
        let copy = format!("v{}", self.values);
        self.fields.push(operation("Identity", &[&output], &[&copy], &[]));
        copy
    }

    /// A constant tensor; parameters are numbered, so that both spellings have the same.
    fn constant(&mut self, shape: &[u64], values: &[f32]) -> String {
        self.values += 1;
        let name = format!("c{}", self.values);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.fields.push(initializer(&name, shape, &bytes));
        name
    }

    fn scalar(&mut self, value: f32) -> String {
        self.constant(&[], &[value])
    }

    fn integer(&mut self, value: i64) -> String {
        self.values += 1;
        let name = format!("c{}", self.values);
        let tensor =
            [number(1, 1), number(2, 7), field(8, name.as_bytes()), field(9, &value.to_le_bytes())];
        self.fields.push(field(5, &tensor.concat()));
        name
    }

    /// Values of a parameter of its own; `transposed` if they stand column by column.
    fn values(&mut self, rows: u64, columns: u64, transposed: bool) -> Vec<f32> {
        self.weights += 1;
        let value = |row: u64, column: u64| {
            ((self.weights * 131) as f32 + (row * columns + column) as f32 * 0.37).sin()
        };
        match transposed {
            true => (0..columns).flat_map(|c| (0..rows).map(move |r| value(r, c))).collect(),
            false => (0..rows).flat_map(|r| (0..columns).map(move |c| value(r, c))).collect(),
        }
    }

    fn vector(&mut self, size: u64, shape: &[u64]) -> String {
        let values = self.values(1, size, false);
        self.constant(shape, &values)
    }

    /// A convolution with its bias.
    fn conv(
        &mut self,
        x: &str,
        shape: [u64; 4],
        groups: u64,
        strides: [i64; 2],
        padding: Vec<u8>,
    ) -> String {
        let weights = self.values(shape[0], shape[1] * shape[2] * shape[3], false);
        let weight = self.constant(&shape, &weights);
        let attributes = [
            attribute_ints("kernel_shape", &[shape[2] as i64, shape[3] as i64]),
            attribute_ints("strides", &strides),
            attribute_int("group", groups as i64),
            padding,
        ];
        if self.network.fused {
            let bias = self.vector(shape[0], &[shape[0]]);
            return self.operation("Conv", &[x, &weight, &bias], &attributes);
        }
        let bias = self.vector(shape[0], &[1, shape[0], 1, 1]);
        let conv = self.operation("Conv", &[x, &weight], &attributes);
        self.operation("Add", &[&conv, &bias], &[])
    }

    fn pointwise(&mut self, x: &str, from: u64, to: u64) -> String {
        self.conv(x, [to, from, 1, 1], 1, [1, 1], attribute_ints("pads", &[0; 4]))
    }

    fn relu(&mut self, x: &str) -> String {
        self.operation("Relu", &[x], &[])
    }

    fn gelu(&mut self, x: &str) -> String {
        if self.network.fused {
            return self.operation("Gelu", &[x], &[]);
        }
        let (root, one, half) =
            (self.scalar(std::f32::consts::SQRT_2), self.scalar(1.0), self.scalar(0.5));
        let scaled = self.operation("Div", &[x, &root], &[]);
        let erf = self.operation("Erf", &[&scaled], &[]);
        let sum = self.operation("Add", &[&erf, &one], &[]);
        let product = self.operation("Mul", &[x, &sum], &[]);
        self.operation("Mul", &[&product, &half], &[])
    }

    fn swish(&mut self, x: &str) -> String {
        let gate = self.operation("Sigmoid", &[x], &[]);
        self.operation("Mul", &[x, &gate], &[])
    }

    fn hard_sigmoid(&mut self, x: &str) -> String {
        self.operation("HardSigmoid", &[x], &[attribute_float("alpha", 1.0 / 6.0)])
    }

    fn hard_swish(&mut self, x: &str) -> String {
        if self.network.fused {
            return self.operation("HardSwish", &[x], &[]);
        }
        let gate = self.hard_sigmoid(x);
        self.operation("Mul", &[&gate, x], &[])
    }

    fn linear(&mut self, x: String, from: u64, to: u64) -> String {
        let weights = self.values(to, from, true);
        let weight = self.constant(&[from, to], &weights);
        let bias = self.vector(to, &[to]);
        if self.network.fused {
            return self.operation("Gemm", &[&x, &weight, &bias], &[]);
        }
        let product = self.operation("MatMul", &[&x, &weight], &[]);
        self.operation("Add", &[&product, &bias], &[])
    }

    fn layer_norm(&mut self, x: &str, dim: u64, epsilon: f32) -> String {
        let (scale, bias) = (self.vector(dim, &[dim]), self.vector(dim, &[dim]));
        if self.network.fused {
            let epsilon = attribute_float("epsilon", epsilon);
            return self.operation("LayerNormalization", &[x, &scale, &bias], &[epsilon]);
        }
        let (two, epsilon) = (self.scalar(2.0), self.scalar(epsilon));
        let axes = [attribute_ints("axes", &[-1])];
        let mean = self.operation("ReduceMean", &[x], &axes);
        let distance = self.operation("Sub", &[x, &mean], &[]);
        let square = self.operation("Pow", &[&distance, &two], &[]);
        let variance = self.operation("ReduceMean", &[&square], &axes);
        let sum = self.operation("Add", &[&variance, &epsilon], &[]);
        let deviation = self.operation("Sqrt", &[&sum], &[]);
        let quotient = self.operation("Div", &[&distance, &deviation], &[]);
        let product = self.operation("Mul", &[&quotient, &scale], &[]);
        self.operation("Add", &[&product, &bias], &[])
    }

    fn stem(&mut self, x: String) -> String {
        let half = DIM / 2;
        let padded = || attribute_ints("pads", &[1; 4]);
        let first = self.conv(&x, [half, 3, 3, 3], 1, [2, 2], padded());
        if !self.network.small {
            let x = self.gelu(&first);
            return self.conv(&x, [DIM, half, 3, 3], 1, [2, 2], padded());
        }
        let same = || attribute_text("auto_pad", "SAME_UPPER");
        let x = self.relu(&first);
        let y = self.conv(&x, [half / 2, half, 2, 2], 1, [1, 1], same());
        let y = self.relu(&y);
        let y = self.conv(&y, [half, half / 2, 2, 2], 1, [1, 1], same());
        let y = self.relu(&y);
        let pool = [attribute_ints("kernel_shape", &[2, 2]), same()];
        let pooled = self.operation("MaxPool", &[&x], &pool);
        let x = self.operation("Concat", &[&pooled, &y], &[attribute_int("axis", 1)]);
        let x = self.conv(&x, [half, DIM, 3, 3], 1, [2, 2], padded());
        let x = self.relu(&x);
        let x = self.pointwise(&x, half, DIM);
        self.relu(&x)
    }

    fn block(&mut self, x: String, from: u64, to: u64, squeeze: bool) -> String {
        let strides = if from == to { [1, 1] } else { self.halving };
        let pads = attribute_ints("pads", &[1; 4]);
        let mut x = self.conv(&x, [from, 1, 3, 3], from, strides, pads);
        if squeeze {
            let mean = match self.network.fused {
                true => self.operation("GlobalAveragePool", &[&x], &[]),
                false => self.operation("ReduceMean", &[&x], &[attribute_ints("axes", &[2, 3])]),
            };
            let hidden = self.pointwise(&mean, from, from / 4);
            let hidden = self.relu(&hidden);
            let gate = self.pointwise(&hidden, from / 4, from);
            let gate = self.hard_sigmoid(&gate);
            x = self.operation("Mul", &[&x, &gate], &[]);
        }
        let y = self.pointwise(&x, from, 2 * from);
        let y = self.gelu(&y);
        let y = self.pointwise(&y, 2 * from, to);
        match from == to {
            true => self.operation("Add", &[&x, &y], &[]),
            false => y,
        }
    }

    fn light_svtr(&mut self, features: String) -> (String, u64) {
        let skip = self.pointwise(&features, 16, NECK);
        let skip = self.swish(&skip);
        let z = self.pointwise(&features, 16, NECK);
        let z = self.swish(&z);
        let pads = attribute_ints("pads", &[0, 3, 0, 3]);
        let mixed = self.conv(&z, [NECK, 1, 1, 7], NECK, [1, 1], pads);
        let mixed = self.swish(&mixed);
        let mut z = self.operation("Add", &[&z, &mixed], &[]);
        for _ in 0..2 {
            let normed = self.layer_norm(&z, NECK, 1e-5);
            let parts = self.linear(normed, NECK, 3 * NECK);
            let mixed = self.attention(&parts);
            let mixed = self.linear(mixed, NECK, NECK);
            z = self.operation("Add", &[&z, &mixed], &[]);
            let normed = self.layer_norm(&z, NECK, 1e-5);
            let hidden = self.linear(normed, NECK, 2 * NECK);
            let hidden = self.swish(&hidden);
            let hidden = self.linear(hidden, 2 * NECK, NECK);
            z = self.operation("Add", &[&z, &hidden], &[]);
        }
        let z = self.layer_norm(&z, NECK, 1e-6);
        (self.operation("Add", &[&z, &skip], &[]), NECK)
    }

    fn attention(&mut self, parts: &str) -> String {
        let scale = self.scalar(0.5f32.sqrt());
        let parts: Vec<String> = match self.network.fused {
            true => {
                let names: Vec<String> = (0..3).map(|i| format!("{parts}_{i}")).collect();
                let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
                self.fields.push(operation("Split", &[parts], &outputs, &[]));
                names
            }
            false => (0..3)
                .map(|i| {
                    let (start, end) = (self.integer(i), self.integer(i + 1));
                    self.operation("Slice", &[parts, &start, &end], &[])
                })
                .collect(),
        };
        let keys = self.operation("Transpose", &[&parts[1]], &[]);
        let scores = match self.network.fused {
            true => {
                let scores = self.operation("MatMul", &[&parts[0], &keys], &[]);
                self.operation("Mul", &[&scores, &scale], &[])
            }
            false => {
                let zero = self.scalar(0.0);
                let queries = self.operation("Mul", &[&parts[0], &scale], &[]);
                let queries = self.operation("Add", &[&queries, &zero], &[]);
                self.operation("MatMul", &[&queries, &keys], &[])
            }
        };
        let weights = self.operation("Softmax", &[&scores], &[]);
        let mixed = self.operation("MatMul", &[&weights, &parts[2]], &[]);
        self.operation("Transpose", &[&mixed], &[])
    }

    fn local_neck(&mut self, x: String) -> (String, u64) {
        let pads = attribute_ints("pads", &[0, 2, 0, 2]);
        let x = self.conv(&x, [16, 1, 1, 5], 16, [1, 1], pads);
        let x = self.hard_swish(&x);
        let x = self.pointwise(&x, 16, 16);
        let x = self.hard_swish(&x);
        (self.linear(x, 16, 6), 6)
    }
}

/// A node with its outputs and attributes, as a field of a graph.
pub fn operation(kind: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
    let outputs: Vec<u8> = outputs.iter().flat_map(|output| field(2, output.as_bytes())).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| field(5, attribute)).collect();
    field(1, &[inputs, outputs, field(4, kind.as_bytes()), attributes].concat())
}

/// An attribute that is a list of integers.
pub fn attribute_ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|&value| number(8, value as u64)).collect();
    [field(1, name.as_bytes()), values, number(20, 7)].concat()
}

/// An attribute that is an integer.
pub fn attribute_int(name: &str, value: i64) -> Vec<u8> {
    [field(1, name.as_bytes()), number(3, value as u64), number(20, 2)].concat()
}

/// An attribute that is a number.
pub fn attribute_float(name: &str, value: f32) -> Vec<u8> {
    // Field 2, of four bytes.
    let value = [&[2 << 3 | 5][..], &value.to_le_bytes()].concat();
    [field(1, name.as_bytes()), value, number(20, 1)].concat()
}

/// An attribute that is a text.
pub fn attribute_text(name: &str, value: &str) -> Vec<u8> {
    [field(1, name.as_bytes()), field(4, value.as_bytes()), number(20, 3)].concat()
}
