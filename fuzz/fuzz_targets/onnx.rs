//! ONNX files: raw bytes, messages of nodes and initialisers, or a known graph with parts changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2_fuzz::crafted::{field, initializer, node, number, onnx};
use svtrv2_fuzz::graphs::{Network, detector_graph, pp_ocr_graph};
use svtrv2_fuzz::{Bytes, open_weights};

const NAMES: [&str; 6] = [
    "/encoder/pope/patch_embed/patch_embed.0/conv/Conv",
    "/encoder/stages.0/blocks.0/mlp/fc1/MatMul",
    "/decoder/fc/MatMul",
    "encoder.stages.0.blocks.0.norm1.weight",
    "w",
    "",
];

/// A graph that its structure tells, with parts removed, repeated, exchanged or overwritten.
fn changed(mut input: Bytes) -> Vec<Vec<u8>> {
    let flags = input.byte();
    let network = Network { small: flags & 1 == 0, fused: flags & 2 == 0 };
    let mut graph = match flags & 4 {
        0 => pp_ocr_graph(network),
        _ => detector_graph(network.fused),
    };
    for _ in 0..20 {
        if input.is_empty() || graph.is_empty() {
            break;
        }
        let kind = input.byte();
        let (at, other) = (input.usize() % graph.len(), input.usize() % graph.len());
        match kind % 4 {
            0 => drop(graph.remove(at)),
            1 => graph.insert(at, graph[other].clone()),
            2 => graph.swap(at, other),
            _ => {
                let place = other % graph[at].len().max(1);
                if let Some(byte) = graph[at].get_mut(place) {
                    *byte = input.byte();
                }
            }
        }
    }
    graph
}

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"\x08") {
        return open_weights(bytes.to_vec());
    }
    if bytes.starts_with(b"g") {
        return open_weights(onnx(&changed(Bytes(&bytes[1..]))));
    }
    let mut input = Bytes(bytes);
    let mut graph = Vec::new();
    while !input.is_empty() && graph.len() < 500 {
        let kind = input.byte();
        let name = match NAMES.get(input.below(NAMES.len() + 1)) {
            Some(name) => (*name).to_owned(),
            None => input.text(40),
        };
        graph.push(match kind {
            0..96 => {
                let rank = input.below(10);
                let dims: Vec<u64> = (0..rank).map(|_| input.usize() as u64).collect();
                let data = vec![input.byte(); input.usize() % 1024];
                initializer(&name, &dims, &data)
            }
            96..192 => {
                let operation = ["MatMul", "Conv", "Add"][input.below(3)];
                let inputs: Vec<&str> =
                    (0..input.below(5)).map(|_| NAMES[input.below(NAMES.len())]).collect();
                node(&name, operation, &inputs)
            }
            192..224 => {
                field(5, &[number(2, u64::from(input.byte())), field(4, input.take(64))].concat())
            }
            _ => field(u64::from(input.byte()), input.take(64)),
        });
    }
    open_weights(onnx(&graph));
});
