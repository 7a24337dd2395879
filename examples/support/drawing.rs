//! Pictures of readings: the crop, a box around every character, text and confidences.

use ab_glyph::{Font, FontVec, PxScale, ScaleFont};
use image::{Rgb, RgbImage, imageops};
use svtrv2::{Character, Crop, Recognition, Rotation};

const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([20; 3]);
/// Between the parts of a picture, in pixels.
const MARGIN: u32 = 8;
const TEXT_HEIGHT: f32 = 20.0;
const SMALL_HEIGHT: f32 = 13.0;

/// Fonts of the system. Without any there are boxes, but no text.
pub struct Fonts {
    database: fontdb::Database,
    loaded: Vec<FontVec>,
}

impl Fonts {
    pub fn of_system() -> Self {
        let mut database = fontdb::Database::new();
        database.load_system_fonts();
        let mut fonts = Fonts { database, loaded: Vec::new() };
        let families = [fontdb::Family::SansSerif, fontdb::Family::Name("DejaVu Sans")];
        let query = fontdb::Query { families: &families, ..fontdb::Query::default() };
        let first = fonts.database.query(&query);
        let first = first.or_else(|| fonts.database.faces().next().map(|face| face.id));
        if let Some(font) = first.and_then(|id| fonts.load(id)) {
            fonts.loaded.push(font);
        }
        fonts
    }

    fn load(&self, id: fontdb::ID) -> Option<FontVec> {
        self.database.with_face_data(id, |data, index| {
            FontVec::try_from_vec_and_index(data.to_vec(), index).ok()
        })?
    }

    /// Loads a font for every character that none of the loaded ones has.
    fn prepare(&mut self, text: &str) {
        for c in text.chars() {
            let known = |font: &FontVec| font.glyph_id(c).0 != 0;
            if self.loaded.iter().any(known) {
                continue;
            }
            let ids: Vec<_> = self.database.faces().map(|face| face.id).collect();
            if let Some(font) = ids.into_iter().filter_map(|id| self.load(id)).find(known) {
                self.loaded.push(font);
            }
        }
    }

    fn font_of(&self, c: char) -> Option<&FontVec> {
        self.loaded.iter().find(|font| font.glyph_id(c).0 != 0).or(self.loaded.first())
    }

    fn width(&self, text: &str, height: f32) -> f32 {
        let advance = |c: char| {
            let font = self.font_of(c)?.as_scaled(PxScale::from(height));
            Some(font.h_advance(font.glyph_id(c)))
        };
        text.chars().filter_map(advance).sum()
    }

    /// Writes a line of text; `x` and `y` are its left upper corner.
    fn draw(&self, image: &mut RgbImage, text: &str, x: f32, y: f32, height: f32, ink: Rgb<u8>) {
        let mut x = x;
        for c in text.chars() {
            let Some(font) = self.font_of(c) else { continue };
            let scaled = font.as_scaled(PxScale::from(height));
            let id = scaled.glyph_id(c);
            let place = ab_glyph::point(x, y + scaled.ascent());
            x += scaled.h_advance(id);
            let Some(outline) = font.outline_glyph(id.with_scale_and_position(height, place))
            else {
                continue;
            };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let (x, y) =
                    (bounds.min.x as i64 + i64::from(dx), bounds.min.y as i64 + i64::from(dy));
                blend(image, x, y, ink, coverage);
            });
        }
    }
}

/// Paints readings below each other.
pub fn draw(recognitions: &[(String, Crop, Recognition)], fonts: &mut Fonts) -> RgbImage {
    let panels: Vec<RgbImage> = recognitions
        .iter()
        .map(|(name, crop, recognition)| panel(name, crop, recognition, fonts))
        .collect();
    let width = panels.iter().map(RgbImage::width).max().unwrap_or(1);
    let height = panels.iter().map(RgbImage::height).sum::<u32>().max(1);
    let mut picture = RgbImage::from_pixel(width, height, BACKGROUND);
    let mut y = 0;
    for panel in &panels {
        imageops::replace(&mut picture, panel, 0, i64::from(y));
        y += panel.height();
    }
    picture
}

/// One crop: a line with text, confidence and name; the crop with boxes; every character and its
/// confidence in percent beside its box.
fn panel(name: &str, crop: &Crop, recognition: &Recognition, fonts: &mut Fonts) -> RgbImage {
    let title = format!("{}   {:.3}   {name}", recognition.text, recognition.confidence);
    fonts.prepare(&title);
    let upright = recognition.rotation == Rotation::None;
    let scale = scale(crop, recognition);
    let scaled = |length: u32| ((length as f32 * scale).round() as u32).max(1);
    let (width, height) = (scaled(crop.width()), scaled(crop.height()));
    let notes = (TEXT_HEIGHT + SMALL_HEIGHT) as u32 + MARGIN;
    let top = TEXT_HEIGHT as u32 + 2 * MARGIN;
    let (right, bottom) = if upright { (MARGIN, notes) } else { (4 * notes, MARGIN) };
    let title_width = fonts.width(&title, TEXT_HEIGHT) as u32 + 2 * MARGIN;
    let mut picture = RgbImage::from_pixel(
        (MARGIN + width + right).max(title_width),
        top + height + bottom,
        BACKGROUND,
    );
    fonts.draw(&mut picture, &title, MARGIN as f32, MARGIN as f32, TEXT_HEIGHT, INK);
    if let Some(pixels) = RgbImage::from_raw(crop.width(), crop.height(), crop.rgb().to_vec()) {
        let pixels = imageops::resize(&pixels, width, height, imageops::FilterType::CatmullRom);
        imageops::replace(&mut picture, &pixels, i64::from(MARGIN), i64::from(top));
    }
    for character in &recognition.chars {
        let color = color(character);
        let span = &character.bounds;
        let x = [span.x0, span.x1].map(|x| MARGIN as f32 + x * scale);
        let y = [span.y0, span.y1].map(|y| top as f32 + y * scale);
        rectangle(&mut picture, x, y, color);
        let percent = format!("{:.0}", 100.0 * character.confidence);
        let (middle_x, middle_y) = ((x[0] + x[1]) / 2.0, (y[0] + y[1]) / 2.0);
        let symbol_width = fonts.width(&character.symbol, TEXT_HEIGHT);
        let percent_width = fonts.width(&percent, SMALL_HEIGHT);
        if upright {
            let below = (top + height) as f32 + 2.0;
            let left = middle_x - symbol_width / 2.0;
            fonts.draw(&mut picture, &character.symbol, left, below, TEXT_HEIGHT, INK);
            let (left, below) = (middle_x - percent_width / 2.0, below + TEXT_HEIGHT);
            fonts.draw(&mut picture, &percent, left, below, SMALL_HEIGHT, color);
        } else {
            let beside = (MARGIN + width) as f32 + 4.0;
            let upper = middle_y - TEXT_HEIGHT / 2.0;
            fonts.draw(&mut picture, &character.symbol, beside, upper, TEXT_HEIGHT, INK);
            let beside = beside + symbol_width + 6.0;
            let upper = middle_y - SMALL_HEIGHT / 2.0;
            fonts.draw(&mut picture, &percent, beside, upper, SMALL_HEIGHT, color);
        }
    }
    picture
}

/// Large enough to see the boxes and to write below them, small enough for a screen.
fn scale(crop: &Crop, recognition: &Recognition) -> f32 {
    let (width, height) = (crop.width() as f32, crop.height() as f32);
    let count = recognition.chars.len().max(1) as f32;
    let upright = recognition.rotation == Rotation::None;
    let (along, across) = if upright { (width, height) } else { (height, width) };
    let wanted = (96.0 / across).max(30.0 * count / along);
    wanted.min(4000.0 / width.max(height)).min(16.0)
}

/// From red (confidence 0) to green (1).
fn color(character: &Character) -> Rgb<u8> {
    let sure = character.confidence.clamp(0.0, 1.0);
    Rgb([(220.0 * (1.0 - sure)) as u8, (160.0 * sure) as u8, 30])
}

fn rectangle(image: &mut RgbImage, x: [f32; 2], y: [f32; 2], color: Rgb<u8>) {
    let [x, y] = [x, y].map(|edges| edges.map(|edge| edge.round() as i64));
    for thick in 0..2 {
        for along in x[0]..=x[1] {
            blend(image, along, y[0] + thick, color, 1.0);
            blend(image, along, y[1] - thick, color, 1.0);
        }
        for along in y[0]..=y[1] {
            blend(image, x[0] + thick, along, color, 1.0);
            blend(image, x[1] - thick, along, color, 1.0);
        }
    }
}

fn blend(image: &mut RgbImage, x: i64, y: i64, ink: Rgb<u8>, coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
        for (channel, ink) in pixel.0.iter_mut().zip(ink.0) {
            let mixed = f32::from(*channel) * (1.0 - coverage) + f32::from(ink) * coverage;
            *channel = mixed.round() as u8;
        }
    }
}
