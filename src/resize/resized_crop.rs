//! A crop in the size that the network takes.

use super::TargetSize;
use crate::crop::Rotation;

/// A crop resized for the network: the result of [`Recognizer::resize`](crate::Recognizer::resize).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizedCrop {
    /// The size, which decides what it can share a batch with.
    pub size: TargetSize,
    /// Width of the resized pixels: less than that of the size where a narrow line is padded.
    pub width: u32,
    /// 8-bit RGB, row after row.
    pub rgb: Vec<u8>,
    /// How the crop was turned before it was resized.
    pub rotation: Rotation,
    /// Width and height of the part of the crop that was resized, in pixels of the crop as it was
    /// given: all of it, unless blank ends were trimmed.
    pub source_size: (u32, u32),
    /// The upper left corner of that part, in pixels of the crop as it was given.
    pub offset: (u32, u32),
}
