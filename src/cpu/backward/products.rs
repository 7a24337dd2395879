//! What the matrix products of a training step multiply.

use super::super::dispatch::{Bf16Isa, Isa};

/// The numbers that matrix products multiply. Sums are f32 always.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products(pub(super) Kind);

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    F32(Isa),
    Bf16(Bf16Isa),
}

impl Products {
    /// f32.
    pub(crate) fn f32() -> Self {
        Products(Kind::F32(Isa::best()))
    }

    /// bf16 if this CPU multiplies it faster than f32, else f32.
    pub(crate) fn bf16() -> Self {
        Bf16Isa::fast().map_or_else(Self::f32, |isa| Products(Kind::Bf16(isa)))
    }

    /// Everything that this CPU has, and whether it rounds to bf16.
    #[cfg(test)]
    pub(super) fn all() -> Vec<(Self, bool)> {
        let f32 = Isa::all().into_iter().map(|isa| (Products(Kind::F32(isa)), false));
        let bf16 = Bf16Isa::all().into_iter().map(|isa| (Products(Kind::Bf16(isa)), true));
        f32.chain(bf16).collect()
    }
}
