//! How a recogniser is set up.

use crate::charset::Charset;
use crate::crop::{Crop, Rotation};
use crate::decode::Decoder;
use crate::inference::{Device, Precision};

/// What to do with crops that are taller than [`Orientation::TALL`] times their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Orientation {
    /// Reads every crop as it is: the reference implementation's behaviour.
    #[default]
    AsIs,
    /// Turns tall crops by 90 degrees against the clock: text that runs downwards becomes
    /// horizontal.
    RotateTall,
    /// Recognises tall crops as they are and turned either way, and keeps the result with the best
    /// score (of equal ones the first in this order). Three times the work for tall crops.
    BestOfTall,
}

impl Orientation {
    /// A crop is tall if its height exceeds its width by more than this factor.
    pub const TALL: f64 = 1.5;

    pub(super) fn rotations(self, crop: &Crop) -> &'static [Rotation] {
        let tall = f64::from(crop.height()) > Self::TALL * f64::from(crop.width());
        match self {
            Orientation::RotateTall if tall => &[Rotation::CounterClockwise],
            Orientation::BestOfTall if tall => {
                &[Rotation::None, Rotation::CounterClockwise, Rotation::Clockwise]
            }
            _ => &[Rotation::None],
        }
    }
}

/// How a [`Recognizer`](crate::Recognizer) is set up. Start from the default and change what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The charset, for weights files that carry none. If the file carries one, it must agree.
    pub charset: Option<Charset>,
    /// Overrides the weights' ratio limit: crops with a larger aspect ratio are squeezed.
    pub max_ratio: Option<u32>,
    /// What to do with tall crops.
    pub orientation: Orientation,
    /// How texts are found in the network's scores.
    pub decoder: Decoder,
    /// Overrides the weights' temperature, with which confidences are calibrated.
    pub temperature: Option<f32>,
    /// The most input pixels (height times width, summed over crops) of one pass through the
    /// network; a crop that alone has more gets a pass of its own. Bounds the memory in use.
    ///
    /// By default two crops of 32 x 128 pixels on a CPU, which gains nothing from more, and 256 on
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
    /// The file's charset, ratio limit and precision, crops as they are, greedy decoding, on the CPU.
    fn default() -> Self {
        Options {
            charset: None,
            max_ratio: None,
            orientation: Orientation::default(),
            decoder: Decoder::default(),
            temperature: None,
            batch_pixels: None,
            device: Device::Cpu,
            precision: None,
        }
    }
}

/// [`Options::batch_pixels`] where none is given.
pub(super) fn default_batch_pixels(device: Device) -> usize {
    const CROP: usize = 32 * 128;
    match device {
        Device::Cpu => 2 * CROP,
        _ => 256 * CROP,
    }
}
