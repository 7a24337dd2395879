//! Scene-text recognition in SQL: SVTRv2 as scalar functions of [Apache DataFusion](datafusion).
//!
//! | function | result |
//! |---|---|
//! | `read_text(image [, options])` | [`result_type`]: text, confidence, score, characters, words, error |
//! | `read_regions(page, regions [, options])` | [`results_type`]: a list of the same |
//! | `read_page(image [, options])` (feature `page`) | `page_type`: text, angle, lines with words, error |
//!
//! Images are PNG or JPEG files in binary columns. NULL gives NULL; a damaged image gives an `error`
//! and leaves the other rows alone. Texts are those of [`svtrv2::Recognizer::recognize_batch`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! use datafusion::prelude::SessionContext;
//!
//! let ctx = SessionContext::new_with_config(svtrv2_datafusion::session_config());
//! svtrv2_datafusion::register(&ctx)?;
//! let query = "SET svtrv2.precision = 'int8';
//!              SELECT read_text(X'00', options => {'decoder': 'beam'}).error AS error";
//! let batches = svtrv2_datafusion::sql(&ctx, query).await?.collect().await?;
//! assert_eq!(batches[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! [`ReadOptions`] lists the options. Each set of options has one recogniser in the process, which all
//! queries share. It spreads the crops of a batch over the rayon pool; of a batch of any size a few are
//! decoded at a time.

#![deny(missing_docs, unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::dbg_macro,
        clippy::exit,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod functions;
mod images;
mod options;
mod output;
#[cfg(feature = "page")]
mod pages;
mod provenance;
mod recognizers;
mod regions;
mod sql;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};

pub use functions::{ReadRegions, ReadText, recognize_files, recognize_images};
pub use images::Counts;
pub use options::ReadOptions;
pub use output::{result_type, results_type};
#[cfg(feature = "page")]
pub use pages::{ReadPage, page_type, read_pages};
pub use provenance::{ContentHash, provenance};
pub use recognizers::recognizer;
pub use sql::{parse, sql};

/// Rows of a batch in [`session_config`]. A batch holds its images.
pub const BATCH_SIZE: usize = 256;

/// DataFusion's default configuration, [`configured`] for recognition.
pub fn session_config() -> SessionConfig {
    configured(SessionConfig::new())
}

/// A configuration with what recognition needs:
///
/// - the settings `svtrv2.*`;
/// - batches of [`BATCH_SIZE`] rows, because the default of 8192 rows takes hundreds of megabytes where a row
///   has an image;
/// - `datafusion.optimizer.enable_leaf_expression_pushdown` off, because that rule takes
///   `read_text(image).text` and `read_text(image).confidence` apart into two calls again after they
///   were found to be one.
pub fn configured(config: SessionConfig) -> SessionConfig {
    config
        .with_option_extension(ReadOptions::default())
        .with_batch_size(BATCH_SIZE)
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
}

/// The functions.
///
/// # Errors
/// None today.
pub fn functions() -> Result<Vec<Arc<ScalarUDF>>> {
    Ok(vec![
        Arc::new(ReadText::new()?.into()),
        Arc::new(ReadRegions::new()?.into()),
        #[cfg(feature = "page")]
        Arc::new(ReadPage::new()?.into()),
    ])
}

/// Registers the functions in a session. Its configuration needs the extension [`ReadOptions`] for
/// `SET svtrv2.*`, as [`session_config`] has it; without it options are those of the call.
///
/// # Errors
/// As [`functions`].
pub fn register(ctx: &SessionContext) -> Result<()> {
    functions()?.into_iter().for_each(|function| {
        ctx.register_udf(function.as_ref().clone());
    });
    Ok(())
}
