//! Synthetic words: rendered text with its label and the box of every character.
//!
//! ```no_run
//! use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, Texts};
//!
//! let fonts = Fonts::system()?;
//! let texts = Texts::random("abcdefghijklmnopqrstuvwxyz0123456789", 1..=10)?;
//! let synthesizer = Synthesizer::new(fonts, texts, SynthOptions::default())?;
//! for seed in 0..10 {
//!     let word = synthesizer.sample(seed)?;
//!     word.image.save(format!("{seed}_{}.png", word.text))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod degrade;
mod fonts;
mod glyphs;
mod paint;
mod texts;

use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

pub(in crate::train) use degrade::blur_plane;
pub use fonts::Fonts;
pub use texts::Texts;

use super::TrainError;
use glyphs::{Line, Warp};

/// How words look. Each range is drawn from evenly; each `share` is how many of the words, 0..=1,
/// have something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthOptions {
    /// The font's size, in pixels.
    pub size: [f32; 2],
    /// Extra space between characters, as a share of the size.
    pub spacing: [f32; 2],
    /// Space around the text to each side, as a share of the size; below 0 it is cut into.
    pub margin: [f32; 2],
    /// The largest rotation either way, in degrees.
    pub rotation: f32,
    /// The largest slant either way, as a share of the height.
    pub shear: f32,
    /// The largest perspective: how much nearer one end may be than the other.
    pub perspective: f32,
    /// Words on an arc.
    pub curved: f32,
    /// The largest angle that an arc covers, in degrees.
    pub arc: f32,
    /// Words with an outline.
    pub outlined: f32,
    /// Words with a shadow.
    pub shadowed: f32,
    /// Words on a gradient.
    pub gradient: f32,
    /// Words on a noisy texture.
    pub textured: f32,
    /// Words on one of the given backgrounds, if there are any.
    pub pictured: f32,
    /// The least difference in brightness of text and background, 0..=1.
    pub contrast: f32,
    /// The largest Gaussian blur, in pixels; half of the words have some.
    pub blur: f32,
    /// The largest deviation of the noise, 0..=1; half of the words have some.
    pub noise: f32,
    /// Words that were smaller once.
    pub shrunk: f32,
    /// Words with JPEG artefacts.
    pub jpeg: f32,
}

impl Default for SynthOptions {
    fn default() -> Self {
        SynthOptions {
            size: [18.0, 60.0],
            spacing: [-0.03, 0.15],
            margin: [-0.02, 0.3],
            rotation: 10.0,
            shear: 0.3,
            perspective: 0.25,
            curved: 0.2,
            arc: 90.0,
            outlined: 0.15,
            shadowed: 0.2,
            gradient: 0.4,
            textured: 0.4,
            pictured: 0.5,
            contrast: 0.15,
            blur: 1.5,
            noise: 0.06,
            shrunk: 0.3,
            jpeg: 0.4,
        }
    }
}

impl SynthOptions {
    fn check(&self) -> Result<(), TrainError> {
        let ranges = [
            ("size", self.size, 4.0, 512.0),
            ("spacing", self.spacing, -0.5, 4.0),
            ("margin", self.margin, -0.25, 4.0),
        ];
        for (name, [low, high], least, most) in ranges {
            if !(least <= low && low <= high && high <= most) {
                let detail = format!("{name} = [{low}, {high}] is no range in {least}..={most}");
                return Err(TrainError::Options(detail));
            }
        }
        let limits = [
            ("rotation", self.rotation, 90.0),
            ("shear", self.shear, 2.0),
            ("perspective", self.perspective, 0.9),
            ("arc", self.arc, 330.0),
            ("blur", self.blur, 20.0),
            ("contrast", self.contrast, 0.5),
            ("noise", self.noise, 1.0),
            ("curved", self.curved, 1.0),
            ("outlined", self.outlined, 1.0),
            ("shadowed", self.shadowed, 1.0),
            ("gradient", self.gradient, 1.0),
            ("textured", self.textured, 1.0),
            ("pictured", self.pictured, 1.0),
            ("shrunk", self.shrunk, 1.0),
            ("jpeg", self.jpeg, 1.0),
        ];
        for (name, value, most) in limits {
            if !(0.0..=most).contains(&value) {
                return Err(TrainError::Options(format!("{name} = {value} is not in 0..={most}")));
            }
        }
        Ok(())
    }
}

/// A rendered word.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticWord {
    /// The crop.
    pub image: RgbImage,
    /// What it says.
    pub text: String,
    /// Left, top, right and bottom of every character, in pixels of the crop; of a space `None`.
    pub boxes: Vec<Option<[f32; 4]>>,
    /// The font's name.
    pub font: String,
}

/// Renders words. A word depends on the seed alone.
#[derive(Debug)]
pub struct Synthesizer {
    fonts: Fonts,
    texts: Texts,
    options: SynthOptions,
    backgrounds: Vec<RgbImage>,
}

/// Texts and fonts that are tried until one has all the characters of the other.
const ATTEMPTS: usize = 50;
/// The longest side of a crop, in pixels.
const LARGEST: f32 = 8192.0;

impl Synthesizer {
    /// # Errors
    /// [`TrainError::Options`] if an option is out of range or there are no fonts.
    pub fn new(fonts: Fonts, texts: Texts, options: SynthOptions) -> Result<Self, TrainError> {
        options.check()?;
        if fonts.is_empty() {
            return Err(TrainError::Options("there are no fonts".to_owned()));
        }
        Ok(Synthesizer { fonts, texts, options, backgrounds: Vec::new() })
    }

    /// Adds pictures that words may stand on.
    pub fn with_backgrounds(mut self, backgrounds: Vec<RgbImage>) -> Self {
        self.backgrounds = backgrounds;
        self.backgrounds.retain(|picture| picture.width() > 0 && picture.height() > 0);
        self
    }

    /// The fonts in use.
    pub fn fonts(&self) -> &Fonts {
        &self.fonts
    }

    /// Renders the word of a seed.
    ///
    /// # Errors
    /// [`TrainError::Glyphs`] if no font has the characters of the texts that were tried.
    pub fn sample(&self, seed: u64) -> Result<SyntheticWord, TrainError> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut tried = String::new();
        for _ in 0..ATTEMPTS {
            let text = self.texts.draw(&mut rng);
            let face = self.fonts.draw(&mut rng);
            let size = rng.random_range(self.options.size[0]..=self.options.size[1]);
            let spacing = rng.random_range(self.options.spacing[0]..=self.options.spacing[1]);
            if let Some(line) = Line::new(&face.font, &text, size, spacing * size) {
                let word = self.render(&line, text, size, face.name.clone(), &mut rng);
                if let Some(word) = word {
                    return Ok(word);
                }
                continue;
            }
            tried = text;
        }
        Err(TrainError::Glyphs(tried))
    }

    /// `None` if the warped text is empty or too large.
    fn render(
        &self,
        line: &Line,
        text: String,
        size: f32,
        font: String,
        rng: &mut Pcg64Mcg,
    ) -> Option<SyntheticWord> {
        let options = &self.options;
        let warp = Warp::draw(line, options, rng);
        let outlines = line.warped(&warp);
        let bounds = glyphs::bounds(&outlines)?;
        let mut margin = || size * rng.random_range(options.margin[0]..=options.margin[1]);
        let (left, top) = (bounds[0] - margin(), bounds[1] - margin());
        let (right, bottom) = (bounds[2] + margin(), bounds[3] + margin());
        if !((right - left).is_finite() && right - left < LARGEST && bottom - top < LARGEST) {
            return None;
        }
        let width = (right - left).ceil().max(2.0) as u32;
        let height = (bottom - top).ceil().max(2.0) as u32;
        let mask = glyphs::raster(&outlines, (left, top), width, height);
        let picture = paint::paint(&mask, size, &self.backgrounds, options, rng);
        let image = degrade::degrade(picture, options, rng);
        let place = |[x0, y0, x1, y1]: [f32; 4]| [x0 - left, y0 - top, x1 - left, y1 - top];
        let boxes = outlines.iter().map(|glyph| glyph.bounds().map(place)).collect();
        Some(SyntheticWord { image, text, boxes, font })
    }
}

#[cfg(test)]
mod tests;
