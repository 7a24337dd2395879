//! The functions of SQL.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    Volatility, scalar_doc_sections::DOC_SECTION_OTHER,
};
use datafusion::scalar::ScalarValue;
use rayon::prelude::*;
use svtrv2::{Page, Recognizer, Region};

use crate::images::{Images, Outcome, count};
use crate::options::{ReadOptions, check_name};
use crate::output::{NullsBuilder, Offsets, ResultsBuilder, result_type, results_type};
use crate::recognizers::recognizer;
use crate::regions::Regions;

/// Recognises the text of each image of a binary array; the result is of
/// [`result_type`](crate::result_type). NULL gives NULL, an image that cannot be decoded an `error`.
///
/// # Errors
/// The array is not binary; the options do not give a recogniser.
pub fn recognize_images(images: &dyn Array, options: &ReadOptions) -> Result<StructArray> {
    let recognizer = recognizer(options)?;
    let mut results = ResultsBuilder::new(options);
    for result in Images::new(images)?.recognize(&recognizer) {
        results.push(result)?;
    }
    results.finish()
}

/// As [`recognize_images`] for image files, which the threads of the pool read. A file that cannot be
/// read has an `error`.
///
/// # Errors
/// The options do not give a recogniser.
pub fn recognize_files(paths: &[PathBuf], options: &ReadOptions) -> Result<StructArray> {
    let recognizer = recognizer(options)?;
    let mut results = ResultsBuilder::new(options);
    for result in recognizer.recognize_stream(paths.iter().map(PathBuf::as_path)) {
        let outcome = result.map_err(|error| error.report().to_string());
        count(&outcome);
        results.push(Some(outcome))?;
    }
    results.finish()
}

/// `read_text(image, options)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ReadText {
    signature: Signature,
}

/// `read_regions(page, regions, options)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ReadRegions {
    signature: Signature,
}

/// Types are checked by `coerce_types`. The same arguments give the same result, so that the engine
/// may evaluate a call once where a query has it twice.
pub(crate) fn signature(parameters: &[&str]) -> Result<Signature> {
    Signature::user_defined(Volatility::Immutable)
        .with_parameter_names(parameters.iter().map(|name| (*name).to_owned()).collect())
}

impl ReadText {
    const PARAMETERS: [&str; 2] = ["image", "options"];

    /// The function.
    ///
    /// # Errors
    /// None today: its parameters have names.
    pub fn new() -> Result<Self> {
        Ok(ReadText { signature: signature(&Self::PARAMETERS)? })
    }
}

impl ReadRegions {
    const PARAMETERS: [&str; 3] = ["page", "regions", "options"];

    /// The function.
    ///
    /// # Errors
    /// None today: its parameters have names.
    pub fn new() -> Result<Self> {
        Ok(ReadRegions { signature: signature(&Self::PARAMETERS)? })
    }
}

impl ScalarUDFImpl for ReadText {
    fn name(&self) -> &str {
        "read_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(result_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check_options(&args, 1)?;
        Ok(Arc::new(Field::new(self.name(), result_type(), true)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [image] => Ok(vec![Images::coerced(image)?]),
            [image, options] => Ok(vec![Images::coerced(image)?, options.clone()]),
            _ => plan_err!("read_text takes an image, and options"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = options(&args.config_options, args.args.get(1))?;
        match args.args.first() {
            Some(ColumnarValue::Array(images)) => {
                Ok(ColumnarValue::Array(Arc::new(recognize_images(images, &options)?)))
            }
            Some(ColumnarValue::Scalar(image)) => {
                let results = recognize_images(&image.to_array()?, &options)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?))
            }
            None => exec_err!("read_text takes an image"),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        static TEXT: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_OTHER,
                "Recognises the text of an image that shows a word or a line",
                "read_text(image [, options])",
            )
            .with_argument("image", "A PNG or JPEG file, binary")
            .with_argument("options", OPTIONS_HELP)
            .build()
        });
        Some(&TEXT)
    }
}

impl ScalarUDFImpl for ReadRegions {
    fn name(&self) -> &str {
        "read_regions"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(results_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check_options(&args, 2)?;
        Ok(Arc::new(Field::new(self.name(), results_type(), true)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [page, regions, options @ ..] if options.len() <= 1 => {
                let mut types = vec![Images::coerced(page)?, Regions::coerced(regions)?];
                types.extend_from_slice(options);
                Ok(types)
            }
            _ => plan_err!("read_regions takes a page, its regions, and options"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = options(&args.config_options, args.args.get(2))?;
        let [pages, regions] = match args.args.as_slice() {
            [pages, regions, ..] => {
                [pages.to_array(args.number_rows)?, regions.to_array(args.number_rows)?]
            }
            _ => return exec_err!("read_regions takes a page and its regions"),
        };
        Ok(ColumnarValue::Array(recognize_pages(&options, &pages, &regions)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static TEXT: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_OTHER,
                "Recognises the text in regions of a page; as many results as regions",
                "read_regions(page, regions [, options])",
            )
            .with_argument("page", "A PNG or JPEG file, binary")
            .with_argument(
                "regions",
                "A list of quadrilaterals, each a list of 8 numbers or of 4 points {x, y}, clockwise \
                 from the text's top left; of rectangles, 4 numbers; or of polygons",
            )
            .with_argument("options", OPTIONS_HELP)
            .build()
        });
        Some(&TEXT)
    }
}

pub(crate) const OPTIONS_HELP: &str =
    "A constant struct or map, such as {'decoder': 'english'}, over the settings svtrv2.*";

/// Names of options are known when the query is planned, their values if they are literals.
pub(crate) fn check_options(args: &ReturnFieldArgs, index: usize) -> Result<()> {
    if let Some(DataType::Struct(fields)) = args.arg_fields.get(index).map(|f| f.data_type()) {
        fields.iter().try_for_each(|field| check_name(field.name()))?;
    }
    if let Some(Some(value)) = args.scalar_arguments.get(index) {
        ReadOptions::default().changed_by(value)?;
    }
    Ok(())
}

/// The session's options, changed by the argument.
pub(crate) fn options(
    session: &ConfigOptions,
    argument: Option<&ColumnarValue>,
) -> Result<ReadOptions> {
    let session = session.extensions.get::<ReadOptions>().cloned().unwrap_or_default();
    match argument {
        None => Ok(session),
        Some(ColumnarValue::Scalar(value)) => session.changed_by(value),
        Some(ColumnarValue::Array(_)) => exec_err!("options are the same for all rows: a constant"),
    }
}

/// Pages are decoded by all threads, one each; then their regions are recognised, page after page.
fn recognize_pages(
    options: &ReadOptions,
    pages: &ArrayRef,
    regions: &ArrayRef,
) -> Result<ArrayRef> {
    let recognizer = recognizer(options)?;
    let (pages, regions) = (Images::new(pages)?, Regions::new(regions)?);
    let (mut results, mut offsets) = (ResultsBuilder::new(options), Offsets::default());
    let mut nulls = NullsBuilder::default();
    for first in (0..pages.len()).step_by(rayon::current_num_threads()) {
        let rows = first..pages.len().min(first + rayon::current_num_threads());
        for (row, page) in rows.clone().zip(decoded(&pages, rows)) {
            let both = page.zip(regions.of_page(row));
            nulls.0.append(both.is_some());
            if let Some((page, regions)) = both {
                for result in recognize_page(&recognizer, page, regions) {
                    result.iter().for_each(count);
                    results.push(result)?;
                }
            }
            offsets.push(results.len())?;
        }
    }
    Ok(Arc::new(results.finish_lists(offsets, nulls)?))
}

fn decoded(pages: &Images, rows: Range<usize>) -> Vec<Option<svtrv2::Result<Page<'static>>>> {
    let files: Vec<Option<&[u8]>> = rows.map(|row| pages.get(row)).collect();
    files.into_par_iter().map(|file| file.map(Page::decode)).collect()
}

/// One result for each region: NULL for NULL, and the error of a damaged page for all.
fn recognize_page(
    recognizer: &Recognizer,
    page: svtrv2::Result<Page>,
    regions: Vec<Option<Result<Region, String>>>,
) -> Vec<Option<Outcome>> {
    let page = match page {
        Ok(page) => page,
        Err(error) => {
            let failed = || Err(error.report().to_string());
            return regions.into_iter().map(|region| region.map(|_| failed())).collect();
        }
    };
    let valid: Vec<Region> = regions.iter().flatten().flatten().cloned().collect();
    let mut recognized = recognizer.recognize_regions(&page, &valid).into_iter();
    let mut result = |region: Result<Region, String>| match region {
        Ok(_) => recognized.next().map(|result| result.map_err(|error| error.report().to_string())),
        Err(error) => Some(Err(error)),
    };
    regions.into_iter().map(|region| region.and_then(&mut result)).collect()
}
