//! What follows a sum.

use super::super::math::{gelu, hard_swish, relu, swish};
use super::super::simd::Simd;

/// What is done to a sum before it is stored.
#[derive(Clone, Copy)]
pub(crate) enum Epilogue<'a> {
    /// Nothing.
    Store,
    /// Applies a function.
    Activate(Activation),
    /// Adds the element of a matrix of the whole output's shape.
    Add(&'a [f32]),
    /// Multiplies by the row's factor, the first of which is that of the product's first row.
    Scale(&'a [f32]),
}

/// A function of single numbers between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    Relu,
    /// `x / (1 + e^-x)`
    Swish,
    /// `x clamp(x / 6 + 1 / 2, 0, 1)`
    HardSwish,
}

impl Activation {
    /// Applies it.
    #[inline(always)]
    pub(in crate::cpu) fn of<S: Simd>(self, simd: S, x: S::V) -> S::V {
        match self {
            Activation::Gelu => gelu(simd, x),
            Activation::Relu => relu(simd, x),
            Activation::Swish => swish(simd, x),
            Activation::HardSwish => hard_swish(simd, x),
        }
    }
}

impl From<Activation> for Epilogue<'_> {
    fn from(activation: Activation) -> Self {
        Epilogue::Activate(activation)
    }
}
