//! Batches of crops from Parquet files and from image files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config_err;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt, future};
use svtrv2_datafusion::{
    BATCH_SIZE, ReadOptions, ReadText, recognize_files, recognize_images, result_type,
    session_config,
};
use url::Url;

use super::plan::{Input, about};

/// Which columns there are.
pub struct Columns {
    /// The images.
    pub image: String,
    /// What the names of results begin with.
    pub prefix: String,
}

pub struct Source {
    rows: usize,
    output_schema: SchemaRef,
    kind: Kind,
}

enum Kind {
    Table { frame: DataFrame, image: Image },
    Files(Vec<PathBuf>),
}

/// The column with the images, and the type that the recogniser takes them in.
struct Image {
    index: usize,
    of: DataType,
}

/// A session with one partition, which keeps the order of the rows: the recogniser uses all threads.
pub fn session() -> SessionContext {
    let mut config = session_config().with_target_partitions(1);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    SessionContext::new_with_config(config)
}

/// Crops that are recognised together, and the schema of their results.
pub struct Batch {
    rows: Rows,
    output_schema: SchemaRef,
}

enum Rows {
    /// The images, and the other columns.
    Table {
        images: ArrayRef,
        others: Vec<ArrayRef>,
    },
    Files(Vec<PathBuf>),
}

impl Source {
    pub async fn open(
        ctx: &SessionContext,
        input: &Input,
        columns: &Columns,
        filter: Option<&str>,
    ) -> Result<Self> {
        match input {
            Input::Parquet(path) => {
                // The file has been chosen: its name need not end in .parquet.
                let options = ParquetReadOptions::default().file_extension("");
                Self::table(ctx.read_parquet(url(path)?, options).await?, columns, filter).await
            }
            Input::Images(_) if filter.is_some() => {
                config_err!("--where is for Parquet files: image files have no columns")
            }
            Input::Images(paths) => {
                let path = Arc::new(Field::new("path", DataType::Utf8, false));
                Ok(Source {
                    rows: paths.len(),
                    output_schema: with_results(vec![path], &columns.prefix)?,
                    kind: Kind::Files(paths.clone()),
                })
            }
        }
    }

    async fn table(mut frame: DataFrame, columns: &Columns, filter: Option<&str>) -> Result<Self> {
        if let Some(filter) = filter {
            frame = frame.clone().filter(frame.parse_sql_expr(filter)?)?;
        }
        let schema = Arc::clone(frame.schema().inner());
        let Ok(index) = schema.index_of(&columns.image) else {
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return config_err!("no column {:?} among {}", columns.image, names.join(", "));
        };
        let mut others = schema.fields().to_vec();
        others.remove(index);
        let output_schema = with_results(others, &columns.prefix)?;
        let of = image_type(schema.field(index).data_type())?;
        let rows = frame.clone().count().await?;
        Ok(Source { rows, output_schema, kind: Kind::Table { frame, image: Image { index, of } } })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns of the results.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output_schema)
    }

    pub async fn batches(self) -> Result<BoxStream<'static, Result<Batch>>> {
        let output_schema = self.output_schema;
        Ok(match self.kind {
            Kind::Table { frame, image } => frame
                .execute_stream()
                .await?
                .and_then(move |batch| {
                    let rows = image.split(&batch);
                    let output_schema = Arc::clone(&output_schema);
                    future::ready(rows.map(|rows| Batch { rows, output_schema }))
                })
                .boxed(),
            Kind::Files(paths) => {
                let batch = move |paths: &[PathBuf]| {
                    Ok(Batch {
                        rows: Rows::Files(paths.to_vec()),
                        output_schema: Arc::clone(&output_schema),
                    })
                };
                let batches: Vec<_> = paths.chunks(BATCH_SIZE).map(batch).collect();
                stream::iter(batches).boxed()
            }
        })
    }
}

/// The address of a file. A path would be searched for `*` and `?`.
fn url(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).map_err(about(path))?;
    match Url::from_file_path(&absolute) {
        Ok(url) => Ok(url.into()),
        Err(()) => config_err!("{}: the path has no address", path.display()),
    }
}

/// The type in which `read_text` takes images of a type; dictionaries are unpacked.
fn image_type(of: &DataType) -> Result<DataType> {
    let types = ReadText::new()?.coerce_types(std::slice::from_ref(of))?;
    Ok(types.into_iter().next().unwrap_or_else(|| of.clone()))
}

impl Image {
    fn split(&self, batch: &RecordBatch) -> Result<Rows> {
        let images = cast(batch.column(self.index), &self.of)?;
        let mut others = batch.columns().to_vec();
        others.remove(self.index);
        Ok(Rows::Table { images, others })
    }
}

/// The schema of results behind other columns.
fn with_results(mut fields: Vec<Arc<Field>>, prefix: &str) -> Result<SchemaRef> {
    let DataType::Struct(results) = result_type() else {
        return config_err!("a result has no fields");
    };
    for field in &results {
        let name = format!("{prefix}{}", field.name());
        if fields.iter().any(|other| *other.name() == name) {
            return config_err!(
                "the input has a column {name:?}: --prefix gives results other names"
            );
        }
        fields.push(Arc::new(field.as_ref().clone().with_name(name)));
    }
    Ok(Arc::new(Schema::new(fields)))
}

impl Batch {
    /// The columns of the output.
    pub fn recognize(self, options: &ReadOptions) -> Result<RecordBatch> {
        let (mut columns, results): (Vec<ArrayRef>, StructArray) = match self.rows {
            Rows::Table { images, others } => (others, recognize_images(&images, options)?),
            Rows::Files(paths) => {
                let names: StringArray =
                    paths.iter().map(|path| Some(path.to_string_lossy())).collect();
                let results = recognize_files(&paths, options)?;
                (vec![Arc::new(names)], results)
            }
        };
        columns.extend_from_slice(results.columns());
        Ok(RecordBatch::try_new(self.output_schema, columns)?)
    }
}
