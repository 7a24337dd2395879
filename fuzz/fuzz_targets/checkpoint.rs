//! Training checkpoints: raw bytes, or a good one with changed metadata and tensors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2_fuzz::checkpoints;

fuzz_target!(|bytes: &[u8]| {
    checkpoints::open(bytes);
});
