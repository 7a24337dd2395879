//! `svtrv2-page`: from image files to their text, as plain text, JSON, hOCR, ALTO, TSV or searchable PDF.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
