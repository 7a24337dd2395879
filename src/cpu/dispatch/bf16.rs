//! Which instruction set multiplies bf16.

#[cfg(target_arch = "x86_64")]
use super::super::simd::{Avx512, Avx512Bf16};
use super::super::simd::{Bf16Product, PlainBf16, Portable, Simd};
use super::{Isa, Kind, PORTABLE_TILE};

/// An instruction set that multiplies bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) struct Bf16Isa(Bf16Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bf16Kind {
    #[cfg_attr(not(test), allow(dead_code, reason = "the oracle of the others"))]
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Bf16Isa {
    /// The one that is faster than f32, if this CPU has one.
    ///
    /// Intel's CPUs have the instruction, but it takes four times as long as one of f32 for twice as many products
    /// (Emerald Rapids: 1.3 and 5.5 billion a second). AMD's alone have SSE4a.
    pub(in crate::cpu) fn fast() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("sse4a") {
            return Self::avx512();
        }
        None
    }

    #[cfg(target_arch = "x86_64")]
    fn avx512() -> Option<Self> {
        let has = Isa::best() == Isa(Kind::Avx512) && is_x86_feature_detected!("avx512bf16");
        has.then_some(Bf16Isa(Bf16Kind::Avx512))
    }

    /// Every one that this CPU has, fast or not, from the portable one on.
    #[cfg(test)]
    pub(in crate::cpu) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let more = Self::avx512();
        #[cfg(not(target_arch = "x86_64"))]
        let more = None;
        [Bf16Isa(Bf16Kind::Portable)].into_iter().chain(more).collect()
    }

    /// Columns of a packed panel.
    pub(in crate::cpu) fn panel_width(self) -> usize {
        match self.0 {
            Bf16Kind::Portable => Isa(Kind::Portable).panel_width(),
            #[cfg(target_arch = "x86_64")]
            Bf16Kind::Avx512 => Isa(Kind::Avx512).panel_width(),
        }
    }
}

/// A kernel that multiplies bf16, as [`Kernel`].
pub(in crate::cpu) trait Bf16Kernel {
    type Output;

    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P) -> Self::Output
    where
        S: Simd,
        P: Bf16Product<S>;
}

/// Runs a kernel with an instruction set.
#[inline]
pub(in crate::cpu) fn dispatch_bf16<K: Bf16Kernel>(isa: Bf16Isa, kernel: K) -> K::Output {
    match isa.0 {
        Bf16Kind::Portable => {
            kernel.run::<_, _, { PORTABLE_TILE.0 }, { PORTABLE_TILE.1 }>(Portable, PlainBf16)
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Bf16Isa::avx512` made this value after it had found all of them.
        Bf16Kind::Avx512 => unsafe { avx512_bf16(kernel) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
fn avx512_bf16<K: Bf16Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 8, 2>(Avx512::new(), Avx512Bf16::new())
}
