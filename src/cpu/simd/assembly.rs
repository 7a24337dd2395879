//! Loops of matrix products in assembly for AVX2: macros, because registers and the step of the loop are
//! known when the code is written.

/// The loop around a step, four at a time, then one. The step takes the offsets in bytes of its row of
/// the panel and of its elements of the rows; those of the panel are given for four, with the bytes of four rows
/// and of one.
macro_rules! steps {
    ($step:ident, [$b0:literal, $b1:literal, $b2:literal, $b3:literal], $four:literal, $one:literal) => {
        concat!(
            "xor {k:e}, {k:e}\n",
            "cmp {fours}, 0\n",
            "je 3f\n",
            ".p2align 5\n",
            "2:\n",
            $step!($b0, "0"),
            $step!($b1, "4"),
            $step!($b2, "8"),
            $step!($b3, "12"),
            "add {b}, ",
            $four,
            "\n",
            "add {k}, 4\n",
            "cmp {k}, {fours}\n",
            "jb 2b\n",
            "3:\n",
            "cmp {k}, {len}\n",
            "jae 5f\n",
            "4:\n",
            $step!("0", "0"),
            "add {b}, ",
            $one,
            "\n",
            "add {k}, 1\n",
            "cmp {k}, {len}\n",
            "jb 4b\n",
            "5:\n",
        )
    };
}

/// Defines `six_rows`, which adds six rows times a panel of 16 columns to sums, with elements of a type for
/// the rows and of another one for the panel.
macro_rules! six_rows {
    ($left:ty, $right:ty, $steps:expr) => {
        /// # Safety
        /// `len` elements behind each of `rows` and `len * 16` behind `panel` are readable.
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn six_rows(
            sums: &mut [[__m256; 2]; 6],
            rows: &[*const $left; 6],
            panel: *const $right,
            len: usize,
        ) {
            // SAFETY: elements 0..len of the rows and 0..16 * len of the panel are read, which the
            // caller says are readable: the first loop takes four k while `k < fours <= len`, the second
            // one while `k < len`. Only registers that are named as operands are written, and the flags.
            unsafe {
                asm!(
                    $steps,
                    k = out(reg) _,
                    b = inout(reg) panel => _,
                    fours = in(reg) len & !3,
                    len = in(reg) len,
                    r0 = in(reg) rows[0],
                    r1 = in(reg) rows[1],
                    r2 = in(reg) rows[2],
                    r3 = in(reg) rows[3],
                    r4 = in(reg) rows[4],
                    r5 = in(reg) rows[5],
                    inout("ymm0") sums[0][0],
                    inout("ymm1") sums[0][1],
                    inout("ymm2") sums[1][0],
                    inout("ymm3") sums[1][1],
                    inout("ymm4") sums[2][0],
                    inout("ymm5") sums[2][1],
                    inout("ymm6") sums[3][0],
                    inout("ymm7") sums[3][1],
                    inout("ymm8") sums[4][0],
                    inout("ymm9") sums[4][1],
                    inout("ymm10") sums[5][0],
                    inout("ymm11") sums[5][1],
                    out("ymm12") _,
                    out("ymm13") _,
                    out("ymm14") _,
                    out("ymm15") _,
                    options(nostack, readonly),
                );
            }
        }
    };
}

/// Defines `four_rows`, which adds four rows times a panel of 16 columns to sums, with elements of a type for
/// the rows and of another one for the panel.
macro_rules! four_rows {
    ($left:ty, $right:ty, $steps:expr) => {
        /// # Safety
        /// `len` elements behind each of `rows` and `len * 16` behind `panel` are readable.
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn four_rows(
            sums: &mut [[__m256; 2]; 4],
            rows: &[*const $left; 4],
            panel: *const $right,
            len: usize,
        ) {
            // SAFETY: elements 0..len of the rows and 0..16 * len of the panel are read, which the
            // caller says are readable: the first loop takes four k while `k < fours <= len`, the second
            // one while `k < len`. Only registers that are named as operands are written, and the flags.
            unsafe {
                asm!(
                    $steps,
                    k = out(reg) _,
                    b = inout(reg) panel => _,
                    fours = in(reg) len & !3,
                    len = in(reg) len,
                    r0 = in(reg) rows[0],
                    r1 = in(reg) rows[1],
                    r2 = in(reg) rows[2],
                    r3 = in(reg) rows[3],
                    inout("ymm0") sums[0][0],
                    inout("ymm1") sums[0][1],
                    inout("ymm2") sums[1][0],
                    inout("ymm3") sums[1][1],
                    inout("ymm4") sums[2][0],
                    inout("ymm5") sums[2][1],
                    inout("ymm6") sums[3][0],
                    inout("ymm7") sums[3][1],
                    out("ymm12") _,
                    out("ymm13") _,
                    out("ymm14") _,
                    out("ymm15") _,
                    options(nostack, readonly),
                );
            }
        }
    };
}
