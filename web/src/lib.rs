//! The crate svtrv2 for JavaScript.
//!
//! The functions here are what the package's `index.js` calls; `index.d.ts` describes what users see.
//! Pixels and files cross the border as bytes, options and results as JSON.

mod failure;
mod options;
mod result;

use std::sync::Arc;

use svtrv2::decode::CompactNgram;
use svtrv2::weights::{DetectorWeights, Weights};
use svtrv2::{Crop, Page, PixelFormat, Region};
use svtrv2_page::DetectorOptions;
use wasm_bindgen::prelude::*;

use failure::Failure;
use options::{Decoding, Setup};
use result::{FoundLine, Outcome, Recognized};

/// A network with its charset, and a language model if there is one.
#[wasm_bindgen]
pub struct Recognizer {
    inner: svtrv2::Recognizer,
    ngram: Option<Arc<CompactNgram>>,
    /// What the options of the last call gave.
    last: Option<Prepared>,
}

/// What the options of a call, JSON of a [`Decoding`], give.
struct Prepared {
    json: String,
    recognizer: svtrv2::Recognizer,
    words_by_gaps: bool,
}

#[wasm_bindgen]
impl Recognizer {
    /// Takes the bytes of a weights file, those of a language model (may be empty), and a [`Setup`]
    /// as JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(weights: Vec<u8>, ngram: &[u8], setup: &str) -> Result<Recognizer, Failure> {
        let setup: Setup = serde_json::from_str(setup)?;
        let inner = svtrv2::Recognizer::new(&Weights::from_bytes(weights)?, setup.options()?)?;
        let ngram = match ngram {
            [] => None,
            bytes => Some(Arc::new(CompactNgram::from_bytes(bytes)?)),
        };
        Ok(Recognizer { inner, ngram, last: None })
    }

    /// The symbols that the network knows, as a JSON array.
    pub fn charset(&self) -> Result<String, Failure> {
        Ok(serde_json::to_string(self.inner.charset().symbols())?)
    }

    /// Recognises a PNG or JPEG file, a [`Recognized`] as JSON.
    #[wasm_bindgen(js_name = recognizeFile)]
    pub fn recognize_file(&mut self, file: &[u8], options: &str) -> Result<String, Failure> {
        self.recognize(Crop::decode(file)?, options)
    }

    /// Recognises pixels of red, green, blue and opacity.
    #[wasm_bindgen(js_name = recognizePixels)]
    pub fn recognize_pixels(
        &mut self,
        rgba: &[u8],
        width: u32,
        height: u32,
        options: &str,
    ) -> Result<String, Failure> {
        let stride = width as usize * PixelFormat::Rgba8.bytes_per_pixel();
        self.recognize(Crop::from_raw(PixelFormat::Rgba8, width, height, stride, rgba)?, options)
    }

    /// Recognises regions of a page in a PNG or JPEG file: [`Outcome`]s as a JSON array.
    #[wasm_bindgen(js_name = recognizeFileRegions)]
    pub fn recognize_file_regions(
        &mut self,
        file: &[u8],
        regions: &str,
        options: &str,
    ) -> Result<String, Failure> {
        self.recognize_regions(&Page::decode(file)?, regions, options)
    }

    /// Recognises regions of a page of pixels.
    #[wasm_bindgen(js_name = recognizePixelsRegions)]
    pub fn recognize_pixels_regions(
        &mut self,
        rgba: &[u8],
        width: u32,
        height: u32,
        regions: &str,
        options: &str,
    ) -> Result<String, Failure> {
        let stride = width as usize * PixelFormat::Rgba8.bytes_per_pixel();
        let page = Page::from_raw(PixelFormat::Rgba8, width, height, stride, rgba)?;
        self.recognize_regions(&page, regions, options)
    }

    fn recognize(&mut self, crop: Crop, options: &str) -> Result<String, Failure> {
        let Prepared { recognizer, words_by_gaps, .. } = self.prepared(options)?;
        let recognition = recognizer.recognize(crop)?;
        Ok(serde_json::to_string(&Recognized::new(recognition, *words_by_gaps))?)
    }

    fn recognize_regions(
        &mut self,
        page: &Page,
        regions: &str,
        options: &str,
    ) -> Result<String, Failure> {
        let regions: Vec<options::Region> = serde_json::from_str(regions)?;
        let regions: Vec<Region> = regions.into_iter().map(Region::from).collect();
        let Prepared { recognizer, words_by_gaps, .. } = self.prepared(options)?;
        let results = recognizer.recognize_regions(page, &regions);
        let outcome = |result| Outcome::new(result, *words_by_gaps);
        let outcomes: Vec<Outcome> = results.into_iter().map(outcome).collect();
        Ok(serde_json::to_string(&outcomes)?)
    }

    /// The recogniser with a decoder as the options say.
    fn prepared(&mut self, json: &str) -> Result<&Prepared, Failure> {
        let prepared = match self.last.take().filter(|last| last.json == json) {
            Some(last) => last,
            None => {
                let decoding: Decoding = serde_json::from_str(json)?;
                let words_by_gaps = decoding.words_by_gaps;
                let decoder = decoding.decoder(self.inner.charset(), self.ngram.as_ref())?;
                let recognizer = self.inner.with_decoder(decoder)?;
                Prepared { json: json.to_owned(), recognizer, words_by_gaps }
            }
        };
        Ok(self.last.insert(prepared))
    }
}

/// A network that finds the lines of pages.
#[wasm_bindgen]
pub struct Detector {
    inner: svtrv2_page::Detector,
}

#[wasm_bindgen]
impl Detector {
    /// Takes the bytes of a weights file.
    #[wasm_bindgen(constructor)]
    pub fn new(weights: Vec<u8>) -> Result<Detector, Failure> {
        let weights = DetectorWeights::from_bytes(weights)?;
        let inner = svtrv2_page::Detector::from_weights(&weights, DetectorOptions::default())?;
        Ok(Detector { inner })
    }

    /// Finds the lines in a PNG or JPEG file: [`FoundLine`]s in reading order as a JSON array.
    #[wasm_bindgen(js_name = detectFile)]
    pub fn detect_file(&self, file: &[u8]) -> Result<String, Failure> {
        self.detect(&Page::decode(file)?)
    }

    /// Finds the lines in pixels of red, green, blue and opacity.
    #[wasm_bindgen(js_name = detectPixels)]
    pub fn detect_pixels(&self, rgba: &[u8], width: u32, height: u32) -> Result<String, Failure> {
        let stride = width as usize * PixelFormat::Rgba8.bytes_per_pixel();
        self.detect(&Page::from_raw(PixelFormat::Rgba8, width, height, stride, rgba)?)
    }

    fn detect(&self, page: &Page) -> Result<String, Failure> {
        let boxes = svtrv2_page::in_reading_order(&self.inner.detect(page)?);
        let lines: Vec<FoundLine> = boxes.into_iter().map(FoundLine::from).collect();
        Ok(serde_json::to_string(&lines)?)
    }
}
