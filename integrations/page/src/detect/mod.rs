//! Where text stands on a page: the network's map of probabilities, and rectangles around its regions.
//!
//! In the order of the data: `plan.rs` chooses the size that the network sees, `pixels.rs` resizes the
//! page, `tiles.rs` cuts large maps, `regions.rs`
//! finds connected pixels, `boxes.rs` makes boxes of them, `curve.rs` outlines of those that bend. The network is the
//! library's.

mod boxes;
mod curve;
mod options;
mod pixels;
mod plan;
mod regions;
mod tiles;

use std::path::Path;

use rayon::prelude::*;
use svtrv2::inference::DetectorModel;
use svtrv2::weights::DetectorWeights;
use svtrv2::{Page, Point, Quad};

use crate::error::{Error, Result};
use boxes::Map;
pub use options::{DetectorOptions, Scale};
use pixels::Source;
#[cfg(feature = "documents")]
pub(crate) use pixels::rgb;
use plan::Plan;

/// A region that shows a line of text, or a part of one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TextBox {
    /// The rectangle around it in pixels of the page. The corners are clockwise, and the first is the one
    /// that is the upper of the two leftmost, however the text runs.
    pub quad: Quad,
    /// The outline of curved text as of [`Region::Polygon`](svtrv2::Region::Polygon), clockwise from the text's own
    /// upper left; text that is much higher than wide is taken to run downwards. Empty for straight text.
    pub outline: Vec<Point>,
    /// The mean probability (0..=1) of its pixels to be text.
    pub score: f32,
}

/// A box is tall if it is higher than wide by more than this factor: its text is taken to run downwards.
const TALL: f32 = 1.5;

/// How many times as high as wide a box is.
pub(crate) fn tallness(Quad([a, b, c, d]): Quad) -> f32 {
    let (width, height) = (a.distance(b).max(d.distance(c)), a.distance(d).max(b.distance(c)));
    height / width.max(1e-3)
}

/// Whether text in a box is taken to run downwards.
fn is_tall(quad: Quad) -> bool {
    tallness(quad) > TALL
}

/// The corners from the one that is `quarters` behind the first, clockwise.
pub(crate) fn turned(Quad(corners): Quad, quarters: usize) -> Quad {
    Quad(std::array::from_fn(|i| corners[(i + quarters) % 4]))
}

impl TextBox {
    /// A box of straight text.
    pub fn new(quad: Quad, score: f32) -> Self {
        TextBox { quad, outline: Vec::new(), score }
    }

    /// The rectangle with its first corner where text starts: a tall one is turned.
    pub fn upright(&self) -> Quad {
        if is_tall(self.quad) { turned(self.quad, 1) } else { self.quad }
    }
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
    network: DetectorModel,
    /// Threads of its own, where a number was asked for.
    pool: Option<rayon::ThreadPool>,
    options: DetectorOptions,
}

impl Detector {
    /// Opens the ONNX export of one of PP-OCRv6's detectors, or a file that
    /// [`DetectorWeights::save`] wrote, with default options.
    ///
    /// # Errors
    /// As [`Detector::with_options`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::with_options(path, DetectorOptions::default())
    }

    /// Opens such a file.
    ///
    /// # Errors
    /// [`Error::Detector`] if the file cannot be read or is no network that finds text, [`Error::Option`] for
    /// an option out of range, [`Error::Threads`] if no threads can be started.
    pub fn with_options(path: impl AsRef<Path>, options: DetectorOptions) -> Result<Self> {
        let path = path.as_ref();
        options.check()?;
        let failed = |source| Error::Detector { path: path.to_owned(), source };
        Self::from_weights(&DetectorWeights::open(path).map_err(failed)?, options)
    }

    /// Builds a detector from weights.
    ///
    /// # Errors
    /// [`Error::Recognizer`] if the weights are damaged; as [`Detector::with_options`].
    pub fn from_weights(weights: &DetectorWeights, options: DetectorOptions) -> Result<Self> {
        options.check()?;
        let network = weights.model()?;
        let start = |threads| {
            let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            built.map_err(|source| Error::Threads { threads, source })
        };
        Ok(Detector { network, pool: options.threads.map(start).transpose()?, options })
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
    /// [`Error::Recognizer`] if the page is to be enlarged to more than 64 million pixels.
    pub fn detect(&self, page: &Page) -> Result<Vec<TextBox>> {
        let plan = Plan::new(page.width(), page.height(), &self.options);
        let source = Source::new(page, &plan)?;
        let map = self.map(&source, &plan)?;
        Ok(self.run(|| boxes::find(&map, &plan, &self.options)))
    }

    /// Runs a job on the detector's threads.
    pub(crate) fn run<R: Send>(&self, job: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(job),
            None => job(),
        }
    }

    /// The probability of every pixel, `[height, width]`, tile by tile.
    fn map(&self, source: &Source, plan: &Plan) -> Result<Map> {
        let mut map = Map::new(plan.width, plan.height);
        for tile in tiles::cut(plan.width, plan.height, self.options.tile_pixels) {
            let input = self.run(|| source.input(tile.area));
            let (width, height) = (tile.area.width, tile.area.height);
            let run = || self.network.probabilities(input, height as usize, width as usize);
            let probabilities = self.run(run)?.values;
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
