//! Vectors of f32 for every instruction set: the kernels are written once over [`Simd`].

/// What [`Simd`] has of arrays of as many elements as a vector has.
macro_rules! lanes {
    ($lanes:expr) => {
        type Lanes = [f32; $lanes];
        type UninitLanes = [std::mem::MaybeUninit<f32>; $lanes];
        const LANES: usize = $lanes;

        #[inline(always)]
        fn split(values: &[f32]) -> (&[Self::Lanes], &[f32]) {
            values.as_chunks()
        }

        #[inline(always)]
        fn split_mut(values: &mut [f32]) -> (&mut [Self::Lanes], &mut [f32]) {
            values.as_chunks_mut()
        }

        #[inline(always)]
        fn split_uninit(
            values: &mut [std::mem::MaybeUninit<f32>],
        ) -> (&mut [Self::UninitLanes], &mut [std::mem::MaybeUninit<f32>]) {
            values.as_chunks_mut()
        }
    };
}

/// Adds words of the left matrix times rows of a panel to sums: the loop of a [`Product`] whose
/// words are multiplied by one instruction or two. It has to stand inside `unsafe`: `panel` is the
/// address of `len` rows.
///
/// A macro, because of a function that takes closures compilers keep the sums in memory (measured:
/// a third of the speed).
#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
macro_rules! multiply_add_words {
    (
        $simd:ty, $sums:ident, $panel:ident, $len:expr, |$k:ident, $row:ident| $word:expr,
        $load:expr, $splat:expr, $step:expr
    ) => {
        for $k in 0..$len {
            let columns: [_; NV] = std::array::from_fn(|v| {
                $load($panel.add(($k * NV + v) * <$simd as Simd>::LANES).cast())
            });
            for $row in 0..MR {
                let x = $splat($word as i32);
                for v in 0..NV {
                    $sums[$row][v] = $step($sums[$row][v], x, columns[v]);
                }
            }
        }
    };
}

/// [`Product::multiply_add_rows`] by [`multiply_add_words`], on a CPU that the product proves.
#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
macro_rules! multiply_add_rows {
    ($simd:ty, $load:expr, $splat:expr, $step:expr) => {
        #[inline(always)]
        unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
            self,
            _: $simd,
            sums: &mut [[<$simd as Simd>::V; NV]; MR],
            rows: &[*const u32; MR],
            panel: *const Self::Right,
            len: usize,
        ) {
            // SAFETY: proven; what is read lies below `len`.
            unsafe {
                multiply_add_words!(
                    $simd,
                    sums,
                    panel,
                    len,
                    |k, row| *rows[row].add(k),
                    $load,
                    $splat,
                    $step
                );
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[macro_use]
mod assembly;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(feature = "train")]
mod bf16;
mod int8;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
mod portable;
mod product;
mod reductions;
mod transpose;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

use std::mem::MaybeUninit;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
#[cfg(all(feature = "train", target_arch = "x86_64"))]
pub(super) use bf16::Avx512Bf16;
#[cfg(feature = "train")]
pub(super) use bf16::{Bf16Product, PlainBf16, word as bf16_word};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use int8::WasmInt8;
#[cfg(target_arch = "x86_64")]
pub(super) use int8::{Avx2Bytes, Avx2Int8, Avx512Vnni, Avx512VnniHalves, AvxVnni};
pub(super) use int8::{InputRange, Int8Product, MAX_NUMBERS, PlainInt8, Words};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub(super) use int8::{NeonDot, NeonInt8};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub(super) use neon::Neon;
pub(super) use portable::Portable;
#[cfg(feature = "train")]
pub(super) use product::RowProduct;
pub(super) use product::{F32, Product};
pub(super) use reductions::{largest_of, sum_by};
pub(super) use transpose::transposed;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use wasm::Wasm;

/// The most lanes that an instruction set has.
pub(super) const MAX_LANES: usize = 16;

/// The operations of an instruction set on vectors of f32.
///
/// A value of the type is the proof that the CPU has the instruction set: it can only be made in
/// code that is compiled for it. So the operations are safe; only those through raw pointers ask
/// for a promise. All of them are inlined into the functions of `dispatch`.
///
/// # Safety
/// `LANES` is 4, 8 or 16; [`load_from`](Simd::load_from) and
/// [`store_to`](Simd::store_to) access as many elements and no more; [`Lanes`](Simd::Lanes) and
/// [`UninitLanes`](Simd::UninitLanes) are arrays of as many. (The macro `lanes` writes these.)
pub(super) unsafe trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// The elements of a vector in memory: `[f32; LANES]`.
    type Lanes: Copy;
    /// Memory for the elements of a vector: `[MaybeUninit<f32>; LANES]`.
    type UninitLanes;
    /// Elements of a vector: 4, 8 or 16.
    const LANES: usize;
    /// Whether products of f32 go in passes ([`Product::PASSES`]).
    const PASSES: bool = true;

    /// The vectors that a slice starts with, and the elements that remain.
    fn split(values: &[f32]) -> (&[Self::Lanes], &[f32]);
    /// [`split`](Simd::split) of a slice that is written to.
    fn split_mut(values: &mut [f32]) -> (&mut [Self::Lanes], &mut [f32]);
    /// [`split`](Simd::split) of uninitialised memory.
    fn split_uninit(
        values: &mut [MaybeUninit<f32>],
    ) -> (&mut [Self::UninitLanes], &mut [MaybeUninit<f32>]);

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The values of the integers (i32) that the bits of the elements are.
    fn float(self, v: Self::V) -> Self::V;
    /// `a - b * c` of integers (i32), which the bits of the elements are; sums wrap.
    fn integer_sub_mul(self, a: Self::V, b: i32, c: Self::V) -> Self::V;
    /// Adds the lowest 9 bits of `n`, as an integer, to the exponent of `a`.
    fn add_exponent(self, a: Self::V, n: Self::V) -> Self::V;

    /// The elements of both in turn, one of `a` first: the vector of the lower halves' and that of the upper ones'.
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);

    /// # Safety
    /// [`LANES`](Simd::LANES) elements behind the pointer are readable. It need not be aligned to
    /// a vector.
    unsafe fn load_from(self, from: *const f32) -> Self::V;

    /// # Safety
    /// [`LANES`](Simd::LANES) elements behind the pointer are writable. It need not be aligned to
    /// a vector.
    unsafe fn store_to(self, v: Self::V, to: *mut f32);

    #[inline(always)]
    fn load(self, from: &Self::Lanes) -> Self::V {
        // SAFETY: the array has LANES elements.
        unsafe { self.load_from(std::ptr::from_ref(from).cast()) }
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut Self::Lanes) {
        // SAFETY: the array has LANES elements.
        unsafe { self.store_to(v, std::ptr::from_mut(to).cast()) }
    }

    #[inline(always)]
    fn init(self, v: Self::V, to: &mut Self::UninitLanes) {
        // SAFETY: the array has LANES elements; writing initialises.
        unsafe { self.store_to(v, std::ptr::from_mut(to).cast()) }
    }

    /// The first elements of a slice that is shorter than a vector, and `fill` behind them.
    #[inline(always)]
    fn load_part(self, from: &[f32], fill: f32) -> Self::V {
        let mut lanes = [fill; MAX_LANES];
        lanes[..from.len()].copy_from_slice(from);
        // SAFETY: no instruction set has more lanes than the buffer.
        unsafe { self.load_from(lanes.as_ptr()) }
    }

    /// The elements of a vector, followed by zeros.
    #[inline(always)]
    fn lanes(self, v: Self::V) -> [f32; MAX_LANES] {
        let mut lanes = [0.0; MAX_LANES];
        // SAFETY: no instruction set has more lanes than the buffer.
        unsafe { self.store_to(v, lanes.as_mut_ptr()) };
        lanes
    }

    /// The sum of the elements, always in the same order: halves added to halves.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        fold(self, v, |a, b| a + b)
    }

    /// The largest element.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        fold(self, v, f32::max)
    }

    /// The largest element of either vector.
    #[inline(always)]
    fn largest_of_each(self, a: Self::V, b: Self::V) -> [f32; 2] {
        [self.largest(a), self.largest(b)]
    }

    /// Whether an element is NaN.
    #[inline(always)]
    fn has_nan(self, v: Self::V) -> bool {
        self.lanes(v).iter().any(|x| x.is_nan())
    }

    /// Adds `MR` rows of `len` elements times a panel `[len][NV * LANES]` to the sums: the inner
    /// loop of every matrix product.
    ///
    /// # Safety
    /// `len` elements behind each of `rows` and `len * NV * LANES` behind `panel` are readable.
    #[inline(always)]
    unsafe fn multiply_add_rows<const MR: usize, const NV: usize>(
        self,
        sums: &mut [[Self::V; NV]; MR],
        rows: &[*const f32; MR],
        panel: *const f32,
        len: usize,
    ) {
        // SAFETY: the contract is the same.
        unsafe { multiply_add_rows(self, sums, rows, panel, len) }
    }

    /// Asks for a cache line to be brought near, where the instruction set can. The address may be
    /// any.
    #[inline(always)]
    fn prefetch(self, _at: *const f32) {}
}

/// The elements, halves joined with halves.
#[inline(always)]
fn fold<S: Simd>(simd: S, v: S::V, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = simd.lanes(v);
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
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn multiply_add_rows<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    sums: &mut [[S::V; NV]; MR],
    rows: &[*const f32; MR],
    panel: *const f32,
    len: usize,
) {
    for k in 0..len {
        let mut columns = [simd.splat(0.0); NV];
        for (v, column) in columns.iter_mut().enumerate() {
            // SAFETY: k < len and v < NV: a vector of the panel, which the caller says is readable.
            *column = unsafe { simd.load_from(panel.add((k * NV + v) * S::LANES)) };
        }
        for row in 0..MR {
            // SAFETY: k < len: an element of the row, which the caller says is readable.
            let x = simd.splat(unsafe { *rows[row].add(k) });
            for v in 0..NV {
                sums[row][v] = simd.mul_add(x, columns[v], sums[row][v]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::{Isa, Kernel, dispatch};
    use super::super::linear::tests::noise;
    use super::*;

    /// What every operation gives for two vectors of noise, next to what plain arithmetic gives.
    struct Operations;

    impl Kernel for Operations {
        type Output = Vec<(&'static str, Vec<f32>, Vec<f32>)>;

        #[inline(always)]
        fn run<S: Simd, const MR: usize, const NV: usize>(self, simd: S) -> Self::Output {
            let (a, b) = (noise(1, S::LANES), noise(2, S::LANES));
            let n: Vec<f32> = (0..S::LANES).map(|i| f32::from_bits(i as u32 % 5)).collect();
            let load = |x: &[f32]| simd.load(&S::split(x).0[0]);
            let (x, y) = (load(&a), load(&b));
            let plain = |op: fn(f32, f32) -> f32| {
                a.iter().zip(&b).map(|(&a, &b)| op(a, b)).collect::<Vec<f32>>()
            };
            let found = |v: S::V| simd.lanes(v)[..S::LANES].to_vec();
            let power = |(a, n): (&f32, &f32)| a * (1 << n.to_bits()) as f32;
            let mut stored = vec![0.0; S::LANES + 1];
            simd.store(x, &mut S::split_mut(&mut stored).0[0]);
            let mut initialised = vec![MaybeUninit::new(0.0); S::LANES + 1];
            simd.init(x, &mut S::split_uninit(&mut initialised).0[0]);
            // SAFETY: every element has been written above.
            let initialised = initialised.iter().map(|x| unsafe { x.assume_init() }).collect();
            // With NaN in each of the lanes in turn, then in none.
            let has_nan = (0..=S::LANES)
                .map(|lane| {
                    let values: Vec<f32> =
                        (0..S::LANES).map(|i| if i == lane { f32::NAN } else { a[i] }).collect();
                    f32::from(simd.has_nan(load(&values)))
                })
                .collect();
            let with_zero = [&a[..], &[0.0]].concat();
            let part: Vec<f32> = (0..S::LANES).map(|i| if i < 3 { a[i] } else { 7.0 }).collect();
            vec![
                ("add", found(simd.add(x, y)), plain(|a, b| a + b)),
                ("sub", found(simd.sub(x, y)), plain(|a, b| a - b)),
                ("mul", found(simd.mul(x, y)), plain(|a, b| a * b)),
                ("div", found(simd.div(x, y)), plain(|a, b| a / b)),
                ("max", found(simd.max(x, y)), plain(f32::max)),
                ("min", found(simd.min(x, y)), plain(f32::min)),
                ("mul_add", found(simd.mul_add(x, y, simd.splat(0.0))), plain(|a, b| a * b)),
                (
                    "add_exponent",
                    found(simd.add_exponent(x, load(&n))),
                    a.iter().zip(&n).map(power).collect(),
                ),
                (
                    "float",
                    found(simd.float(simd.splat(f32::from_bits(-70_000i32 as u32)))),
                    vec![-70_000.0; S::LANES],
                ),
                (
                    "integer_sub_mul",
                    found(simd.float(simd.integer_sub_mul(
                        simd.splat(f32::from_bits(1000)),
                        -7,
                        simd.splat(f32::from_bits(-300i32 as u32)),
                    ))),
                    vec![-1100.0; S::LANES],
                ),
                (
                    "interleave",
                    [found(simd.interleave(x, y).0), found(simd.interleave(x, y).1)].concat(),
                    { a.iter().zip(&b).flat_map(|(&a, &b)| [a, b]).collect() },
                ),
                ("largest", vec![simd.largest(x)], vec![a.iter().copied().fold(-2.0, f32::max)]),
                ("largest_of_each", simd.largest_of_each(x, y).to_vec(), {
                    [&a, &b].map(|x| x.iter().copied().fold(-2.0, f32::max)).to_vec()
                }),
                ("has_nan", has_nan, (0..=S::LANES).map(|i| f32::from(i < S::LANES)).collect()),
                ("sum of ones", vec![simd.sum(simd.splat(1.0))], vec![S::LANES as f32]),
                ("store", stored, with_zero.clone()),
                ("init", initialised, with_zero),
                ("load_part", found(simd.load_part(&a[..3], 7.0)), part),
            ]
        }
    }

    #[test]
    fn operations_equal_plain_arithmetic() {
        for isa in Isa::all() {
            for (operation, found, expected) in dispatch(isa, Operations) {
                assert_eq!(found, expected, "{isa:?}: {operation}");
            }
        }
    }
}
