//! Files, folders, glob patterns and standard input.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The extensions of a folder's images.
const EXTENSIONS: [&str; 9] = ["bmp", "jpe", "jpeg", "jpg", "pdf", "png", "tif", "tiff", "webp"];

/// Where a page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    File(PathBuf),
    Stdin,
}

impl Input {
    pub(super) fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "-".to_owned(),
        }
    }

    /// The name without folder and extension.
    pub(super) fn stem(&self) -> String {
        match self {
            Input::File(path) => {
                path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
            Input::Stdin => "stdin".to_owned(),
        }
    }

    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        match self {
            Input::File(path) => {
                if !fs::metadata(path)?.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
                }
                fs::read(path)
            }
            Input::Stdin => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// The pages that arguments name, in order.
pub(super) fn list(arguments: &[OsString]) -> Result<Vec<Input>, Box<dyn std::error::Error>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
            inputs.push(Input::Stdin);
        } else if path.is_dir() {
            inputs.extend(folder(path)?);
        } else if let Some(pattern) = argument.to_str().filter(|text| is_pattern(text, path)) {
            let mut found = Vec::new();
            for path in glob::glob(pattern).map_err(|error| format!("{pattern}: {error}"))? {
                found.push(Input::File(path?));
            }
            if found.is_empty() {
                return Err(format!("{pattern}: no file fits").into());
            }
            inputs.extend(found);
        } else {
            inputs.push(Input::File(path.to_owned()));
        }
    }
    Ok(inputs)
}

fn is_pattern(text: &str, path: &Path) -> bool {
    text.contains(['*', '?', '[']) && !path.exists()
}

/// The images of a folder by name.
fn folder(path: &Path) -> Result<Vec<Input>, String> {
    let failed = |error: io::Error| format!("cannot read the folder {}: {error}", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if file.is_file() && EXTENSIONS.contains(&extension.as_str()) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!("no images in the folder {}", path.display()));
    }
    files.sort();
    Ok(files.into_iter().map(Input::File).collect())
}
