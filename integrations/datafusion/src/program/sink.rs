//! A Parquet file that has its name only when it is complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;

use super::plan::about;

/// Most rows of a row group, which is in memory until it is complete.
const ROW_GROUP: usize = 1 << 14;

/// Most bytes of a row group: other columns of the input may be large.
const ROW_GROUP_BYTES: usize = 64 << 20;

pub struct Sink {
    writer: ArrowWriter<File>,
    /// Where the file is written, beside its place.
    partial: PathBuf,
    path: PathBuf,
}

impl Sink {
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = File::create(&partial).map_err(about(&partial))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        Ok(Sink { writer, partial, path: path.to_owned() })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    pub fn finish(self) -> Result<()> {
        self.writer.into_inner()?.sync_all().map_err(about(&self.partial))?;
        fs::rename(&self.partial, &self.path).map_err(about(&self.path))
    }
}
