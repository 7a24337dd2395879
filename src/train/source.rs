//! Where labelled crops come from.

use std::sync::Arc;

use image::RgbImage;

use super::synth::Synthesizer;
use crate::crop::Crop;
use crate::data::Dataset;
use crate::error::ErrorReport;

/// A labelled crop on its way into training.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledCrop {
    /// What it is called in messages.
    pub name: String,
    /// The crop.
    pub image: RgbImage,
    /// What it says.
    pub label: String,
}

/// A source of labelled crops, read from several threads.
pub trait Source: Send + Sync {
    /// How many there are; `None` if they never end.
    fn len(&self) -> Option<u64>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// A crop by its number, always the same.
    ///
    /// # Errors
    /// What is wrong with it: it is counted and skipped.
    fn crop(&self, index: u64) -> Result<LabelledCrop, String>;

    /// Its label alone, for sources that can tell it sooner.
    ///
    /// # Errors
    /// As [`Source::crop`].
    fn label(&self, index: u64) -> Result<String, String> {
        self.crop(index).map(|crop| crop.label)
    }

    /// The share of its crops that a loader with augmentation changes, 0..=1.
    fn augmented(&self) -> f64 {
        1.0
    }

    /// The share of its crops that a loader with augmentation bends along an arc and turns, 0..=1, before
    /// it augments them: of straight text becomes irregular text.
    fn warped(&self) -> f64 {
        0.0
    }
}

/// A source of whose crops a loader augments only a share: rendered words are damaged already.
pub struct PartlyAugmented {
    source: Arc<dyn Source>,
    share: f64,
    warped: f64,
}

impl PartlyAugmented {
    /// A share of 0 leaves all crops as they are.
    pub fn new(source: Arc<dyn Source>, share: f64) -> Self {
        PartlyAugmented { source, share: share.clamp(0.0, 1.0), warped: 0.0 }
    }

    /// Lets the loader warp a share of the crops ([`Source::warped`]).
    pub fn with_warped(self, share: f64) -> Self {
        PartlyAugmented { warped: share.clamp(0.0, 1.0), ..self }
    }
}

impl Source for PartlyAugmented {
    fn len(&self) -> Option<u64> {
        self.source.len()
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        self.source.crop(index)
    }

    fn label(&self, index: u64) -> Result<String, String> {
        self.source.label(index)
    }

    fn augmented(&self) -> f64 {
        self.share
    }

    fn warped(&self) -> f64 {
        self.warped
    }
}

/// An error with its causes, as a [`Source`] gives it.
fn reported(error: &(dyn std::error::Error + 'static)) -> String {
    ErrorReport::new(error).to_string()
}

/// A source, and its weight among others: how often samples come from it.
pub type WeightedSource = (Arc<dyn Source>, f64);

impl Source for Dataset {
    fn len(&self) -> Option<u64> {
        Some(Dataset::len(self) as u64)
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        let index = usize::try_from(index).map_err(|error| error.to_string())?;
        let sample = self.sample(index).map_err(|error| reported(&error))?;
        let name = format!("{}/{}", self.name(), sample.name);
        let crop =
            Crop::decode(&sample.image).map_err(|error| format!("{name}: {}", error.report()))?;
        let (width, height) = (crop.width(), crop.height());
        let image = RgbImage::from_raw(width, height, crop.into_rgb())
            .ok_or_else(|| format!("{name}: too few pixels"))?;
        Ok(LabelledCrop { name, image, label: sample.label })
    }

    fn label(&self, index: u64) -> Result<String, String> {
        let index = usize::try_from(index).map_err(|error| error.to_string())?;
        Dataset::label(self, index).map_err(|error| reported(&error))
    }
}

impl Source for Synthesizer {
    fn len(&self) -> Option<u64> {
        None
    }

    fn crop(&self, index: u64) -> Result<LabelledCrop, String> {
        let word = self.sample(index).map_err(|error| reported(&error))?;
        let name = format!("synthetic {index} ({})", word.font);
        Ok(LabelledCrop { name, image: word.image, label: word.text })
    }
}
