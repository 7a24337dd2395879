//! Where text stands on a page: the network's map of probabilities, and rectangles around its regions.
//!
//! In the order of the data: `plan.rs` chooses the size that the network sees, `pixels.rs` resizes the
//! page, `tiles.rs` cuts large maps, `network.rs` runs the network, `regions.rs`
//! finds connected pixels, `boxes.rs` makes boxes of them.

mod boxes;
mod network;
mod options;
mod pixels;
mod plan;
mod regions;
mod tiles;

use std::path::Path;

use rayon::prelude::*;
use svtrv2::{Page, Quad};

use crate::error::Result;
use boxes::Map;
use network::Network;
pub use options::{DetectorOptions, Scale};
use pixels::Source;
pub(crate) use pixels::rgb;
use plan::Plan;

/// A region that shows a line of text, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextBox {
    /// The rectangle around it in pixels of the page. The corners are clockwise, and the first is the one
    /// that is the upper of the two leftmost, however the text runs.
    pub quad: Quad,
    /// The mean probability (0..=1) of its pixels to be text.
    pub score: f32,
}

/// Finds text in pages with a network that gives each pixel's probability to be text (DB, [arXiv
/// 1911.08947](https://arxiv.org/abs/1911.08947)), such as `PP-OCRv6_det_small.onnx`.
///
/// A detector is `Send + Sync`. Its result is the same for any number of threads.
///
/// ```no_run
/// use svtrv2_page::{Detector, svtrv2::Page};
///
/// let detector = Detector::open("weights/ppocrv6_det_small.onnx")?;
/// for found in detector.detect(&Page::open("page.jpg")?)? {
///     println!("{:.2} {:?}", found.score, found.quad);
/// }
/// # Ok::<(), svtrv2_page::Error>(())
/// ```
pub struct Detector {
    network: Network,
    options: DetectorOptions,
}

impl Detector {
    /// Opens an ONNX file with default options.
    ///
    /// # Errors
    /// As [`Detector::with_options`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::with_options(path, DetectorOptions::default())
    }

    /// Opens an ONNX file.
    ///
    /// # Errors
    /// [`Error::DetectorIo`](crate::Error::DetectorIo) if the file cannot be read,
    /// [`Error::DetectorModel`](crate::Error::DetectorModel) if it is no network of one image input and one
    /// output, [`Error::Option`](crate::Error::Option) for an option out of range.
    pub fn with_options(path: impl AsRef<Path>, options: DetectorOptions) -> Result<Self> {
        options.check()?;
        Ok(Detector { network: Network::open(path.as_ref(), options.threads)?, options })
    }

    /// The options in force.
    pub fn options(&self) -> &DetectorOptions {
        &self.options
    }

    /// Finds the text of a page. The order of the boxes says nothing.
    ///
    /// Beside the page, a resized copy of it and the map of probabilities are held: about 10 bytes a pixel
    /// of the size that the network sees, and the network's own memory for one tile.
    ///
    /// # Errors
    /// [`Error::DetectorRun`](crate::Error::DetectorRun) if the network fails, or gives anything but a
    /// probability for each pixel; [`Error::Recognizer`](crate::Error::Recognizer) if the page is to be
    /// enlarged to more than 64 million pixels.
    pub fn detect(&self, page: &Page) -> Result<Vec<TextBox>> {
        let plan = Plan::new(page.width(), page.height(), &self.options);
        let source = Source::new(page, &plan)?;
        let map = self.map(&source, &plan)?;
        Ok(self.run(|| boxes::find(&map, &plan, &self.options)))
    }

    /// Runs a job on the detector's threads.
    pub(crate) fn run<R: Send>(&self, job: impl FnOnce() -> R + Send) -> R {
        self.network.run_on_pool(job)
    }

    /// The probability of every pixel, `[height, width]`, tile by tile.
    fn map(&self, source: &Source, plan: &Plan) -> Result<Map> {
        let mut map = Map::new(plan.width, plan.height);
        for tile in tiles::cut(plan.width, plan.height, self.options.tile_pixels) {
            let input = self.run(|| source.input(tile.area));
            let (width, height) = (tile.area.width, tile.area.height);
            let probabilities = self.network.probabilities(input, width, height)?;
            let own = tile.own;
            let (left, first) = (own.x - tile.area.x, own.y - tile.area.y);
            let rows = probabilities.chunks_exact(width as usize).skip(first as usize);
            let columns = left as usize..(left + own.width) as usize;
            map.rows_mut(own.y, own.height).zip(rows).for_each(|(to, from)| {
                to[own.x as usize..(own.x + own.width) as usize]
                    .copy_from_slice(&from[columns.clone()]);
            });
        }
        Ok(map)
    }
}

/// Runs `job` for each index in parallel, in order.
pub(crate) fn in_parallel<R: Send>(count: usize, job: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    (0..count).into_par_iter().map(job).collect()
}
