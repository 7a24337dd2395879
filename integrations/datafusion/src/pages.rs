//! The function `read_page`: the text of whole pages, with a detector.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use datafusion::arrow::array::{
    Array, ArrayRef, Float32Array, Float32Builder, Int32Array, ListArray, StringArray,
    StringBuilder, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{config_err, exec_datafusion_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    scalar_doc_sections::DOC_SECTION_OTHER,
};
use svtrv2::{ErrorReport, Page};
use svtrv2_page::{Detector, DetectorOptions, PageText, Reader};

use crate::functions::{OPTIONS_HELP, check_options, options, signature};
use crate::images::Images;
use crate::options::ReadOptions;
use crate::output::{NullsBuilder, Offsets, QUAD_ITEM, QuadsBuilder, number};
use crate::recognizers::recognizer;

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn quad() -> Field {
    Field::new("quad", DataType::List(Arc::clone(&QUAD_ITEM)), false)
}

static WORD: LazyLock<Fields> =
    LazyLock::new(|| vec![text("text"), number("confidence"), quad()].into());

static WORD_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Struct(WORD.clone()), false)));

static LINE: LazyLock<Fields> = LazyLock::new(|| {
    let place = |name| Field::new(name, DataType::Int32, false);
    let words = Field::new("words", DataType::List(Arc::clone(&WORD_ITEM)), false);
    let fields = [
        text("text"),
        number("confidence"),
        number("score"),
        place("block"),
        place("row"),
        quad(),
        words,
    ];
    fields.into_iter().collect()
});

static LINE_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Struct(LINE.clone()), false)));

static RESULT: LazyLock<Fields> = LazyLock::new(|| {
    let fields = [
        Field::new("text", DataType::Utf8, true),
        Field::new("angle", DataType::Float32, true),
        Field::new("lines", DataType::List(Arc::clone(&LINE_ITEM)), true),
        Field::new("error", DataType::Utf8, true),
    ];
    fields.into_iter().collect()
});

/// `STRUCT<text, angle, lines LIST<STRUCT<text, confidence, score, block, row, quad LIST<FLOAT>,
/// words LIST<STRUCT<text, confidence, quad LIST<FLOAT>>>>>, error>`: what `read_page` returns.
///
/// `text` is the page's, rows in lines, `lines` are in reading order. The corners of a `quad` are x0, y0, ...
/// x3, y3 in pixels of the page, clockwise from the text's own upper left.
pub fn page_type() -> DataType {
    DataType::Struct(RESULT.clone())
}

/// `read_page(image, options)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ReadPage {
    signature: Signature,
}

impl ReadPage {
    /// The function.
    ///
    /// # Errors
    /// None today: its parameters have names.
    pub fn new() -> Result<Self> {
        Ok(ReadPage { signature: signature(&["image", "options"])? })
    }
}

impl ScalarUDFImpl for ReadPage {
    fn name(&self) -> &str {
        "read_page"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(page_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check_options(&args, 1)?;
        Ok(Arc::new(Field::new(self.name(), page_type(), true)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [image] => Ok(vec![Images::coerced(image)?]),
            [image, options] => Ok(vec![Images::coerced(image)?, options.clone()]),
            _ => plan_err!("read_page takes an image, and options"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = options(&args.config_options, args.args.get(1))?;
        let Some(images) = args.args.first() else {
            return plan_err!("read_page takes an image");
        };
        let images = images.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(read_pages(&images, &options)?)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static TEXT: LazyLock<Documentation> = LazyLock::new(|| {
            let about = "Finds and recognises the text of a page";
            Documentation::builder(DOC_SECTION_OTHER, about, "read_page(image [, options])")
                .with_argument("image", "A PNG or JPEG file, binary")
                .with_argument("options", OPTIONS_HELP)
                .build()
        });
        Some(&TEXT)
    }
}

/// The detectors of the process by their files: one is loaded once.
static DETECTORS: Mutex<BTreeMap<String, Arc<Detector>>> = Mutex::new(BTreeMap::new());

fn detector(options: &ReadOptions) -> Result<Arc<Detector>> {
    let Some(path) = options.get("detector") else {
        return config_err!("read_page needs a detector: SET svtrv2.detector = 'FILE'");
    };
    let mut detectors = DETECTORS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = detectors.get(path) {
        return Ok(Arc::clone(found));
    }
    let opened = Detector::with_options(path, DetectorOptions::default()).map_err(|error| {
        let report = ErrorReport::new(&error).to_string();
        DataFusionError::External(report.into()).context("svtrv2.detector")
    })?;
    let opened = Arc::new(opened);
    detectors.insert(path.to_owned(), Arc::clone(&opened));
    Ok(opened)
}

/// The text of each image of a binary array; the result is of [`page_type`]. NULL gives NULL, an image that
/// cannot be decoded an `error`. Pages are read one after the other, each by all threads.
///
/// # Errors
/// The array is not binary; the options do not give a detector and a recogniser.
pub fn read_pages(images: &dyn Array, options: &ReadOptions) -> Result<StructArray> {
    let (recognizer, detector) = (recognizer(options)?, detector(options)?);
    let reader = Reader::shared(detector, recognizer);
    let images = Images::new(images)?;
    let mut pages = Pages::default();
    for row in 0..images.len() {
        let read =
            |file: &[u8]| -> svtrv2_page::Result<PageText> { reader.read(&Page::decode(file)?) };
        pages.push(images.get(row).map(read))?;
    }
    pages.finish()
}

/// Columns that grow with each page.
#[derive(Default)]
struct Pages {
    nulls: NullsBuilder,
    text: StringBuilder,
    angle: Float32Builder,
    error: StringBuilder,
    has_lines: NullsBuilder,
    offsets: Offsets,
    lines: Lines,
}

impl Pages {
    fn push(&mut self, page: Option<svtrv2_page::Result<PageText>>) -> Result<()> {
        self.nulls.0.append(page.is_some());
        let (page, error) = match page {
            Some(Ok(page)) => (Some(page), None),
            Some(Err(error)) => (None, Some(ErrorReport::new(&error).to_string())),
            None => (None, None),
        };
        self.error.append_option(error);
        self.text.append_option(page.as_ref().map(PageText::text));
        self.angle.append_option(page.as_ref().map(|page| page.angle));
        self.has_lines.0.append(page.is_some());
        for line in page.iter().flat_map(|page| &page.lines) {
            self.lines.push(line)?;
        }
        self.offsets.push(self.lines.texts.len())
    }

    fn finish(mut self) -> Result<StructArray> {
        let lines = self.lines.finish()?;
        let lines = ListArray::try_new(
            Arc::clone(&LINE_ITEM),
            self.offsets.finish(),
            Arc::new(lines),
            self.has_lines.0.finish(),
        )?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.text.finish()),
            Arc::new(self.angle.finish()),
            Arc::new(lines),
            Arc::new(self.error.finish()),
        ];
        Ok(StructArray::try_new(RESULT.clone(), columns, self.nulls.0.finish())?)
    }
}

/// Columns of lines.
#[derive(Default)]
struct Lines {
    texts: Vec<String>,
    confidences: Vec<f32>,
    scores: Vec<f32>,
    blocks: Vec<i32>,
    rows: Vec<i32>,
    quads: QuadsBuilder,
    offsets: Offsets,
    word_texts: Vec<String>,
    word_confidences: Vec<f32>,
    word_quads: QuadsBuilder,
}

impl Lines {
    fn push(&mut self, line: &svtrv2_page::Line) -> Result<()> {
        let place = |place: usize| {
            i32::try_from(place).map_err(|_| exec_datafusion_err!("{place} blocks or rows"))
        };
        self.texts.push(line.text.clone());
        self.confidences.push(line.confidence);
        self.scores.push(line.score);
        self.blocks.push(place(line.block)?);
        self.rows.push(place(line.row)?);
        self.quads.push(line.quad)?;
        for word in &line.words {
            self.word_texts.push(word.text.clone());
            self.word_confidences.push(word.confidence);
            self.word_quads.push(word.quad)?;
        }
        self.offsets.push(self.word_texts.len())
    }

    fn finish(self) -> Result<StructArray> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.word_texts)),
            Arc::new(Float32Array::from(self.word_confidences)),
            Arc::new(self.word_quads.finish()?),
        ];
        let words = Arc::new(StructArray::try_new(WORD.clone(), columns, None)?);
        let item = Arc::clone(&WORD_ITEM);
        let words = ListArray::try_new(item, self.offsets.finish(), words, None)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.texts)),
            Arc::new(Float32Array::from(self.confidences)),
            Arc::new(Float32Array::from(self.scores)),
            Arc::new(Int32Array::from(self.blocks)),
            Arc::new(Int32Array::from(self.rows)),
            Arc::new(self.quads.finish()?),
            Arc::new(words),
        ];
        Ok(StructArray::try_new(LINE.clone(), columns, None)?)
    }
}
