//! A JSON object a page.

use std::io::Write;

use serde::Serialize;

use super::DocumentPage;
use crate::error::Result;
use crate::text::PageText;

#[derive(Serialize)]
struct Object<'a> {
    file: &'a str,
    #[serde(flatten)]
    text: &'a PageText,
}

pub(super) fn page(out: &mut impl Write, page: DocumentPage) -> Result<()> {
    let object = Object { file: page.name, text: page.text };
    serde_json::to_writer(&mut *out, &object).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}
