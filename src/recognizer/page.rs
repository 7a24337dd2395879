//! Many regions of a page in one call.

use super::Recognizer;
use crate::crop::{Crop, Page, Region};
use crate::error::Result;
use crate::recognition::Recognition;

/// Regions that are cropped and recognised together, which bounds the memory of their crops.
const AT_ONCE: usize = 256;

impl Recognizer {
    /// Recognises the text in many regions of a page; results are in the order of the regions.
    ///
    /// As [`Page::crops`] and [`recognize_batch`](Self::recognize_batch), but the characters' quadrilaterals
    /// and bounds are in pixels of the page. A region that fails leaves the others alone.
    pub fn recognize_regions(&self, page: &Page, regions: &[Region]) -> Vec<Result<Recognition>> {
        regions.chunks(AT_ONCE).flat_map(|regions| self.recognize_some(page, regions)).collect()
    }

    fn recognize_some(&self, page: &Page, regions: &[Region]) -> Vec<Result<Recognition>> {
        let (mut crops, mut placements) = (Vec::new(), Vec::new());
        let cropped: Vec<Result<()>> = page
            .crops(regions)
            .into_iter()
            .map(|page_crop| {
                let page_crop = page_crop?;
                placements.push(page_crop.placement().clone());
                crops.push(Crop::from(page_crop));
                Ok(())
            })
            .collect();
        let mut recognized =
            self.recognize_batch(&crops).into_iter().zip(&placements).map(
                |(recognition, placement)| {
                    Ok(recognition?.map_points(|point| placement.to_page(point)))
                },
            );
        let results = cropped.into_iter().filter_map(|cropped| match cropped {
            Ok(()) => recognized.next(),
            Err(error) => Some(Err(error)),
        });
        results.collect()
    }
}
