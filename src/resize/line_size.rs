//! The sizes of networks that take lines of one height.

use super::target::check_max_ratio;
use crate::error::{ImageError, Result};

/// The size that a line is resized to, and the width of the network's input, which is at least that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LineSize {
    /// Height in pixels of the resized line and of the input.
    pub height: u32,
    /// Width in pixels of the resized line.
    pub width: u32,
    /// Width in pixels of the input: what lies right of the line is padding.
    pub input_width: u32,
}

/// The size for a crop of `width` x `height` pixels, as PaddleOCR and OpenOCR have it.
///
/// The input is `line_height` pixels high and `floor(line_height * r)` wide for the larger ratio r of
/// the crop's and `min_width / line_height`. The line is as wide as its own ratio makes it, rounded up, but at
/// most as wide as the input. The published pipelines have no limit on the ratio; here a crop wider than
/// `max_ratio` is squeezed to that.
///
/// ```
/// use svtrv2::resize::line_size;
///
/// let size = line_size(100, 32, 48, 320, 40)?;
/// assert_eq!((size.width, size.input_width), (150, 320));
/// let size = line_size(1000, 33, 48, 320, 40)?;
/// assert_eq!((size.width, size.input_width), (1454, 1454));
/// # Ok::<(), svtrv2::Error>(())
/// ```
///
/// # Errors
/// [`ImageError::Empty`] for a crop without pixels or a `line_height` of 0,
/// [`ConfigError`](crate::ConfigError) for a `max_ratio` of 0 or above 256.
pub fn line_size(
    width: u32,
    height: u32,
    line_height: u32,
    min_width: u32,
    max_ratio: u32,
) -> Result<LineSize> {
    if width == 0 || height == 0 || line_height == 0 {
        return Err(ImageError::Empty { width, height: height.min(line_height) }.into());
    }
    check_max_ratio(max_ratio)?;
    // The published pipelines compute in f64, in this order.
    let scale = f64::from(line_height);
    let ratio = (f64::from(width) / f64::from(height)).min(f64::from(max_ratio));
    let input = (scale * ratio.max(f64::from(min_width) / scale)).floor();
    let line = (scale * ratio).ceil().min(input);
    // Numbers beyond the range of u32 become its largest one.
    Ok(LineSize {
        height: line_height,
        width: (line as u32).max(1),
        input_width: (input as u32).max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ((1, 1), 40, (48, 320)),
            ((1, 20_000), 40, (1, 320)),
            ((320, 48), 40, (320, 320)),
            ((321, 48), 40, (321, 321)),
            ((100, 31), 40, (155, 320)), // 154.8 rounds up
            ((207, 31), 40, (320, 320)), // 320.5: the input rounds down
            ((1000, 33), 40, (1454, 1454)),
            ((20_000, 1), 40, (1920, 1920)),
            ((u32::MAX, 1), 128, (6144, 6144)),
            ((1_000_000, 20), 1, (48, 320)),
        ];
        for ((width, height), max_ratio, (line, input)) in cases {
            let found = line_size(width, height, 48, 320, max_ratio).unwrap();
            let expected = LineSize { height: 48, width: line, input_width: input };
            assert_eq!(found, expected, "{width}x{height} at max_ratio {max_ratio}");
        }
    }

    #[test]
    fn faults() {
        assert!(line_size(0, 5, 48, 320, 40).is_err());
        assert!(line_size(5, 0, 48, 320, 40).is_err());
        assert!(line_size(5, 5, 0, 320, 40).is_err());
        assert!(line_size(5, 5, 48, 320, 0).is_err());
        assert!(line_size(5, 5, 48, 320, 257).is_err());
        assert_eq!(line_size(5, 5, 1, 0, 1).unwrap().input_width, 1);
    }
}
