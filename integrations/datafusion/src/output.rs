//! Results of recognition as Arrow arrays.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float32Builder, Int32Array, ListArray, NullBufferBuilder,
    StringBuilder, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use svtrv2::{Character, Quad, Recognition, Rect, Word};

use crate::images::Outcome;
use crate::options::ReadOptions;

/// The names of the fields of a result, in their order.
const FIELDS: [&str; 6] = ["text", "confidence", "score", "chars", "words", "error"];

pub(crate) fn number(name: &str) -> Field {
    Field::new(name, DataType::Float32, false)
}

/// A text that is not NULL, its confidence, and the sides of its rectangle.
fn placed(text: &str) -> Vec<Field> {
    let mut fields = vec![Field::new(text, DataType::Utf8, false)];
    fields.extend(["confidence", "x0", "y0", "x1", "y1"].map(number));
    fields
}

static CHARACTER: LazyLock<Fields> = LazyLock::new(|| placed("symbol").into());

pub(crate) static QUAD_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Float32, false)));

static WORD: LazyLock<Fields> = LazyLock::new(|| {
    let mut fields = placed("text");
    fields.extend([
        Field::new("quad", DataType::List(Arc::clone(&QUAD_ITEM)), false),
        Field::new("chars_start", DataType::Int32, false),
        Field::new("chars_end", DataType::Int32, false),
        Field::new("follows_gap", DataType::Boolean, false),
    ]);
    fields.into()
});

static CHARACTERS_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Struct(CHARACTER.clone()), false)));

static WORDS_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Struct(WORD.clone()), false)));

static RESULT: LazyLock<Fields> = LazyLock::new(|| {
    let types = [
        DataType::Utf8,
        DataType::Float32,
        DataType::Float32,
        DataType::List(Arc::clone(&CHARACTERS_ITEM)),
        DataType::List(Arc::clone(&WORDS_ITEM)),
        DataType::Utf8,
    ];
    FIELDS.into_iter().zip(types).map(|(name, of)| Field::new(name, of, true)).collect()
});

static RESULT_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(result_type(), true)));

/// `STRUCT<text, confidence, score, chars LIST<STRUCT<symbol, confidence, x0, y0, x1, y1>>,
/// words LIST<STRUCT<text, confidence, x0, y0, x1, y1, quad LIST<FLOAT>, chars_start, chars_end,
/// follows_gap>>, error>`: what `read_text` returns.
///
/// An image that cannot be recognised has `error` and nothing else; the others have no `error`.
/// Coordinates are in pixels of the image. The corners of a word's `quad` are x0, y0, ... x3, y3,
/// clockwise from its own upper left, as `read_regions` takes them. Its characters are those from
/// `chars_start` to before `chars_end`, counted from 0.
pub fn result_type() -> DataType {
    DataType::Struct(RESULT.clone())
}

/// A list of [`result_type`]: what `read_regions` returns.
pub fn results_type() -> DataType {
    DataType::List(Arc::clone(&RESULT_ITEM))
}

/// Columns that grow with each result.
pub(crate) struct ResultsBuilder {
    words_by_gaps: bool,
    nulls: NullsBuilder,
    text: StringBuilder,
    confidence: Float32Builder,
    score: Float32Builder,
    chars: CharactersBuilder,
    words: WordsBuilder,
    error: StringBuilder,
}

impl ResultsBuilder {
    pub(crate) fn new(options: &ReadOptions) -> Self {
        ResultsBuilder {
            words_by_gaps: options.on("words_by_gaps"),
            nulls: NullsBuilder::default(),
            text: StringBuilder::default(),
            confidence: Float32Builder::default(),
            score: Float32Builder::default(),
            chars: CharactersBuilder::default(),
            words: WordsBuilder::default(),
            error: StringBuilder::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nulls.0.len()
    }

    /// Appends a row: a result, or NULL.
    pub(crate) fn push(&mut self, result: Option<Outcome>) -> Result<()> {
        self.nulls.0.append(result.is_some());
        let (recognition, error) = match result {
            Some(Ok(recognition)) => (Some(recognition), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        self.error.append_option(error);
        let recognition = recognition.as_ref();
        self.text.append_option(recognition.map(|found| found.text.as_str()));
        self.confidence.append_option(recognition.map(|found| found.confidence));
        self.score.append_option(recognition.map(|found| found.score));
        self.chars.push(recognition.map(|found| found.chars.as_slice()))?;
        self.words.push(recognition.map(|found| match self.words_by_gaps {
            true => found.words_by_gaps(Recognition::WORD_GAP),
            false => found.words(),
        }))
    }

    pub(crate) fn finish(mut self) -> Result<StructArray> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.text.finish()),
            Arc::new(self.confidence.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.chars.finish()?),
            Arc::new(self.words.finish()?),
            Arc::new(self.error.finish()),
        ];
        Ok(StructArray::try_new(RESULT.clone(), columns, self.nulls.0.finish())?)
    }

    /// Lists of results: the bounds of each in the rows, and which of them are no NULL.
    pub(crate) fn finish_lists(self, offsets: Offsets, nulls: NullsBuilder) -> Result<ListArray> {
        let NullsBuilder(mut nulls) = nulls;
        let values = Arc::new(self.finish()?);
        let item = Arc::clone(&RESULT_ITEM);
        Ok(ListArray::try_new(item, offsets.finish(), values, nulls.finish())?)
    }
}

/// Which rows are no NULL.
pub(crate) struct NullsBuilder(pub(crate) NullBufferBuilder);

impl Default for NullsBuilder {
    fn default() -> Self {
        NullsBuilder(NullBufferBuilder::new(0))
    }
}

/// Bounds of lists.
pub(crate) struct Offsets(Vec<i32>);

impl Default for Offsets {
    fn default() -> Self {
        Offsets(vec![0])
    }
}

impl Offsets {
    /// Ends a list where its values end.
    pub(crate) fn push(&mut self, end: usize) -> Result<()> {
        let too_many = |_| exec_datafusion_err!("{end} values in the lists of one batch");
        self.0.push(i32::try_from(end).map_err(too_many)?);
        Ok(())
    }

    pub(crate) fn finish(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(self.0.into())
    }
}

/// Quadrilaterals as lists of eight numbers.
#[derive(Default)]
pub(crate) struct QuadsBuilder {
    numbers: Vec<f32>,
    offsets: Offsets,
}

impl QuadsBuilder {
    pub(crate) fn push(&mut self, quad: Quad) -> Result<()> {
        self.numbers.extend(quad.0.into_iter().flat_map(|corner| [corner.x, corner.y]));
        self.offsets.push(self.numbers.len())
    }

    pub(crate) fn finish(self) -> Result<ListArray> {
        let numbers = Arc::new(Float32Array::from(self.numbers));
        let item = Arc::clone(&QUAD_ITEM);
        Ok(ListArray::try_new(item, self.offsets.finish(), numbers, None)?)
    }
}

/// The columns of texts that lie somewhere: the text, its confidence, x0, y0, x1 and y1.
#[derive(Default)]
struct PlacedBuilder {
    text: StringBuilder,
    confidence: Vec<f32>,
    bounds: [Vec<f32>; 4],
}

impl PlacedBuilder {
    fn push(&mut self, text: &str, confidence: f32, bounds: Rect) {
        self.text.append_value(text);
        self.confidence.push(confidence);
        let values = [bounds.x0, bounds.y0, bounds.x1, bounds.y1];
        self.bounds.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }

    fn len(&self) -> usize {
        self.confidence.len()
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let number = |values: Vec<f32>| Arc::new(Float32Array::from(values)) as ArrayRef;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(self.text.finish()), number(self.confidence)];
        columns.extend(self.bounds.map(number));
        columns
    }
}

#[derive(Default)]
struct CharactersBuilder {
    offsets: Offsets,
    nulls: NullsBuilder,
    placed: PlacedBuilder,
}

impl CharactersBuilder {
    fn push(&mut self, chars: Option<&[Character]>) -> Result<()> {
        for character in chars.unwrap_or_default() {
            self.placed.push(&character.symbol, character.confidence, character.bounds);
        }
        self.nulls.0.append(chars.is_some());
        self.offsets.push(self.placed.len())
    }

    fn finish(mut self) -> Result<ListArray> {
        let columns = self.placed.finish();
        let values = Arc::new(StructArray::try_new(CHARACTER.clone(), columns, None)?);
        let item = Arc::clone(&CHARACTERS_ITEM);
        Ok(ListArray::try_new(item, self.offsets.finish(), values, self.nulls.0.finish())?)
    }
}

#[derive(Default)]
struct WordsBuilder {
    offsets: Offsets,
    nulls: NullsBuilder,
    placed: PlacedBuilder,
    quads: QuadsBuilder,
    chars_start: Vec<i32>,
    chars_end: Vec<i32>,
    follows_gap: Vec<bool>,
}

impl WordsBuilder {
    fn push(&mut self, words: Option<Vec<Word>>) -> Result<()> {
        self.nulls.0.append(words.is_some());
        for word in words.unwrap_or_default() {
            let place = |place: usize| {
                i32::try_from(place).map_err(|_| exec_datafusion_err!("{place} characters"))
            };
            self.placed.push(&word.text, word.confidence, word.bounds);
            self.quads.push(word.quad)?;
            self.chars_start.push(place(word.chars.start)?);
            self.chars_end.push(place(word.chars.end)?);
            self.follows_gap.push(word.follows_gap);
        }
        self.offsets.push(self.placed.len())
    }

    fn finish(mut self) -> Result<ListArray> {
        let mut columns = self.placed.finish();
        columns.push(Arc::new(self.quads.finish()?));
        columns.push(Arc::new(Int32Array::from(self.chars_start)));
        columns.push(Arc::new(Int32Array::from(self.chars_end)));
        columns.push(Arc::new(BooleanArray::from(self.follows_gap)));
        let values = Arc::new(StructArray::try_new(WORD.clone(), columns, None)?);
        let item = Arc::clone(&WORDS_ITEM);
        Ok(ListArray::try_new(item, self.offsets.finish(), values, self.nulls.0.finish())?)
    }
}
