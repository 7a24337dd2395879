//! ALTO 4: the Library of Congress's schema for texts with their places.

use std::io::Write;

use svtrv2::Rect;

use super::DocumentPage;
use super::xml::{direction, escaped, pixels};
use crate::error::Result;
use crate::text::around;

pub(super) fn begin(out: &mut impl Write, name: Option<&str>) -> Result<()> {
    let name = escaped(name.unwrap_or_default());
    let version = env!("CARGO_PKG_VERSION");
    write!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-2.xsd">
<Description>
<MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>{name}</fileName></sourceImageInformation>
<OCRProcessing ID="OCR_0"><ocrProcessingStep><processingSoftware><softwareName>svtrv2-page</softwareName><softwareVersion>{version}</softwareVersion></processingSoftware></ocrProcessingStep></OCRProcessing>
</Description>
<Layout>
"#
    )?;
    Ok(())
}

pub(super) fn page(out: &mut impl Write, page: DocumentPage, number: usize) -> Result<()> {
    let text = page.text;
    let (width, height) = (text.width, text.height);
    let place = |bounds: Rect| {
        let [left, upper, right, lower] = pixels(bounds, width, height);
        format!(
            r#"HPOS="{left}" VPOS="{upper}" WIDTH="{}" HEIGHT="{}""#,
            right - left,
            lower - upper
        )
    };
    writeln!(
        out,
        r#"<Page ID="page_{number}" PHYSICAL_IMG_NR="{number}" WIDTH="{width}" HEIGHT="{height}">"#
    )?;
    writeln!(out, r#"<PrintSpace HPOS="0" VPOS="0" WIDTH="{width}" HEIGHT="{height}">"#)?;
    let mut line_id = 0;
    let mut word_id = 0;
    for (block, lines) in text.blocks().enumerate() {
        let bounds = place(around(lines.iter().map(|line| line.quad.bounding_rect())));
        let rotation = lines.first().map_or(0.0, |line| direction(line.quad));
        writeln!(
            out,
            r#"<TextBlock ID="block_{number}_{block}" {bounds} ROTATION="{rotation:.2}">"#
        )?;
        for line in lines {
            let bounds = place(line.quad.bounding_rect());
            writeln!(out, r#"<TextLine ID="line_{number}_{line_id}" {bounds}>"#)?;
            let corners: Vec<String> =
                line.quad.0.iter().map(|p| format!("{:.1},{:.1}", p.x, p.y)).collect();
            writeln!(out, r#"<Shape><Polygon POINTS="{}"/></Shape>"#, corners.join(" "))?;
            line_id += 1;
            for (at, word) in line.words.iter().enumerate() {
                if at > 0 {
                    writeln!(out, "<SP/>")?;
                }
                writeln!(
                    out,
                    r#"<String ID="word_{number}_{word_id}" {} WC="{:.4}" CONTENT="{}"/>"#,
                    place(word.bounds),
                    word.confidence,
                    escaped(&word.text)
                )?;
                word_id += 1;
            }
            writeln!(out, "</TextLine>")?;
        }
        writeln!(out, "</TextBlock>")?;
    }
    writeln!(out, "</PrintSpace>\n</Page>")?;
    Ok(())
}

pub(super) fn end(out: &mut impl Write) -> Result<()> {
    writeln!(out, "</Layout>\n</alto>")?;
    Ok(())
}
