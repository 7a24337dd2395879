//! `svtrv2`: evaluates, trains and converts text recognition networks.

#[cfg(feature = "data")]
mod calibrate;
mod convert;
mod engine;
#[cfg(feature = "data")]
mod evaluate;
mod failure;
mod ngram;
mod options;
#[cfg(feature = "data")]
mod output;
#[cfg(feature = "train")]
mod synthesize;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
mod word_lm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Evaluates, trains and converts SVTRv2 text recognition networks.
#[derive(Parser)]
#[command(name = "svtrv2", version, arg_required_else_help = true, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Exit status: 0 if all went well, 1 if something failed or there was nothing to do, 2 for arguments \
that cannot be understood.

`svtrv2 COMMAND --help` explains a command and shows examples.";

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "data")]
    Evaluate(Box<evaluate::Arguments>),
    #[cfg(feature = "train")]
    Train(train::Arguments),
    #[cfg(feature = "train")]
    Synthesize(synthesize::Arguments),
    Convert(convert::Arguments),
    Ngram(ngram::Arguments),
    #[cfg(feature = "train")]
    WordLm(word_lm::Arguments),
    /// Recognise the crops of Parquet files, folders and lists (package svtrv2-datafusion)
    Bulk(engine::Arguments),
    /// Run SQL with the functions read_text, read_regions and read_page (package svtrv2-datafusion)
    Sql(engine::Arguments),
    /// Find and recognise the text of whole pages (package svtrv2-page)
    Page(engine::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        #[cfg(feature = "data")]
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        #[cfg(feature = "train")]
        Command::Train(arguments) => train::run(&arguments),
        #[cfg(feature = "train")]
        Command::Synthesize(arguments) => synthesize::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Ngram(arguments) => ngram::run(&arguments),
        #[cfg(feature = "train")]
        Command::WordLm(arguments) => word_lm::run(&arguments),
        Command::Bulk(arguments) => return ended(engine::run("bulk", &arguments)),
        Command::Page(arguments) => return ended(engine::run_page(&arguments)),
        Command::Sql(arguments) => return ended(engine::run("sql", &arguments)),
    };
    ended(outcome.map(|()| ExitCode::SUCCESS))
}

fn ended(outcome: failure::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.exit(),
    }
}
