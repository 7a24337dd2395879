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
mod pattern;
mod texts;

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

pub use fonts::Fonts;
pub use texts::Texts;

use super::TrainError;
use crate::crop::{Crop, DecodeOptions};
use fonts::Face;
use glyphs::{Line, Outline, Warp};

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
    /// The largest standard deviation of Gaussian noise, as a share of the range of samples, 0..=1; half of
    /// the words get noise.
    pub noise: f32,
    /// Words that were smaller once.
    pub shrunk: f32,
    /// Words with JPEG artefacts.
    pub jpeg: f32,
    /// Words whose letters are made wider or narrower.
    pub stretched: f32,
    /// Words whose letters are turned, shifted and scaled one by one.
    pub jittered: f32,
    /// Words on a wave.
    pub wavy: f32,
    /// Words with other texts around them, as far as the margins show them.
    pub neighbours: f32,
    /// Words on a plate of another colour than its surroundings.
    pub plated: f32,
    /// Words with a line under, over or beside them.
    pub ruled: f32,
    /// Words with strokes that are thicker or thinner than the font's.
    pub weighted: f32,
    /// Words of which there is only an outline.
    pub hollow: f32,
    /// Words that stand out in solid letters.
    pub extruded: f32,
    /// Words filled with a picture or a texture instead of a colour.
    pub inked: f32,
    /// Words in uneven light, with a highlight or a shade.
    pub lit: f32,
    /// Words that were photographed in motion.
    pub moved: f32,
    /// Words with little contrast, whatever [`SynthOptions::contrast`] says.
    pub faded: f32,
    /// Words that had only a few pixels once: a height of 12 to 26.
    pub tiny: f32,
    /// Words with the halo of a camera's sharpening.
    pub sharpened: f32,
    /// Colours that come from the given backgrounds, if there are any; others are any colours.
    pub natural: f32,
    /// Words in full light and sharpness: what a camera does to the others passes them by.
    pub clean: f32,
}

impl Default for SynthOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl SynthOptions {
    /// The default.
    const DEFAULT: Self = SynthOptions {
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
        stretched: 0.0,
        jittered: 0.0,
        wavy: 0.0,
        neighbours: 0.0,
        plated: 0.0,
        ruled: 0.0,
        weighted: 0.0,
        hollow: 0.0,
        extruded: 0.0,
        inked: 0.0,
        lit: 0.0,
        moved: 0.0,
        faded: 0.0,
        tiny: 0.0,
        sharpened: 0.0,
        natural: 0.0,
        clean: 0.0,
    };

    fn check(&self) -> Result<(), TrainError> {
        let ranges = [
            ("size", self.size, 4.0, 512.0),
            ("spacing", self.spacing, -0.5, 4.0),
            ("margin", self.margin, -0.25, 4.0),
        ];
        for (name, [low, high], least, most) in ranges {
            if !(least <= low && low <= high && high <= most) {
                let detail = format!("{name} = [{low}, {high}] is no range in {least}..={most}");
                return Err(TrainError::Options { detail });
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
            ("stretched", self.stretched, 1.0),
            ("jittered", self.jittered, 1.0),
            ("wavy", self.wavy, 1.0),
            ("neighbours", self.neighbours, 1.0),
            ("plated", self.plated, 1.0),
            ("ruled", self.ruled, 1.0),
            ("weighted", self.weighted, 1.0),
            ("hollow", self.hollow, 1.0),
            ("extruded", self.extruded, 1.0),
            ("inked", self.inked, 1.0),
            ("lit", self.lit, 1.0),
            ("moved", self.moved, 1.0),
            ("faded", self.faded, 1.0),
            ("tiny", self.tiny, 1.0),
            ("sharpened", self.sharpened, 1.0),
            ("natural", self.natural, 1.0),
            ("clean", self.clean, 1.0),
        ];
        for (name, value, most) in limits {
            if !(0.0..=most).contains(&value) {
                return Err(TrainError::Options {
                    detail: format!("{name} = {value} is not in 0..={most}"),
                });
            }
        }
        Ok(())
    }
}

/// The pictures in a folder, in the order of their names; other files are passed over.
///
/// # Errors
/// [`TrainError::Io`] if the folder cannot be read; [`TrainError::Options`] if it has no pictures.
pub fn read_pictures(folder: impl AsRef<Path>) -> Result<Vec<RgbImage>, TrainError> {
    let folder = folder.as_ref();
    let io = |source| TrainError::Io { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(io)?;
    let mut paths: Vec<_> =
        entries.map(|entry| Ok(entry.map_err(io)?.path())).collect::<Result<_, TrainError>>()?;
    paths.sort();
    // As they are stored.
    let options = DecodeOptions { exif: false, ..DecodeOptions::default() };
    let pictures: Vec<RgbImage> = paths
        .iter()
        .filter_map(|path| Crop::open_with(path, options).ok())
        .filter_map(|crop| {
            let (width, height) = (crop.width(), crop.height());
            RgbImage::from_raw(width, height, crop.into_rgb())
        })
        .collect();
    if pictures.is_empty() {
        return Err(TrainError::Options {
            detail: format!("{} has no pictures", folder.display()),
        });
    }
    Ok(pictures)
}

/// Whether something happens that a share of the words have. Without a share nothing is drawn.
fn chance(share: f32, rng: &mut impl Rng) -> bool {
    share > 0.0 && rng.random_bool(share.into())
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
    backgrounds: Arc<Vec<RgbImage>>,
}

/// Texts and fonts that are tried until one has all the characters of the other.
const ATTEMPTS: usize = 50;
/// The longest side of a crop, in pixels.
const MAX: f32 = 8192.0;

impl Synthesizer {
    /// # Errors
    /// [`TrainError::Options`] if an option is out of range or there are no fonts.
    pub fn new(fonts: Fonts, texts: Texts, options: SynthOptions) -> Result<Self, TrainError> {
        options.check()?;
        if fonts.is_empty() {
            return Err(TrainError::Options { detail: "there are no fonts".to_owned() });
        }
        Ok(Synthesizer { fonts, texts, options, backgrounds: Arc::default() })
    }

    /// Adds pictures that words may stand on.
    #[must_use]
    pub fn with_backgrounds(self, mut backgrounds: Vec<RgbImage>) -> Self {
        backgrounds.retain(|picture| picture.width() > 0 && picture.height() > 0);
        self.with_shared_backgrounds(Arc::new(backgrounds))
    }

    /// The same with pictures that other synthesizers use, too, none of which is empty.
    #[must_use]
    pub fn with_shared_backgrounds(mut self, backgrounds: Arc<Vec<RgbImage>>) -> Self {
        self.backgrounds = backgrounds;
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
            let Some(text) = face.drawable(&text) else {
                tried = text;
                continue;
            };
            let size = rng.random_range(self.options.size[0]..=self.options.size[1]);
            let spacing = rng.random_range(self.options.spacing[0]..=self.options.spacing[1]);
            if let Some(mut line) = Line::new(&face.font, &text, size, spacing * size) {
                if chance(self.options.stretched, &mut rng) {
                    line.stretch(rng.random_range(0.65..1.5));
                }
                if chance(self.options.jittered, &mut rng) {
                    line.jitter(size * rng.random_range(0.2f32..1.0), &mut rng);
                }
                let word = self.render(&line, text, size, face, &mut rng);
                if let Some(word) = word {
                    return Ok(word);
                }
                continue;
            }
            tried = text;
        }
        Err(TrainError::Glyphs { text: tried })
    }

    /// `None` if the warped text is empty or too large.
    fn render(
        &self,
        line: &Line,
        text: String,
        size: f32,
        face: &Face,
        rng: &mut Pcg64Mcg,
    ) -> Option<SyntheticWord> {
        let options = &self.options;
        let mut warp = Warp::draw(line, options, rng);
        if chance(options.wavy, rng) {
            warp.wave(size, rng);
        }
        let outlines = line.warped(&warp);
        let bounds = glyphs::bounds(&outlines)?;
        let mut margin = || size * rng.random_range(options.margin[0]..=options.margin[1]);
        let (left, top) = (bounds[0] - margin(), bounds[1] - margin());
        let (right, bottom) = (bounds[2] + margin(), bounds[3] + margin());
        if !((right - left).is_finite() && right - left < MAX && bottom - top < MAX) {
            return None;
        }
        let width = (right - left).ceil().max(2.0) as u32;
        let height = (bottom - top).ceil().max(2.0) as u32;
        let mask = glyphs::raster(&outlines, (left, top), width, height);
        let around = if chance(options.neighbours, rng) {
            let outlines = self.neighbours(line, &warp, face, size, rng);
            Some(glyphs::raster(&outlines, (left, top), width, height))
        } else {
            None
        };
        let scene = paint::Scene { mask: &mask, around: around.as_ref(), size };
        let picture = paint::paint(&scene, &self.backgrounds, options, rng);
        let image = degrade::degrade(picture, options, rng);
        let place = |[x0, y0, x1, y1]: [f32; 4]| [x0 - left, y0 - top, x1 - left, y1 - top];
        let boxes = outlines.iter().map(|glyph| glyph.bounds().map(place)).collect();
        Some(SyntheticWord { image, text, boxes, font: face.name.clone() })
    }

    /// Other texts in the same font around a line of text, in the same perspective: what a crop shows
    /// of them lies within its margins.
    fn neighbours(
        &self,
        line: &Line,
        warp: &Warp,
        face: &Face,
        size: f32,
        rng: &mut Pcg64Mcg,
    ) -> Vec<Outline> {
        let mut outlines = Vec::new();
        let gap = size * rng.random_range(0.25..0.5);
        let leading = line.height() * rng.random_range(0.75..1.1);
        for side in 0..4 {
            let text = self.texts.draw(rng);
            let wanted = rng.random_bool(0.6);
            let along = rng.random_range(-0.5..0.5) * line.width();
            let Some(text) = face.drawable(&text).filter(|_| wanted) else {
                continue;
            };
            let Some(other) = Line::new(&face.font, &text, size, 0.0) else {
                continue;
            };
            let (dx, dy) = match side {
                0 => (-gap - other.width(), 0.0),
                1 => (line.width() + gap, 0.0),
                2 => (along, -leading),
                _ => (along, leading),
            };
            outlines.extend(other.shifted(dx, dy).warped(warp));
        }
        outlines
    }
}

#[cfg(test)]
mod tests;
