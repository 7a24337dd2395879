//! Crops in, recognition results out: all stages in one call.

mod batch;
#[cfg(feature = "embedded")]
mod embedded;
mod options;
mod page;
mod stream;

use std::borrow::Cow;
use std::path::Path;

use crate::charset::Charset;
use crate::crop::{Crop, Rotation};
use crate::decode::Decoder;
use crate::emissions::Emissions;
use crate::error::{CharsetError, ConfigError, Error, Result};
use crate::inference::Backend;
use crate::model::Config;
use crate::recognition::Recognition;
use crate::resize::{ResizedCrop, resize_rgb, target_size};
use crate::weights::Weights;

pub use options::{Options, Orientation};
pub use stream::RecognitionStream;

/// Reads the text in image crops.
///
/// A recogniser is `Send + Sync` and takes no lock: share it between threads by reference. Batches
/// are spread over the threads of the current rayon pool. The result of a crop never depends on
/// other crops, their order or the number of threads: it is the same to the bit.
///
/// ```no_run
/// let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
/// let recognition = recognizer.recognize(&image::open("crop.png")?)?;
/// println!("{} ({:.2})", recognition.text, recognition.score);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recognizer {
    backend: Backend,
    config: Config,
    charset: Charset,
    orientation: Orientation,
    decoder: Decoder,
    temperature: f32,
    batch_pixels: usize,
}

impl Recognizer {
    /// Opens a weights file that carries its charset, with default options.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Recognizer::new`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(&Weights::open(path)?, Options::default())
    }

    /// Takes the bytes of a weights file that carries its charset, with default options: a
    /// `Vec<u8>`, or without a copy a `&'static [u8]` as of [`include_bytes!`].
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Recognizer::new`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::new(&Weights::from_bytes(bytes)?, Options::default())
    }

    /// Sets up a recogniser.
    ///
    /// # Errors
    /// [`CharsetError`] if neither the weights nor the options hold a charset, or if one does not
    /// fit; [`ConfigError`] for an option out of range, or a device or a precision whose crate
    /// feature is not enabled;
    /// [`WeightsError`](crate::WeightsError) if a parameter is NaN or infinite;
    /// [`Error::Compute`] if the device fails.
    pub fn new(weights: &Weights, options: Options) -> Result<Self> {
        let Options { charset, max_ratio, orientation, decoder, .. } = options;
        let Options { temperature, batch_pixels, device, precision, .. } = options;
        let temperature = temperature.unwrap_or(weights.temperature());
        ConfigError::check_positive("temperature", temperature)?;
        let mut config = weights.config().clone();
        config.max_ratio = max_ratio.unwrap_or(config.max_ratio);
        config.validate()?;
        let charset = match (charset, weights.charset()) {
            (Some(given), Some(stored)) => {
                given.check_agrees_with(stored)?;
                given
            }
            (Some(charset), None) => charset,
            (None, Some(charset)) => charset.clone(),
            (None, None) => {
                return Err(CharsetError::Missing { classes: config.num_classes }.into());
            }
        };
        charset.check_classes(config.num_classes)?;
        decoder.check_charset(&charset)?;
        let precision = precision.unwrap_or(weights.precision());
        let backend = weights.backend(device, precision)?;
        Ok(Recognizer {
            backend,
            config,
            charset,
            orientation,
            decoder,
            temperature,
            batch_pixels: batch_pixels.unwrap_or_else(|| options::default_batch_pixels(device)),
        })
    }

    /// The network's configuration, with the ratio limit in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The charset in force.
    pub fn charset(&self) -> &Charset {
        &self.charset
    }

    /// The temperature in force.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// The decoder in force.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The same recogniser with another decoder; the network is shared.
    ///
    /// # Errors
    /// As [`Decoder::check_charset`].
    pub fn with_decoder(&self, decoder: Decoder) -> Result<Self> {
        decoder.check_charset(&self.charset)?;
        Ok(Recognizer { decoder, ..self.clone() })
    }

    /// Reads one crop: an image, a [`Crop`], or a reference to either.
    ///
    /// # Errors
    /// [`ImageError::Empty`](crate::ImageError::Empty) for an image without pixels;
    /// [`Error::Compute`] if the device fails.
    pub fn recognize<'a, C>(&self, crop: C) -> Result<Recognition>
    where
        C: TryInto<Crop<'a>>,
        Error: From<C::Error>,
    {
        let crop = crop.try_into()?;
        let resized = self.resize(&crop)?;
        let emissions = self.emissions(&resized)?;
        self.decode_best(&resized, &emissions)
    }

    /// First stage: turns and resizes a crop, once for each rotation to be tried (one, unless
    /// [`Orientation::BestOfTall`] asks for more).
    ///
    /// # Errors
    /// None today: a crop has pixels and the ratio limit was checked.
    pub fn resize(&self, crop: &Crop) -> Result<Vec<ResizedCrop>> {
        let resize = |&rotation: &Rotation| {
            let turned = crop.rotated(rotation);
            let size = target_size(turned.width(), turned.height(), self.config.max_ratio)?;
            let rgb = resize_rgb(&turned, size.width, size.height)?;
            let source_size = (crop.width(), crop.height());
            Ok(ResizedCrop { size, rgb, rotation, source_size })
        };
        self.orientation.rotations(crop).iter().map(resize).collect()
    }

    /// Second stage: what the network says of resized crops, in their order.
    ///
    /// # Errors
    /// [`Error::Compute`] if the device fails; [`Error::Emissions`] if the network's output is not
    /// finite.
    pub fn emissions(&self, crops: &[ResizedCrop]) -> Result<Vec<Emissions>> {
        let crops: Vec<&ResizedCrop> = crops.iter().collect();
        self.emissions_timed(&crops).into_iter().map(|(emissions, _)| emissions).collect()
    }

    /// Third stage: the text of a resized crop from its emissions.
    ///
    /// # Errors
    /// [`Error::Emissions`] if the emissions are not those of this recogniser's charset.
    pub fn decode(&self, crop: &ResizedCrop, emissions: &Emissions) -> Result<Recognition> {
        let Self { decoder, charset, temperature, .. } = self;
        Recognition::new(crop, emissions, decoder, charset, *temperature)
    }

    /// Third stage for a crop that was resized once for each rotation to be tried: the result with
    /// the best score; of equal ones the first.
    ///
    /// # Errors
    /// As [`Recognizer::decode`]; [`Error::Compute`] if there are no crops.
    pub fn decode_best(
        &self,
        crops: &[ResizedCrop],
        emissions: &[Emissions],
    ) -> Result<Recognition> {
        batch::best(crops.iter().zip(emissions).map(|(crop, own)| self.decode(crop, own)))
    }
}
