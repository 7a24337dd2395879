//! Which instruction set runs: the only file that asks the CPU.
//!
//! [`Isa`] is the proof that the CPU has an instruction set: values of it are made here alone, after
//! detection. [`dispatch`] enters a function that is compiled for the instruction set and hands the
//! kernel its operations, a value of a type that implements [`Simd`].

use super::rounding::InputBits;
#[cfg(all(feature = "train", target_arch = "x86_64"))]
use super::simd::Avx512Bf16;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use super::simd::Neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd::Wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd::WasmInt8;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2Int8, Avx512Vnni, Avx512VnniHalves, AvxVnni};
#[cfg(feature = "train")]
use super::simd::{Bf16Product, PlainBf16};
use super::simd::{Int8Product, PlainInt8, Portable, Simd, Words};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use super::simd::{NeonDot, NeonInt8};

/// Rows and vectors of a tile with portable vectors: its sums fill half of 16 registers of four
/// elements.
const PORTABLE_TILE: (usize, usize) = (4, 1);
/// 32 vector registers: the sums fill 16, eight elements of a row each 8 more, which leaves 8 for
/// the panel.
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
const NEON_TILE: (usize, usize) = (8, 2);
/// Engines have 15 registers on x86-64; with more sums they spill.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
const WASM_TILE: (usize, usize) = (4, 2);

/// An instruction set that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Where vectors belong to the baseline, the tests alone take it.
    #[allow(dead_code)]
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm,
}

/// What the whole program is compiled for.
const BASELINE: Isa = Isa({
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    {
        Kind::Neon
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        Kind::Wasm
    }
    #[cfg(not(any(
        all(target_arch = "aarch64", target_feature = "neon"),
        all(target_arch = "wasm32", target_feature = "simd128")
    )))]
    {
        Kind::Portable
    }
});

impl Isa {
    /// Plain arithmetic, which every CPU has.
    #[cfg(test)]
    pub(super) const PORTABLE: Self = Isa(Kind::Portable);

    /// The best one that this CPU has. (The standard library asks the CPU once and remembers.)
    ///
    /// A build with `--cfg svtrv2_isa="avx2"` or `"portable"` takes none above it: for tests and
    /// timings of what other CPUs run.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = cfg!(not(svtrv2_isa = "portable"))
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma");
            if avx2 && cfg!(not(svtrv2_isa = "avx2")) && is_x86_feature_detected!("avx512f") {
                return Isa(Kind::Avx512);
            }
            if avx2 {
                return Isa(Kind::Avx2);
            }
        }
        BASELINE
    }

    /// Every one that this CPU has, from the portable one to the best.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            // Whoever has AVX-512 has AVX2: `best` asks for both.
            if Isa::best() == Isa(Kind::Avx512) {
                all.push(Isa(Kind::Avx2));
            }
        }
        if !all.contains(&Isa::best()) {
            all.push(Isa::best());
        }
        all
    }

    /// Those of [`all`](Self::all) that round a product and a sum once, together.
    #[cfg(test)]
    pub(super) fn fused() -> Vec<Self> {
        let rounds_twice = |isa: &Isa| match isa.0 {
            Kind::Portable => !Portable::FUSED,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Wasm => true,
            #[allow(unreachable_patterns, reason = "where there is no other instruction set")]
            _ => false,
        };
        Self::all().into_iter().filter(|isa| !rounds_twice(isa)).collect()
    }

    /// Whether it is plain arithmetic.
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    pub(super) fn is_portable(self) -> bool {
        self.0 == Kind::Portable
    }

    /// Whether the CPU has AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn has_avx2(self) -> bool {
        match self.0 {
            Kind::Portable => false,
            Kind::Avx2 | Kind::Avx512 => true,
        }
    }

    /// Columns of a packed panel: what the matrix kernel computes at once.
    pub(super) fn panel_width(self) -> usize {
        match self.0 {
            Kind::Portable => PORTABLE_TILE.1 * Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 2 * Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 2 * Avx512::LANES,
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Kind::Neon => NEON_TILE.1 * Neon::LANES,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Kind::Wasm => WASM_TILE.1 * Wasm::LANES,
        }
    }
}

/// A kernel: a computation written over any instruction set.
pub(super) trait Kernel {
    type Output;

    /// Runs with the operations `simd`, in panels of `NV` vectors and tiles of up to `MR` rows.
    ///
    /// Implementations are `#[inline(always)]`, as is every function over [`Simd`]: only so are
    /// they compiled for the instruction set (otherwise they are correct, but slow).
    fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with an instruction set.
#[inline]
pub(super) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.0 {
        Kind::Portable => kernel.run::<_, { PORTABLE_TILE.0 }, { PORTABLE_TILE.1 }>(Portable),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::best` made this value after it had found AVX2 and FMA.
        Kind::Avx2 => unsafe { avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa::best` made this value after it had found AVX2, FMA and AVX-512F.
        Kind::Avx512 => unsafe { avx512(kernel) },
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Kind::Neon => kernel.run::<_, { NEON_TILE.0 }, { NEON_TILE.1 }>(Neon),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Kind::Wasm => kernel.run::<_, { WASM_TILE.0 }, { WASM_TILE.1 }>(Wasm),
    }
}

/// 16 vector registers: a tile of 6 x 2 leaves 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, 6, 2>(Avx2::new())
}

/// 32 vector registers: a tile of 8 x 2 leaves 16, and keeps both multipliers busy.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, 8, 2>(Avx512::new())
}

/// An instruction set that multiplies int8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Int8Isa(Int8Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Int8Kind {
    /// As [`Kind::Portable`].
    #[allow(dead_code)]
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
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

impl Int8Isa {
    /// The best one that this CPU has.
    pub(super) fn best() -> Self {
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
    pub(super) fn for_input(self, bits: InputBits) -> Self {
        match bits {
            InputBits::Eight => self,
            InputBits::Twelve => self.of_halves(),
        }
    }

    /// The one that multiplies pairs of i16.
    fn of_halves(self) -> Self {
        match self.0 {
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
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Int8Isa(Int8Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        if Isa::best() != Isa(Kind::Portable) {
            all.push(Int8Isa(Int8Kind::Avx2));
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
    pub(super) fn fused() -> Vec<Self> {
        let fused = Isa::fused();
        Self::all().into_iter().filter(|isa| fused.contains(&isa.vectors())).collect()
    }

    /// The instruction set of its vectors.
    fn vectors(self) -> Isa {
        match self.0 {
            Int8Kind::Portable => Isa(Kind::Portable),
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2 | Int8Kind::AvxVnni => Isa(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx512Vnni | Int8Kind::Avx512VnniHalves => Isa(Kind::Avx512),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Int8Kind::Neon | Int8Kind::NeonDot => Isa(Kind::Neon),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Int8Kind::Wasm => Isa(Kind::Wasm),
        }
    }

    /// Columns of a packed panel.
    pub(super) fn panel_width(self) -> usize {
        self.vectors().panel_width()
    }

    /// What a word of the left matrix holds.
    pub(super) fn words(self) -> Words {
        match self.0 {
            Int8Kind::Portable => <PlainInt8 as Int8Product<Portable>>::WORDS,
            #[cfg(target_arch = "x86_64")]
            Int8Kind::Avx2 => Avx2Int8::WORDS,
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
pub(super) trait Int8Kernel {
    type Output;

    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P) -> Self::Output
    where
        S: Simd,
        P: Int8Product<S>;
}

/// Runs a kernel with an instruction set.
#[inline]
pub(super) fn dispatch_int8<K: Int8Kernel>(isa: Int8Isa, kernel: K) -> K::Output {
    match isa.0 {
        Int8Kind::Portable => {
            kernel.run::<_, _, { PORTABLE_TILE.0 }, { PORTABLE_TILE.1 }>(Portable, PlainInt8)
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Int8Isa` makes this value after it has found AVX2 and FMA.
        Int8Kind::Avx2 => unsafe { avx2_int8(kernel) },
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

/// An instruction set that multiplies bf16.
#[cfg(feature = "train")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bf16Isa(Bf16Kind);

#[cfg(feature = "train")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bf16Kind {
    #[cfg_attr(not(test), allow(dead_code, reason = "the oracle of the others"))]
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

#[cfg(feature = "train")]
impl Bf16Isa {
    /// The one that is faster than f32, if this CPU has one.
    pub(super) fn fast() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Isa::best() == Isa(Kind::Avx512) && is_x86_feature_detected!("avx512bf16") {
            return Some(Bf16Isa(Bf16Kind::Avx512));
        }
        None
    }

    /// Every one that this CPU has, from the portable one on.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        [Bf16Isa(Bf16Kind::Portable)].into_iter().chain(Self::fast()).collect()
    }

    /// Columns of a packed panel.
    pub(super) fn panel_width(self) -> usize {
        match self.0 {
            Bf16Kind::Portable => Isa(Kind::Portable).panel_width(),
            #[cfg(target_arch = "x86_64")]
            Bf16Kind::Avx512 => Isa(Kind::Avx512).panel_width(),
        }
    }
}

/// A kernel that multiplies bf16, as [`Kernel`].
#[cfg(feature = "train")]
pub(super) trait Bf16Kernel {
    type Output;

    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P) -> Self::Output
    where
        S: Simd,
        P: Bf16Product<S>;
}

/// Runs a kernel with an instruction set.
#[cfg(feature = "train")]
#[inline]
pub(super) fn dispatch_bf16<K: Bf16Kernel>(isa: Bf16Isa, kernel: K) -> K::Output {
    match isa.0 {
        Bf16Kind::Portable => {
            kernel.run::<_, _, { PORTABLE_TILE.0 }, { PORTABLE_TILE.1 }>(Portable, PlainBf16)
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Bf16Isa::fast` made this value after it had found all of them.
        Bf16Kind::Avx512 => unsafe { avx512_bf16(kernel) },
    }
}

#[cfg(all(feature = "train", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
fn avx512_bf16<K: Bf16Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 8, 2>(Avx512::new(), Avx512Bf16::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Widths;

    impl Kernel for Widths {
        type Output = usize;

        #[inline(always)]
        fn run<S: Simd, const MR: usize, const NV: usize>(self, _: S) -> usize {
            NV * S::LANES
        }
    }

    #[test]
    fn panels_are_as_wide_as_the_kernel_expects() {
        for isa in Isa::all() {
            assert_eq!(isa.panel_width(), dispatch(isa, Widths), "{isa:?}");
        }
    }
}
