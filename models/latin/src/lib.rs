#![doc = include_str!("../README.md")]
#![no_std]

/// The weights file: safetensors as `svtrv2::weights::Weights::from_bytes` reads it.
pub static WEIGHTS: &[u8] = include_bytes!("../latin.safetensors");

/// The language model of words, names and numbers of 38 languages in Latin script: a compact n-gram model, as
/// `svtrv2::language_model::CompactNgram::from_bytes` reads it.
pub static NGRAM: &[u8] = include_bytes!("../latin.ngram");
