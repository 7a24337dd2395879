//! Files of results, written as a whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::failure::{Failure, Result};

/// Replaces a file in one step: what was there stays until the new one is complete. `NAME.partial`
/// beside it is written meanwhile; one that a killed process left is overwritten.
///
/// What is no regular file (a pipe, a terminal) is written to as it is.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let existing = fs::metadata(path).ok();
    if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return File::create(path).and_then(|file| fill(file, write)).map_err(Failure::file(path));
    }
    let replace = || {
        // Of a link, the file that it leads to.
        let target = if existing.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
        let mut beside = target.clone().into_os_string();
        beside.push(".partial");
        let file = File::create(&beside)?;
        let replaced = || {
            if let Some(metadata) = existing {
                file.set_permissions(metadata.permissions())?;
            }
            fill(file, write)?;
            fs::rename(&beside, &target)
        };
        replaced().inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
    };
    replace().map_err(Failure::file(path))
}

fn fill(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let regular = file.metadata()?.is_file();
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer.into_inner()?;
    if regular { file.sync_all() } else { Ok(()) }
}
