//! Quantised files of a small network, each of whose parameters is stored in a way of its own.

use std::sync::OnceLock;

use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig, parameter_shapes};

use crate::Bytes;
use crate::crafted::safetensors;

/// The tensors of a file.
#[derive(Default)]
struct Tensors {
    header: String,
    data: Vec<u8>,
}

impl Tensors {
    fn push(&mut self, name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) {
        let start = self.data.len();
        self.data.extend(bytes);
        let end = self.data.len();
        self.header += &format!(
            r#","{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    }

    fn push_f32(&mut self, name: &str, shape: &[usize], value: f32) {
        let count = shape.iter().product();
        self.push(name, "F32", shape, &value.to_le_bytes().repeat(count));
    }
}

/// A file; of no input a good one, in int8 without smoothing scales.
pub fn file(input: &mut Bytes) -> Vec<u8> {
    static SHAPES: OnceLock<Vec<(String, Vec<usize>)>> = OnceLock::new();
    // Convolutions of four channels a group are the smallest in int8.
    let stage = |dim, heads, local, global| StageConfig {
        mlp_dim: 4,
        ..StageConfig::new(dim, heads, local, global)
    };
    let encoder = SvtrConfig::new([stage(8, 2, 1, 0), stage(4, 1, 0, 1), stage(4, 1, 0, 1)]);
    let frm = FrmConfig { heads: 1, mlp_dim: 4 };
    let config = Config { num_classes: 3, max_ratio: 4, ..Config::svtr(encoder, frm) };
    let shapes = SHAPES.get_or_init(|| parameter_shapes(&config).expect("a valid configuration"));
    let version = [3, 1, 2, 4][usize::from(input.byte() / 64)];
    let precision = ["\"int8\"", "null"][usize::from(input.byte() / 128)];
    let (mut tensors, mut quantized) = (Tensors::default(), Vec::new());
    let mut twelve_bit_inputs = Vec::new();
    for (name, shape) in shapes {
        let kind = input.byte();
        match (shape.as_slice(), kind) {
            (_, 216..) => other_parts(&mut tensors, &mut quantized, name, shape, kind, input),
            (_, 192..) => tensors.push_f32(name, shape, input.f32()),
            ([rows, channels, ..], _) => {
                let count: usize = shape.iter().product();
                tensors.push(name, "I8", shape, &vec![1 + input.byte() / 2; count]);
                let scale = 0.01 + f32::from(input.byte());
                tensors.push_f32(&format!("{name}.scales"), &[*rows], scale);
                if kind >= 96 {
                    let groups = 1 + usize::from(kind) % 3;
                    let factor = 0.5 + f32::from(input.byte());
                    let factors = format!("{name}.input_factors");
                    tensors.push_f32(&factors, &[groups * channels], factor);
                }
                if kind % 2 == 1 {
                    twelve_bit_inputs.push(format!(r#""{name}""#));
                }
                quantized.push(format!(r#""{name}":{shape:?}"#));
            }
            _ => tensors.push_f32(name, shape, 0.1),
        }
    }
    let config = serde_json::to_string(&config).expect("a configuration");
    if input.byte() == 255 {
        twelve_bit_inputs.push("\"none\"".to_owned());
    }
    let (shapes, twelve_bit_inputs) = (quantized.join(","), twelve_bit_inputs.join(","));
    let metadata = format!(
        r#"{{"config":{config},"charset":["a","b"],"precision":{precision},"quantized":{{"version":{version},"shapes":{{{shapes}}},"twelve_bit_inputs":[{twelve_bit_inputs}]}}}}"#
    );
    let metadata = serde_json::Value::from(metadata);
    let header = format!(r#"{{"__metadata__":{{"svtrv2":{metadata}}}{}}}"#, tensors.header);
    safetensors(&header, &tensors.data)
}

/// Any parts of a quantised parameter, of any length.
fn other_parts(
    tensors: &mut Tensors,
    quantized: &mut Vec<String>,
    name: &str,
    shape: &[usize],
    kind: u8,
    input: &mut Bytes,
) {
    let parts = input.byte();
    let mut shape = shape.to_vec();
    if kind >= 236 {
        let axis = input.below(shape.len());
        shape[axis] = input.usize();
    }
    quantized.push(format!(r#""{name}":{shape:?}"#));
    for (bit, suffix) in ["", ".rans", ".scales", ".input_factors"].iter().enumerate() {
        if parts >> bit & 1 == 0 {
            continue;
        }
        let name = format!("{name}{suffix}");
        match (bit, input.byte()) {
            (0, 16..) => {
                let count = shape.iter().fold(1, |count: usize, size| count.saturating_mul(*size));
                tensors.push(&name, "I8", &shape, &vec![input.byte(); count.min(4096)]);
            }
            (1, 16..) => {
                let bytes = input.take(64);
                tensors.push(&name, "U8", &[bytes.len()], bytes);
            }
            _ => tensors.push_f32(&name, &[input.below(64)], input.f32()),
        }
    }
}
