//! Images of results: the crop, outlines around characters and words, text and confidences.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use svtrv2::resize::resize_bicubic;
use svtrv2::{Character, Crop, PixelFormat, Point, Quad, Recognition, Rotation, Word};

type Color = [u8; 3];

const BACKGROUND: Color = [255; 3];
const INK: Color = [20; 3];
/// Of the outlines of words.
pub const WORD: Color = [60, 90, 230];
/// From the outline of a word to those of its characters, in pixels.
const AROUND: f32 = 4.0;
/// Between the parts of an image, in pixels.
const MARGIN: u32 = 8;
const TEXT_HEIGHT: f32 = 20.0;
const SMALL_HEIGHT: f32 = 14.0;

/// RGB pixels to draw on; what lies outside is cut off.
struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let rgb = BACKGROUND.repeat(width as usize * height as usize);
        Canvas { width, height, rgb }
    }

    /// Mixes a colour into a pixel; `coverage` is 0..=1.
    fn blend(&mut self, x: i64, y: i64, color: Color, coverage: f32) {
        let inside =
            (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        if inside {
            let at = 3 * (y as usize * self.width as usize + x as usize);
            for (channel, color) in self.rgb[at..at + 3].iter_mut().zip(color) {
                let mixed = f32::from(*channel) * (1.0 - coverage) + f32::from(color) * coverage;
                *channel = mixed.round() as u8;
            }
        }
    }

    /// A line of two pixels' thickness.
    fn line(&mut self, from: Point, to: Point, color: Color) {
        let count = (to.x - from.x).abs().max((to.y - from.y).abs()).ceil().max(1.0);
        for step in 0..=count as u32 {
            let share = step as f32 / count;
            let x = (from.x + share * (to.x - from.x)).floor() as i64;
            let y = (from.y + share * (to.y - from.y)).floor() as i64;
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                self.blend(x + dx, y + dy, color, 1.0);
            }
        }
    }

    /// The outline of a quadrilateral.
    fn quad(&mut self, Quad(corners): Quad, color: Color) {
        for (index, corner) in corners.into_iter().enumerate() {
            self.line(corner, corners[(index + 1) % 4], color);
        }
    }

    /// Copies RGB rows of a width to a place.
    fn place(&mut self, rgb: &[u8], width: u32, left: u32, top: u32) {
        let row_bytes = 3 * width.min(self.width.saturating_sub(left)) as usize;
        let rows = rgb.chunks_exact(3 * width.max(1) as usize);
        for (row, y) in rows.zip(top..self.height) {
            let at = 3 * (y as usize * self.width as usize + left as usize);
            self.rgb[at..at + row_bytes].copy_from_slice(&row[..row_bytes]);
        }
    }

    fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        Ok(writer.finish()?)
    }
}

/// Glyphs of one width, from U+0020 to U+017F; `render_font.py` makes the file.
struct Font {
    sheet: Crop<'static>,
}

/// A glyph's cell in the file, in pixels.
const CELL: (u32, u32) = (12, 24);
const COLUMNS: u32 = 32;

impl Font {
    fn load() -> svtrv2::Result<Self> {
        Ok(Font { sheet: Crop::decode(include_bytes!("font.png"))? })
    }

    /// The cells of a text: a symbol that the font lacks is spelled as its code point.
    fn cells(text: &str) -> Vec<u32> {
        let known = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{17f}');
        let spelled = |c| if known(c) { c.to_string() } else { format!("U+{:04X}", u32::from(c)) };
        let cell = |c: char| u32::from(c) - u32::from(' ');
        text.chars().map(spelled).flat_map(|s| s.chars().map(cell).collect::<Vec<_>>()).collect()
    }

    fn width(text: &str, height: f32) -> f32 {
        Self::cells(text).len() as f32 * advance(height)
    }

    /// Draws a line of text; `x` and `y` are its upper left corner.
    fn draw(
        &self,
        canvas: &mut Canvas,
        text: &str,
        (x, y): (f32, f32),
        height: f32,
        color: Color,
    ) -> svtrv2::Result<()> {
        let size = (advance(height).ceil() as u32, height.round() as u32);
        let stride = 3 * self.sheet.width() as usize;
        for (place, cell) in Self::cells(text).into_iter().enumerate() {
            let (column, row) = (cell % COLUMNS * CELL.0, cell / COLUMNS * CELL.1);
            let pixels = &self.sheet.rgb()[row as usize * stride + 3 * column as usize..];
            let glyph = Crop::from_raw(PixelFormat::Rgb8, CELL.0, CELL.1, stride, pixels)?;
            let glyph = resize_bicubic(&glyph, size.0, size.1)?;
            let (left, top) = (x + place as f32 * advance(height), y);
            for (index, pixel) in glyph.rgb().chunks_exact(3).enumerate() {
                let (dx, dy) = (index as u32 % size.0, index as u32 / size.0);
                let at = (left.round() as i64 + i64::from(dx), top.round() as i64 + i64::from(dy));
                canvas.blend(at.0, at.1, color, f32::from(pixel[0]) / 255.0);
            }
        }
        Ok(())
    }
}

/// From glyph to glyph at a text height, in pixels.
fn advance(height: f32) -> f32 {
    height * CELL.0 as f32 / CELL.1 as f32
}

/// A result, and what it belongs to.
pub struct Drawn<'a> {
    pub name: String,
    pub crop: Crop<'a>,
    pub recognition: Recognition,
    /// Outlined if there are several.
    pub words: Vec<Word>,
}

/// Draws results below each other into a PNG file.
///
/// # Errors
/// If the file cannot be written.
pub fn draw(results: &[Drawn], path: &Path) -> Result<(), Box<dyn Error>> {
    let font = Font::load()?;
    let panels: Vec<Canvas> =
        results.iter().map(|result| panel(result, &font)).collect::<Result<_, _>>()?;
    let width = panels.iter().map(|panel| panel.width).max().unwrap_or(1);
    let height = panels.iter().map(|panel| panel.height).sum::<u32>().max(1);
    let mut canvas = Canvas::new(width, height);
    let mut top = 0;
    for panel in &panels {
        canvas.place(&panel.rgb, panel.width, 0, top);
        top += panel.height;
    }
    canvas.save(path)
}

/// One crop: a line with text, confidence and name; the crop with outlines of characters and, if there
/// are several, of words; every character and its confidence in percent beside its outline.
fn panel(result: &Drawn, font: &Font) -> svtrv2::Result<Canvas> {
    let Drawn { name, crop, recognition, words } = result;
    let title = format!("{}   {:.3}   {name}", recognition.text, recognition.confidence);
    let upright = recognition.rotation == Rotation::None;
    let scale = scale(crop, recognition);
    let scaled = |length: u32| ((length as f32 * scale).round() as u32).max(1);
    let (width, height) = (scaled(crop.width()), scaled(crop.height()));
    let notes = (TEXT_HEIGHT + SMALL_HEIGHT) as u32 + MARGIN;
    let top = TEXT_HEIGHT as u32 + 2 * MARGIN;
    let (right, bottom) = if upright { (MARGIN, notes) } else { (4 * notes, MARGIN) };
    let title_width = Font::width(&title, TEXT_HEIGHT) as u32 + 2 * MARGIN;
    let mut canvas = Canvas::new((MARGIN + width + right).max(title_width), top + height + bottom);
    font.draw(&mut canvas, &title, (MARGIN as f32, MARGIN as f32), TEXT_HEIGHT, INK)?;
    canvas.place(resize_bicubic(crop, width, height)?.rgb(), width, MARGIN, top);
    let to_canvas = |p: Point| Point::new(MARGIN as f32 + p.x * scale, top as f32 + p.y * scale);
    if words.len() > 1 {
        for word in words {
            canvas.quad(grown(Quad(word.quad.0.map(to_canvas)), AROUND), WORD);
        }
    }
    for character in &recognition.chars {
        let color = color(character);
        canvas.quad(Quad(character.quad.0.map(to_canvas)), color);
        let middle = to_canvas(character.quad.center());
        let percent = format!("{:.0}", 100.0 * character.confidence);
        let symbol_width = Font::width(&character.symbol, TEXT_HEIGHT);
        let percent_width = Font::width(&percent, SMALL_HEIGHT);
        let (symbol_place, percent_place) = if upright {
            let below = (top + height) as f32 + 2.0;
            (
                (middle.x - symbol_width / 2.0, below),
                (middle.x - percent_width / 2.0, below + TEXT_HEIGHT),
            )
        } else {
            let beside = (MARGIN + width) as f32 + 4.0;
            (
                (beside, middle.y - TEXT_HEIGHT / 2.0),
                (beside + symbol_width + 6.0, middle.y - SMALL_HEIGHT / 2.0),
            )
        };
        font.draw(&mut canvas, &character.symbol, symbol_place, TEXT_HEIGHT, INK)?;
        font.draw(&mut canvas, &percent, percent_place, SMALL_HEIGHT, color)?;
    }
    Ok(canvas)
}

/// A rectangle in any direction with its sides farther out, by some pixels.
fn grown(Quad(corners): Quad, by: f32) -> Quad {
    let [a, b, _, d] = corners;
    let unit = |from: Point, to: Point| {
        let length = from.distance(to).max(1e-3);
        Point::new((to.x - from.x) / length, (to.y - from.y) / length)
    };
    let (along, down) = (unit(a, b), unit(a, d));
    let signs = [(-by, -by), (by, -by), (by, by), (-by, by)];
    let moved = |((u, v), p): ((f32, f32), Point)| {
        Point::new(p.x + u * along.x + v * down.x, p.y + u * along.y + v * down.y)
    };
    let mut places = signs.into_iter().zip(corners).map(moved);
    Quad(corners.map(|corner| places.next().unwrap_or(corner)))
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
fn color(character: &Character) -> Color {
    let confidence = character.confidence.clamp(0.0, 1.0);
    [(220.0 * (1.0 - confidence)) as u8, (160.0 * confidence) as u8, 30]
}
