//! Files of results, written as a whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use svtrv2::files::Replacement;

use crate::failure::{Failure, Result};

/// Replaces a file in one step: what was there stays until the new one is complete.
///
/// What is no regular file (a pipe, a terminal) is written to as it is.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let regular = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let written = if regular || !path.exists() {
        Replacement::create(path).and_then(|file| fill(file, write)?.commit())
    } else {
        File::create(path).and_then(|file| fill(file, write)).map(drop)
    };
    written.map_err(Failure::file(path))
}

/// Writes through a buffer; returns what it writes to.
fn fill<W: Write>(to: W, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<W> {
    let mut writer = BufWriter::new(to);
    write(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}
