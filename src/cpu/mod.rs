//! The operations of the network on a CPU, in f32, and the only place with unsafe code.
//!
//! Each operation is a safe function over slices. It is written once over the vectors of
//! [`simd`]; [`dispatch`] picks the instruction set. With plain arithmetic as the instruction set
//! the same code is its own portable version; the tests hold every instruction set of the machine
//! against definitions in f64.
//!
//! Work is spread over the current rayon pool in tasks that do not depend on the number of
//! threads, and no sum crosses tasks: results are the same to the bit with any number.

#![allow(unsafe_code)]

mod attention;
#[cfg(feature = "train")]
pub(crate) mod backward;
mod buffer;
mod conv;
mod dispatch;
mod elementwise;
mod file_map;
mod fold;
mod gemm;
mod layer_norm;
mod linear;
#[cfg(feature = "lmdb")]
mod lmdb;
mod math;
#[cfg(feature = "train")]
mod memory;
mod parallel;
mod resample;
mod simd;
mod vertical_attention;

pub(crate) use attention::{MAP_REACH, attention, attention_with_map};
pub(crate) use conv::{PackedConv, conv, output_grid};
pub(crate) use elementwise::{add, channels_first, channels_last, scale};
#[cfg(feature = "train")]
pub(crate) use elementwise::{add_scaled_samples, scale_samples};
pub(crate) use file_map::FileMap;
pub(crate) use fold::fold_vertical_attention;
pub(crate) use gemm::{Epilogue, PackedMatrix};
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::{linear, mlp, pack_linear};
#[cfg(feature = "lmdb")]
pub(crate) use lmdb::{create_lmdb, open_lmdb};
#[cfg(feature = "train")]
pub(crate) use memory::keep_freed_memory;
pub(crate) use resample::{Filter, PRECISION_BITS, resample};
pub(crate) use vertical_attention::vertical_attention;
