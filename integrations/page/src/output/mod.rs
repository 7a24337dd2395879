//! Pages in the formats that other programs take.

mod alto;
mod draw;
mod hocr;
mod json;
mod pdf;
mod tsv;
mod xml;

use std::io::Write;

use svtrv2::Page;

use crate::error::Result;
use crate::text::PageText;
pub use draw::draw;

/// A format of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// Plain text ([`PageText::text`]); a form feed between pages.
    #[default]
    Text,
    /// A JSON object a page and line: `file`, and the fields of [`PageText`].
    Json,
    /// hOCR 1.2 (XHTML): blocks, lines and words with boxes, baselines and confidences.
    Hocr,
    /// ALTO 4.
    Alto,
    /// Tab-separated values in Tesseract's columns; confidences in percent.
    Tsv,
    /// PDF: the page's image with its text, invisible, above it. It can be searched and copied.
    Pdf,
}

/// A page of a document.
#[derive(Debug, Clone, Copy)]
pub struct DocumentPage<'a> {
    /// The name of the image file.
    pub name: &'a str,
    /// The image.
    pub page: &'a Page<'a>,
    /// The bytes of the image file, if at hand: a PDF takes over those of ordinary JPEG files.
    pub file: Option<&'a [u8]>,
    /// Its text.
    pub text: &'a PageText,
}

/// Writes pages to a document, one by one; no page is held.
///
/// ```
/// use svtrv2_page::svtrv2::{Page, PixelFormat};
/// use svtrv2_page::{Document, DocumentPage, Format, PageText};
///
/// let page = Page::from_raw(PixelFormat::Grey8, 20, 10, 20, &[255; 200])?;
/// let mut document = Document::new(Format::Tsv, Vec::new(), 150.0)?;
/// let text = PageText::default();
/// document.page(DocumentPage { name: "blank.png", page: &page, file: None, text: &text })?;
/// let bytes = document.finish()?;
/// assert!(bytes.starts_with(b"level\tpage_num"));
/// # Ok::<(), svtrv2_page::Error>(())
/// ```
pub struct Document<W: Write> {
    out: W,
    pages: usize,
    writer: Writer,
}

enum Writer {
    Text,
    Json,
    Hocr,
    Alto,
    Tsv,
    Pdf(Box<pdf::Pdf>),
}

impl<W: Write> Document<W> {
    /// Starts a document. `dpi` says how many pixels of a page are an inch of paper; only PDF asks.
    ///
    /// # Errors
    /// [`Error::Output`](crate::Error::Output) if nothing can be written,
    /// [`Error::Option`](crate::Error::Option) for a `dpi` that is not in 1..=10 000.
    pub fn new(format: Format, mut out: W, dpi: f32) -> Result<Self> {
        let writer = match format {
            Format::Text => Writer::Text,
            Format::Json => Writer::Json,
            Format::Hocr => {
                hocr::begin(&mut out)?;
                Writer::Hocr
            }
            Format::Alto => Writer::Alto,
            Format::Tsv => {
                tsv::begin(&mut out)?;
                Writer::Tsv
            }
            Format::Pdf => Writer::Pdf(Box::new(pdf::Pdf::begin(&mut out, dpi)?)),
        };
        Ok(Document { out, pages: 0, writer })
    }

    /// Adds a page.
    ///
    /// # Errors
    /// [`Error::Output`](crate::Error::Output) if it cannot be written.
    pub fn page(&mut self, page: DocumentPage) -> Result<()> {
        let number = self.pages;
        let out = &mut self.out;
        match &mut self.writer {
            Writer::Text => {
                if number > 0 {
                    out.write_all(b"\x0c")?;
                }
                out.write_all(page.text.text().as_bytes())?;
            }
            Writer::Json => json::page(out, page)?,
            Writer::Hocr => hocr::page(out, page, number)?,
            Writer::Alto => {
                if number == 0 {
                    alto::begin(out, Some(page.name))?;
                }
                alto::page(out, page, number)?;
            }
            Writer::Tsv => tsv::page(out, page, number)?,
            Writer::Pdf(pdf) => pdf.page(out, page)?,
        }
        self.pages += 1;
        Ok(())
    }

    /// Ends the document and hands the output back, flushed. A PDF of no page is not written.
    ///
    /// # Errors
    /// [`Error::Output`](crate::Error::Output) if it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        match self.writer {
            Writer::Text | Writer::Json | Writer::Tsv => {}
            Writer::Hocr => hocr::end(&mut self.out)?,
            Writer::Alto => {
                if self.pages == 0 {
                    alto::begin(&mut self.out, None)?;
                }
                alto::end(&mut self.out)?;
            }
            Writer::Pdf(pdf) => pdf.end(&mut self.out)?,
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
