//! The right matrix of a product, packed into panels.

use super::super::buffer::{AlignedBuffer, Plain};
use super::super::dispatch::{Isa, dispatch};
use super::super::tile::Tile;
use super::outlier_rows::OutlierRows;
use super::{Epilogue, Gemm, Matrix, Origin, Rows};

/// A matrix `[k, n]` and a bias, packed for an instruction set.
#[derive(Clone)]
pub(crate) struct PackedMatrix {
    isa: Isa,
    k: usize,
    n: usize,
    /// `[panel][k][width]`
    panels: AlignedBuffer,
    /// `[panel * width]`
    bias: AlignedBuffer,
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "PackedMatrix({} x {}, {:?})", self.k, self.n, self.isa)
    }
}

impl PackedMatrix {
    /// Packs the matrix whose element in row `k` and column `n` is `element(k, n)`.
    pub(in crate::cpu) fn new(
        isa: Isa,
        k: usize,
        n: usize,
        element: impl Fn(usize, usize) -> f32,
        bias: Option<&[f32]>,
    ) -> Self {
        let width = isa.panel_width();
        let mut panels = AlignedBuffer::zeroed(n.div_ceil(width) * width * k);
        for (panel, rows) in panels.as_mut_slice().chunks_exact_mut((width * k).max(1)).enumerate()
        {
            let columns = panel * width..n.min((panel + 1) * width);
            for (row, values) in rows.chunks_exact_mut(width).enumerate() {
                for (value, column) in values.iter_mut().zip(columns.clone()) {
                    *value = element(row, column);
                }
            }
        }
        let bias = padded(bias.unwrap_or_default(), n, width);
        PackedMatrix { isa, k, n, panels, bias }
    }

    /// Packs the matrix whose rows lie one behind the other.
    #[cfg(feature = "train")]
    pub(in crate::cpu) fn from_rows(isa: Isa, k: usize, n: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), k * n, "the matrix has another size");
        let width = isa.panel_width();
        let mut panels = AlignedBuffer::zeroed(n.div_ceil(width) * width * k);
        for (panel, rows) in panels.as_mut_slice().chunks_exact_mut((width * k).max(1)).enumerate()
        {
            let columns = panel * width..n.min((panel + 1) * width);
            for (row, packed) in rows.chunks_exact_mut(width).enumerate() {
                packed[..columns.len()].copy_from_slice(&values[row * n..][columns.clone()]);
            }
        }
        let bias = padded(&[], n, width);
        PackedMatrix { isa, k, n, panels, bias }
    }

    /// Rows.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    fn panels(&self) -> Panels<'_> {
        let width = self.isa.panel_width();
        let bias = Some(self.bias.as_slice());
        Panels::new(self.k, self.n, width, self.panels.as_slice(), bias)
    }
}

/// A value for each of `n` columns and zeros behind them, up to whole panels; without values all zeros.
pub(super) fn padded(values: &[f32], n: usize, width: usize) -> AlignedBuffer {
    assert!(values.is_empty() || values.len() == n, "a value for each column");
    let mut padded = AlignedBuffer::zeroed(n.div_ceil(width) * width);
    padded.as_mut_slice()[..values.len()].copy_from_slice(values);
    padded
}

impl Matrix for PackedMatrix {
    type Left = f32;

    fn k(&self) -> usize {
        self.k
    }

    fn n(&self) -> usize {
        self.n
    }

    fn panel_width(&self) -> usize {
        self.isa.panel_width()
    }

    fn zero(&self, _: RowScale) -> f32 {
        0.0
    }

    fn multiply<R: Rows<Element = f32>>(
        &self,
        rows: &R,
        origin: Origin,
        _: RowScales,
        epilogue: Epilogue,
        out: Tile,
    ) {
        let Origin { first_row, first_panel } = origin;
        let matrix = self.panels();
        dispatch(self.isa, Gemm { rows, first_row, matrix, first_panel, epilogue, out });
    }
}

/// A packed matrix of any format, wherever its panels lie.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Panels<'a, E = f32> {
    k: usize,
    n: usize,
    width: usize,
    data: &'a [E],
    bias: Option<&'a [f32]>,
    integers: Option<Integers<'a>>,
    outlier_rows: Option<OutlierRows<'a, E>>,
}

/// What the sums of an integer product stand for: the sum over groups of
/// `scale * row_scale * (sum - row_zero * column_sum)`.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Integers<'a> {
    /// Groups of rows of the matrix, each of which has sums and scales of its own.
    pub groups: usize,
    /// The sums of the columns, as bits of i32. `[groups, panel * width]`
    pub sums: &'a [f32],
    /// The scales of the columns, `[panel * width]`.
    pub scale: &'a [f32],
    pub rows: RowScales<'a>,
}

impl<'a> Integers<'a> {
    /// The sums of a group's columns.
    #[inline(always)]
    pub(super) fn sums_of(&self, group: usize) -> &'a [f32] {
        let len = self.sums.len() / self.groups;
        &self.sums[group * len..][..len]
    }
}

/// What the integers of the left matrix's rows stand for.
#[derive(Clone, Copy)]
pub(in crate::cpu) enum RowScales<'a> {
    /// Of every row and group.
    All(RowScale),
    /// Row by row, and in it group by group.
    Each(&'a [RowScale]),
}

impl RowScales<'_> {
    pub(in crate::cpu) const NONE: Self = RowScales::All(RowScale::NONE);
}

/// An integer `i` of a row stands for `scale * (i - zero)`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct RowScale {
    pub scale: f32,
    pub zero: i32,
}

impl RowScale {
    /// Numbers are what they are.
    pub(in crate::cpu) const NONE: Self = RowScale { scale: 1.0, zero: 0 };
}

impl<'a, E: Plain> Panels<'a, E> {
    /// A matrix `[k, n]` in panels `[panel][k][width]`, with a bias `[panel * width]`. `k` counts the
    /// elements `E`, which may hold several numbers each.
    ///
    /// # Panics
    /// If a slice has another size. (The kernel relies on it.)
    pub(in crate::cpu) fn new(
        k: usize,
        n: usize,
        width: usize,
        data: &'a [E],
        bias: Option<&'a [f32]>,
    ) -> Self {
        let padded = n.div_ceil(width).checked_mul(width);
        let len = padded.and_then(|padded| padded.checked_mul(k));
        assert_eq!(Some(data.len()), len, "panels of another size");
        assert!(bias.is_none_or(|bias| Some(bias.len()) == padded), "a bias of another size");
        Panels { k, n, width, data, bias, integers: None, outlier_rows: None }
    }

    /// The same for sums of integers.
    ///
    /// # Panics
    /// If a slice has another size.
    pub(in crate::cpu) fn with_integers(self, integers: Integers<'a>) -> Self {
        let padded = self.count() * self.width;
        let same = integers.groups > 0
            && integers.sums.len() == padded * integers.groups
            && integers.scale.len() == padded;
        assert!(same, "scales of another size");
        Panels { integers: Some(integers), ..self }
    }

    /// The same with more rows of its panels.
    ///
    /// # Panics
    /// If they are those of panels of another size.
    pub(in crate::cpu) fn with_outlier_rows(
        self,
        outlier_rows: Option<OutlierRows<'a, E>>,
    ) -> Self {
        let fit = outlier_rows.is_none_or(|outlier_rows| outlier_rows.fit(self.k, self.width));
        assert!(fit, "outlier_rows of panels of another size");
        Panels { outlier_rows, ..self }
    }

    /// Rows.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub(in crate::cpu) fn n(&self) -> usize {
        self.n
    }

    /// Columns of a panel.
    pub(in crate::cpu) fn width(&self) -> usize {
        self.width
    }

    /// The number of panels.
    pub(in crate::cpu) fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }

    /// `[panel][k][width]`
    pub(super) fn data(&self) -> &'a [E] {
        self.data
    }

    /// `[panel * width]`
    pub(super) fn bias(&self) -> Option<&'a [f32]> {
        self.bias
    }

    pub(super) fn integers(&self) -> Option<Integers<'a>> {
        self.integers
    }

    pub(super) fn outlier_rows(&self) -> Option<OutlierRows<'a, E>> {
        self.outlier_rows
    }
}
