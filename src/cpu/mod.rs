//! The operations of the network on a CPU, in f32 and int8, and the place with unsafe code.
//!
//! Every operation is a safe function over slices: values and packed parameters in, a `Vec` out.
//! Nothing here knows the rest of the crate, but for the clock. From the bottom to the top:
//!
//! 1. [`dispatch`] asks the CPU which instruction set it has. An `Isa` is the proof; `dispatch`
//!    runs a kernel in a function that is compiled for it.
//! 2. [`simd`] has the vectors of an instruction set: kernels are written once over the trait `Simd`
//!    and contain no intrinsics. With plain arithmetic as the instruction set the same code is its
//!    own portable version. [`math`] and [`softmax`] are functions of vectors.
//! 3. [`threads`] says which thread computes what: jobs, and the tasks of operations. [`parts`] divides
//!    memory among tasks, so that each writes to its own, and [`tile`] divides matrices into rectangles. [`buffer`] has the
//!    memory: aligned, reused by a thread, uninitialised where an operation writes it in full.
//! 4. [`gemm`] is the matrix product that most operations are made of: rows that lie anywhere
//!    (`Rows`) times a packed matrix (`PackedMatrix`), with what follows fused in (`Epilogue`).
//! 5. The operations: [`linear`] layers and the [`mod@mlp`], [`mod@conv`], [`depthwise`] convolutions, [`pool`],
//!    [`mod@squeeze_excite`], [`mod@attention`], [`mod@layer_norm`], [`mod@vertical_attention`]; [`mod@resample`]
//!    scales images.
//! 6. `backward` has the operations' gradients (feature `train`).
//!
//! # Results
//! No sum crosses tasks: results are the same to the bit with any number of threads. They are also the
//! same with every instruction set that has fused multiply-add (AVX2, AVX-512, NEON): an element of a matrix
//! product is summed in the order of `k`, sums over rows are in sixteen parts whatever a vector's width, and
//! exponentials are our own.
//! Without it products are rounded before they are added. The tests hold every instruction set of
//! the machine against definitions in f64.
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
mod concat;
mod conv;
mod depthwise;
mod dispatch;
mod elementwise;
mod exponentials;
mod fold;
mod gemm;
mod layer_norm;
mod linear;
mod math;
mod mlp;
mod parts;
mod pool;
mod resample;
mod rounding;
mod simd;
mod softmax;
mod squeeze_excite;
mod threads;
mod tile;
mod upsample;
mod vertical_attention;

pub(crate) use attention::{MAP_REACH, attention, attention_with_map};
pub(crate) use concat::concat_channels;
#[cfg(feature = "train")]
pub(crate) use concat::split_channels;
pub(crate) use conv::{ConvShape, INT8_CHANNELS, Int8Conv, PackedConv, Padding, conv, conv_int8};
pub(crate) use depthwise::{DepthwiseConv, depthwise_conv};
pub(crate) use elementwise::{add, add_probabilities, channels_first, channels_last, scale};
#[cfg(feature = "train")]
pub(crate) use elementwise::{add_scaled_samples, scale_samples};
pub(crate) use exponentials::{largest, normalize, sum_of_exponentials};
pub(crate) use fold::fold_vertical_attention;
pub(crate) use gemm::{Activation, Epilogue, PackedMatrix};
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::{Int8Linear, linear, linear_int8, pack_linear};
pub(crate) use mlp::{mlp, mlp_int8};
pub(crate) use pool::{average_pool, max_pool};
pub(crate) use resample::{Filter, PRECISION_BITS, resample};
pub(crate) use rounding::{ActivationBits, Int8Input, MAX_LEVEL, weight_levels};
#[cfg(feature = "train")]
pub(crate) use rounding::{rounded_input, rounded_weight};
pub(crate) use squeeze_excite::{Gate, SqueezeExcite, squeeze_excite};
pub(crate) use threads::{in_pool, map_jobs};
pub(crate) use upsample::{add_upsampled, concat_upsampled};
pub(crate) use vertical_attention::vertical_attention;

#[cfg(test)]
mod tests {
    use super::attention::attention_with_map_for;
    use super::dispatch::Isa;
    use super::layer_norm::layer_norm_for;
    use super::linear::pack_linear_for;
    use super::linear::tests::noise;
    use super::vertical_attention::vertical_attention_for;
    use super::*;

    /// One operation after the other, on sizes that are no multiple of any vector.
    fn operations(isa: Isa) -> Vec<f32> {
        let (height, width, dim, heads) = (3, 15, 44, 2);
        let tokens = height * width;
        let linear_layer = |seed: u32, in_dim: usize, out_dim: usize| {
            let weight = noise(seed, in_dim * out_dim);
            pack_linear_for(isa, &weight, out_dim, Some(&noise(seed + 1, out_dim)))
        };
        let norm = |x: &[f32]| layer_norm_for(isa, x, &noise(1, dim), &noise(2, dim), 1e-5);

        let x = noise(3, 2 * tokens * dim);
        let qkv = linear(&norm(&x), &linear_layer(4, dim, 3 * dim), Epilogue::Store);
        let mixed = attention_with_map_for(isa, &qkv, tokens, heads, dim, width);
        let (mixed, map) = mixed.split_at(x.len());
        let hidden = linear(&norm(mixed), &linear_layer(6, dim, 300), Activation::Gelu.into());
        let x = linear(&hidden, &linear_layer(8, 300, dim), Epilogue::Add(&x));
        let (weight, bias) = (noise(10, 20 * dim / 2 * 9), noise(11, 20));
        let layer = PackedConv::new_for(isa, &weight, &bias, dim, 2, ConvShape::new_3x3((1, 1)));
        let convolved = conv(&norm(&x), height, width, &layer, Activation::Gelu.into());
        let pooled = vertical_attention_for(isa, &convolved, &noise(12, 20), height, width);
        [&pooled, map].concat()
    }

    /// FNV-1a of what [`operations`] gives.
    const CHECKSUM: u64 = 0x5db4_7c85_d207_24b4;

    #[test]
    fn instruction_sets_agree_to_the_bit() {
        for isa in Isa::fused() {
            let checksum = operations(isa)
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                    (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
                });
            assert_eq!(checksum, CHECKSUM, "{isa:?}: {checksum:#x}");
        }
    }

    #[test]
    fn portable_rounding_is_close() {
        let (portable, best) = (operations(Isa::PORTABLE), operations(Isa::best()));
        let largest = best.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.1);
        for (portable, best) in portable.iter().zip(&best) {
            assert!((portable - best).abs() < 1e-4 * largest, "{portable} instead of {best}");
        }
    }

    /// The f32 product of rounded operands is the product of int8.
    #[cfg(feature = "train")]
    #[test]
    fn rounded_operands_are_those_of_int8() {
        for in_dim in [52, 600] {
            rounded_operands(in_dim);
        }
    }

    #[cfg(feature = "train")]
    fn rounded_operands(in_dim: usize) {
        let (rows, out_dim) = (9, 12);
        let mut x = noise(1, rows * in_dim);
        x[..in_dim].fill(0.0);
        x[in_dim..2 * in_dim].iter_mut().for_each(|x| *x = x.abs() + 0.5);
        let weight = noise(2, out_dim * in_dim);
        let (levels, scales) = weight_levels(&weight, out_dim);
        let int8 = Int8Linear::new(&levels, &scales, None, Int8Input::default());
        let expected = linear_int8(&x, &int8, Epilogue::Store);
        let rounded = pack_linear(&rounded_weight(&weight, out_dim), out_dim, None);
        let found = linear(
            &rounded_input(&x, in_dim, Int8Linear::scale_group(in_dim)),
            &rounded,
            Epilogue::Store,
        );
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 2e-5, "{found} instead of {expected}");
        }
    }
}
