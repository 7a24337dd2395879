//! Pages of known text, and the networks that read them.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};
use svtrv2_page::svtrv2::{Options, Page, PixelFormat, Precision, Recognizer, weights::Weights};
use svtrv2_page::{Detector, DetectorOptions, Reader};

/// The folder that `examples/fetch_weights.sh ppocrv6` fills.
fn weights() -> PathBuf {
    std::env::var_os("SVTRV2_PAGE_MODELS").map(PathBuf::from).expect(
        "SVTRV2_PAGE_MODELS names the folder that `examples/fetch_weights.sh ppocrv6` fills",
    )
}

pub fn detector_file() -> PathBuf {
    weights().join("ppocrv6_det_small.onnx")
}

pub fn detector(options: DetectorOptions) -> Detector {
    Detector::with_options(detector_file(), options).unwrap()
}

pub fn reader(threads: usize) -> Reader {
    let weights = Weights::open(weights().join("ppocrv6_small.safetensors")).unwrap();
    let options = Options { precision: Some(Precision::Int8), ..Options::default() };
    let options_of_detector =
        DetectorOptions { threads: Some(threads), ..DetectorOptions::default() };
    Reader::new(detector(options_of_detector), Recognizer::new(&weights, options).unwrap())
}

/// DejaVu Sans (Debian: `fonts-dejavu-core`).
fn font() -> FontVec {
    let path = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    FontVec::try_from_vec(std::fs::read(path).expect(path)).unwrap()
}

/// A grey picture.
#[derive(Clone)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

impl Picture {
    pub fn new(width: u32, height: u32, level: u8) -> Self {
        Picture { width, height, pixels: vec![level; width as usize * height as usize] }
    }

    /// Writes text whose upper left corner is at (x, y), `size` pixels high, mixed with `ink`.
    pub fn write(&mut self, text: &str, x: f32, y: f32, size: f32, ink: u8) {
        let font = font();
        let scaled = font.as_scaled(PxScale::from(size));
        let mut pen = x;
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            let glyph = id.with_scale_and_position(size, point(pen, y + scaled.ascent()));
            pen += scaled.h_advance(id);
            let Some(outline) = scaled.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, cover| {
                let x = bounds.min.x as i64 + i64::from(dx);
                let y = bounds.min.y as i64 + i64::from(dy);
                if (0..i64::from(self.width)).contains(&x)
                    && (0..i64::from(self.height)).contains(&y)
                {
                    let pixel = &mut self.pixels[y as usize * self.width as usize + x as usize];
                    let mixed = f32::from(*pixel) + cover * (f32::from(ink) - f32::from(*pixel));
                    *pixel = mixed.round() as u8;
                }
            });
        }
    }

    /// Turned by degrees, clockwise, on a white picture that holds all of it.
    pub fn turned(&self, degrees: f32) -> Picture {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (w, h) = (self.width as f32, self.height as f32);
        let width = (w * cos.abs() + h * sin.abs()).round() as u32;
        let height = (w * sin.abs() + h * cos.abs()).round() as u32;
        let mut turned = Picture::new(width, height, 255);
        for y in 0..height {
            for x in 0..width {
                let (u, v) =
                    (x as f32 + 0.5 - width as f32 / 2.0, y as f32 + 0.5 - height as f32 / 2.0);
                let (u, v) = (u * cos + v * sin + w / 2.0 - 0.5, v * cos - u * sin + h / 2.0 - 0.5);
                if u > -1.0 && v > -1.0 && u < w && v < h {
                    turned.pixels[y as usize * width as usize + x as usize] = self.sample(u, v);
                }
            }
        }
        turned
    }

    /// Bent: the middle row becomes an arc of `radius` pixels, over the top, or if `radius` is below 0 under the
    /// bottom.
    pub fn bent(&self, radius: f32) -> Picture {
        let (w, h, turn) = (self.width as f32, self.height as f32, radius.signum());
        let radius = radius.abs();
        let (width, height) = (w, h + radius * (1.0 - (w / 2.0 / radius).cos()));
        let mut bent = Picture::new(width.ceil() as u32, height.ceil() as u32, self.pixels[0]);
        // The middle of the circle, below or above the picture.
        let middle = if turn > 0.0 { h / 2.0 + radius } else { height - h / 2.0 - radius };
        for y in 0..bent.height {
            for x in 0..bent.width {
                let (dx, dy) = (x as f32 - w / 2.0, turn * (middle - y as f32));
                let u = w / 2.0 + radius * dx.atan2(dy);
                let v = h / 2.0 - turn * (dx.hypot(dy) - radius);
                if u > 0.0 && v > 0.0 && u < w - 1.0 && v < h - 1.0 {
                    bent.pixels[(y * bent.width + x) as usize] = self.sample(u, v);
                }
            }
        }
        bent
    }

    /// Bilinear.
    fn sample(&self, x: f32, y: f32) -> u8 {
        let at = |x: f32, y: f32| {
            let x = x.clamp(0.0, self.width as f32 - 1.0) as usize;
            let y = y.clamp(0.0, self.height as f32 - 1.0) as usize;
            f32::from(self.pixels[y * self.width as usize + x])
        };
        let (left, upper) = (x.floor(), y.floor());
        let (dx, dy) = (x - left, y - upper);
        let row = |y: f32| at(left, y) * (1.0 - dx) + at(left + 1.0, y) * dx;
        (row(upper) * (1.0 - dy) + row(upper + 1.0) * dy).round() as u8
    }

    pub fn page(&self) -> Page<'_> {
        let stride = self.width as usize;
        Page::from_raw(PixelFormat::Grey8, self.width, self.height, stride, &self.pixels).unwrap()
    }

    pub fn png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(&self.pixels).unwrap();
        bytes
    }
}

/// The lines of [`letter`].
pub const LETTER: [&str; 6] = [
    "Harbour Museum",
    "The museum is open every day from",
    "ten to six. Tickets are sold at the",
    "desk behind the entrance hall.",
    "Guided tours start at noon and at",
    "three in the afternoon.",
];

/// A page with a heading and a paragraph.
pub fn letter() -> Picture {
    let mut page = Picture::new(800, 560, 250);
    page.write(LETTER[0], 60.0, 40.0, 52.0, 20);
    for (row, line) in LETTER.iter().enumerate().skip(1) {
        page.write(line, 60.0, 90.0 + 60.0 * row as f32, 34.0, 20);
    }
    page
}
