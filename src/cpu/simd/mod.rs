//! Vectors of f32 for every instruction set: the kernels are written once over [`Simd`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Portable;

/// The operations of an instruction set on vectors of f32.
///
/// # Safety
/// Every function may only be called on a CPU with the instruction set, from code compiled for it
/// (everything here is inlined into the functions of `dispatch.rs`). `load` and `store` access
/// [`LANES`](Simd::LANES) elements from the pointer, which need not be aligned.
pub(super) trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Elements of a vector.
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(v: Self::V, to: *mut f32);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Adds the lowest 9 bits of `n`, as an integer, to the exponent of `a`.
    unsafe fn add_exponent(a: Self::V, n: Self::V) -> Self::V;

    /// The sum of the elements, always in the same order: halves added to halves.
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        // SAFETY: the caller's contract.
        unsafe { fold::<Self>(v, |a, b| a + b) }
    }

    /// The largest element.
    #[inline(always)]
    unsafe fn largest(v: Self::V) -> f32 {
        // SAFETY: the caller's contract.
        unsafe { fold::<Self>(v, f32::max) }
    }

    /// Adds `MR` rows of `len` elements times a panel `[len][NV * LANES]` to the sums: the inner
    /// loop of every matrix product.
    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        sums: &mut [[Self::V; NV]; MR],
        rows: &[*const f32; MR],
        panel: *const f32,
        len: usize,
    ) {
        // SAFETY: the caller gives rows of `len` elements and `len` rows of the panel.
        unsafe { multiply_add_rows::<Self, MR, NV>(sums, rows, panel, len) }
    }

    /// Asks for a cache line to be brought near, where the instruction set can.
    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}
}

/// The elements, halves joined with halves.
#[inline(always)]
unsafe fn fold<S: Simd>(v: S::V, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    // SAFETY: no instruction set here has more than 16 lanes.
    unsafe { S::store(v, lanes.as_mut_ptr()) };
    let mut count = S::LANES;
    while count > 1 {
        count /= 2;
        for lane in 0..count {
            lanes[lane] = join(lanes[lane], lanes[lane + count]);
        }
    }
    lanes[0]
}

/// [`Simd::multiply_add_rows`] with the operations of the trait.
#[inline(always)]
unsafe fn multiply_add_rows<S: Simd, const MR: usize, const NV: usize>(
    sums: &mut [[S::V; NV]; MR],
    rows: &[*const f32; MR],
    panel: *const f32,
    len: usize,
) {
    // SAFETY: the caller gives rows of `len` elements and `len` rows of the panel.
    unsafe {
        for k in 0..len {
            let mut columns = [S::splat(0.0); NV];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = S::load(panel.add((k * NV + v) * S::LANES));
            }
            for row in 0..MR {
                let x = S::splat(*rows[row].add(k));
                for v in 0..NV {
                    sums[row][v] = S::mul_add(x, columns[v], sums[row][v]);
                }
            }
        }
    }
}
