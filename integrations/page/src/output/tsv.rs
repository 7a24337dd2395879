//! Tesseract's table: a row for each page, block, paragraph, line and word.

use std::io::Write;

use svtrv2::Rect;

use super::{DocumentPage, xml};
use crate::error::Result;
use crate::text::{Line, around};

pub(super) fn begin(out: &mut impl Write) -> Result<()> {
    let columns = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext";
    writeln!(out, "{columns}")?;
    Ok(())
}

pub(super) fn page(out: &mut impl Write, page: DocumentPage, number: usize) -> Result<()> {
    let text = page.text;
    let number = number + 1;
    let place = |bounds: Rect| {
        let [left, upper, right, lower] = xml::pixels(bounds, text.width, text.height);
        format!("{left}\t{upper}\t{}\t{}", right - left, lower - upper)
    };
    let whole = place(Rect::new(0.0, 0.0, text.width as f32, text.height as f32));
    writeln!(out, "1\t{number}\t0\t0\t0\t0\t{whole}\t-1\t")?;
    for (block, lines) in text.blocks().enumerate() {
        let block = block + 1;
        let bounds = place(around(lines.iter().map(Line::bounds)));
        writeln!(out, "2\t{number}\t{block}\t0\t0\t0\t{bounds}\t-1\t")?;
        writeln!(out, "3\t{number}\t{block}\t1\t0\t0\t{bounds}\t-1\t")?;
        for (index, line) in lines.iter().enumerate() {
            let index = index + 1;
            let bounds = place(line.bounds());
            writeln!(out, "4\t{number}\t{block}\t1\t{index}\t0\t{bounds}\t-1\t")?;
            for (at, word) in line.words.iter().enumerate() {
                let (bounds, confidence) = (place(word.bounds), 100.0 * word.confidence);
                let text = word.text.replace(['\t', '\n', '\r'], " ");
                writeln!(
                    out,
                    "5\t{number}\t{block}\t1\t{index}\t{}\t{bounds}\t{confidence:.6}\t{text}",
                    at + 1
                )?;
            }
        }
    }
    Ok(())
}
