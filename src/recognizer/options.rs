//! How a recogniser is set up.

use crate::charset::Charset;
use crate::decode::Decoder;
use crate::error::ConfigError;
use crate::inference::{Device, Precision};
use crate::model::Config;
use crate::resize::{LineShape, Resizing};

use super::orientation::Orientation;

/// What to do with crops that are wider than the network's range
/// ([`Config::max_ratio`](crate::model::Config::max_ratio)).
///
/// In windows, the whole line is resized once, overlapping windows of the width that the network was
/// trained on go through it as a batch, and the probabilities of each frame are averaged, weighted
/// by the distance to the window's edge. The joined emissions are decoded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lines {
    /// Half-overlapping windows for crops that are wider than the network's range, at most two times the
    /// work of the line's own width. Networks of several input sizes whose range is short squeeze words up to
    /// a ratio of 8, as in training: up to there that reads words of scenes better.
    #[default]
    Auto,
    /// Windows as told.
    Windows {
        /// The least ratio of width to height, rounded half to even, of a crop that is recognised in
        /// windows; narrower ones are squeezed. Greater than the network's range.
        min_ratio: u32,
        /// Frames from one window to the next, 1 to those of a window; the smaller, the more work. A
        /// frame stands for 4 columns of the resized line.
        step: u32,
    },
    /// Squeezes every wide crop to the network's range: the reference implementation's behaviour.
    Squeeze,
}

/// The ratio up to which [`Lines::Auto`] squeezes words for a network of several input sizes whose range is
/// shorter: twice that of the published ones.
const SQUEEZED_RATIO: u32 = 8;

/// Windows as they are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowRule {
    /// The least rounded ratio of a crop that is recognised in windows.
    pub(super) min_ratio: u32,
    /// Frames from one window to the next.
    pub(super) step: usize,
}

impl Lines {
    /// The windows of a network of this shape; `None` for squeezing.
    pub(super) fn rule(
        self,
        shape: LineShape,
        config: &Config,
    ) -> Result<Option<WindowRule>, ConfigError> {
        let window = shape.window_frames();
        let max_ratio = config.max_ratio;
        let one_pass = match config.resizing {
            Resizing::MultiSize => max_ratio.max(SQUEEZED_RATIO),
            _ => max_ratio,
        };
        match self {
            Lines::Auto => {
                Ok(Some(WindowRule { min_ratio: one_pass + 1, step: window.div_ceil(2) }))
            }
            Lines::Windows { min_ratio, .. } if min_ratio <= max_ratio => {
                let detail = format!("a min_ratio of {min_ratio} is within the range {max_ratio}");
                Err(ConfigError::new("lines", detail))
            }
            Lines::Windows { step, .. } if !(1..=window).contains(&(step as usize)) => {
                let detail = format!("a step of {step} frames is not in 1..={window}");
                Err(ConfigError::new("lines", detail))
            }
            Lines::Windows { min_ratio, step } => {
                Ok(Some(WindowRule { min_ratio, step: step as usize }))
            }
            Lines::Squeeze => Ok(None),
        }
    }
}

/// How a [`Recognizer`](crate::Recognizer) is set up. Start from the default and change what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The charset, for weights files that carry none. If the file carries one, it must agree.
    pub charset: Option<Charset>,
    /// Overrides the weights' ratio limit: crops with a larger aspect ratio are squeezed or
    /// recognised in windows of that ratio.
    pub max_ratio: Option<u32>,
    /// What to do with crops that are wider than the ratio limit.
    pub lines: Lines,
    /// Trims blank ends of a line that are wider than it is high, before its size is chosen.
    pub trim_margins: bool,
    /// What to do with crops whose text may not be upright.
    pub orientation: Orientation,
    /// How texts are found in the network's scores.
    pub decoder: Decoder,
    /// Overrides the weights' temperature, with which confidences are calibrated.
    pub temperature: Option<f32>,
    /// The most input pixels (height times width, summed over crops) of one pass through the
    /// network; a crop that alone has more gets a pass of its own. Bounds the memory in use.
    ///
    /// By default one crop of 32 x 128 pixels on a CPU, which gains nothing from more, and 256 on
    /// other devices.
    pub batch_pixels: Option<usize>,
    /// Where the network runs.
    pub device: Device,
    /// Overrides the network's number type, which the weights state ([`Weights::precision`]): f32,
    /// unless they were written to run in int8.
    ///
    /// [`Weights::precision`]: crate::weights::Weights::precision
    pub precision: Option<Precision>,
}

impl Default for Options {
    /// The file's charset, ratio limit and precision, wide crops in windows, blank ends trimmed,
    /// crops not turned, greedy decoding, on the CPU.
    fn default() -> Self {
        Options {
            charset: None,
            max_ratio: None,
            lines: Lines::default(),
            trim_margins: true,
            orientation: Orientation::default(),
            decoder: Decoder::default(),
            temperature: None,
            batch_pixels: None,
            device: Device::Cpu,
            precision: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least ratio of a crop that [`Lines::Auto`] recognises in windows.
    fn first_window(config: Config, max_ratio: u32) -> u32 {
        let shape = LineShape { height: 32, window: 128, frame: 4 };
        let config = Config { max_ratio, ..config };
        Lines::Auto.rule(shape, &config).unwrap().unwrap().min_ratio
    }

    #[test]
    fn windows_begin_at_the_range_or_behind_squeezed_words() {
        assert_eq!(first_window(Config::tiny(), 4), 9);
        assert_eq!(first_window(Config::tiny(), 12), 13);
        assert_eq!(first_window(Config::pp_ocr_v6_small(), 5), 6);
    }
}
