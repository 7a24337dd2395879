//! How a network wants its input: the rule of sizes, the resampler, the order of channels, padding.

use serde::{Deserialize, Serialize};

use super::bicubic::resize_rgb;
use super::bilinear::resize_rgb_bilinear;
use super::normalize::{normalize_line, normalize_rgb};
use super::{LineSize, TargetSize, line_size, target_size};
use crate::crop::Crop;
use crate::error::{ConfigError, Result};

/// How a crop becomes a network's input.
///
/// Samples are mapped from 0..=255 to -1..=1 in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resizing {
    /// SVTRv2's multi-size rule ([`target_size`](super::target_size)): the ratio of the sides picks the
    /// size, Pillow's bicubic filter resizes to exactly that, channels are red, green, blue.
    MultiSize,
    /// Lines of one height, as of OpenOCR's multilingual models and PP-OCRv6: the ratio of the sides is
    /// kept, OpenCV's bilinear interpolation resizes, a narrow line is padded on the right, channels are
    /// blue, green, red.
    Lines {
        /// Height of the input in pixels.
        height: u32,
        /// Width of the narrowest input in pixels; narrower lines are padded to it with zeros.
        min_width: u32,
    },
}

/// The highest and widest sides that [`Resizing::Lines`] may state.
const MAX_HEIGHT: u32 = 256;
const MAX_MIN_WIDTH: u32 = 4096;

impl Resizing {
    /// That of the published networks that take lines: height 48, at least 320 wide.
    pub fn published_lines() -> Self {
        Resizing::Lines { height: 48, min_width: 320 }
    }

    /// The input's size for a crop of `width` x `height` pixels, and how much of its width the resized
    /// crop takes: all of it, unless narrow lines are padded.
    ///
    /// # Errors
    /// As [`target_size`] and [`line_size`].
    pub fn size(self, width: u32, height: u32, max_ratio: u32) -> Result<(TargetSize, u32)> {
        match self {
            Resizing::MultiSize => {
                let size = target_size(width, height, max_ratio)?;
                Ok((size, size.width))
            }
            Resizing::Lines { height: side, min_width } => {
                let line = line_size(width, height, side, min_width, max_ratio)?;
                let size = TargetSize { height: line.height, width: line.input_width };
                Ok((size, line.width))
            }
        }
    }

    /// A crop in `width` x `height` pixels, 8-bit RGB.
    pub(crate) fn resize(self, crop: &Crop, width: u32, height: u32) -> Result<Vec<u8>> {
        match self {
            Resizing::MultiSize => resize_rgb(crop, width, height),
            Resizing::Lines { .. } => resize_rgb_bilinear(crop, width, height),
        }
    }

    /// Writes the network's input, `[3, height, width]` of `size`, of the 8-bit RGB pixels of a resized
    /// crop that is `width` pixels wide.
    pub(crate) fn normalize(self, rgb: &[u8], width: u32, size: TargetSize, input: &mut Vec<f32>) {
        match self {
            Resizing::MultiSize => normalize_rgb(rgb, input),
            Resizing::Lines { .. } => {
                let TargetSize { height, width: input_width } = size;
                normalize_line(rgb, LineSize { height, width, input_width }, input);
            }
        }
    }

    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        let Resizing::Lines { height, min_width } = self else {
            return Ok(());
        };
        if !(1..=MAX_HEIGHT).contains(&height) {
            let detail = format!("a height of {height} is not in 1..={MAX_HEIGHT}");
            return Err(ConfigError::new("resizing", detail));
        }
        if !(1..=MAX_MIN_WIDTH).contains(&min_width) {
            let detail = format!("a width of {min_width} is not in 1..={MAX_MIN_WIDTH}");
            return Err(ConfigError::new("resizing", detail));
        }
        Ok(())
    }
}
