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

/// Defines a function that adds some rows times a panel of 16 columns to sums, with elements of one type for the
/// rows and of another one for the panel. Rows have the names of their registers in the steps; a sum has a
/// register, a row and a vector.
macro_rules! rows_in_assembly {
    (
        $name:ident, $count:literal, $left:ty, $right:ty, $steps:expr,
        [$($row:ident: $at:literal),*],
        [$($register:tt: $of:literal $vector:literal),*]
    ) => {
        /// # Safety
        /// `len` elements behind each of `rows` and `len * 16` behind `panel` are readable.
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $name(
            sums: &mut [[__m256; 2]; $count],
            rows: &[*const $left; $count],
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
                    $($row = in(reg) rows[$at],)*
                    $(inout($register) sums[$of][$vector],)*
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

/// Defines `six_rows`: [`rows_in_assembly`] for six rows.
macro_rules! six_rows {
    ($left:ty, $right:ty, $steps:expr) => {
        rows_in_assembly!(
            six_rows, 6, $left, $right, $steps,
            [r0: 0, r1: 1, r2: 2, r3: 3, r4: 4, r5: 5],
            [
                "ymm0": 0 0, "ymm1": 0 1,
                "ymm2": 1 0, "ymm3": 1 1,
                "ymm4": 2 0, "ymm5": 2 1,
                "ymm6": 3 0, "ymm7": 3 1,
                "ymm8": 4 0, "ymm9": 4 1,
                "ymm10": 5 0, "ymm11": 5 1
            ]
        );
    };
}

/// Defines `four_rows`: [`rows_in_assembly`] for four rows.
macro_rules! four_rows {
    ($left:ty, $right:ty, $steps:expr) => {
        rows_in_assembly!(
            four_rows, 4, $left, $right, $steps,
            [r0: 0, r1: 1, r2: 2, r3: 3],
            [
                "ymm0": 0 0, "ymm1": 0 1,
                "ymm2": 1 0, "ymm3": 1 1,
                "ymm4": 2 0, "ymm5": 2 1,
                "ymm6": 3 0, "ymm7": 3 1
            ]
        );
    };
}
