//! Which instruction set runs: the only file that asks the CPU. (What is written for one
//! instruction set, in `simd/avx2.rs` and `resample/avx2.rs`, relies on the answer.)

use super::simd::{Portable, Simd};

/// Rows and vectors of a tile in plain arithmetic: its sums fill half of 16 registers of four
/// numbers, or three quarters of the 32 that 64-bit ARM has.
const PORTABLE_TILE: (usize, usize) = if cfg!(target_arch = "aarch64") { (6, 2) } else { (4, 1) };

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best one that this CPU has. (The standard library asks the CPU once and remembers.)
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                return Isa::Avx512;
            }
            if avx2 {
                return Isa::Avx2;
            }
        }
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
        all
    }

    /// Columns of a packed panel: what the matrix kernel computes at once.
    pub(super) fn panel_width(self) -> usize {
        match self {
            Isa::Portable => PORTABLE_TILE.1 * Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 32,
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
        Isa::Portable => unsafe {
            kernel.run::<Portable, { PORTABLE_TILE.0 }, { PORTABLE_TILE.1 }>()
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is only made after the CPU was asked for it.
        Isa::Avx2 => unsafe { avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(kernel) },
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
