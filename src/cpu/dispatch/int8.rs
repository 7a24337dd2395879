//! Which instruction set multiplies int8.

use super::super::rounding::ActivationBits;
#[cfg(target_arch = "x86_64")]
use super::super::simd::{
    Avx2, Avx2Bytes, Avx2Int8, Avx512, Avx512Vnni, Avx512VnniHalves, AvxVnni,
};
use super::super::simd::{Int8Product, PlainInt8, Portable, Simd, Words};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use super::super::simd::{Neon, NeonDot, NeonInt8};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::super::simd::{Wasm, WasmInt8};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use super::NEON_TILE;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::WASM_TILE;
use super::{Isa, Kind, PORTABLE_TILE};

/// An instruction set that multiplies int8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) struct Int8Isa(Int8Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Int8Kind {
    /// As [`Kind::Portable`].
    #[allow(dead_code)]
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// For weights of which few are large.
    #[cfg(target_arch = "x86_64")]
    Avx2Bytes,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512VnniHalves,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    NeonDot,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm,
}

/// What multiplies int8 on everything that the program is compiled for.
const INT8_BASELINE: Int8Isa = Int8Isa({
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    {
        Int8Kind::Neon
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        Int8Kind::Wasm
    }
    #[cfg(not(any(
        all(target_arch = "aarch64", target_feature = "neon"),
        all(target_arch = "wasm32", target_feature = "simd128")
    )))]
    {
        Int8Kind::Portable
    }
});

/// Large weights are few if at most one in so many fours is too large. Then two of five words of a panel have
/// outlier_rows, which cost about what all of them gain.
const OUTLIER_LIMIT: usize = 64;

/// How many fours of channels of two words, a pair of each, have positive weights that sum up to more than
/// `most`, or negative ones to less than `-most`.
fn saturating_quads(levels: &[i8], taps: usize, most: i32) -> usize {
    let large = |of_words: &[i8]| {
        let level = |channel: usize, tap: usize| {
            of_words.get(channel * taps + tap).map_or(0, |&level| i32::from(level))
        };
        let fours = (0..taps).flat_map(|tap| {
            [0, 2]
                .map(|pair| [pair, pair + 1, pair + 4, pair + 5].map(|channel| level(channel, tap)))
        });
        let too_large = |four: &[i32; 4]| {
            let sum = |part: fn(i32) -> i32| four.iter().map(|&level| part(level)).sum::<i32>();
            sum(|level| level.max(0)) > most || sum(|level| level.min(0)) < -most
        };
        fours.filter(too_large).count()
    };
    levels.chunks((8 * taps).max(1)).map(large).sum()
}

impl Int8Isa {
    /// The best one that this CPU has.
    pub(in crate::cpu) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if Isa::best() == Isa(Kind::Avx512)
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512bw")
            {
                return Int8Isa(Int8Kind::Avx512Vnni);
            }
            if Isa::best() != Isa(Kind::Portable) {
                let vnni = cfg!(not(svtrv2_isa = "avx2")) && is_x86_feature_detected!("avxvnni");
                return Int8Isa(if vnni { Int8Kind::AvxVnni } else { Int8Kind::Avx2 });
            }
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            return Int8Isa(Int8Kind::NeonDot);
        }
        INT8_BASELINE
    }

    /// The one that multiplies inputs of so many bits.
    pub(in crate::cpu) fn for_input(self, bits: ActivationBits) -> Self {
        match bits {
            ActivationBits::Eight => self,
            ActivationBits::Twelve => self.of_halves(),
        }
    }

    /// The best one for a layer's weights, `[.., channels, taps]`, that are multiplied with inputs of 8 bits.
    pub(in crate::cpu) fn for_weights(self, levels: &[i8], taps: usize) -> Self {
        let small = self.for_small_weights();
        match small.most_of_four() {
            Some(most)
                if saturating_quads(levels, taps, most) <= levels.len() / 4 / OUTLIER_LIMIT =>
            {
                small
            }
            _ => self,
        }
    }

    /// The best one for weights of which few are large.
    fn for_small_weights(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2 => Int8Isa(Int8Kind::Avx2Bytes),
            _ => self,
        }
    }

    /// What the positive weights of a pair of a word and the pair in the same place of the next may sum up to,
    /// and the negative ones, if that is limited ([`Avx2Bytes::MAX_OF_FOUR`]).
    pub(in crate::cpu) fn most_of_four(self) -> Option<i32> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2Bytes => Some(Avx2Bytes::MAX_OF_FOUR),
            _ => None,
        }
    }

    /// The one that multiplies pairs of i16.
    fn of_halves(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2Bytes => Int8Isa(Int8Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            Int8Kind::AvxVnni => Int8Isa(Int8Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx512Vnni => Int8Isa(Int8Kind::Avx512VnniHalves),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Int8Kind::NeonDot => Int8Isa(Int8Kind::Neon),
            _ => self,
        }
    }

    /// Every one that this CPU has, from the portable one to the best.
    #[cfg(test)]
    pub(in crate::cpu) fn all() -> Vec<Self> {
        let mut all = vec![Int8Isa(Int8Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        if Isa::best() != Isa(Kind::Portable) {
            all.extend([Int8Isa(Int8Kind::Avx2), Int8Isa(Int8Kind::Avx2Bytes)]);
            if is_x86_feature_detected!("avxvnni") {
                all.push(Int8Isa(Int8Kind::AvxVnni));
            }
        }
        for isa in [INT8_BASELINE, Int8Isa::best().of_halves(), Int8Isa::best()] {
            if !all.contains(&isa) {
                all.push(isa);
            }
        }
        all
    }

    /// Those of [`all`](Self::all) whose vectors round a product and a sum once, together.
    #[cfg(test)]
    pub(in crate::cpu) fn fused() -> Vec<Self> {
        let fused = Isa::fused();
        Self::all().into_iter().filter(|isa| fused.contains(&isa.vectors())).collect()
    }

    /// The instruction set of its vectors.
    fn vectors(self) -> Isa {
        match self.0 {
            Int8Kind::Portable => Isa(Kind::Portable),
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2 | Int8Kind::Avx2Bytes | Int8Kind::AvxVnni => Isa(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx512Vnni | Int8Kind::Avx512VnniHalves => Isa(Kind::Avx512),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Int8Kind::Neon | Int8Kind::NeonDot => Isa(Kind::Neon),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Int8Kind::Wasm => Isa(Kind::Wasm),
        }
    }

    /// Columns of a packed panel.
    pub(in crate::cpu) fn panel_width(self) -> usize {
        self.vectors().panel_width()
    }

    /// What a word of the left matrix holds.
    pub(in crate::cpu) fn words(self) -> Words {
        match self.0 {
            Int8Kind::Portable => <PlainInt8 as Int8Product<Portable>>::WORDS,
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2 => Avx2Int8::WORDS,
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2Bytes => Avx2Bytes::WORDS,
            #[cfg(target_arch = "x86_64")]
            Int8Kind::AvxVnni => AvxVnni::WORDS,
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx512Vnni => Avx512Vnni::WORDS,
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx512VnniHalves => Avx512VnniHalves::WORDS,
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Int8Kind::Neon => NeonInt8::WORDS,
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Int8Kind::NeonDot => NeonDot::WORDS,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Int8Kind::Wasm => WasmInt8::WORDS,
        }
    }
}

/// A kernel that multiplies int8, as [`Kernel`].
pub(in crate::cpu) trait Int8Kernel {
    type Output;

    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P) -> Self::Output
    where
        S: Simd,
        P: Int8Product<S>;
}

/// Runs a kernel with an instruction set.
#[inline]
pub(in crate::cpu) fn dispatch_int8<K: Int8Kernel>(isa: Int8Isa, kernel: K) -> K::Output {
    match isa.0 {
        Int8Kind::Portable => {
            kernel.run::<_, _, { PORTABLE_TILE.0 }, { PORTABLE_TILE.1 }>(Portable, PlainInt8)
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Int8Isa` makes this value after it has found AVX2 and FMA.
        Int8Kind::Avx2 => unsafe { avx2_int8(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Int8Kind::Avx2Bytes => unsafe { avx2_bytes(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Int8Isa` makes this value after it has found AVX2, FMA and AVX-VNNI.
        Int8Kind::AvxVnni => unsafe { avx_vnni(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Int8Isa` makes this value after it has found all of them.
        Int8Kind::Avx512Vnni => unsafe { avx512_vnni(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Int8Kind::Avx512VnniHalves => unsafe { avx512_vnni_halves(kernel) },
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Int8Kind::Neon => kernel.run::<_, _, { NEON_TILE.0 }, { NEON_TILE.1 }>(Neon, NeonInt8),
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        // SAFETY: `Int8Isa` makes this value after it has found the dot products.
        Int8Kind::NeonDot => unsafe { neon_dot(kernel) },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Int8Kind::Wasm => kernel.run::<_, _, { WASM_TILE.0 }, { WASM_TILE.1 }>(Wasm, WasmInt8),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2_int8<K: Int8Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 6, 2>(Avx2::new(), Avx2Int8::new())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2_bytes<K: Int8Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 6, 2>(Avx2::new(), Avx2Bytes::new())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
fn avx_vnni<K: Int8Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 6, 2>(Avx2::new(), AvxVnni::new())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni,avx2,fma")]
fn avx512_vnni<K: Int8Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 8, 2>(Avx512::new(), Avx512Vnni::new())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
fn avx512_vnni_halves<K: Int8Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 8, 2>(Avx512::new(), Avx512VnniHalves::new())
}

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[target_feature(enable = "neon,dotprod")]
fn neon_dot<K: Int8Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, { NEON_TILE.0 }, { NEON_TILE.1 }>(Neon, NeonDot::new())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const AVX2: Int8Isa = Int8Isa(Int8Kind::Avx2);

    #[test]
    fn fours_are_of_channels_of_two_words() {
        // Two taps of eight channels.
        let mut levels = [0; 16];
        (levels[0], levels[2], levels[8], levels[10]) = (100, -127, 20, 9);
        (levels[7], levels[15], levels[5]) = (-64, -65, 100);
        assert_eq!(saturating_quads(&levels, 2, 128), 2);
        assert_eq!(saturating_quads(&levels, 2, 129), 0);
        // The second pair of eight channels, and a last one.
        assert_eq!(saturating_quads(&[0, 0, 60, 1, 0, 0, 0, 70, 127, 2], 1, 128), 2);
        assert_eq!(saturating_quads(&[], 1, 128), 0);
    }

    #[test]
    fn bytes_where_few_fours_are_large() {
        let mut levels = vec![-32i8; 8 * OUTLIER_LIMIT];
        assert_eq!(AVX2.for_weights(&levels, 1), Int8Isa(Int8Kind::Avx2Bytes));
        levels[..4].fill(33);
        levels[4..8].fill(32);
        assert_eq!(AVX2.for_weights(&levels, 1), Int8Isa(Int8Kind::Avx2Bytes));
        levels[8..16].fill(33);
        assert_eq!(AVX2.for_weights(&levels, 1), AVX2);
        let vnni = Int8Isa(Int8Kind::Avx512Vnni);
        assert_eq!(vnni.for_weights(&levels, 1), vnni);
    }
}
