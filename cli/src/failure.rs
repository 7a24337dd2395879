//! Why a command failed, and what the process says of it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Arguments, or a file that the user wrote, ask for what cannot be done.
    #[error("{0}")]
    Input(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Standard output does not take any more.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The command ended and printed its results, but a part of its input failed.
    #[cfg(feature = "data")]
    #[error("{0}")]
    Incomplete(String),
    #[error(transparent)]
    Recognition(#[from] svtrv2::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Data(#[from] svtrv2::data::DataError),
    #[cfg(feature = "train")]
    #[error(transparent)]
    Training(#[from] svtrv2::train::TrainError),
    #[cfg(feature = "train")]
    #[error("computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}

impl Failure {
    /// For `map_err`: an operation on this file failed.
    pub fn file<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Failure::File { path: path.to_owned(), source: error.into() }
    }

    /// Prints the failure to standard error. A reader of standard output that has gone away is none:
    /// it has seen what it wanted.
    pub fn exit(self) -> ExitCode {
        match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            failure => {
                eprintln!("error: {failure}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Failure::file(path))
}

/// Prints a line to standard output.
pub fn say(line: impl std::fmt::Display) -> Result<()> {
    use io::Write;
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}
