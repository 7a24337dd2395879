//! Which instruction set runs: the only file that asks the CPU. (What is written for one
//! instruction set, in `simd/avx2.rs` and `resample/avx2.rs`, relies on the answer.)

use super::simd::{Portable, Simd};

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm,
}

impl Isa {
    /// The best one that this CPU has. (The standard library asks the CPU once and remembers.)
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Isa::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Isa::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Isa::Neon;
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return Isa::Wasm;
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        Isa::Portable
    }

    /// Every one that this CPU has: tests hold them all against the portable one.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                all.push(Isa::Avx512);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        if Isa::best() != Isa::Portable {
            all.push(Isa::best());
        }
        all
    }

    /// Columns of a packed panel: what the matrix kernel computes at once.
    pub(super) fn panel_width(self) -> usize {
        match self {
            Isa::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 32,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => 16,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Wasm => 8,
        }
    }
}

/// A kernel: a computation written over any instruction set.
pub(super) trait Kernel {
    type Output;

    /// Runs with vectors of `S`, in panels of `NV` vectors and tiles of up to `MR` rows.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`. Must be `#[inline(always)]`.
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) -> Self::Output;
}

/// Runs a kernel with an instruction set, which the CPU must have: it comes from [`Isa::best`] or
/// [`Isa::all`].
#[inline]
pub(super) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        // SAFETY: every CPU has plain arithmetic.
        Isa::Portable => unsafe { kernel.run::<Portable, 4, 1>() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is only made after the CPU was asked for it.
        Isa::Avx2 => unsafe { avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(kernel) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::Neon => unsafe { neon(kernel) },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        // SAFETY: the whole program is compiled for it.
        Isa::Wasm => unsafe { kernel.run::<super::simd::Wasm, 4, 2>() },
    }
}

/// 16 vector registers: a tile of 6 x 2 leaves 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller made sure of the CPU.
    unsafe { kernel.run::<super::simd::Avx2, 6, 2>() }
}

/// 32 vector registers: a tile of 8 x 2 leaves 16, and keeps both multipliers busy.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller made sure of the CPU.
    unsafe { kernel.run::<super::simd::Avx512, 8, 2>() }
}

/// 32 vector registers: a tile of 6 x 4 leaves 8.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller made sure of the CPU.
    unsafe { kernel.run::<super::simd::Neon, 6, 4>() }
}
