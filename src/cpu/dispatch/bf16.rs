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
    pub(in crate::cpu) fn fast() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Isa::best() == Isa(Kind::Avx512) && is_x86_feature_detected!("avx512bf16") {
            return Some(Bf16Isa(Bf16Kind::Avx512));
        }
        None
    }

    /// Every one that this CPU has, from the portable one on.
    #[cfg(test)]
    pub(in crate::cpu) fn all() -> Vec<Self> {
        [Bf16Isa(Bf16Kind::Portable)].into_iter().chain(Self::fast()).collect()
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
        // SAFETY: `Bf16Isa::fast` made this value after it had found all of them.
        Bf16Kind::Avx512 => unsafe { avx512_bf16(kernel) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16,avx2,fma")]
fn avx512_bf16<K: Bf16Kernel>(kernel: K) -> K::Output {
    kernel.run::<_, _, 8, 2>(Avx512::new(), Avx512Bf16::new())
}
