//! What JavaScript may ask for, as JSON.

use std::sync::Arc;

use serde::Deserialize;
use svtrv2::decode::{CompactNgram, Decoder, DecoderOptions, SearchKind, Symbols, WordList};
use svtrv2::{Charset, Options, Orientation, Point, Precision, Quad, Rect};

use crate::failure::Failure;

/// How a recogniser is set up.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Setup {
    /// The symbols, for weights that carry none.
    charset: Option<Vec<String>>,
    max_ratio: Option<u32>,
    temperature: Option<f32>,
    orientation: Tall,
    precision: Option<NumberType>,
}

/// What to do with tall crops.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum Tall {
    #[default]
    AsIs,
    Rotate,
    Best,
}

/// What the network computes in.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum NumberType {
    F32,
    Int8,
}

impl From<NumberType> for Precision {
    fn from(number_type: NumberType) -> Self {
        match number_type {
            NumberType::F32 => Precision::F32,
            NumberType::Int8 => Precision::Int8,
        }
    }
}

impl Setup {
    pub(crate) fn options(self) -> Result<Options, Failure> {
        Ok(Options {
            charset: self.charset.map(Charset::new).transpose()?,
            max_ratio: self.max_ratio,
            temperature: self.temperature,
            orientation: match self.orientation {
                Tall::AsIs => Orientation::AsIs,
                Tall::Rotate => Orientation::RotateTall,
                Tall::Best => Orientation::BestOfTall,
            },
            precision: self.precision.map(Precision::from),
            ..Options::default()
        })
    }
}

/// How texts are found in one call.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Decoding {
    decoder: Option<Kind>,
    /// Texts that are returned at most; more than one need a beam.
    n_best: Option<usize>,
    beam_width: Option<usize>,
    /// The only characters that a text may have.
    allow: Option<String>,
    /// The only texts that there may be.
    lexicon: Option<Vec<String>>,
    /// Words end at wide gaps too, not at spaces alone.
    pub(crate) words_by_gaps: bool,
}

/// How texts are searched.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Greedy,
    Beam,
    LanguageModel,
}

impl Decoding {
    /// Without a word about the decoder: greedily, or a beam search where the options need one.
    pub(crate) fn decoder(
        self,
        charset: &Charset,
        ngram: Option<&Arc<CompactNgram>>,
    ) -> Result<Decoder, Failure> {
        let Decoding { decoder, n_best, beam_width, allow, lexicon, words_by_gaps: _ } = self;
        let needs_beam = n_best.is_some_and(|n| n > 1) || beam_width.is_some() || lexicon.is_some();
        if decoder == Some(Kind::Greedy) && needs_beam {
            return Err(Failure::new(
                "nBest above 1, beamWidth and lexicon need the decoder beam or languageModel",
            ));
        }
        let mut options = DecoderOptions::default();
        options.search = decoder.map(|kind| match kind {
            Kind::Greedy => SearchKind::Greedy,
            Kind::Beam => SearchKind::Beam,
            Kind::LanguageModel => SearchKind::English,
        });
        options.n_best = n_best;
        options.beam_width = beam_width;
        options.allow = allow.map(Symbols::Characters);
        options.lexicon = lexicon.map(WordList::Words);
        match ngram {
            Some(ngram) => Ok(options.build_with(charset, ngram)?),
            None if decoder == Some(Kind::LanguageModel) => {
                Err(Failure::new("the recognizer has no language model"))
            }
            None => Ok(options.build(charset)?),
        }
    }
}

/// Where text lies in a page.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Region {
    Rect {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
    },
    /// Four corners, clockwise from the text's top left, or a polygon of an even number of points.
    Points(Vec<[f32; 2]>),
}

impl From<Region> for svtrv2::Region {
    fn from(region: Region) -> Self {
        match region {
            Region::Rect { x, y, width, height } => Rect::new(x, y, x + width, y + height).into(),
            Region::Points(points) => {
                let points: Vec<Point> = points.into_iter().map(Point::from).collect();
                match <[Point; 4]>::try_from(points) {
                    Ok(corners) => Quad(corners).into(),
                    Err(points) => svtrv2::Region::Polygon(points),
                }
            }
        }
    }
}
