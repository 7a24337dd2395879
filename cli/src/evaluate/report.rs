//! A report as one HTML file that needs nothing beside it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use html_escape::encode_text;
use svtrv2::evaluation::{CALIBRATION_BINS, Metrics, reliability};

use super::measure::{Exhibit, LENGTHS, Measured, length_group};
use super::table;

const STYLE: &str = "body{font:15px sans-serif;margin:2em;max-width:72em}\
    table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right}\
    td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f3f3f3}\
    .gallery{display:flex;flex-wrap:wrap;gap:1em}.crop{border:1px solid #ccc;padding:.5em}\
    .crop svg{display:block;margin-bottom:.4em}.label{color:#060}.wrong{color:#a00}\
    .next{color:#777}.charts{display:flex;flex-wrap:wrap;gap:2em}";

pub fn html(measured: &[Measured], compared: &[String]) -> String {
    let mut page = format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Evaluation</title>\
         <style>{STYLE}</style><h1>Evaluation</h1>"
    );
    figures(&mut page, measured, compared);
    for set in measured {
        let _ = write!(page, "<h2>{}</h2><div class=\"charts\">", encode_text(&set.name));
        reliability_diagram(&mut page, set);
        accuracy_by_length(&mut page, set);
        page.push_str("</div>");
        let errors = set.accumulators[0].judged().iter().filter(|(_, right)| !right).count();
        let _ = write!(
            page,
            "<h3>Errors: {} of {errors}</h3><div class=\"gallery\">",
            set.gallery.len()
        );
        for exhibit in &set.gallery {
            show(&mut page, set, exhibit);
        }
        page.push_str("</div>");
    }
    page.push_str("</html>\n");
    page
}

fn figures(page: &mut String, measured: &[Measured], compared: &[String]) {
    if !compared.is_empty() {
        page.push_str("<p>");
        for (index, text) in compared.iter().enumerate() {
            let _ = write!(page, "Setting {}: <code>{}</code><br>", index + 2, encode_text(text));
        }
        page.push_str("</p>");
    }
    let _ = write!(page, "<p>{}</p>", encode_text(&table::rules(measured)));
    page.push_str(
        "<table><tr><th>set<th>setting<th>images<th>words<th>word accuracy<th>exact<th>1 - NED\
         <th>confidence<th>ECE<th>ms<th>lines<th>CER<th>spaces</tr>",
    );
    let mut row = |name: &str, setting: usize, metrics: &Metrics| {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.2} %<td>{:.2} %<td>{:.2} %<td>{:.2} %<td>{:.2} %\
             <td>{:.2}<td>{:.2} %<td>{:.2} %<td>{}</tr>",
            encode_text(name),
            setting + 1,
            metrics.images,
            metrics.words,
            100.0 * metrics.word_accuracy,
            100.0 * metrics.exact_accuracy,
            100.0 * metrics.similarity,
            100.0 * metrics.mean_confidence,
            100.0 * metrics.calibration_error,
            metrics.milliseconds,
            100.0 * metrics.line_accuracy,
            100.0 * metrics.character_error_rate,
            metrics.space_f1.map_or("-".to_owned(), |f1| format!("{:.2} %", 100.0 * f1)),
        );
    };
    for set in measured {
        for (setting, accumulator) in set.accumulators.iter().enumerate() {
            row(&set.name, setting, &accumulator.metrics());
        }
    }
    for setting in 0..=compared.len() {
        if let Some(metrics) = table::average(measured, setting).filter(|_| measured.len() > 1) {
            row("average", setting, &metrics);
        }
    }
    page.push_str("</table>");
}

/// Side of a chart's area, in pixels.
const SIDE: f64 = 260.0;
/// Around it.
const EDGE: f64 = 40.0;

fn begin_chart(page: &mut String, title: &str, across: &str) {
    let whole = SIDE + 2.0 * EDGE;
    let _ = write!(
        page,
        "<svg width=\"{whole}\" height=\"{whole}\" font-size=\"12\" font-family=\"sans-serif\">\
         <text x=\"{EDGE}\" y=\"20\" font-weight=\"bold\">{title}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{across}</text>\
         <rect x=\"{EDGE}\" y=\"{EDGE}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" \
         stroke=\"#888\"/>",
        whole / 2.0,
        whole - 4.0,
    );
    for tick in [0.0, 0.5, 1.0] {
        let y = EDGE + SIDE * (1.0 - tick);
        let _ = write!(
            page,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{tick}</text>",
            EDGE - 4.0,
            y + 4.0
        );
    }
}

fn bar(page: &mut String, at: usize, of: usize, share: f64, note: &str) {
    let width = SIDE / of as f64;
    let _ = write!(
        page,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#4a7fb5\">\
         <title>{note}</title></rect>",
        EDGE + at as f64 * width + 1.0,
        EDGE + SIDE * (1.0 - share),
        width - 2.0,
        SIDE * share,
    );
}

fn reliability_diagram(page: &mut String, set: &Measured) {
    begin_chart(page, "Accuracy by confidence", "confidence, 0 to 1");
    for (at, bin) in reliability(set.accumulators[0].judged(), CALIBRATION_BINS).iter().enumerate()
    {
        let (count, accuracy, confidence) = (bin.count, bin.accuracy(), bin.mean_confidence);
        let note = format!("{count} crops, accuracy {accuracy:.3}, confidence {confidence:.3}");
        bar(page, at, CALIBRATION_BINS, accuracy, &note);
    }
    let end = EDGE + SIDE;
    let _ = write!(
        page,
        "<line x1=\"{EDGE}\" y1=\"{end}\" x2=\"{end}\" y2=\"{EDGE}\" stroke=\"#c33\" \
         stroke-dasharray=\"4\"/></svg>"
    );
}

fn accuracy_by_length(page: &mut String, set: &Measured) {
    begin_chart(page, "Word accuracy by length of the label", "");
    for (group, accumulator) in set.by(0, length_group) {
        let Metrics { words, word_accuracy, .. } = accumulator.metrics();
        bar(
            page,
            group,
            LENGTHS.len(),
            word_accuracy,
            &format!("{words} words, {word_accuracy:.3}"),
        );
    }
    for (group, (name, _)) in LENGTHS.iter().enumerate() {
        let x = EDGE + (group as f64 + 0.5) * SIDE / LENGTHS.len() as f64;
        let name = name.split(' ').next().unwrap_or_default();
        let _ = write!(
            page,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\">{name}</text>",
            EDGE + SIDE + 14.0
        );
    }
    page.push_str("</svg>");
}

/// A crop with the boxes of its characters, its label, and the recognised texts.
fn show(page: &mut String, set: &Measured, exhibit: &Exhibit) {
    let (width, height) = (exhibit.size.0 as f32, exhibit.size.1 as f32);
    let scale = (64.0 / height).min(480.0 / width);
    let kind = if exhibit.image.starts_with(b"\x89PNG") { "png" } else { "jpeg" };
    let _ = write!(
        page,
        "<div class=\"crop\"><svg width=\"{:.0}\" height=\"{:.0}\" viewBox=\"0 0 {width} {height}\">\
         <image width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
         href=\"data:image/{kind};base64,{}\"/>",
        width * scale,
        height * scale,
        STANDARD.encode(&exhibit.image),
    );
    for character in &exhibit.recognition.chars {
        let span = &character.bounds;
        let _ = write!(
            page,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"none\" \
             stroke=\"hsl({:.0},90%,40%)\" stroke-width=\"{:.2}\"><title>{} {:.3}</title></rect>",
            span.x0,
            span.y0,
            span.x1 - span.x0,
            span.y1 - span.y0,
            120.0 * character.confidence,
            1.5 / scale,
            encode_text(&character.symbol),
            character.confidence,
        );
    }
    let crop = &set.crops[exhibit.crop];
    let _ = write!(
        page,
        "</svg><span class=\"label\">{}</span><br><span class=\"wrong\">{}</span> {:.3}",
        encode_text(&crop.label),
        encode_text(&exhibit.recognition.text),
        exhibit.recognition.confidence,
    );
    for next in &exhibit.recognition.alternatives {
        let text = encode_text(&next.text);
        let _ = write!(page, "<br><span class=\"next\">{text} {:.2} nats</span>", next.score);
    }
    for (setting, result) in crop.results.iter().enumerate().skip(1) {
        let _ = write!(page, "<br>{}: {}", setting + 1, encode_text(&result.text));
    }
    let _ = write!(page, "<br><small>{}</small></div>", encode_text(&crop.name));
}
