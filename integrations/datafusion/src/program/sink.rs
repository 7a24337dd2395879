//! A Parquet file that has its name only when it is complete.

use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use svtrv2::files::Replacement;

use super::plan::about;
use super::provenance::Provenance;

/// Most rows of a row group, which is in memory until it is complete.
const ROW_GROUP: usize = 1 << 14;

/// Most bytes of a row group: other columns of the input may be large.
const ROW_GROUP_BYTES: usize = 64 << 20;

pub struct Sink {
    writer: ArrowWriter<Replacement>,
    path: PathBuf,
}

impl Sink {
    pub fn create(path: &Path, schema: SchemaRef, provenance: &Provenance) -> Result<Self> {
        let file = Replacement::create(path).map_err(about(path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_key_value_metadata(Some(provenance.entries()))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        Ok(Sink { writer, path: path.to_owned() })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    pub fn finish(self) -> Result<()> {
        self.writer.into_inner()?.commit().map_err(about(&self.path))
    }
}
