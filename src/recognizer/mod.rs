//! Crops in, recognition results out: all stages in one call.

mod bands;
mod batch;
#[cfg(any(feature = "embedded", feature = "latin"))]
mod embedded;
mod join;
mod lines;
mod margins;
mod options;
mod orientation;
mod page;
mod stream;

use std::borrow::Cow;
use std::path::Path;

use crate::charset::Charset;
use crate::crop::{Crop, PixelFormat, Rotation};
use crate::decode::Decoder;
use crate::emissions::Emissions;
use crate::error::{CharsetError, ConfigError, Error, Result};
use crate::geometry::Point;
use crate::inference::Backend;
use crate::model::Config;
use crate::recognition::Recognition;
use crate::resize::{LineShape, ResizedCrop, Resizing, TargetSize, rounded_ratio, target_size};
use crate::weights::Weights;
use options::WindowRule;

pub use options::{Lines, Options};
pub use orientation::Orientation;
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
    shape: LineShape,
    /// `None` if lines are squeezed.
    windows: Option<WindowRule>,
    trim_margins: bool,
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
        let Options { charset, max_ratio, lines, trim_margins, orientation, decoder, .. } = options;
        let Options { temperature, batch_pixels, device, precision, .. } = options;
        let temperature = temperature.unwrap_or(weights.temperature());
        ConfigError::check_positive("temperature", temperature)?;
        let mut config = weights.config().clone();
        config.max_ratio = max_ratio.unwrap_or(config.max_ratio);
        config.validate()?;
        let shape = line_shape(&config)?;
        let windows = lines.rule(shape, &config)?;
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
        let batch_pixels = batch_pixels.unwrap_or(backend.pass_pixels());
        Ok(Recognizer {
            backend,
            config,
            charset,
            shape,
            windows,
            trim_margins,
            orientation,
            decoder,
            temperature,
            batch_pixels,
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

    /// Recognises one crop: an image, a [`Crop`], or a reference to either.
    ///
    /// # Errors
    /// [`ImageError::Empty`](crate::ImageError::Empty) for an image without pixels;
    /// [`ImageError::TooLong`](crate::ImageError::TooLong) for one that is more than about 1000 times
    /// as wide as high; [`Error::Compute`] if the device fails.
    pub fn recognize<'a, C>(&self, crop: C) -> Result<Recognition>
    where
        C: TryInto<Crop<'a>>,
        Error: From<C::Error>,
    {
        let crop = crop.try_into()?;
        let recognized = self.recognize_prepared(vec![self.resize(&crop)]).pop();
        recognized.map_or_else(|| self.orientation.choose([]), |(result, _)| result)
    }

    /// First stage: turns and resizes a crop, once for each rotation to be tried (one, unless
    /// [`Orientation::BestOfTall`] or [`Orientation::Any`] asks for more). Wide blank ends are
    /// trimmed.
    ///
    /// # Errors
    /// [`ImageError::TooLong`](crate::ImageError::TooLong) for a line that is more than about 1000
    /// times as wide as high.
    pub fn resize(&self, crop: &Crop) -> Result<Vec<ResizedCrop>> {
        let rotations = self.orientation.rotations(crop);
        rotations.iter().map(|&rotation| self.resize_turned(crop, rotation)).collect()
    }

    fn resize_turned(&self, crop: &Crop, rotation: Rotation) -> Result<ResizedCrop> {
        let turned = crop.rotated(rotation);
        let (width, height) = (turned.width(), turned.height());
        let content = if self.trim_margins { margins::content(&turned) } else { Some(0..width) };
        // Without any content there is nothing to recognise in windows.
        let may_be_line = content.is_some();
        let columns = content.unwrap_or(0..width);
        let resizing = self.config.resizing;
        let (size, pixels) = self.input_size(columns.len() as u32, height, may_be_line)?;
        let rgb = if columns == (0..width) {
            resizing.resize(&turned, pixels, size.height)?
        } else {
            let rgb = &turned.rgb()[3 * columns.start as usize..];
            let (width, stride) = (columns.len() as u32, 3 * width as usize);
            let part = Crop::from_raw(PixelFormat::Rgb8, width, height, stride, rgb)?;
            resizing.resize(&part, pixels, size.height)?
        };
        let length = columns.len() as u32;
        let (source_size, offset) = match rotation {
            Rotation::None => ((length, height), (columns.start, 0)),
            Rotation::CounterClockwise => ((height, length), (0, columns.start)),
            Rotation::Clockwise => ((height, length), (0, width - columns.end)),
            Rotation::HalfTurn => ((length, height), (width - columns.end, 0)),
        };
        Ok(ResizedCrop { size, width: pixels, rgb, rotation, source_size, offset })
    }

    /// The input size for a crop of this size, and the width of its pixels there.
    fn input_size(&self, width: u32, height: u32, may_be_line: bool) -> Result<(TargetSize, u32)> {
        match self.windows {
            Some(WindowRule { min_ratio, .. })
                if may_be_line && rounded_ratio(width, height) >= min_ratio =>
            {
                let size = self.shape.line_size(width, height, self.max_line_frames())?;
                Ok((size, size.width))
            }
            _ => self.config.resizing.size(width, height, self.config.max_ratio),
        }
    }

    /// The most pixels that a crop's resized forms may have together, but for rounding.
    fn most_resized_pixels(&self, crop: &Crop) -> usize {
        let (width, height) = (crop.width() as usize, crop.height() as usize);
        let (short, long) = (width.min(height).max(1), width.max(height));
        let side = self.shape.height as usize;
        let line = (side * side).saturating_mul(long / short + 1).min(side * self.max_line_width());
        4 * line.max(64 * 64)
    }

    /// Second stage: the emissions of resized crops, in their order.
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
        let mut recognition = Recognition::new(crop, emissions, decoder, charset, *temperature)?;
        recognition.several_lines = bands::shows_several_lines(crop);
        if crop.offset == (0, 0) {
            return Ok(recognition);
        }
        let (x, y) = (crop.offset.0 as f32, crop.offset.1 as f32);
        Ok(recognition.map_points(|point| Point::new(point.x + x, point.y + y)))
    }

    /// Third stage for a crop that was resized once for each rotation to be tried: the result with
    /// the best score, with [`Orientation::Any`] the one with the best confidence; of equal ones the
    /// first.
    ///
    /// # Errors
    /// As [`Recognizer::decode`]; [`Error::Compute`] if there are no crops.
    pub fn decode_best(
        &self,
        crops: &[ResizedCrop],
        emissions: &[Emissions],
    ) -> Result<Recognition> {
        let results = crops.iter().zip(emissions).map(|(crop, own)| self.decode(crop, own));
        self.orientation.choose(results)
    }
}

/// What the configuration says of lines: the widest input, and the columns of a frame.
fn line_shape(config: &Config) -> Result<LineShape> {
    let frame = config.frame_stride() as u32;
    let ratio = config.max_ratio;
    let (height, width) = match config.resizing {
        Resizing::MultiSize => {
            let TargetSize { height, width } = target_size(ratio, 1, ratio)?;
            (height, width)
        }
        Resizing::Lines { height, .. } => (height, height * ratio),
    };
    // Windows begin and end between two frames.
    Ok(LineShape { height, window: (width / frame).max(1) * frame, frame })
}
