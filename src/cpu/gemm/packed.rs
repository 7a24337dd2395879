//! The right matrix of a product, packed into panels.

use super::super::buffer::AlignedBuffer;
use super::super::dispatch::Isa;

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
        let mut padded = AlignedBuffer::zeroed(n.div_ceil(width) * width);
        if let Some(bias) = bias {
            padded.as_mut_slice()[..n].copy_from_slice(&bias[..n]);
        }
        PackedMatrix { isa, k, n, panels, bias: padded }
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
        let bias = AlignedBuffer::zeroed(n.div_ceil(width) * width);
        PackedMatrix { isa, k, n, panels, bias }
    }

    pub(in crate::cpu) fn isa(&self) -> Isa {
        self.isa
    }

    /// Rows.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    pub(in crate::cpu) fn panels(&self) -> Panels<'_> {
        let width = self.isa.panel_width();
        let bias = Some(self.bias.as_slice());
        Panels::new(self.k, self.n, width, self.panels.as_slice(), bias)
    }
}

/// A packed matrix, wherever its panels lie.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Panels<'a> {
    k: usize,
    n: usize,
    width: usize,
    data: &'a [f32],
    bias: Option<&'a [f32]>,
}

impl<'a> Panels<'a> {
    /// A matrix `[k, n]` in panels `[panel][k][width]`, with a bias `[panel * width]`.
    ///
    /// # Panics
    /// If a slice has another size. (The kernel relies on it.)
    pub(in crate::cpu) fn new(
        k: usize,
        n: usize,
        width: usize,
        data: &'a [f32],
        bias: Option<&'a [f32]>,
    ) -> Self {
        let padded = n.div_ceil(width).checked_mul(width);
        let len = padded.and_then(|padded| padded.checked_mul(k));
        assert_eq!(Some(data.len()), len, "panels of another size");
        assert!(bias.is_none_or(|bias| Some(bias.len()) == padded), "a bias of another size");
        Panels { k, n, width, data, bias }
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
    pub(super) fn data(&self) -> &'a [f32] {
        self.data
    }

    /// `[panel * width]`
    pub(super) fn bias(&self) -> Option<&'a [f32]> {
        self.bias
    }
}
