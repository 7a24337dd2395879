//! How a detector is set up.

use crate::error::{Error, Result};

/// At which size the network sees a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scale {
    /// Pages whose shorter side is below [`DetectorOptions::min_side`] are enlarged to it. Pages whose
    /// longer side is beyond [`DetectorOptions::max_side`] shrink to it, but never so far that the shorter
    /// side falls below `min_side`: long receipts are cut into tiles.
    #[default]
    Fit,
    /// Larger pages keep their own pixels, in tiles: for small print on large scans. Small pages are
    /// enlarged as with [`Scale::Fit`].
    Own,
}

/// How a [`Detector`](crate::Detector) is set up. The defaults are those of RapidOCR 3.10.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorOptions {
    /// At which size the network sees a page.
    pub scale: Scale,
    /// The least length of the shorter side in pixels of the network's input, 32..=4096; 736.
    pub min_side: u32,
    /// The longer side from which pages shrink, in pixels, `min_side`..=16 384; 2000.
    pub max_side: u32,
    /// The most pixels that go through the network at once, at least 2^18; 4 million. Larger maps are made
    /// of tiles that overlap.
    pub tile_pixels: u32,
    /// The probability (0..1) from which a pixel is text; 0.3.
    pub pixel_threshold: f32,
    /// The mean probability (0..=1) from which a region is kept; 0.5.
    pub box_threshold: f32,
    /// By how much a region grows: its edges move outwards by this times its area over its perimeter,
    /// 0..=10; 1.6.
    pub unclip_ratio: f32,
    /// The number of threads of a pool of its own; by default rayon's current pool is used.
    pub threads: Option<usize>,
}

impl Default for DetectorOptions {
    fn default() -> Self {
        DetectorOptions {
            scale: Scale::default(),
            min_side: 736,
            max_side: 2000,
            tile_pixels: 4_000_000,
            pixel_threshold: 0.3,
            box_threshold: 0.5,
            unclip_ratio: 1.6,
            threads: None,
        }
    }
}

impl DetectorOptions {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |option, detail| Err(Error::Option { option, detail });
        let (min_side, max_side) = (self.min_side, self.max_side);
        if !(32..=4096).contains(&min_side) {
            return refuse("min_side", format!("{min_side} is not in 32..=4096"));
        }
        if !(min_side..=16_384).contains(&max_side) {
            return refuse("max_side", format!("{max_side} is not in {min_side}..=16384"));
        }
        if self.tile_pixels < 1 << 18 {
            return refuse("tile_pixels", format!("{} is less than 262144", self.tile_pixels));
        }
        let ranges = [
            ("pixel_threshold", self.pixel_threshold, 1.0),
            ("box_threshold", self.box_threshold, 1.0),
            ("unclip_ratio", self.unclip_ratio, 10.0),
        ];
        for (option, value, most) in ranges {
            if !(0.0..=most).contains(&value) {
                return refuse(option, format!("{value} is not in 0..={most}"));
            }
        }
        if self.threads == Some(0) {
            return refuse("threads", "0 is less than 1".to_owned());
        }
        Ok(())
    }
}
