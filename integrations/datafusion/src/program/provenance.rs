//! What the rows of an output file are made of, which its metadata say: a run goes on only where the finished
//! files are those that it would write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use datafusion::common::config_err;
use datafusion::error::Result;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
use svtrv2_datafusion::ContentHash;

use super::plan::{Input, about};

/// What the names of our entries begin with.
const PREFIX: &str = "svtrv2.";
/// The end of a Parquet file has its metadata: where its columns begin, how long they are.
const FOOTER: u64 = 1 << 16;

/// Names and values: those of recognition, of the columns, and of the input.
#[derive(Clone)]
pub struct Provenance(BTreeMap<String, String>);

impl Provenance {
    pub fn new(recognition: BTreeMap<String, String>) -> Self {
        Provenance(recognition)
    }

    /// The same with an entry more, if it has a value.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.0.extend(value.map(|value| (format!("{PREFIX}{name}"), value.to_owned())));
        self
    }

    /// The same with what there is to know about an input file without reading all of it.
    pub fn with_input(&self, input: &Input) -> Result<Self> {
        let about_input = match input {
            Input::Parquet(path) => {
                let (len, footer) = end(path).map_err(about(path))?;
                let name = path.file_name().unwrap_or_default().display();
                format!("{name}, {len} bytes, footer {footer}")
            }
            Input::Images(paths) => {
                let mut hash = ContentHash::default();
                for path in paths {
                    hash.add(path.as_os_str().as_encoded_bytes());
                    // A file that cannot be read has an error in its row.
                    let len = std::fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
                    hash.add(&len.to_le_bytes());
                }
                format!("{} images, names and sizes {hash}", paths.len())
            }
        };
        Ok(self.clone().with("input", Some(&about_input)))
    }

    /// For the metadata of an output file.
    pub fn entries(&self) -> Vec<KeyValue> {
        self.0.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())).collect()
    }

    /// Checks that a finished file was made from the same.
    pub fn check(&self, output: &Path) -> Result<()> {
        let reader = SerializedFileReader::new(File::open(output).map_err(about(output))?)?;
        let entries = reader.metadata().file_metadata().key_value_metadata();
        let found: BTreeMap<String, String> = entries
            .into_iter()
            .flatten()
            .filter(|entry| entry.key.starts_with(PREFIX))
            .map(|entry| (entry.key.clone(), entry.value.clone().unwrap_or_default()))
            .collect();
        let names = self.0.keys().chain(found.keys().filter(|name| !self.0.contains_key(*name)));
        let unlike = |name: &&String| self.0.get(*name) != found.get(*name);
        let Some(name) = names.into_iter().find(unlike) else { return Ok(()) };
        let value = |of: &BTreeMap<String, String>| match of.get(name) {
            Some(value) => format!("{value:?}"),
            None => "not given".to_owned(),
        };
        config_err!(
            "{} is finished, but was made otherwise: {name} was {} and is {} now. --overwrite writes it again; \
             another output leaves it",
            output.display(),
            value(&found),
            value(&self.0)
        )
    }
}

/// The length of a file and a hash of its end.
fn end(path: &Path) -> io::Result<(u64, ContentHash)> {
    let mut file = File::open(path)?;
    let len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(len.saturating_sub(FOOTER)))?;
    let mut bytes = Vec::new();
    file.take(FOOTER).read_to_end(&mut bytes)?;
    let mut hash = ContentHash::default();
    hash.add(&bytes);
    Ok((len, hash))
}
