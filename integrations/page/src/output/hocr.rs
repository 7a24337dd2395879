//! hOCR 1.2: XHTML whose `title` attributes hold boxes.

use std::io::Write;

use svtrv2::{Quad, Rect};

use super::DocumentPage;
use super::xml::{direction, escaped, pixels};
use crate::error::Result;
use crate::text::{Line, around};

/// Lines that lean by more degrees have an angle instead of a baseline.
const MAX_LEAN: f32 = 30.0;

pub(super) fn begin(out: &mut impl Write) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    write!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head>
<title>Recognised text</title>
<meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
<meta name="ocr-system" content="svtrv2-page {version}"/>
<meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrp_wconf"/>
</head>
<body>
"#
    )?;
    Ok(())
}

pub(super) fn page(out: &mut impl Write, page: DocumentPage, number: usize) -> Result<()> {
    let text = page.text;
    let id = number + 1;
    let place = |bounds: Rect| {
        let [left, upper, right, lower] = pixels(bounds, text.width, text.height);
        format!("bbox {left} {upper} {right} {lower}")
    };
    let name = page.name.replace('\\', "\\\\").replace('"', "\\\"");
    let (width, height) = (text.width, text.height);
    writeln!(
        out,
        r#"<div class="ocr_page" id="page_{id}" title="image &quot;{}&quot;; bbox 0 0 {width} {height}; ppageno {number}">"#,
        escaped(&name)
    )?;
    let mut line_id = 0;
    let mut word_id = 0;
    for (block, lines) in text.blocks().enumerate() {
        let block = block + 1;
        let bounds = place(around(lines.iter().map(Line::bounds)));
        writeln!(out, r#"<div class="ocr_carea" id="block_{id}_{block}" title="{bounds}">"#)?;
        writeln!(out, r#"<p class="ocr_par" id="par_{id}_{block}" title="{bounds}">"#)?;
        for line in lines {
            line_id += 1;
            let bounds = line.bounds();
            let (lean, bounds) = (leaning(line.quad, bounds), place(bounds));
            writeln!(
                out,
                r#"<span class="ocr_line" id="line_{id}_{line_id}" title="{bounds}; {lean}">"#
            )?;
            for word in &line.words {
                word_id += 1;
                let (bounds, percent) = (place(word.bounds), 100.0 * word.confidence);
                writeln!(
                    out,
                    r#"<span class="ocrx_word" id="word_{id}_{word_id}" title="{bounds}; x_wconf {percent:.0}">{}</span>"#,
                    escaped(&word.text)
                )?;
            }
            writeln!(out, "</span>")?;
        }
        writeln!(out, "</p>\n</div>")?;
    }
    writeln!(out, "</div>")?;
    Ok(())
}

pub(super) fn end(out: &mut impl Write) -> Result<()> {
    writeln!(out, "</body>\n</html>")?;
    Ok(())
}

/// The baseline, from the lower left corner of the line's bounds, or the angle (counter-clockwise) of lines that
/// stand askew.
fn leaning(quad: Quad, bounds: Rect) -> String {
    let angle = direction(quad);
    if angle.abs() > MAX_LEAN {
        return format!("textangle {:.1}", -angle);
    }
    let Quad([_, _, right, left]) = quad;
    let slope = if right.x > left.x { (right.y - left.y) / (right.x - left.x) } else { 0.0 };
    let offset = left.y + slope * (bounds.x0 - left.x) - bounds.y1;
    format!("baseline {slope:.4} {:.0}", offset.min(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_and_angles() {
        let level: Quad = Rect::new(10.0, 10.0, 110.0, 30.0).into();
        assert_eq!(leaning(level, level.bounding_rect()), "baseline 0.0000 0");
        let rising =
            Quad([(10.0, 20.0), (110.0, 10.0), (112.0, 30.0), (12.0, 40.0)].map(Into::into));
        assert_eq!(leaning(rising, rising.bounding_rect()), "baseline -0.1000 0");
        let up = Quad([(10.0, 110.0), (10.0, 10.0), (30.0, 10.0), (30.0, 110.0)].map(Into::into));
        assert_eq!(leaning(up, up.bounding_rect()), "textangle 90.0");
    }
}
