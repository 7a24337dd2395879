//! Which instruction set runs: the only folder that asks the CPU.
//!
//! [`Isa`] is the proof that the CPU has an instruction set: values of it are made here alone, after
//! detection. [`dispatch`] enters a function that is compiled for the instruction set and hands the
//! kernel its operations, a value of a type that implements [`Simd`]. [`Int8Isa`] and [`Bf16Isa`] do the
//! same for kernels that multiply int8 and bf16.

#[cfg(feature = "train")]
mod bf16;
mod int8;

#[cfg(feature = "train")]
pub(super) use bf16::{Bf16Isa, Bf16Kernel, dispatch_bf16};
pub(super) use int8::{Int8Isa, Int8Kernel, dispatch_int8};

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use super::simd::Neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::simd::Wasm;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};

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
