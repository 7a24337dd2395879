//! The network as it runs for inference: on a CPU with this crate's operations ([`Model`]), or on
//! any device with candle (`CandleModel`, feature `candle`).
//!
//! [`Weights::model`](crate::weights::Weights::model) and `Weights::candle_model` build them. Both
//! compute the same; tests hold one against the other and both against the reference.

mod backend;
#[cfg(feature = "candle")]
mod candle;
mod detector;
mod device;
mod native;

pub(crate) use backend::Backend;
#[cfg(feature = "candle")]
pub use candle::CandleModel;
pub use detector::DetectorModel;
pub use device::{Device, Precision};
pub use native::Model;

/// Values in row-major order, and their shape.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Array<const N: usize> {
    /// As many as the product of the shape.
    pub values: Vec<f32>,
    /// The dimensions, the slowest first.
    pub shape: [usize; N],
}
