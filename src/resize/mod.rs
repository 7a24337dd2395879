//! From a crop to the network's input size: the rules of sizes, and resamplers that are bit-identical to
//! Pillow's and OpenCV's.
//!
//! SVTRv2 does not squeeze every crop into one size: a crop's aspect ratio picks one of a few
//! target sizes ([`target_size`]; paper section 3.2, "Multi-Size Resizing"), and the crop is
//! resized to exactly that ([`resize_bicubic`]). The networks were trained on pixels from Pillow's
//! antialiased bicubic filter, so the resampler here reproduces it to the byte; it is of use on
//! its own, wherever a model was trained behind `PIL.Image.resize`.
//!
//! OpenCV's bilinear interpolation ([`resize_bilinear`]) is what networks were trained with that take lines of
//! one height, narrow ones padded ([`line_size`]): OpenOCR's multilingual models and PP-OCRv6.

mod bicubic;
mod bilinear;
mod coefficients;
mod line_size;
mod normalize;
mod reduce;
mod resized_crop;
mod resizing;
mod target;
mod windows;

pub use bicubic::resize_bicubic;
pub use bilinear::resize_bilinear;
pub use line_size::{LineSize, line_size};
pub use resized_crop::ResizedCrop;
pub use resizing::Resizing;
pub use target::{TargetSize, target_size};
pub(crate) use target::{check_max_ratio, rounded_ratio};
pub(crate) use windows::{LineShape, Windows};
