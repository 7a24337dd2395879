//! Batches for a training that runs elsewhere.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use svtrv2::train::Loader;

use super::samples::bytes;
use crate::failure::{Failure, Result};

/// The line before the pixels of a batch.
#[derive(Serialize)]
struct Header<'a> {
    /// Batch, channels, height, width.
    shape: [usize; 4],
    /// Classes of every label.
    labels: &'a [Vec<u32>],
}

/// Writes batches to standard output until `count` crops are written or nobody reads any more: of each a
/// line of JSON, `{"shape": [batch, 3, height, width], "labels": [[class, ..], ..]}`, then its pixels, a
/// byte each, in the order of the shape; 0 stands for -1, 255 for 1.
pub fn write(mut loader: Loader, count: Option<usize>) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut written = 0;
    while count.is_none_or(|count| written < count) {
        let batch = loader.next_batch()?;
        let shape = batch.images.dims4()?.into();
        let header = Header { shape, labels: &batch.labels };
        let pixels = bytes(&batch.images)?;
        serde_json::to_writer(&mut out, &header)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.write_all(&pixels))
            .map_err(Failure::Output)?;
        written += batch.labels.len();
    }
    out.flush().map_err(Failure::Output)
}
