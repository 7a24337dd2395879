//! Plain Rust: the oracle of the other instruction sets, and what any CPU can run.
//!
//! Where vectors belong to the target's baseline (NEON on 64-bit ARM, SSE2 on x86-64, `simd128` where
//! WebAssembly is built with it), compilers make them of these arrays.

use super::Simd;

/// Eight lanes of plain arithmetic.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Portable;

const LANES: usize = 8;

impl Portable {
    /// Whether the target multiplies and adds in one instruction; otherwise `f32::mul_add` is a call
    /// into libm.
    pub(in crate::cpu) const FUSED: bool =
        cfg!(any(target_arch = "aarch64", target_feature = "fma"));
}

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], op: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| op(a[i], b[i]))
}

// SAFETY: vectors are arrays of LANES = 8 elements, read and written as such.
unsafe impl Simd for Portable {
    type V = [f32; LANES];

    lanes!(LANES);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> Self::V {
        // SAFETY: the caller gives LANES readable elements; an array of f32 is aligned as an f32.
        unsafe { from.cast::<Self::V>().read() }
    }

    #[inline(always)]
    unsafe fn store_to(self, v: Self::V, to: *mut f32) {
        // SAFETY: the caller gives LANES writable elements; an array of f32 is aligned as an f32.
        unsafe { to.cast::<Self::V>().write(v) };
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        if Portable::FUSED {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, f32::max)
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, f32::min)
    }

    #[inline(always)]
    fn float(self, v: Self::V) -> Self::V {
        v.map(|x| x.to_bits() as i32 as f32)
    }

    #[inline(always)]
    fn integer_sub_mul(self, a: Self::V, b: i32, c: Self::V) -> Self::V {
        zip(a, c, |a, c| {
            let product = b.wrapping_mul(c.to_bits() as i32);
            f32::from_bits((a.to_bits() as i32).wrapping_sub(product) as u32)
        })
    }

    #[inline(always)]
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let both = |start: usize| {
            std::array::from_fn(|i| if i % 2 == 0 { a[start + i / 2] } else { b[start + i / 2] })
        };
        (both(0), both(LANES / 2))
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::V, n: Self::V) -> Self::V {
        zip(a, n, |a, n| f32::from_bits(a.to_bits().wrapping_add(n.to_bits() << 23)))
    }
}
