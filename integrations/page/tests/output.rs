//! Documents of every format, without networks.

mod support;

use svtrv2_page::svtrv2::{Page, PixelFormat, Rect};
use svtrv2_page::{Document, DocumentPage, Error, Format, PageText};

/// A page of two blocks, the second with two parts in a row, and markup in a word.
fn text() -> PageText {
    let quad = |x: f32, y: f32, w: f32| {
        let corner = |x: f32, y: f32| serde_json::json!({ "x": x, "y": y });
        serde_json::json!([
            corner(x, y),
            corner(x + w, y),
            corner(x + w, y + 20.0),
            corner(x, y + 20.0)
        ])
    };
    let word = |text: &str, x: f32, y: f32, w: f32| {
        let bounds = serde_json::to_value(Rect::new(x, y, x + w, y + 20.0)).unwrap();
        serde_json::json!({ "text": text, "confidence": 0.9, "bounds": bounds, "quad": quad(x, y, w) })
    };
    let line =
        |text: &str, block: usize, row: usize, x: f32, y: f32, words: Vec<serde_json::Value>| {
            serde_json::json!({
                "text": text, "confidence": 0.8, "score": 0.95, "block": block, "row": row,
                "quad": quad(x, y, 150.0), "words": words,
            })
        };
    serde_json::from_value(serde_json::json!({
        "width": 400, "height": 200, "angle": 0.0, "dropped": 1,
        "lines": [
            line("A <b> & é", 0, 0, 10.0, 10.0, vec![
                word("A", 10.0, 10.0, 20.0), word("<b>", 40.0, 10.0, 40.0), word("&", 90.0, 10.0, 15.0),
                word("é", 120.0, 10.0, 15.0),
            ]),
            line("tea", 1, 0, 10.0, 100.0, vec![word("tea", 10.0, 100.0, 60.0)]),
            line("中文 3.50", 1, 0, 200.0, 100.0, vec![
                word("中文", 200.0, 100.0, 50.0), word("3.50", 260.0, 100.0, 60.0),
            ]),
            line("end", 1, 1, 10.0, 130.0, vec![word("end", 10.0, 130.0, 60.0)]),
        ],
    }))
    .unwrap()
}

fn written(format: Format, pages: usize) -> Vec<u8> {
    let pixels = vec![200; 400 * 200];
    let page = Page::from_raw(PixelFormat::Grey8, 400, 200, 400, &pixels).unwrap();
    let text = text();
    let mut document = Document::new(format, Vec::new(), 150.0).unwrap();
    for _ in 0..pages {
        let page = DocumentPage { name: "a \"b\" <c>.png", page: &page, file: None, text: &text };
        document.page(page).unwrap();
    }
    document.finish().unwrap()
}

fn string(format: Format, pages: usize) -> String {
    String::from_utf8(written(format, pages)).unwrap()
}

#[test]
fn plain_text() {
    let page = "A <b> & é\n\ntea\t中文 3.50\nend\n";
    assert_eq!(string(Format::Text, 1), page);
    assert_eq!(string(Format::Text, 2), format!("{page}\u{c}{page}"));
}

#[test]
fn json_comes_back() {
    let written = string(Format::Json, 2);
    assert_eq!(written.lines().count(), 2);
    for line in written.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["file"], "a \"b\" <c>.png");
        assert_eq!(serde_json::from_value::<PageText>(value).unwrap(), text());
    }
}

#[test]
fn the_table_has_tesseracts_rows() {
    let table = string(Format::Tsv, 1);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 12), "{table}");
    assert_eq!(rows[1][..10], ["1", "1", "0", "0", "0", "0", "0", "0", "400", "200"]);
    let count = |level: &str| rows.iter().filter(|row| row[0] == level).count();
    assert_eq!(["1", "2", "3", "4", "5"].map(count), [1, 2, 2, 4, 8]);
    let word = rows.iter().find(|row| row[11] == "3.50").unwrap();
    assert_eq!(word[..10], ["5", "1", "2", "1", "2", "2", "260", "100", "60", "20"]);
    assert!(word[10].starts_with("90.0"));
}

/// Names of elements and how often each is opened; panics unless every one is closed in its place.
fn elements(xml: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a bare > before {}", &rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = || tag.split([' ', '/', '\n']).next().unwrap().to_owned();
        if tag.starts_with(['?', '!']) {
            continue;
        } else if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed));
        } else {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            all.push(name());
            if !tag.ends_with('/') {
                open.push(name());
            }
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    all
}

#[test]
fn hocr_is_well_formed() {
    let hocr = string(Format::Hocr, 2);
    elements(&hocr);
    let count = |class: &str| hocr.matches(&format!("class=\"{class}\"")).count();
    let classes = ["ocr_page", "ocr_carea", "ocr_par", "ocr_line", "ocrx_word"];
    assert_eq!(classes.map(count), [2, 4, 4, 8, 16]);
    assert!(hocr.contains("title=\"bbox 40 10 80 30; x_wconf 90\">&lt;b&gt;</span>"), "{hocr}");
    assert!(hocr.contains("title=\"bbox 10 10 135 30; baseline 0.0000 0\">"), "{hocr}");
    let mut ids: Vec<&str> =
        hocr.split("id=\"").skip(1).map(|id| id.split('"').next().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id twice");
}

#[test]
fn alto_is_well_formed() {
    let alto = string(Format::Alto, 2);
    let found = elements(&alto);
    let count = |name: &str| found.iter().filter(|own| *own == name).count();
    assert_eq!(["Page", "TextBlock", "TextLine", "String", "SP"].map(count), [2, 4, 8, 16, 8]);
    for attribute in ["HPOS=", "VPOS=", "WIDTH=", "HEIGHT=", "CONTENT=", "WC="] {
        let strings = alto.lines().filter(|line| line.starts_with("<String"));
        assert!(strings.into_iter().all(|line| line.contains(attribute)), "{attribute}");
    }
    assert!(alto.contains(r#"CONTENT="&lt;b&gt;""#));
    elements(&string(Format::Alto, 0));
}

#[test]
fn objects_of_a_pdf_lie_where_its_table_says() {
    let pdf = written(Format::Pdf, 3);
    let text = String::from_utf8_lossy(&pdf);
    let start: usize =
        text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
    let table = String::from_utf8(pdf[start..].to_vec()).unwrap();
    let count: usize = table.lines().nth(1).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    for (number, line) in table.lines().skip(3).take(count - 1).enumerate() {
        let offset: usize = line[..10].parse().unwrap();
        let head = format!("{} 0 obj", number + 1);
        assert!(pdf[offset..].starts_with(head.as_bytes()), "object {}", number + 1);
    }
    assert_eq!(text.matches("/Type /Page\n").count(), 3);
    assert_eq!(text.matches("/Subtype /Type3").count(), 1);
}

#[test]
fn a_pdf_takes_over_jpeg_files() {
    let file = include_bytes!("../../../examples/page/page.jpg");
    let page = Page::decode(file).unwrap();
    let text = PageText::default();
    let write = |file| {
        let mut document = Document::new(Format::Pdf, Vec::new(), 150.0).unwrap();
        document.page(DocumentPage { name: "page.jpg", page: &page, file, text: &text }).unwrap();
        document.finish().unwrap()
    };
    let holds = |pdf: &[u8], part: &[u8]| pdf.windows(part.len()).any(|window| window == part);
    assert!(holds(&write(Some(file)), file));
    assert!(!holds(&write(Some(&file[..file.len() - 2])), b"DCTDecode"));
    assert!(!holds(&write(None), b"DCTDecode"));
}

#[test]
fn options_out_of_range() {
    for dpi in [0.0, f32::NAN, 1e9] {
        let refused = Document::new(Format::Pdf, Vec::new(), dpi).err();
        assert!(matches!(refused, Some(Error::Option { option: "dpi", .. })), "{dpi}");
    }
}
