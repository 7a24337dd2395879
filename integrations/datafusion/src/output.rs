//! Results of recognition as Arrow arrays.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, Float32Array, Float32Builder, ListArray, NullBufferBuilder, StringBuilder,
    StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use svtrv2::Character;

use crate::images::Outcome;

/// The names of the fields of a result, in their order.
const FIELDS: [&str; 5] = ["text", "confidence", "score", "chars", "error"];

static CHARACTER: LazyLock<Fields> = LazyLock::new(|| {
    let number = |name| Field::new(name, DataType::Float32, false);
    Fields::from(vec![
        Field::new("symbol", DataType::Utf8, false),
        number("confidence"),
        number("x0"),
        number("y0"),
        number("x1"),
        number("y1"),
    ])
});

static CHARACTERS_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Struct(CHARACTER.clone()), false)));

static RESULT: LazyLock<Fields> = LazyLock::new(|| {
    let types = [
        DataType::Utf8,
        DataType::Float32,
        DataType::Float32,
        DataType::List(Arc::clone(&CHARACTERS_ITEM)),
        DataType::Utf8,
    ];
    FIELDS.into_iter().zip(types).map(|(name, of)| Field::new(name, of, true)).collect()
});

static RESULT_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(result_type(), true)));

/// `STRUCT<text, confidence, score, chars LIST<STRUCT<symbol, confidence, x0, y0, x1, y1>>, error>`:
/// what `read_text` returns.
///
/// An image that cannot be recognised has `error` and nothing else; the others have no `error`.
/// Coordinates are in pixels of the image.
pub fn result_type() -> DataType {
    DataType::Struct(RESULT.clone())
}

/// A list of [`result_type`]: what `read_regions` returns.
pub fn results_type() -> DataType {
    DataType::List(Arc::clone(&RESULT_ITEM))
}

/// Columns that grow with each result.
#[derive(Default)]
pub(crate) struct ResultsBuilder {
    nulls: NullsBuilder,
    text: StringBuilder,
    confidence: Float32Builder,
    score: Float32Builder,
    chars: CharactersBuilder,
    error: StringBuilder,
}

impl ResultsBuilder {
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
        self.chars.push(recognition.map(|found| found.chars.as_slice()))
    }

    pub(crate) fn finish(mut self) -> Result<StructArray> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.text.finish()),
            Arc::new(self.confidence.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.chars.finish()?),
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

    fn finish(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(self.0.into())
    }
}

#[derive(Default)]
struct CharactersBuilder {
    offsets: Offsets,
    nulls: NullsBuilder,
    symbol: StringBuilder,
    confidence: Vec<f32>,
    /// The columns x0, y0, x1 and y1.
    bounds: [Vec<f32>; 4],
}

impl CharactersBuilder {
    fn push(&mut self, chars: Option<&[Character]>) -> Result<()> {
        for character in chars.unwrap_or_default() {
            self.symbol.append_value(&character.symbol);
            self.confidence.push(character.confidence);
            let bounds = character.bounds;
            let values = [bounds.x0, bounds.y0, bounds.x1, bounds.y1];
            self.bounds.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        self.nulls.0.append(chars.is_some());
        self.offsets.push(self.confidence.len())
    }

    fn finish(mut self) -> Result<ListArray> {
        let number = |values: Vec<f32>| Arc::new(Float32Array::from(values)) as ArrayRef;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(self.symbol.finish()), number(self.confidence)];
        columns.extend(self.bounds.map(number));
        let values = Arc::new(StructArray::try_new(CHARACTER.clone(), columns, None)?);
        let item = Arc::clone(&CHARACTERS_ITEM);
        Ok(ListArray::try_new(item, self.offsets.finish(), values, self.nulls.0.finish())?)
    }
}
