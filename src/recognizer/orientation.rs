//! Which rotations of a crop are recognised, and which result is kept.

use std::fmt;
use std::str::FromStr;

use crate::crop::{Crop, Rotation};
use crate::error::{ComputeError, ConfigError, Result};
use crate::recognition::Recognition;

/// What to do with crops whose text may not be upright.
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
    /// Finds out how the text stands: recognises several rotations and keeps the result with the
    /// best calibrated confidence, an empty text only if all are empty (of equal ones the first).
    ///
    /// Wide crops are recognised as they are and upside down; tall ones turned by 90 degrees either
    /// way and as they are; all others in all four rotations. A first result with a confidence of
    /// 0.99 or more is kept without the others. So the work is once to four times that of one
    /// rotation: with the embedded model 1.8 times for upright words of scenes, 2.3 times for those
    /// upside down, about 3 times for those on their side. A word that another word shows upside
    /// down, such as `6891`, remains ambiguous: upright words lose two points of accuracy.
    Any,
}

/// The names of the orientations on command lines and in files.
const NAMES: [(&str, Orientation); 4] = [
    ("as-is", Orientation::AsIs),
    ("rotate-tall", Orientation::RotateTall),
    ("best-of-tall", Orientation::BestOfTall),
    ("any", Orientation::Any),
];

impl Orientation {
    /// A crop is tall if its height exceeds its width by more than this factor; wide the other way
    /// round.
    pub const TALL: f64 = 1.5;

    pub(super) fn rotations(self, crop: &Crop) -> &'static [Rotation] {
        const AS_IS: Rotation = Rotation::None;
        let (width, height) = (f64::from(crop.width()), f64::from(crop.height()));
        let (tall, wide) = (height > Self::TALL * width, width > Self::TALL * height);
        match self {
            Orientation::RotateTall if tall => &[Rotation::CounterClockwise],
            Orientation::BestOfTall if tall => {
                &[AS_IS, Rotation::CounterClockwise, Rotation::Clockwise]
            }
            Orientation::Any if wide => &[AS_IS, Rotation::HalfTurn],
            Orientation::Any if tall => &[Rotation::CounterClockwise, Rotation::Clockwise, AS_IS],
            Orientation::Any => &Rotation::ALL,
            _ => &[AS_IS],
        }
    }

    /// Whether the first rotation may do.
    pub(super) fn stops_early(self) -> bool {
        self == Orientation::Any
    }

    /// The result to keep of a crop's rotations, in the order of [`Orientation::rotations`]; of
    /// equal ones the first. A failure if any of them failed.
    pub(super) fn choose(
        self,
        results: impl IntoIterator<Item = Result<Recognition>>,
    ) -> Result<Recognition> {
        let mut best: Option<Recognition> = None;
        for (index, next) in results.into_iter().enumerate() {
            let next = next?;
            if self.stops_early() && index == 0 && is_certain(&next) {
                return Ok(next);
            }
            if best.as_ref().is_none_or(|best| self.rank(&next) > self.rank(best)) {
                best = Some(next);
            }
        }
        best.ok_or_else(|| {
            ComputeError::Incomplete { detail: "a crop was not resized".to_owned() }.into()
        })
    }

    /// What results are ranked by.
    fn rank(self, result: &Recognition) -> (bool, f64) {
        match self {
            Orientation::Any => (!result.text.is_empty(), f64::from(result.confidence)),
            _ => (true, f64::from(result.score)),
        }
    }
}

/// From this confidence on a text is kept without a comparison with other rotations. Lower ones save
/// work for upright words and take more words that are upside down for others: at 0.9 one in ten.
const CERTAIN: f32 = 0.99;

/// Whether a result needs no comparison with other rotations.
pub(super) fn is_certain(result: &Recognition) -> bool {
    !result.text.is_empty() && result.confidence >= CERTAIN
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, orientation)| orientation == self);
        f.pad(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Orientation {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let found = NAMES.iter().find(|(own, _)| *own == name);
        found.map(|(_, orientation)| *orientation).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            ConfigError::new("orientation", format!("{name:?} is none of {names}"))
        })
    }
}
