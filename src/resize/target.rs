//! The multi-size rule: which input size a crop is resized to.

use crate::error::{ConfigError, ImageError, Result};

/// An input size of the network, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TargetSize {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
}

impl TargetSize {
    /// Height times width.
    pub fn pixels(self) -> usize {
        self.height as usize * self.width as usize
    }
}

/// The input size for a crop of `width` x `height` pixels (paper section 3.2).
///
/// The ratio `width / height`, rounded half to even and clamped to `1..=max_ratio`, picks the
/// size (height x width): 64x64, 48x96, 40x112, 32x128, and 32 x 32R for R above 4.
///
/// ```
/// use svtrv2::resize::{target_size, TargetSize};
///
/// assert_eq!(target_size(90, 31, 4)?, TargetSize { height: 40, width: 112 });
/// assert_eq!(target_size(2000, 9, 12)?, TargetSize { height: 32, width: 384 });
/// # Ok::<(), svtrv2::Error>(())
/// ```
///
/// # Errors
/// [`ImageError::Empty`] for a crop without pixels, [`ConfigError`] for a `max_ratio` of 0 or
/// above 256.
pub fn target_size(width: u32, height: u32, max_ratio: u32) -> Result<TargetSize> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height }.into());
    }
    check_max_ratio(max_ratio)?;
    let ratio = rounded_ratio(width, height).clamp(1, max_ratio);
    let (height, width) = match ratio {
        1 => (64, 64),
        2 => (48, 96),
        3 => (40, 112),
        ratio => (32, 32 * ratio),
    };
    Ok(TargetSize { height, width })
}

/// The widest ratio that a model may ask for: an input of 32 x 8192 pixels, 2048 frames. Attention
/// takes time proportional to the square of the width; published networks have ratios of 4 to 12, those
/// that take lines are used with any.
const MAX_RATIO: u32 = 256;

pub(crate) fn check_max_ratio(max_ratio: u32) -> Result<(), ConfigError> {
    if (1..=MAX_RATIO).contains(&max_ratio) {
        Ok(())
    } else {
        let detail = format!("{max_ratio} is not in 1..={MAX_RATIO}");
        Err(ConfigError::new("max_ratio", detail))
    }
}

/// `width / height` rounded half to even, in exact arithmetic.
pub(crate) fn rounded_ratio(width: u32, height: u32) -> u32 {
    let (floor, rest) = (width / height, u64::from(width % height));
    match (2 * rest).cmp(&u64::from(height)) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal => floor + floor % 2,
        std::cmp::Ordering::Greater => floor + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ((1, 1), 4, (64, 64)),
            ((1, 20_000), 4, (64, 64)),
            ((3, 2), 4, (48, 96)),    // 1.5 rounds to 2
            ((5, 2), 4, (48, 96)),    // 2.5 rounds to 2
            ((7, 2), 4, (32, 128)),   // 3.5 rounds to 4
            ((9, 2), 12, (32, 128)),  // 4.5 rounds to 4
            ((11, 2), 12, (32, 192)), // 5.5 rounds to 6
            ((299, 100), 4, (40, 112)),
            ((128, 32), 4, (32, 128)),
            ((20_000, 1), 4, (32, 128)),
            ((20_000, 1), 12, (32, 384)),
            ((100, 10), 2, (48, 96)),
            ((u32::MAX, 1), 20, (32, 640)),
            ((u32::MAX, u32::MAX), 20, (64, 64)),
        ];
        for ((width, height), max_ratio, (h, w)) in cases {
            let found = target_size(width, height, max_ratio).unwrap();
            let expected = TargetSize { height: h, width: w };
            assert_eq!(found, expected, "{width}x{height} at max_ratio {max_ratio}");
        }
    }

    #[test]
    fn faults() {
        assert!(target_size(0, 5, 4).is_err());
        assert!(target_size(5, 0, 4).is_err());
        assert!(target_size(5, 5, 0).is_err());
        assert!(target_size(5, 5, u32::MAX).is_err());
    }
}
