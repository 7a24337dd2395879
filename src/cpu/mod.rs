//! The operations of the network on a CPU, in f32, and the only place with unsafe code.
//!
//! Every operation is a safe function over slices: values and packed parameters in, a `Vec` out.
//! Nothing here knows the rest of the crate. From the bottom to the top:
//!
//! 1. [`dispatch`] asks the CPU which instruction set it has. An `Isa` is the proof; `dispatch`
//!    runs a kernel in a function that is compiled for it.
//! 2. [`simd`] has the vectors of an instruction set: kernels are written once over the trait `Simd`
//!    and contain no intrinsics. With plain arithmetic as the instruction set the same code is its
//!    own portable version. [`math`] and [`softmax`] are functions of vectors.
//! 3. [`parallel`] spreads tasks over the current rayon pool; [`parts`] divides an output among
//!    tasks, so that each writes to memory of its own. [`buffer`] has the memory: aligned, reused
//!    by a thread, uninitialised where an operation writes it in full.
//! 4. [`gemm`] is the matrix product that most operations are made of: rows that lie anywhere
//!    (`Rows`) times a packed matrix (`PackedMatrix`), with what follows fused in (`Epilogue`).
//! 5. The operations: [`linear`] layers and the MLP, [`conv`], [`attention`], [`layer_norm`],
//!    [`vertical_attention`]; [`resample`] scales images.
//! 6. `backward` has the operations' gradients (feature `train`).
//!
//! Beside them, system calls: [`file_map`] maps weights, [`mod@clock`] measures time, `memory` tunes
//! the allocator.
//!
//! # Results
//! Tasks do not depend on the number of threads, and no sum crosses tasks: results are the same to
//! the bit with any number. Instruction sets differ in rounding. The tests hold every instruction
//! set of the machine against definitions in f64.
//!
//! # Unsafe code
//! What can be wrong only together is checked where it meets: `Gemm` compares its operands and its
//! output before it forms a pointer, so that the operations need no unsafe code for it. Three
//! promises remain to them and are stated at each call: `filled` wants every element written, an
//! implementation of `Rows` points to readable elements, and one of `Parts` gives parts that do not
//! overlap.

#![allow(unsafe_code)]

mod attention;
#[cfg(feature = "train")]
pub(crate) mod backward;
mod buffer;
mod clock;
mod conv;
mod dispatch;
mod elementwise;
mod file_map;
mod fold;
mod gemm;
mod layer_norm;
mod linear;
mod math;
#[cfg(feature = "train")]
mod memory;
mod parallel;
mod parts;
mod resample;
mod rounding;
mod simd;
mod softmax;
mod vertical_attention;

pub(crate) use attention::{MAP_REACH, attention, attention_with_map};
pub(crate) use clock::clock;
pub(crate) use conv::{INT8_CHANNELS, Int8Conv, PackedConv, TAPS, conv, conv_int8, output_grid};
pub(crate) use elementwise::{add, channels_first, channels_last, scale};
#[cfg(feature = "train")]
pub(crate) use elementwise::{add_scaled_samples, scale_samples};
pub(crate) use file_map::FileMap;
pub(crate) use fold::fold_vertical_attention;
pub(crate) use gemm::{Epilogue, PackedMatrix};
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::{Int8Linear, linear, linear_int8, mlp, mlp_int8, pack_linear};
#[cfg(feature = "train")]
pub(crate) use memory::keep_freed_memory;
pub(crate) use resample::{Filter, PRECISION_BITS, resample};
pub(crate) use rounding::{MOST_LEVEL, weight_levels};
#[cfg(feature = "train")]
pub(crate) use rounding::{rounded_input, rounded_weight};
pub(crate) use vertical_attention::vertical_attention;
