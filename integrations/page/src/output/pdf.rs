//! PDF: each page is its image, with the words above it in an invisible font.
//!
//! The font (Type 3) has empty glyphs of one width. A word is stretched to its box, and a space to the gap
//! behind it. 256 characters make a font; which they are is known at the end of the document, where fonts
//! are written. Objects are written as they come: no page is held.

use std::collections::HashMap;
use std::io::Write;

use pdf_writer::types::{SystemInfo, TextRenderingMode, UnicodeCmap};
use pdf_writer::{Chunk, Content, Filter, Finish, Name, Rect, Ref, Str};
use svtrv2::{Page, Point, Quad};

use super::DocumentPage;
use crate::detect::rgb;
use crate::error::{Error, Result};
use crate::text::Line;

/// The longest side of a page in points.
const MAX_POINTS: f32 = 14_400.0;
/// How far below the line its letters reach, as a share of its height.
const DESCENT: f32 = 0.2;
/// By how many of its own pixels an image is smaller than its page: poppler rounds the edges outwards, and
/// would resample an image that ends on a pixel's edge.
const INSET: f32 = 0.01;
/// The level of compression (0..=10).
const COMPRESSION: u8 = 6;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const GLYPH: Ref = Ref::new(3);
const FIRST_FREE: i32 = 4;

/// A document that is being written.
pub(super) struct Pdf {
    dpi: f32,
    /// Bytes so far.
    length: u64,
    /// The place of each object, by its number less one; 0 for those to come.
    offsets: Vec<u64>,
    next: Ref,
    pages: Vec<Ref>,
    /// Characters in the order of their codes: 256 a font.
    chars: Vec<char>,
    codes: HashMap<char, usize>,
    fonts: Vec<Ref>,
}

impl Pdf {
    pub(super) fn begin(out: &mut impl Write, dpi: f32) -> Result<Self> {
        if !(1.0..=10_000.0).contains(&dpi) {
            return Err(Error::Option {
                option: "dpi",
                detail: format!("{dpi} is not in 1..=10000"),
            });
        }
        let mut pdf = Pdf {
            dpi,
            length: 0,
            offsets: Vec::new(),
            next: Ref::new(FIRST_FREE),
            pages: Vec::new(),
            chars: Vec::new(),
            codes: HashMap::new(),
            fonts: Vec::new(),
        };
        // Bytes beyond ASCII tell transfer programs that the file is binary.
        pdf.bytes(out, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")?;
        Ok(pdf)
    }

    pub(super) fn page(&mut self, out: &mut impl Write, page: DocumentPage) -> Result<()> {
        let (width, height) = (page.page.width() as f32, page.page.height() as f32);
        let scale = (72.0 / self.dpi).min(MAX_POINTS / width.max(height));
        let (page_id, image, content) = (self.next.bump(), self.next.bump(), self.next.bump());
        self.image(out, image, page)?;

        let mut fonts: Vec<usize> = Vec::new();
        let text = self.text(page, scale, &mut fonts);
        let compressed = miniz_oxide::deflate::compress_to_vec_zlib(&text, COMPRESSION);
        let mut chunk = Chunk::new();
        chunk.stream(content, &compressed).filter(Filter::FlateDecode);
        self.chunk(out, content, &chunk)?;

        let mut chunk = Chunk::new();
        let mut object = chunk.page(page_id);
        object.parent(PAGES);
        object.media_box(Rect::new(0.0, 0.0, width * scale, height * scale));
        object.contents(content);
        let mut resources = object.resources();
        resources.x_objects().pair(Name(b"I"), image);
        let mut dict = resources.fonts();
        for font in fonts {
            dict.pair(Name(font_name(font).as_bytes()), self.fonts[font]);
        }
        dict.finish();
        resources.finish();
        object.finish();
        self.chunk(out, page_id, &chunk)?;
        self.pages.push(page_id);
        Ok(())
    }

    pub(super) fn end(mut self, out: &mut impl Write) -> Result<()> {
        self.glyph(out)?;
        for font in 0..self.fonts.len() {
            self.font(out, font)?;
        }
        let mut chunk = Chunk::new();
        chunk.pages(PAGES).kids(self.pages.iter().copied()).count(self.pages.len() as i32);
        self.chunk(out, PAGES, &chunk)?;
        let mut chunk = Chunk::new();
        chunk
            .indirect(CATALOG)
            .dict()
            .pair(Name(b"Type"), Name(b"Catalog"))
            .pair(Name(b"Pages"), PAGES);
        self.chunk(out, CATALOG, &chunk)?;
        let start = self.length;
        let count = self.offsets.len() + 1;
        let mut table = format!("xref\n0 {count}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            table.push_str(&format!("{offset:010} 00000 n \n"));
        }
        let root = CATALOG.get();
        table.push_str(&format!(
            "trailer\n<< /Size {count} /Root {root} 0 R >>\nstartxref\n{start}\n%%EOF\n"
        ));
        self.bytes(out, table.as_bytes())
    }

    /// The operators of a page: its image, and its words above it.
    fn text(&mut self, page: DocumentPage, scale: f32, fonts: &mut Vec<usize>) -> Vec<u8> {
        let (width, height) = (page.page.width() as f32, page.page.height() as f32);
        let mut content = Content::new();
        content.save_state();
        let (across, down) = ((width - INSET) * scale, (height - INSET) * scale);
        let margin = INSET / 2.0 * scale;
        content.transform([across, 0.0, 0.0, down, margin, margin]);
        content.x_object(Name(b"I"));
        content.restore_state();
        content.begin_text();
        content.set_text_rendering_mode(TextRenderingMode::Invisible);
        for line in &page.text.lines {
            for (text, quad) in with_spaces(line) {
                // The page's upper left corner is the origin of pixels, its lower left that of points.
                let point = |p: Point| Point::new(p.x * scale, (height - p.y) * scale);
                self.run(&mut content, &text, Quad(quad.0.map(point)), fonts);
            }
        }
        content.end_text();
        content.finish().into_vec()
    }

    /// Text along a quadrilateral in points.
    fn run(&mut self, content: &mut Content, text: &str, quad: Quad, fonts: &mut Vec<usize>) {
        let Quad([upper_left, _, right, left]) = quad;
        let (width, height) = (left.distance(right), left.distance(upper_left));
        let count = text.chars().count();
        if !(width > 0.0 && height > 0.0 && count > 0) {
            return;
        }
        let along = Point::new((right.x - left.x) / width, (right.y - left.y) / width);
        let up = Point::new(-along.y, along.x);
        let base = DESCENT * height;
        let (x, y) = (left.x + base * up.x, left.y + base * up.y);
        content.set_text_matrix([along.x, along.y, up.x, up.y, x, y]);
        content.set_horizontal_scaling(100.0 * width / (count as f32 * height));
        let codes: Vec<(usize, u8)> = text.chars().map(|c| self.code(c)).collect();
        for same in codes.chunk_by(|a, b| a.0 == b.0) {
            let font = same[0].0;
            if !fonts.contains(&font) {
                fonts.push(font);
            }
            let bytes: Vec<u8> = same.iter().map(|(_, code)| *code).collect();
            content.set_font(Name(font_name(font).as_bytes()), height);
            content.show(Str(&bytes));
        }
    }

    /// The font and the code of a character.
    fn code(&mut self, c: char) -> (usize, u8) {
        let chars = &mut self.chars;
        let index = *self.codes.entry(c).or_insert_with(|| {
            chars.push(c);
            chars.len() - 1
        });
        if index / 256 == self.fonts.len() {
            self.fonts.push(self.next.bump());
        }
        (index / 256, (index % 256) as u8)
    }

    /// The page's image: an ordinary JPEG file as it is, any other compressed without loss.
    fn image(&mut self, out: &mut impl Write, id: Ref, page: DocumentPage) -> Result<()> {
        let (width, height) = (page.page.width(), page.page.height());
        let mut chunk = Chunk::new();
        let jpeg = page.file.and_then(|file| {
            let header = JpegHeader::read(file)?;
            ((header.width, header.height) == (width, height)).then_some((file, header.grey))
        });
        let (data, filter, grey) = match jpeg {
            Some((file, grey)) => (file.to_vec(), Filter::DctDecode, grey),
            None => {
                let (samples, grey) = samples(page.page)?;
                let data = miniz_oxide::deflate::compress_to_vec_zlib(&samples, COMPRESSION);
                (data, Filter::FlateDecode, grey)
            }
        };
        let mut image = chunk.image_xobject(id, &data);
        image.filter(filter);
        image.width(width as i32).height(height as i32).bits_per_component(8);
        if grey {
            image.color_space().device_gray();
        } else {
            image.color_space().device_rgb();
        }
        if filter == Filter::FlateDecode {
            let colors = if grey { 1 } else { 3 };
            let mut parameters = image.decode_parms();
            parameters.predictor(pdf_writer::types::Predictor::PngUp);
            parameters.colors(colors).bits_per_component(8).columns(width as i32);
            parameters.finish();
        }
        image.finish();
        self.chunk(out, id, &chunk)
    }

    /// The glyph of all characters: nothing, one em wide.
    fn glyph(&mut self, out: &mut impl Write) -> Result<()> {
        let mut content = Content::new();
        content.start_color_glyph(1000.0);
        let mut chunk = Chunk::new();
        chunk.stream(GLYPH, &content.finish());
        self.chunk(out, GLYPH, &chunk)
    }

    fn font(&mut self, out: &mut impl Write, font: usize) -> Result<()> {
        let id = self.fonts[font];
        let cmap_id = self.next.bump();
        let chars: Vec<char> = self.chars[256 * font..].iter().take(256).copied().collect();
        let info = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"UCS"), supplement: 0 };
        let mut cmap: UnicodeCmap<u8> = UnicodeCmap::new(Name(b"Custom"), info);
        chars.iter().enumerate().for_each(|(code, &c)| cmap.pair(code as u8, c));
        let mut chunk = Chunk::new();
        chunk.stream(cmap_id, &cmap.finish());
        self.chunk(out, cmap_id, &chunk)?;

        let mut chunk = Chunk::new();
        let mut object = chunk.type3_font(id);
        object.bbox(Rect::new(0.0, -1000.0 * DESCENT, 1000.0, 1000.0 * (1.0 - DESCENT)));
        object.matrix([0.001, 0.0, 0.0, 0.001, 0.0, 0.0]);
        object.char_procs().pair(Name(b"g"), GLYPH);
        let mut encoding = object.encoding_custom();
        encoding.differences().consecutive(0, chars.iter().map(|_| Name(b"g")));
        encoding.finish();
        object.first_char(0).last_char((chars.len() - 1) as u8);
        object.widths(chars.iter().map(|_| 1000.0));
        object.resources();
        object.to_unicode(cmap_id);
        object.finish();
        self.chunk(out, id, &chunk)
    }

    /// Writes an object.
    fn chunk(&mut self, out: &mut impl Write, id: Ref, chunk: &Chunk) -> Result<()> {
        let index = id.get() as usize - 1;
        if self.offsets.len() <= index {
            self.offsets.resize(index + 1, 0);
        }
        self.offsets[index] = self.length;
        self.bytes(out, chunk.as_bytes())
    }

    fn bytes(&mut self, out: &mut impl Write, bytes: &[u8]) -> Result<()> {
        out.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn font_name(font: usize) -> String {
    format!("F{font}")
}

/// The words of a line, and the spaces between them, with their places.
fn with_spaces(line: &Line) -> Vec<(String, Quad)> {
    let mut parts: Vec<(String, Quad)> = Vec::with_capacity(2 * line.words.len());
    for word in &line.words {
        if let Some((_, Quad([_, upper_right, lower_right, _]))) = parts.last() {
            let (upper_right, lower_right) = (*upper_right, *lower_right);
            let Quad([upper_left, _, _, lower_left]) = word.quad;
            parts.push((" ".to_owned(), Quad([upper_right, upper_left, lower_left, lower_right])));
        }
        parts.push((word.text.clone(), word.quad));
    }
    parts
}

/// Rows of samples, each behind the filter type "up" of PNG, and whether they are grey.
fn samples(page: &Page) -> Result<(Vec<u8>, bool)> {
    let rgb = rgb(page)?;
    let grey = rgb.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b);
    let samples: Vec<u8> = if grey { rgb.iter().step_by(3).copied().collect() } else { rgb };
    let row = page.width() as usize * if grey { 1 } else { 3 };
    let mut filtered = Vec::with_capacity(samples.len() + page.height() as usize);
    let mut above = vec![0u8; row];
    for current in samples.chunks_exact(row) {
        filtered.push(2);
        filtered
            .extend(current.iter().zip(&above).map(|(value, above)| value.wrapping_sub(*above)));
        above.copy_from_slice(current);
    }
    Ok((filtered, grey))
}

/// What a JPEG file says of itself, if PDF readers show it as this crate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JpegHeader {
    width: u32,
    height: u32,
    grey: bool,
}

impl JpegHeader {
    /// Reads the segments up to the frame. Nothing for files that are turned by EXIF, truncated, neither grey
    /// nor YCbCr, or not baseline or progressive with 8 bits.
    fn read(file: &[u8]) -> Option<Self> {
        if !file.starts_with(&[0xff, 0xd8]) || !file.ends_with(&[0xff, 0xd9]) {
            return None;
        }
        let (mut at, mut is_ycbcr) = (2, false);
        loop {
            let &[0xff, marker, high, low] = file.get(at..at + 4)? else { return None };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let segment = file.get(at + 4..at + 2 + length)?;
            match marker {
                0xe0 if segment.starts_with(b"JFIF\0") => is_ycbcr = true,
                0xe1 if segment.starts_with(b"Exif\0") => return None,
                0xee if segment.starts_with(b"Adobe") => is_ycbcr = *segment.get(11)? == 1,
                0xc0..=0xc2 => {
                    let &[8, h1, h0, w1, w0, components, ..] = segment else { return None };
                    let height = u32::from(u16::from_be_bytes([h1, h0]));
                    let width = u32::from(u16::from_be_bytes([w1, w0]));
                    let grey = components == 1;
                    let known = grey || (components == 3 && is_ycbcr);
                    return known.then_some(JpegHeader { width, height, grey });
                }
                0xc3..=0xcf if marker != 0xc4 && marker != 0xcc => return None,
                0xd0..=0xda => return None,
                _ => {}
            }
            at += 2 + length;
        }
    }
}
