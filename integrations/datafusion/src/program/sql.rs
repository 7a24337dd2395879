//! `svtrv2 sql`: a query with the functions of recognition.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use indicatif::ProgressBar;
use svtrv2_datafusion::{Counts, parse, register, session_config};

use super::arguments::RecognitionArguments;
use super::say;

/// Run SQL with the functions read_text and read_regions.
///
/// Tables are files: FROM 'crops.parquet', FROM 'crops/*.parquet', FROM 'labels.csv'. Statements are
/// separated by semicolons. COPY (SELECT ...) TO 'texts.parquet' writes files.
#[derive(Args)]
#[command(after_help = "\
Examples:
    svtrv2 sql \"SELECT path, read_text(image).text FROM 'crops/*.parquet'\"
    svtrv2 sql \"SELECT path, r.text FROM (SELECT path, read_text(image, options =>
        {'decoder': 'english', 'allow': '0123456789'}) AS r FROM 'crops.parquet')\" --format json
    svtrv2 sql \"SET svtrv2.precision = 'int8'; COPY (SELECT path, read_text(image) AS result
        FROM 'crops.parquet') TO 'texts.parquet'\"")]
pub struct Arguments {
    /// The statements
    query: String,
    /// How rows are printed; a table is printed at the end, lines as they come
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    recognition: RecognitionArguments,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// With borders, for people
    Table,
    /// An object a line
    Json,
    /// Values separated by commas; columns must not be nested
    Csv,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let config = session_config()
        .with_option_extension(arguments.recognition.options.clone())
        .with_information_schema(true);
    let ctx = SessionContext::new_with_config(config).enable_url_table();
    register(&ctx)?;
    let (start, bar) = (Instant::now(), spinner());
    let ticking = tokio::spawn(tick(bar.clone(), start));
    let outcome = statements(&ctx, arguments, &bar).await;
    ticking.abort();
    bar.finish_and_clear();
    outcome?;
    let counts = Counts::now();
    if counts.recognized + counts.failed > 0 {
        let _ = writeln!(io::stderr(), "{}", described(counts, start));
    }
    Ok(())
}

async fn statements(ctx: &SessionContext, arguments: &Arguments, bar: &ProgressBar) -> Result<()> {
    for statement in parse(&arguments.query)? {
        let plan = ctx.state().statement_to_plan(statement).await?;
        print(ctx.execute_logical_plan(plan).await?, arguments.format, bar).await?;
    }
    Ok(())
}

async fn print(frame: DataFrame, format: Format, bar: &ProgressBar) -> Result<()> {
    let mut batches = frame.execute_stream().await?;
    let mut table = Vec::new();
    let mut header = true;
    while let Some(batch) = batches.try_next().await? {
        match format {
            Format::Table => table.push(batch),
            Format::Json => bar.suspend(|| print_json(&batch))?,
            Format::Csv => bar.suspend(|| print_csv(&batch, header))?,
        }
        header = false;
    }
    if table.iter().any(|batch| batch.num_columns() > 0) {
        bar.suspend(|| say(pretty_format_batches(&table)?))?;
    }
    Ok(())
}

fn print_json(batch: &RecordBatch) -> Result<()> {
    let mut writer = LineDelimitedWriter::new(io::stdout().lock());
    writer.write(batch)?;
    Ok(writer.finish()?)
}

fn print_csv(batch: &RecordBatch, header: bool) -> Result<()> {
    let stdout = io::stdout().lock();
    Ok(csv::WriterBuilder::new().with_header(header).build(stdout).write(batch)?)
}

fn spinner() -> ProgressBar {
    match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    }
}

async fn tick(bar: ProgressBar, start: Instant) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bar.set_message(described(Counts::now(), start));
        bar.tick();
    }
}

fn described(counts: Counts, start: Instant) -> String {
    let Counts { recognized, failed } = counts;
    let rate = (recognized + failed) as f64 / start.elapsed().as_secs_f64();
    format!("{recognized} crops recognised, {failed} with an error, {rate:.1} a second")
}
