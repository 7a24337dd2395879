//! Makes a large Parquet file of crops, compares a query's time with `recognize_batch`'s, compares the
//! texts of a run with `recognize_batch`'s, and shows how much memory the library takes by itself.
//!
//! ```sh
//! cargo run --release --example measure -- repeat words 100000 crops.parquet
//! cargo run --release --example measure -- compare crops.parquet 2000 5
//! svtrv2 bulk crops.parquet texts.parquet
//! cargo run --release --example measure -- verify crops.parquet texts.parquet
//! cargo run --release --example measure -- library crops.parquet
//! ```
//!
//! `repeat` takes the images of a folder in turn, and damages one in so many if a fourth argument says
//! so. `WEIGHTS` (with the charset `english`) stands in for the embedded model.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::config::ExtensionOptions;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use rayon::prelude::*;
use svtrv2::{Crop, Recognition, Recognizer};
use svtrv2_datafusion::{ReadOptions, recognizer, register, session_config};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["repeat", folder, count, output] => repeat(folder, count.parse()?, output, usize::MAX),
        ["repeat", folder, count, output, every] => {
            repeat(folder, count.parse()?, output, every.parse()?)
        }
        ["compare", crops, rows, rounds] => compare(crops, rows.parse()?, rounds.parse()?),
        ["verify", crops, texts] => verify(crops, texts),
        ["library", crops] => library(crops),
        _ => Err("repeat FOLDER COUNT OUTPUT [EVERY] | compare CROPS ROWS ROUNDS | \
                  verify CROPS TEXTS | library CROPS"
            .into()),
    }
}

/// Rows of a row group: a reader holds the images of one.
const ROW_GROUP: usize = 2048;

fn repeat(folder: &str, count: usize, output: &str, damaged_every: usize) -> Result<()> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "png" || e == "jpg"));
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(std::fs::read).collect::<std::io::Result<_>>()?;
    let image = |row: usize| {
        let file = &files[row % files.len()];
        // The end is cut off: a header that looks right, and too few rows.
        let length =
            if row % damaged_every == damaged_every - 1 { file.len() / 2 } else { file.len() };
        &file[..length]
    };
    let mut writer: Option<ArrowWriter<File>> = None;
    for first in (0..count).step_by(ROW_GROUP) {
        let rows = first..count.min(first + ROW_GROUP);
        let names = rows.clone().map(|row| paths[row % paths.len()].display().to_string());
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64)))),
            ("path", Arc::new(StringArray::from_iter_values(names))),
            ("image", Arc::new(BinaryArray::from_iter_values(rows.map(image)))),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        if writer.is_none() {
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(ROW_GROUP))
                .set_dictionary_enabled(false)
                .build();
            let file = File::create(output)?;
            writer = Some(ArrowWriter::try_new(file, batch.schema(), Some(properties))?);
        }
        writer.as_mut().map_or(Ok(()), |writer| writer.write(&batch))?;
    }
    writer.map_or(Ok(()), |writer| writer.close().map(|_| ()))?;
    println!("{count} rows in {output}");
    Ok(())
}

fn options() -> Result<ReadOptions> {
    let mut options = ReadOptions::default();
    if let Ok(weights) = std::env::var("WEIGHTS") {
        options.set("weights", &weights)?;
        options.set("charset", "english")?;
    }
    Ok(options)
}

/// The most memory of the process so far, in MB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: Option<f64> = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

fn reader(path: &str) -> Result<ParquetRecordBatchReader> {
    Ok(ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?
        .with_batch_size(1024)
        .build()?)
}

/// What the library makes of the files of images: decoded by all threads, then one batch.
fn batch(recognizer: &Recognizer, files: &[&[u8]]) -> Vec<Option<Recognition>> {
    let crops: Vec<Option<Crop>> = files.par_iter().map(|file| Crop::decode(file).ok()).collect();
    let decoded: Vec<bool> = crops.iter().map(Option::is_some).collect();
    let crops: Vec<Crop> = crops.into_iter().flatten().collect();
    let mut results = recognizer.recognize_batch(&crops).into_iter();
    decoded.into_iter().map(|decoded| if decoded { results.next()?.ok() } else { None }).collect()
}

/// Recognises all images without the engine, as many at a time as the recogniser's stream takes.
fn library(path: &str) -> Result<()> {
    let recognizer = recognizer(&options()?)?;
    let loaded = peak();
    let (start, mut rows) = (Instant::now(), 0);
    for batch_of_crops in reader(path)? {
        let batch_of_crops = batch_of_crops?;
        let images = batch_of_crops.column_by_name("image").ok_or("no image")?;
        let files: Vec<&[u8]> = images.as_binary::<i32>().iter().flatten().collect();
        for files in files.chunks(32 * rayon::current_num_threads()) {
            rows += batch(&recognizer, files).len();
        }
    }
    println!(
        "{rows} rows, {:.1} rows/s, memory {loaded:.0} MB with the network, at most {:.0} MB",
        rows as f64 / start.elapsed().as_secs_f64(),
        peak()
    );
    Ok(())
}

fn compare(path: &str, rows: usize, rounds: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let options = options()?;
    let recognizer = recognizer(&options)?;
    let mut files = Vec::new();
    for batch in reader(path)? {
        let batch = batch?;
        let images: &BinaryArray = batch.column_by_name("image").ok_or("no image")?.as_binary();
        files.extend(images.iter().flatten().map(<[u8]>::to_vec));
        if files.len() >= rows {
            break;
        }
    }
    files.truncate(rows);
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let mut ratios = Vec::new();
    batch(&recognizer, &files[..files.len().min(200)]);
    for round in 0..rounds {
        let start = Instant::now();
        let expected = batch(&recognizer, &files);
        let library = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let found = runtime.block_on(query(path, rows, &options))?;
        let engine = start.elapsed().as_secs_f64();
        for (id, text) in &found {
            let expected = expected[*id as usize].as_ref().map(|recognition| &recognition.text);
            assert_eq!(text.as_ref(), expected, "row {id}");
        }
        assert_eq!(found.len(), expected.len());
        ratios.push(library / engine);
        println!(
            "round {round}: recognize_batch {:.1} crops/s, query {:.1} crops/s, ratio {:.3}",
            rows as f64 / library,
            rows as f64 / engine,
            library / engine
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}, peak memory {:.0} MB", ratios[ratios.len() / 2], peak());
    Ok(())
}

async fn query(
    path: &str,
    rows: usize,
    options: &ReadOptions,
) -> Result<Vec<(i64, Option<String>)>> {
    let ctx =
        SessionContext::new_with_config(session_config().with_option_extension(options.clone()));
    register(&ctx)?;
    ctx.register_parquet("crops", path, ParquetReadOptions::default()).await?;
    let query = format!(
        "SELECT id, arrow_cast(r.text, 'Utf8') AS text, r.confidence, r.chars FROM \
         (SELECT id, read_text(image) AS r FROM crops WHERE id < {rows})"
    );
    let mut found = Vec::new();
    for batch in ctx.sql(&query).await?.collect().await? {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let texts: &StringArray = batch.column(1).as_string();
        found.extend(ids.values().iter().copied().zip(texts.iter().map(|t| t.map(str::to_owned))));
    }
    Ok(found)
}

/// Every row of a run's output against the library: text, confidence, score, and the error of damaged
/// images. Equal images are recognised once.
fn verify(crops: &str, texts: &str) -> Result<()> {
    let recognizer = recognizer(&options()?)?;
    let mut known: HashMap<Vec<u8>, Option<Recognition>> = HashMap::new();
    let (mut rows, mut errors, mut characters) = (0, 0, 0);
    let mut results = reader(texts)?;
    let mut result: Option<(RecordBatch, usize)> = None;
    for batch_of_crops in reader(crops)? {
        let batch_of_crops = batch_of_crops?;
        let images: &BinaryArray =
            batch_of_crops.column_by_name("image").ok_or("no image")?.as_binary();
        let new: Vec<&[u8]> =
            images.iter().flatten().filter(|image| !known.contains_key(*image)).collect();
        for (file, recognition) in new.iter().zip(batch(&recognizer, &new)) {
            known.insert(file.to_vec(), recognition);
        }
        let ids = batch_of_crops.column_by_name("id").ok_or("no id")?.as_primitive::<Int64Type>();
        for (id, image) in ids.values().iter().zip(images.iter().flatten()) {
            if result.as_ref().is_none_or(|(batch, next)| *next == batch.num_rows()) {
                result = Some((results.next().ok_or("too few rows")??, 0));
            }
            let Some((batch, row)) = result.as_mut() else { continue };
            characters += same(batch, *row, *id, known[image].as_ref())?;
            errors += usize::from(known[image].is_none());
            (rows, *row) = (rows + 1, *row + 1);
        }
    }
    let rest = result.is_some_and(|(batch, next)| next < batch.num_rows());
    assert!(!rest && results.next().is_none(), "too many rows");
    println!(
        "{rows} rows and {characters} characters are those of recognize_batch, {errors} errors"
    );
    Ok(())
}

/// Compares a row; returns the number of its characters.
fn same(batch: &RecordBatch, row: usize, id: i64, expected: Option<&Recognition>) -> Result<usize> {
    let column = |name| batch.column_by_name(name).ok_or("a column is missing");
    assert_eq!(column("id")?.as_primitive::<Int64Type>().value(row), id, "the order of rows");
    assert_eq!(column("error")?.is_null(row), expected.is_some(), "row {id}");
    assert_eq!(column("text")?.is_valid(row), expected.is_some(), "row {id}");
    let Some(expected) = expected else { return Ok(0) };
    let number = |name| -> Result<u32> {
        let numbers = column(name)?.as_primitive::<datafusion::arrow::datatypes::Float32Type>();
        Ok(numbers.value(row).to_bits())
    };
    assert_eq!(column("text")?.as_string::<i32>().value(row), expected.text, "row {id}");
    assert_eq!(number("confidence")?, expected.confidence.to_bits(), "row {id}");
    assert_eq!(number("score")?, expected.score.to_bits(), "row {id}");
    let chars = column("chars")?.as_list::<i32>().value(row);
    let x0 = chars.as_struct().column_by_name("x0").ok_or("no x0")?;
    let x0 = x0.as_primitive::<datafusion::arrow::datatypes::Float32Type>().values();
    let expected_x0 = expected.chars.iter().map(|character| character.bounds.x0.to_bits());
    assert!(x0.iter().map(|x| x.to_bits()).eq(expected_x0), "row {id}");
    Ok(expected.chars.len())
}
