//! Which input goes to which output file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use datafusion::common::{config_datafusion_err, config_err};
use datafusion::error::{DataFusionError, Result};

/// What one output file is made of.
pub enum Input {
    Parquet(PathBuf),
    Images(Vec<PathBuf>),
}

pub struct Part {
    pub input: Input,
    pub output: PathBuf,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Input::Parquet(path) => write!(f, "{}", path.display()),
            Input::Images(paths) => match paths.first() {
                Some(first) => write!(f, "{} images from {}", paths.len(), first.display()),
                None => write!(f, "no images"),
            },
        }
    }
}

/// The parts of a run, in the order of the inputs; the files of a folder are in the order of their
/// names, so that a second run has the same parts.
pub fn parts(inputs: &[PathBuf], output: &Path, rows_per_file: usize) -> Result<Vec<Part>> {
    let (mut tables, mut images) = (Vec::new(), Vec::new());
    for input in inputs {
        sort_in(input, &mut tables, &mut images)?;
    }
    let into_file = has_extension(output, &["parquet"]);
    match (tables.len(), images.len()) {
        (0, 0) => config_err!("the inputs hold no Parquet file and no image"),
        (1, 0) | (0, _) if into_file => {
            let input = tables.pop().map_or(Input::Images(images), Input::Parquet);
            Ok(vec![Part { input, output: output.to_owned() }])
        }
        _ if into_file => config_err!(
            "{} is one file: give a folder for the results of several",
            output.display()
        ),
        _ => {
            fs::create_dir_all(output).map_err(about(output))?;
            let mut parts = Vec::new();
            for table in tables {
                let name = table.file_name().unwrap_or_default();
                let part = Part { output: output.join(name), input: Input::Parquet(table) };
                parts.push(part);
            }
            for (number, images) in images.chunks(rows_per_file).enumerate() {
                let output = output.join(format!("images-{number:06}.parquet"));
                parts.push(Part { input: Input::Images(images.to_vec()), output });
            }
            check_names(&parts)?;
            Ok(parts)
        }
    }
}

fn check_names(parts: &[Part]) -> Result<()> {
    let mut names: Vec<&PathBuf> = parts.iter().map(|part| &part.output).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => config_err!("two input files are named as {}", pair[0].display()),
        None => Ok(()),
    }
}

/// For `map_err`: an operation on this file failed.
pub fn about(path: &Path) -> impl Fn(std::io::Error) -> DataFusionError {
    let name = path.display().to_string();
    move |error| DataFusionError::from(error).context(name.clone())
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let own = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    extensions.iter().any(|extension| own.eq_ignore_ascii_case(extension))
}

fn sort_in(input: &Path, tables: &mut Vec<PathBuf>, images: &mut Vec<PathBuf>) -> Result<()> {
    if input.is_dir() {
        let entries = fs::read_dir(input).and_then(|entries| {
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()
        });
        let mut paths = entries.map_err(about(input))?;
        paths.sort();
        for path in paths.iter().filter(|path| !is_hidden(path)) {
            if path.is_dir() {
                sort_in(path, tables, images)?;
            } else if has_extension(path, &["parquet"]) {
                tables.push(path.clone());
            } else if has_extension(path, &["png", "jpg", "jpeg"]) {
                images.push(path.clone());
            }
        }
    } else if has_extension(input, &["txt", "list"]) {
        let list = fs::read_to_string(input).map_err(about(input))?;
        images.extend(list.lines().filter(|line| !line.is_empty()).map(PathBuf::from));
    } else if has_extension(input, &["png", "jpg", "jpeg"]) {
        images.push(input.to_owned());
    } else if input.is_file() {
        tables.push(input.to_owned());
    } else {
        return Err(config_datafusion_err!("{}: no file and no folder", input.display()));
    }
    Ok(())
}

/// Files that are being written begin with a dot.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    fn outputs(parts: &[Part]) -> Vec<String> {
        let name = |part: &Part| part.output.file_name().unwrap().to_str().unwrap().to_owned();
        parts.iter().map(name).collect()
    }

    #[test]
    fn a_folder_of_tables_gives_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("texts");
        touch(
            folder.path(),
            &["in/b.parquet", "in/a.parquet", "in/.c.parquet.1.0.partial", "in/x.md"],
        );
        let input = folder.path().join("in");
        let found = parts(std::slice::from_ref(&input), &output, 10).unwrap();
        assert_eq!(outputs(&found), ["a.parquet", "b.parquet"]);
        let one = folder.path().join("one.parquet");
        let error = parts(std::slice::from_ref(&input), &one, 10).err().unwrap();
        assert!(error.to_string().contains("folder"), "{error}");
        let single = parts(&[input.join("a.parquet")], &one, 10).unwrap();
        assert_eq!(outputs(&single), ["one.parquet"]);
    }

    #[test]
    fn equal_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path(), &["x/a.parquet", "y/a.parquet"]);
        let inputs = ["x", "y"].map(|name| folder.path().join(name));
        let error = parts(&inputs, &folder.path().join("texts"), 10).err().unwrap();
        assert!(error.to_string().contains("a.parquet"), "{error}");
    }

    #[test]
    fn images_are_cut_into_files() {
        let folder = tempfile::tempdir().unwrap();
        touch(folder.path(), &["in/3.png", "in/1.PNG", "in/deep/2.jpeg", "in/labels.tsv"]);
        let list = folder.path().join("paths.txt");
        fs::write(&list, "a.png\n\nb.png\n").unwrap();
        let inputs = [folder.path().join("in"), list];
        let found = parts(&inputs, &folder.path().join("texts"), 2).unwrap();
        let names = ["images-000000.parquet", "images-000001.parquet", "images-000002.parquet"];
        assert_eq!(outputs(&found), names);
        let Input::Images(first) = &found[0].input else { panic!("images") };
        assert!(first[0].ends_with("1.PNG") && first[1].ends_with("3.png"), "{first:?}");
        let one = parts(&inputs, &folder.path().join("one.parquet"), 2).unwrap();
        let Input::Images(all) = &one[0].input else { panic!("images") };
        assert_eq!(all.len(), 5);
        assert!(parts(&[folder.path().join("none")], folder.path(), 2).is_err());
    }
}
