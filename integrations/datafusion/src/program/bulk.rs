//! `svtrv2 bulk`: every crop of files and folders.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::error::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};
use svtrv2_datafusion::{provenance, recognizer};

use super::arguments::RecognitionArguments;
use super::plan::{Part, parts};
use super::progress::Progress;
use super::provenance::Provenance;
use super::say;
use super::sink::Sink;
use super::source::{Batch, Columns, Source, session};

/// Batches that are recognised at the same time: the second keeps the threads busy at the end of the
/// first.
const AT_ONCE: usize = 2;

/// Recognise the crops of Parquet files, of folders, or of lists of image files.
///
/// Results are Parquet files: the columns of the input without the images, and text, confidence,
/// score, chars, words and error. Rows keep their order. An output file that exists is finished and is
/// skipped, so that a run that was stopped goes on where it was. Its metadata say what it was made of: with
/// other weights, options, columns or input files the run ends before it begins.
#[derive(Args)]
#[command(after_help = "\
Examples: one file; a folder of Parquet files, file by file; a folder of PNG and JPEG files; a list
    svtrv2 bulk crops.parquet texts.parquet
    svtrv2 bulk crops/ texts/
    svtrv2 bulk photos/ texts.parquet --decoder english
    svtrv2 bulk paths.txt texts/ --rows-per-file 50000")]
pub struct Arguments {
    /// Parquet files; folders of Parquet files or of images; .txt files with the path of an image in
    /// each line
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// A .parquet file, or a folder: then it gets a file for each input file
    output: PathBuf,
    /// The column with the images
    #[arg(long, value_name = "COLUMN", default_value = "image")]
    image: String,
    /// Recognise only rows for which this expression of SQL is true (Parquet files)
    #[arg(long = "where", value_name = "SQL")]
    filter: Option<String>,
    /// Put this before the names of the columns of results
    #[arg(long, default_value = "")]
    prefix: String,
    /// Image files in one output file of a folder
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    rows_per_file: usize,
    /// Write output files again that exist
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    recognition: RecognitionArguments,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let parts = parts(&arguments.inputs, &arguments.output, arguments.rows_per_file.max(1))?;
    // What is wrong with the options is said before anything is read.
    recognizer(&arguments.recognition.options)?;
    let (finished, open): (Vec<Part>, Vec<Part>) =
        parts.into_iter().partition(|part| !arguments.overwrite && part.output.exists());
    if !finished.is_empty() {
        say(format!("{} of {} files are finished", finished.len(), finished.len() + open.len()))?;
    }
    let given = &arguments.recognition.options;
    let made_of = Provenance::new(provenance(given)?)
        .with("column.image", Some(&arguments.image))
        .with("column.prefix", Some(&arguments.prefix))
        .with("where", arguments.filter.as_deref());
    for part in &finished {
        made_of.with_input(&part.input)?.check(&part.output)?;
    }
    let columns = Columns { image: arguments.image.clone(), prefix: arguments.prefix.clone() };
    let ctx = session();
    let opened = async |part: &Part| {
        let source = Source::open(&ctx, &part.input, &columns, arguments.filter.as_deref()).await;
        source.map_err(|error| error.context(part.input.to_string()))
    };
    // All are opened before the first is recognised: what is wrong with the last is known at once.
    let mut rows = 0;
    for part in &open {
        rows += opened(part).await?.rows();
    }
    let progress = Progress::new(rows);
    for part in &open {
        let made_of = made_of.with_input(&part.input)?;
        let done = run_part(arguments, part, &made_of, opened(part).await?, &progress).await;
        progress.say(done.map_err(|error| error.context(part.input.to_string()))?)?;
    }
    progress.finish()
}

/// One input file; returns a line about it.
async fn run_part(
    arguments: &Arguments,
    part: &Part,
    made_of: &Provenance,
    source: Source,
    progress: &Progress,
) -> Result<String> {
    let start = Instant::now();
    let (mut rows, mut errors) = (0, 0);
    let mut sink = Sink::create(&part.output, source.output_schema(), made_of)?;
    let recognize = |batch: Result<Batch>| {
        let options = arguments.recognition.options.clone();
        async move {
            let batch = batch?;
            let work = tokio::task::spawn_blocking(move || batch.recognize(&options));
            work.await.map_err(|error| DataFusionError::External(Box::new(error)))?
        }
    };
    let mut results = source.batches().await?.map(recognize).buffered(AT_ONCE);
    while let Some(batch) = results.try_next().await? {
        let failed = failures(&batch);
        progress.add(batch.num_rows(), failed);
        rows += batch.num_rows();
        errors += failed;
        sink = tokio::task::spawn_blocking(move || sink.write(&batch).map(|()| sink))
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))??;
    }
    sink.finish()?;
    let rate = rows as f64 / start.elapsed().as_secs_f64();
    let output = part.output.display();
    Ok(format!("{output}: {rows} rows, {errors} with an error, {rate:.1} rows/s"))
}

/// Rows with an error, the last column.
fn failures(results: &RecordBatch) -> usize {
    results.columns().last().map_or(0, |errors| errors.len() - errors.null_count())
}
