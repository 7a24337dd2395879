//! The crate svtrv2 for JavaScript.
//!
//! The functions here are what the package's `index.js` calls; `index.d.ts` describes what users see.
//! Pixels and files cross the border as bytes, options and results as JSON.

mod options;
mod result;

use std::sync::Arc;

use svtrv2::decode::CompactNgram;
use svtrv2::weights::Weights;
use svtrv2::{Crop, Page, PixelFormat, Region};
use wasm_bindgen::prelude::*;

use options::{Decoding, Setup};
use result::{Outcome, Recognized};

/// A network with its charset, and a language model if there is one.
#[wasm_bindgen]
pub struct Recognizer {
    inner: svtrv2::Recognizer,
    ngram: Option<Arc<CompactNgram>>,
    /// The options of the last call, and the recogniser that they gave.
    last: Option<(String, svtrv2::Recognizer)>,
}

#[wasm_bindgen]
impl Recognizer {
    /// Takes the bytes of a weights file, those of a language model (may be empty), and a [`Setup`]
    /// as JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(weights: Vec<u8>, ngram: &[u8], setup: &str) -> Result<Recognizer, JsError> {
        let setup: Setup = serde_json::from_str(setup)?;
        let inner = svtrv2::Recognizer::new(&Weights::from_bytes(weights)?, setup.options()?)?;
        let ngram = match ngram {
            [] => None,
            bytes => Some(Arc::new(CompactNgram::from_bytes(bytes)?)),
        };
        Ok(Recognizer { inner, ngram, last: None })
    }

    /// The symbols that the network knows, as a JSON array.
    pub fn charset(&self) -> Result<String, JsError> {
        Ok(serde_json::to_string(self.inner.charset().symbols())?)
    }

    /// Recognises a PNG or JPEG file, a [`Recognized`] as JSON.
    #[wasm_bindgen(js_name = recognizeFile)]
    pub fn recognize_file(&mut self, file: &[u8], options: &str) -> Result<String, JsError> {
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
    ) -> Result<String, JsError> {
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
    ) -> Result<String, JsError> {
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
    ) -> Result<String, JsError> {
        let stride = width as usize * PixelFormat::Rgba8.bytes_per_pixel();
        let page = Page::from_raw(PixelFormat::Rgba8, width, height, stride, rgba)?;
        self.recognize_regions(&page, regions, options)
    }

    fn recognize(&mut self, crop: Crop, options: &str) -> Result<String, JsError> {
        let recognition = self.with_options(options)?.recognize(crop)?;
        Ok(serde_json::to_string(&Recognized::from(recognition))?)
    }

    fn recognize_regions(
        &mut self,
        page: &Page,
        regions: &str,
        options: &str,
    ) -> Result<String, JsError> {
        let regions: Vec<options::Region> = serde_json::from_str(regions)?;
        let regions: Vec<Region> = regions.into_iter().map(Region::from).collect();
        let results = self.with_options(options)?.recognize_regions(page, &regions);
        let outcomes: Vec<Outcome> = results.into_iter().map(Outcome::from).collect();
        Ok(serde_json::to_string(&outcomes)?)
    }

    /// The recogniser with a decoder as the options, a [`Decoding`] as JSON, say.
    fn with_options(&mut self, json: &str) -> Result<&svtrv2::Recognizer, JsError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != json) {
            let decoding: Decoding = serde_json::from_str(json)?;
            let decoder = decoding.decoder(self.inner.charset(), self.ngram.as_ref())?;
            self.last = Some((json.to_owned(), self.inner.with_decoder(decoder)?));
        }
        Ok(self.last.as_ref().map_or(&self.inner, |(_, recognizer)| recognizer))
    }
}
