//! safetensors files, exact and quantised: raw bytes, a header with the right length before it, or a
//! quantised network of which each parameter is stored in a way of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2_fuzz::crafted::safetensors;
use svtrv2_fuzz::{Bytes, open_weights, quantized};

fuzz_target!(|bytes: &[u8]| {
    if bytes.get(8) == Some(&b'{') {
        return open_weights(bytes.to_vec());
    }
    if let [1, rest @ ..] = bytes {
        return open_weights(quantized::file(&mut Bytes(rest)));
    }
    let mut input = Bytes(bytes);
    let data = vec![input.byte(); input.usize() % 4096];
    let header = String::from_utf8_lossy(input.0);
    open_weights(safetensors(&header, &data));
});
