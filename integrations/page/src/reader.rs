//! From a page to its text: detector, recogniser, reading order.

use std::sync::Arc;

use svtrv2::{Page, Quad, Recognition, Recognizer, Region};

use crate::detect::{Detector, TextBox, tallness, turned};
use crate::error::{Error, Result};
use crate::order;
use crate::text::{Line, PageText, Word};

/// Boxes that are higher by more than this show no upright character.
const MAX_UPRIGHT: f32 = 3.0;

/// How a [`Reader`] is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderOptions {
    /// The least mean probability (0..=1) of a line's characters; 0.5. Lines below it are dropped: mostly
    /// pictures that were taken for text.
    pub min_score: f32,
    /// The mean probability (0..=1) of a line's characters below which the line is recognised upside down
    /// as well, and a tall box as it stands; the result with the higher probability is kept. 0.9; with 0
    /// no line is turned.
    pub turn_below: f32,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions { min_score: 0.5, turn_below: 0.9 }
    }
}

/// Reads pages: finds their lines, recognises them, and puts them in order.
///
/// Both networks run on the detector's threads
/// ([`DetectorOptions::threads`](crate::DetectorOptions::threads)). A reader is `Send + Sync`; results do
/// not depend on the number of threads or on other pages.
pub struct Reader {
    detector: Arc<Detector>,
    recognizer: Arc<Recognizer>,
    options: ReaderOptions,
    has_space: bool,
}

impl Reader {
    /// A reader with default options. The recogniser's own option `orientation` should be the default, as
    /// it is: the reader turns lines itself.
    pub fn new(detector: Detector, recognizer: Recognizer) -> Self {
        Self::shared(Arc::new(detector), Arc::new(recognizer))
    }

    /// The same with networks that others use too.
    pub fn shared(detector: Arc<Detector>, recognizer: Arc<Recognizer>) -> Self {
        let has_space = recognizer.charset().class(" ").is_some();
        Reader { detector, recognizer, options: ReaderOptions::default(), has_space }
    }

    /// The same reader with other options.
    ///
    /// # Errors
    /// [`Error::Option`] for a probability that is not in 0..=1.
    pub fn with_options(self, options: ReaderOptions) -> Result<Self> {
        let values = [("min_score", options.min_score), ("turn_below", options.turn_below)];
        for (option, value) in values {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Option { option, detail: format!("{value} is not in 0..=1") });
            }
        }
        Ok(Reader { options, ..self })
    }

    /// The detector.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The recogniser.
    pub fn recognizer(&self) -> &Recognizer {
        &self.recognizer
    }

    /// The text of a page.
    ///
    /// # Errors
    /// As [`Detector::detect`]; [`Error::Recognizer`] if the recogniser's device fails.
    pub fn read(&self, page: &Page) -> Result<PageText> {
        let boxes = self.detector.detect(page)?;
        self.read_boxes(page, &boxes)
    }

    /// The text in boxes of a page, from any detector, as of [`TextBox`].
    ///
    /// # Errors
    /// [`Error::Recognizer`] if the recogniser's device fails.
    pub fn read_boxes(&self, page: &Page, boxes: &[TextBox]) -> Result<PageText> {
        let found = self.detector.run(|| self.recognize(page, boxes))?;
        let mut lines = Vec::new();
        for (quad, recognition) in found.into_iter().flatten() {
            if recognition.score >= self.options.min_score {
                lines.extend(self.line(quad, recognition));
            }
        }
        let dropped = boxes.len() - lines.len();
        let quads: Vec<Quad> = lines.iter().map(|line| line.quad).collect();
        let angle = order::angle(&quads);
        let mut lines: Vec<Option<Line>> = lines.into_iter().map(Some).collect();
        let in_order = order::order(&quads, angle).into_iter().filter_map(|place| {
            let line = lines.get_mut(place.index)?.take()?;
            Some(Line { block: place.block, row: place.row, ..line })
        });
        let lines = in_order.collect();
        Ok(PageText { width: page.width(), height: page.height(), angle, lines, dropped })
    }

    /// What each box shows, and the box with the text's own upper left corner first.
    fn recognize(
        &self,
        page: &Page,
        boxes: &[TextBox],
    ) -> Result<Vec<Option<(Quad, Recognition)>>> {
        let first = boxes.iter().map(|found| {
            let quad = found.upright();
            let outline = Some(&found.outline).filter(|outline| !outline.is_empty());
            (quad, outline.map_or_else(|| quad.into(), |outline| Region::Polygon(outline.clone())))
        });
        let first: Vec<(Quad, Region)> = first.collect();
        let mut best = self.recognize_regions(page, &first)?;
        // Other ways to see the boxes that are not certain.
        let mut others: Vec<(usize, Quad)> = Vec::new();
        for (index, result) in best.iter().enumerate() {
            let is_curved = !boxes[index].outline.is_empty();
            let quad = first[index].0;
            let sure = result.as_ref().map(|(_, recognition)| recognition.score);
            if sure.map_or(is_curved, |score| score < self.options.turn_below) {
                others.push((index, turned(quad, 2)));
                let own = boxes[index].quad;
                if own != quad && tallness(own) < MAX_UPRIGHT {
                    others.push((index, own));
                }
                if is_curved {
                    others.push((index, quad));
                }
            }
        }
        let regions: Vec<(Quad, Region)> =
            others.iter().map(|&(_, quad)| (quad, quad.into())).collect();
        for ((index, _), other) in others.iter().zip(self.recognize_regions(page, &regions)?) {
            let Some((quad, recognition)) = other else { continue };
            let is_better =
                best[*index].as_ref().is_none_or(|(_, best)| rank(&recognition) > rank(best));
            if is_better {
                best[*index] = Some((quad, recognition));
            }
        }
        Ok(best)
    }

    /// Recognises regions, each with the quadrilateral of its line; nothing for those that cannot be cropped or are
    /// too long.
    fn recognize_regions(
        &self,
        page: &Page,
        regions: &[(Quad, Region)],
    ) -> Result<Vec<Option<(Quad, Recognition)>>> {
        let only: Vec<Region> = regions.iter().map(|(_, region)| region.clone()).collect();
        let results = self.recognizer.recognize_regions(page, &only);
        let with_quad = |(result, &(quad, _)): (_, &(Quad, Region))| match result {
            Ok(recognition) => Ok(Some((quad, recognition))),
            Err(svtrv2::Error::Region(_) | svtrv2::Error::Image(_)) => Ok(None),
            Err(error) => Err(error.into()),
        };
        results.into_iter().zip(regions).map(with_quad).collect()
    }

    /// The line of a recognition; none without text. Its place is set later.
    fn line(&self, quad: Quad, recognition: Recognition) -> Option<Line> {
        let words = if self.has_space {
            recognition.words()
        } else {
            recognition.words_by_gaps(Recognition::WORD_GAP)
        };
        let words: Vec<Word> = words
            .into_iter()
            .map(|word| Word {
                text: word.text,
                confidence: word.confidence,
                bounds: word.bounds,
                quad: word.quad,
            })
            .collect();
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = texts.join(" ");
        let (confidence, score) = (recognition.confidence, recognition.score);
        let line = Line { text, confidence, score, quad, block: 0, row: 0, words };
        (!line.words.is_empty()).then_some(line)
    }
}

/// What results for the same box are ranked by: any text before none, then its characters' probability.
fn rank(recognition: &Recognition) -> (bool, f32) {
    (!recognition.text.is_empty(), recognition.score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use svtrv2::Rect;

    #[test]
    fn tall_boxes_start_at_their_upper_right() {
        let tall: Quad = Rect::new(10.0, 10.0, 30.0, 110.0).into();
        let first = TextBox::new(tall, 1.0).upright().0[0];
        assert_eq!((first.x, first.y), (30.0, 10.0));
        let wide: Quad = Rect::new(10.0, 10.0, 110.0, 30.0).into();
        assert_eq!(TextBox::new(wide, 1.0).upright(), wide);
        let half = turned(wide, 2).0[0];
        assert_eq!((half.x, half.y), (110.0, 30.0));
    }
}
