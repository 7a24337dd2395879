//! Matrices of bf16.

use super::super::buffer::{AlignedBuffer, Scratch};
use super::super::dispatch::{Bf16Isa, Bf16Kernel, dispatch_bf16};
use super::super::parts::{Chunks, for_each_part};
use super::super::simd::{Bf16Product, Simd, bf16_word};
use super::super::tile::Tile;
use super::packed::padded;
use super::{Epilogue, Gemm, Matrix, Origin, Panels, RowScale, RowScales, Rows};

/// Words of a task that rounds a matrix.
const TASK_WORDS: usize = 1 << 15;

/// A matrix `[k, n]` of bf16 and a bias in f32, packed: two rows' elements a word.
#[derive(Clone)]
pub(in crate::cpu) struct Bf16Matrix {
    isa: Bf16Isa,
    /// Words of a column.
    words: usize,
    n: usize,
    /// `[panel][word][width]`
    panels: AlignedBuffer<u32>,
    /// `[panel * width]`
    bias: AlignedBuffer,
}

impl Bf16Matrix {
    /// Packs the matrix whose element in row `k` and column `n` is `element(k, n)`.
    pub(in crate::cpu) fn new(
        isa: Bf16Isa,
        k: usize,
        n: usize,
        element: impl Fn(usize, usize) -> f32,
        bias: Option<&[f32]>,
    ) -> Self {
        let width = isa.panel_width();
        let words = k.div_ceil(2);
        let mut panels = AlignedBuffer::zeroed(n.div_ceil(width) * width * words);
        let panel_len = (width * words).max(1);
        for (panel, rows) in panels.as_mut_slice().chunks_exact_mut(panel_len).enumerate() {
            let columns = panel * width..n.min((panel + 1) * width);
            for (word, values) in rows.chunks_exact_mut(width).enumerate() {
                let last = 2 * word + 1 == k;
                for (value, column) in values.iter_mut().zip(columns.clone()) {
                    let high = if last { 0.0 } else { element(2 * word + 1, column) };
                    *value = bf16_word(element(2 * word, column), high);
                }
            }
        }
        let bias = padded(bias.unwrap_or_default(), n, width);
        Bf16Matrix { isa, words, n, panels, bias }
    }
}

impl Matrix for Bf16Matrix {
    type Left = u32;

    fn k(&self) -> usize {
        self.words
    }

    fn n(&self) -> usize {
        self.n
    }

    fn panel_width(&self) -> usize {
        self.isa.panel_width()
    }

    fn zero(&self, _: RowScale) -> u32 {
        0
    }

    fn multiply<R: Rows<Element = u32>>(
        &self,
        rows: &R,
        origin: Origin,
        _: RowScales,
        epilogue: Epilogue,
        out: Tile,
    ) {
        let width = self.isa.panel_width();
        let bias = Some(self.bias.as_slice());
        let matrix = Panels::new(self.words, self.n, width, self.panels.as_slice(), bias);
        let Origin { first_row, first_panel } = origin;
        dispatch_bf16(self.isa, Gemm { rows, first_row, matrix, first_panel, epilogue, out });
    }
}

impl<R: Rows<Element = u32>> Bf16Kernel for Gemm<'_, R, u32> {
    type Output = ();

    #[inline(always)]
    fn run<S, P, const MR: usize, const NV: usize>(self, simd: S, product: P)
    where
        S: Simd,
        P: Bf16Product<S>,
    {
        self.multiply::<S, P, MR, NV>(simd, product);
    }
}

/// Rows of `k` elements as rows of words, the last of which ends with a zero if `k` is odd.
pub(in crate::cpu) fn bf16_rows(isa: Bf16Isa, x: &[f32], k: usize) -> Scratch<u32> {
    let words = k.div_ceil(2);
    let rows = x.len().checked_div(k).unwrap_or(0);
    let mut rounded = Scratch::new(rows * words);
    let task_rows = TASK_WORDS.div_ceil(words.max(1));
    for_each_part(Chunks::new(&mut rounded, task_rows * words), &|task, words| {
        let x = &x[task * task_rows * k..];
        dispatch_bf16(isa, Round { x, k, words });
    });
    rounded
}

struct Round<'a> {
    x: &'a [f32],
    k: usize,
    words: &'a mut [u32],
}

impl Bf16Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S, P, const MR: usize, const NV: usize>(self, _: S, _: P)
    where
        S: Simd,
        P: Bf16Product<S>,
    {
        let Round { x, k, words } = self;
        // Compiled for the instruction set, these loops are vectors.
        if k.is_multiple_of(2) {
            for (word, x) in words.iter_mut().zip(x.as_chunks::<2>().0) {
                *word = bf16_word(x[0], x[1]);
            }
            return;
        }
        for (words, x) in words.chunks_exact_mut(k.div_ceil(2)).zip(x.chunks_exact(k)) {
            let (pairs, rest) = x.as_chunks::<2>();
            for (word, x) in words.iter_mut().zip(pairs) {
                *word = bf16_word(x[0], x[1]);
            }
            if let (Some(word), Some(&x)) = (words.last_mut(), rest.first()) {
                *word = bf16_word(x, 0.0);
            }
        }
    }
}
