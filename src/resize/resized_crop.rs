//! A crop in the size that the network takes.

use super::TargetSize;
use crate::crop::Rotation;

/// A crop resized for the network: the result of [`Recognizer::resize`](crate::Recognizer::resize).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizedCrop {
    /// The size, which decides what it can share a batch with.
    pub size: TargetSize,
    /// 8-bit RGB, row after row.
    pub rgb: Vec<u8>,
    /// How the crop was turned before it was resized.
    pub rotation: Rotation,
    /// Width and height of the crop as it was given, in pixels.
    pub source_size: (u32, u32),
}
