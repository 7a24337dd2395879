#![doc = include_str!("../README.md")]
#![no_std]

/// The weights file: safetensors as `svtrv2::weights::Weights::from_bytes` reads it.
pub static WEIGHTS: &[u8] = include_bytes!("../latin.safetensors");
