//! Outlines of lines and words, painted onto the page.

use std::io::Write;

use svtrv2::{Page, Point, Quad};

use crate::detect::rgb;
use crate::error::Result;
use crate::text::PageText;

const LINE_COLOR: [u8; 3] = [0, 90, 255];
const WORD_COLOR: [u8; 3] = [230, 0, 70];

/// Writes a PNG file of the page with its lines outlined in blue and its words in red.
///
/// # Errors
/// [`Error::Output`](crate::Error::Output) if it cannot be written.
pub fn draw(page: &Page, text: &PageText, out: impl Write) -> Result<()> {
    let mut canvas = Canvas { width: page.width(), height: page.height(), rgb: rgb(page)? };
    let thickness = 1 + page.width().min(page.height()) / 1000;
    for line in &text.lines {
        line.words.iter().for_each(|word| canvas.outline(word.quad, thickness, WORD_COLOR));
        canvas.outline(line.quad, thickness, LINE_COLOR);
    }
    let mut encoder = png::Encoder::new(out, canvas.width, canvas.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(std::io::Error::from)?;
    writer.write_image_data(&canvas.rgb).map_err(std::io::Error::from)?;
    writer.finish().map_err(std::io::Error::from)?;
    Ok(())
}

struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    fn outline(&mut self, Quad(corners): Quad, thickness: u32, color: [u8; 3]) {
        for (i, &from) in corners.iter().enumerate() {
            self.line(from, corners[(i + 1) % 4], thickness, color);
        }
    }

    fn line(&mut self, from: Point, to: Point, thickness: u32, color: [u8; 3]) {
        let steps = (to.x - from.x).abs().max((to.y - from.y).abs()).ceil().clamp(1.0, 1e6);
        for step in 0..=steps as u32 {
            let share = step as f32 / steps;
            let x = (from.x + share * (to.x - from.x)).floor();
            let y = (from.y + share * (to.y - from.y)).floor();
            for dy in 0..thickness {
                for dx in 0..thickness {
                    self.pixel(x + dx as f32, y + dy as f32, color);
                }
            }
        }
    }

    fn pixel(&mut self, x: f32, y: f32, color: [u8; 3]) {
        if x >= 0.0 && y >= 0.0 && x < self.width as f32 && y < self.height as f32 {
            let at = 3 * (y as usize * self.width as usize + x as usize);
            self.rgb[at..at + 3].copy_from_slice(&color);
        }
    }
}
