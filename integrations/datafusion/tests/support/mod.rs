//! What the test files share: images, sessions, and queries.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Float32Type as Float, Int32Type};
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use svtrv2::{Charset, Crop, Options, Recognition, Recognizer, Rect, Word, weights::Weights};

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The smallest network with every kind of block; its texts mean nothing.
pub fn toy() -> PathBuf {
    repository().join("tests/fixtures/toy.onnx")
}

/// The toy network as the library has it.
pub fn toy_recognizer() -> Recognizer {
    let options = Options { charset: Some(Charset::english()), ..Options::default() };
    Recognizer::new(&Weights::open(toy()).unwrap(), options).unwrap()
}

/// The sample crops: file names and bytes, in the order of the names.
pub fn samples() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(repository().join("examples/crops")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "png" || e == "jpg"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    samples.sort();
    samples
}

/// A PNG file of waves, different for every seed.
pub fn png(seed: usize, width: u32, height: u32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let wave = (f64::from(x) * (0.05 + seed as f64 * 0.013)).sin()
                + (f64::from(y) * 0.3 + seed as f64).cos();
            pixels.extend([0, 40, 80].map(|offset| (wave * 50.0 + 127.0) as u8 ^ offset));
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    file
}

/// Images of many sizes.
pub fn pngs(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| png(i, 12 + (i * 37 % 200) as u32, 10 + (i * 13 % 50) as u32)).collect()
}

/// What the library says of images.
pub fn batch(recognizer: &Recognizer, images: &[Vec<u8>]) -> Vec<Recognition> {
    let crops: Vec<Crop> = images.iter().map(|image| Crop::decode(image).unwrap()).collect();
    recognizer.recognize_batch(&crops).into_iter().map(|result| result.unwrap()).collect()
}

/// A session with the functions, and tables.
pub fn session(tables: Vec<(&str, RecordBatch)>) -> SessionContext {
    let ctx = SessionContext::new_with_config(svtrv2_datafusion::session_config());
    svtrv2_datafusion::register(&ctx).unwrap();
    for (name, table) in tables {
        ctx.register_batch(name, table).unwrap();
    }
    ctx
}

/// A session in which the toy network is the default.
pub async fn toy_session(tables: Vec<(&str, RecordBatch)>) -> SessionContext {
    let ctx = session(tables);
    let weights = toy();
    run(&ctx, &format!("SET svtrv2.weights = '{}'", weights.display())).await.unwrap();
    run(&ctx, "SET svtrv2.charset = 'english'").await.unwrap();
    ctx
}

/// A table of one column `image`.
pub fn table(images: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("image", images, true)]).unwrap()
}

/// The rows of a query.
pub async fn run(ctx: &SessionContext, query: &str) -> Result<RecordBatch> {
    let frame = svtrv2_datafusion::sql(ctx, query).await?;
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await?;
    let schema = batches.first().map_or(schema, |batch| batch.schema());
    Ok(concat_batches(&schema, &batches)?)
}

/// A column of texts; NULL as `None`.
pub fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    let texts: &StringArray = array.as_string();
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

/// Results equal the library's to the bit, characters and words included.
pub fn assert_same(results: &StructArray, expected: &[Recognition]) {
    assert_same_words(results, expected, Recognition::words);
    assert_eq!(results.len(), expected.len());
    for (row, expected) in expected.iter().enumerate() {
        let number = |index: usize| results.column(index).as_primitive::<Float>().value(row);
        assert_eq!(results.column(0).as_string::<i32>().value(row), expected.text, "row {row}");
        assert_eq!(number(1).to_bits(), expected.confidence.to_bits(), "row {row}");
        assert_eq!(number(2).to_bits(), expected.score.to_bits(), "row {row}");
        let chars = results.column(3).as_list::<i32>().value(row);
        let chars = chars.as_struct();
        assert_eq!(chars.len(), expected.chars.len(), "row {row}");
        for (index, character) in expected.chars.iter().enumerate() {
            let symbol = chars.column(0).as_string::<i32>().value(index);
            assert_eq!(symbol, character.symbol, "row {row}");
            let bounds = character.bounds;
            let numbers = [character.confidence, bounds.x0, bounds.y0, bounds.x1, bounds.y1];
            for (column, number) in chars.columns()[1..].iter().zip(numbers) {
                let own = column.as_primitive::<Float>().value(index);
                assert_eq!(own.to_bits(), number.to_bits(), "row {row}, character {index}");
            }
        }
        assert!(results.column(5).is_null(row), "row {row}");
    }
}

/// The words of results equal, to the bit, those that `words` gives.
pub fn assert_same_words(
    results: &StructArray,
    expected: &[Recognition],
    words: impl Fn(&Recognition) -> Vec<Word>,
) {
    assert_eq!(results.len(), expected.len());
    for (row, expected) in expected.iter().enumerate() {
        let expected = words(expected);
        let found = results.column(4).as_list::<i32>().value(row);
        let found = found.as_struct();
        let names: Vec<&str> = found.column_names();
        let all = "text confidence x0 y0 x1 y1 quad chars_start chars_end follows_gap";
        assert_eq!(names.join(" "), all);
        assert_eq!(found.len(), expected.len(), "row {row}");
        for (index, word) in expected.iter().enumerate() {
            let place = format!("row {row}, word {index}");
            assert_eq!(found.column(0).as_string::<i32>().value(index), word.text, "{place}");
            let Rect { x0, y0, x1, y1 } = word.bounds;
            let numbers = [word.confidence, x0, y0, x1, y1].map(f32::to_bits);
            let own = |column: &ArrayRef| column.as_primitive::<Float>().value(index).to_bits();
            assert!(found.columns()[1..6].iter().map(own).eq(numbers), "{place}");
            let corners = found.column(6).as_list::<i32>().value(index);
            let corners = corners.as_primitive::<Float>().values().iter().map(|v| v.to_bits());
            let wanted = word.quad.0.into_iter().flat_map(|corner| [corner.x, corner.y]);
            assert!(corners.eq(wanted.map(f32::to_bits)), "{place}");
            let range = [7, 8].map(|column| {
                usize::try_from(found.column(column).as_primitive::<Int32Type>().value(index))
            });
            assert_eq!(range, [Ok(word.chars.start), Ok(word.chars.end)], "{place}");
            assert_eq!(found.column(9).as_boolean().value(index), word.follows_gap, "{place}");
        }
    }
}
