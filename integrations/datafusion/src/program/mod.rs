//! The program: its commands, and what the process says when one fails.

mod arguments;
mod bulk;
mod plan;
mod progress;
mod provenance;
mod sink;
mod source;
mod sql;

use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use datafusion::error::{DataFusionError, Result};

/// Recognises the text of crops in Parquet files, folders and lists, and in SQL queries.
#[derive(Parser)]
#[command(name = "svtrv2", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bulk(Box<bulk::Arguments>),
    Sql(Box<sql::Arguments>),
}

pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", error.strip_backtrace());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    // Row groups of images are read by threads for blocking work. The system's allocator keeps what a
    // thread has freed for that thread: of tokio's 512, many would keep a row group each.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(cores + 2)
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Bulk(arguments) => bulk::run(&arguments).await,
            Command::Sql(arguments) => sql::run(&arguments).await,
        }
    })
}

/// A reader of standard output that has gone away has seen what it wanted.
fn is_broken_pipe(error: &DataFusionError) -> bool {
    let root = error.find_root();
    matches!(root, DataFusionError::IoError(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a line to standard output.
fn say(line: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
