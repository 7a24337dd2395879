//! Images of results: the crop, a box around every character, text and confidences.

use image::{GrayImage, ImageError, Rgb, RgbImage, imageops};
use svtrv2::{Character, Crop, Recognition, Rotation};

const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([20; 3]);
/// Between the parts of an image, in pixels.
const MARGIN: u32 = 8;
const TEXT_HEIGHT: f32 = 20.0;
const SMALL_HEIGHT: f32 = 14.0;

/// Glyphs of one width, from U+0020 to U+017F; `render_font.py` makes the file.
struct Font {
    sheet: GrayImage,
}

/// A glyph's cell in the file, in pixels.
const CELL: (u32, u32) = (12, 24);
const COLUMNS: u32 = 32;

impl Font {
    fn load() -> Result<Self, ImageError> {
        let sheet = image::load_from_memory(include_bytes!("font.png"))?.into_luma8();
        Ok(Font { sheet })
    }

    /// The cells of a text: a symbol that the font lacks is spelled as its code point.
    fn cells(text: &str) -> Vec<u32> {
        let known = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{17f}');
        let spelled = |c| if known(c) { c.to_string() } else { format!("U+{:04X}", u32::from(c)) };
        text.chars().map(spelled).flat_map(|s| s.chars().collect::<Vec<_>>()).map(index).collect()
    }

    fn width(text: &str, height: f32) -> f32 {
        Self::cells(text).len() as f32 * advance(height)
    }

    /// Draws a line of text; `x` and `y` are its upper left corner.
    fn draw(&self, image: &mut RgbImage, text: &str, x: f32, y: f32, height: f32, ink: Rgb<u8>) {
        for (place, cell) in Self::cells(text).into_iter().enumerate() {
            let (column, row) = (cell % COLUMNS * CELL.0, cell / COLUMNS * CELL.1);
            let glyph = imageops::crop_imm(&self.sheet, column, row, CELL.0, CELL.1).to_image();
            let size = (advance(height).ceil() as u32, height.round() as u32);
            let glyph = imageops::resize(&glyph, size.0, size.1, imageops::FilterType::Triangle);
            let left = (x + place as f32 * advance(height)).round() as i64;
            for (dx, dy, coverage) in glyph.enumerate_pixels() {
                let at = (left + i64::from(dx), y.round() as i64 + i64::from(dy));
                blend(image, at.0, at.1, ink, f32::from(coverage[0]) / 255.0);
            }
        }
    }
}

fn index(c: char) -> u32 {
    u32::from(c) - u32::from(' ')
}

/// From glyph to glyph at a text height, in pixels.
fn advance(height: f32) -> f32 {
    height * CELL.0 as f32 / CELL.1 as f32
}

/// Draws named results below each other.
///
/// # Errors
/// If the font cannot be decoded.
pub fn draw(recognitions: &[(String, Crop, Recognition)]) -> Result<RgbImage, ImageError> {
    let font = Font::load()?;
    let panels: Vec<RgbImage> = recognitions
        .iter()
        .map(|(name, crop, recognition)| panel(name, crop, recognition, &font))
        .collect();
    let width = panels.iter().map(RgbImage::width).max().unwrap_or(1);
    let height = panels.iter().map(RgbImage::height).sum::<u32>().max(1);
    let mut canvas = RgbImage::from_pixel(width, height, BACKGROUND);
    let mut y = 0;
    for panel in &panels {
        imageops::replace(&mut canvas, panel, 0, i64::from(y));
        y += panel.height();
    }
    Ok(canvas)
}

/// One crop: a line with text, confidence and name; the crop with boxes; every character and its
/// confidence in percent beside its box.
fn panel(name: &str, crop: &Crop, recognition: &Recognition, font: &Font) -> RgbImage {
    let title = format!("{}   {:.3}   {name}", recognition.text, recognition.confidence);
    let upright = recognition.rotation == Rotation::None;
    let scale = scale(crop, recognition);
    let scaled = |length: u32| ((length as f32 * scale).round() as u32).max(1);
    let (width, height) = (scaled(crop.width()), scaled(crop.height()));
    let notes = (TEXT_HEIGHT + SMALL_HEIGHT) as u32 + MARGIN;
    let top = TEXT_HEIGHT as u32 + 2 * MARGIN;
    let (right, bottom) = if upright { (MARGIN, notes) } else { (4 * notes, MARGIN) };
    let title_width = Font::width(&title, TEXT_HEIGHT) as u32 + 2 * MARGIN;
    let mut canvas = RgbImage::from_pixel(
        (MARGIN + width + right).max(title_width),
        top + height + bottom,
        BACKGROUND,
    );
    font.draw(&mut canvas, &title, MARGIN as f32, MARGIN as f32, TEXT_HEIGHT, INK);
    if let Some(pixels) = RgbImage::from_raw(crop.width(), crop.height(), crop.rgb().to_vec()) {
        let pixels = imageops::resize(&pixels, width, height, imageops::FilterType::CatmullRom);
        imageops::replace(&mut canvas, &pixels, i64::from(MARGIN), i64::from(top));
    }
    for character in &recognition.chars {
        let color = color(character);
        let bounds = &character.bounds;
        let x = [bounds.x0, bounds.x1].map(|x| MARGIN as f32 + x * scale);
        let y = [bounds.y0, bounds.y1].map(|y| top as f32 + y * scale);
        rectangle(&mut canvas, x, y, color);
        let percent = format!("{:.0}", 100.0 * character.confidence);
        let (middle_x, middle_y) = ((x[0] + x[1]) / 2.0, (y[0] + y[1]) / 2.0);
        let symbol_width = Font::width(&character.symbol, TEXT_HEIGHT);
        let percent_width = Font::width(&percent, SMALL_HEIGHT);
        if upright {
            let below = (top + height) as f32 + 2.0;
            let left = middle_x - symbol_width / 2.0;
            font.draw(&mut canvas, &character.symbol, left, below, TEXT_HEIGHT, INK);
            let (left, below) = (middle_x - percent_width / 2.0, below + TEXT_HEIGHT);
            font.draw(&mut canvas, &percent, left, below, SMALL_HEIGHT, color);
        } else {
            let beside = (MARGIN + width) as f32 + 4.0;
            let upper = middle_y - TEXT_HEIGHT / 2.0;
            font.draw(&mut canvas, &character.symbol, beside, upper, TEXT_HEIGHT, INK);
            let beside = beside + symbol_width + 6.0;
            let upper = middle_y - SMALL_HEIGHT / 2.0;
            font.draw(&mut canvas, &percent, beside, upper, SMALL_HEIGHT, color);
        }
    }
    canvas
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
    let confidence = character.confidence.clamp(0.0, 1.0);
    Rgb([(220.0 * (1.0 - confidence)) as u8, (160.0 * confidence) as u8, 30])
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
