//! safetensors files, exact and quantised: raw bytes, or a header with the right length before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2_fuzz::crafted::safetensors;
use svtrv2_fuzz::{Bytes, open_weights};

fuzz_target!(|bytes: &[u8]| {
    if bytes.get(8) == Some(&b'{') {
        return open_weights(bytes.to_vec());
    }
    let mut input = Bytes(bytes);
    let data = vec![input.byte(); input.usize() % 4096];
    let header = String::from_utf8_lossy(input.0);
    open_weights(safetensors(&header, &data));
});
