//! Many regions of a page in one call.

use super::Recognizer;
use crate::crop::{Crop, Page, Region};
use crate::error::Result;
use crate::recognition::Recognition;

/// The most regions that are cropped and recognised together, and the most bytes of their crops.
const AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 64 << 20;

impl Recognizer {
    /// Recognises the text in many regions of a page; results are in the order of the regions.
    ///
    /// As [`Page::crops`] and [`recognize_batch`](Self::recognize_batch), but the characters' quadrilaterals
    /// and bounds are in pixels of the page. A region that fails leaves the others alone.
    ///
    /// Crops of at most 64 MiB are held at a time, or a single larger one.
    pub fn recognize_regions(&self, page: &Page, regions: &[Region]) -> Vec<Result<Recognition>> {
        let (mut results, mut rest) = (Vec::with_capacity(regions.len()), regions);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(together(rest));
            results.extend(self.recognize_some(page, now));
            rest = later;
        }
        results
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

/// How many of the first regions are cropped together, at least one.
fn together(regions: &[Region]) -> usize {
    let mut bytes = 0usize;
    let fits = regions.iter().take(AT_ONCE).take_while(|region| {
        bytes = bytes.saturating_add(region.max_crop_bytes());
        bytes <= BYTES_AT_ONCE
    });
    fits.count().max(1)
}
