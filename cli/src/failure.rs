//! Why a command failed, and what the process says of it.

use std::io::{self, Read, Write};
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
    #[error("cannot access {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Standard output does not take any more.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
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
    #[error("computation failed")]
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
                warn(format!("error: {}", svtrv2::ErrorReport::new(&failure)));
                ExitCode::FAILURE
            }
        }
    }
}

/// The longest text file in bytes.
const MAX_TEXT: u64 = 1 << 30;

/// Reads a text file, which must be a regular one: a pipe may block, and a device may be endless.
pub fn read_text(path: &Path) -> Result<String> {
    let read = || {
        if std::fs::metadata(path)?.is_file() {
            let mut text = String::new();
            let file = std::fs::File::open(path)?;
            if file.take(MAX_TEXT + 1).read_to_string(&mut text)? as u64 <= MAX_TEXT {
                return Ok(text);
            }
            return Err(io::Error::other(format!("it has more than {MAX_TEXT} bytes")));
        }
        Err(io::Error::other("it is not a regular file"))
    };
    read().map_err(Failure::file(path))
}

/// Prints a line to standard error, if anybody reads it.
pub fn warn(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a line to standard output.
pub fn say(line: impl std::fmt::Display) -> Result<()> {
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}
