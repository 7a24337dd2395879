//! Rendered pages through both networks. `SVTRV2_PAGE_MODELS` names the folder that
//! `examples/fetch_weights.sh ppocrv6` fills.

mod support;

use support::{LETTER, Picture, detector, detector_file, letter, reader};
use svtrv2_page::{Detector, DetectorOptions, Error, PageText, Scale};

const NEEDS: &str = "needs SVTRV2_PAGE_MODELS";

fn lines(text: &PageText) -> Vec<&str> {
    text.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn a_page_in_every_direction() {
    assert!(detector_file().exists(), "{NEEDS}");
    let reader = reader(2);
    let letter = letter();
    for degrees in [0.0f32, 5.0, 90.0, 180.0, -90.0, 45.0, -30.0] {
        let turned = letter.turned(degrees);
        let text = reader.read(&turned.page()).unwrap();
        assert_eq!(lines(&text), LETTER, "{degrees}");
        assert!(
            (text.angle - degrees).abs() < 2.0 || (text.angle - degrees).abs() > 358.0,
            "{degrees}: {}",
            text.angle
        );
        for line in &text.lines {
            assert!(line.score > 0.8, "{degrees}: {line:?}");
            let words: Vec<&str> = line.words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(words.join(" "), line.text);
            for word in &line.words {
                let around = line.quad.bounding_rect();
                let center = word.quad.center();
                assert!(around.x0 <= center.x && center.x <= around.x1, "{degrees}: {word:?}");
                assert!(around.y0 <= center.y && center.y <= around.y1, "{degrees}: {word:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn text_along_arcs() {
    let reader = reader(2);
    let mut line = Picture::new(900, 120, 250);
    line.write("International Trade Fair", 50.0, 30.0, 60.0, 20);
    for radius in [420.0, -420.0] {
        let bent = line.bent(radius);
        let boxes = reader.detector().detect(&bent.page()).unwrap();
        assert!(boxes.iter().any(|found| !found.outline.is_empty()), "{radius}: {boxes:?}");
        let text = reader.read(&bent.page()).unwrap();
        assert_eq!(lines(&text), ["International Trade Fair"], "{radius}");
    }
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn pages_without_text() {
    let reader = reader(2);
    let cases = [
        ("white", 800, 600, 255),
        ("black", 800, 600, 0),
        ("one pixel", 1, 1, 128),
        ("one row", 3000, 1, 255),
        ("one column", 1, 3000, 0),
    ];
    for (name, width, height, level) in cases {
        let picture = Picture::new(width, height, level);
        let text = reader.read(&picture.page()).unwrap();
        assert_eq!(lines(&text), [""; 0], "{name}");
        assert_eq!((text.width, text.height, text.angle), (width, height, 0.0), "{name}");
    }
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn two_columns_and_a_table() {
    let mut page = Picture::new(1200, 900, 255);
    page.write("A heading over both of the columns", 60.0, 30.0, 48.0, 0);
    for row in 0..5 {
        let y = 140.0 + 50.0 * row as f32;
        page.write(&format!("left column, line number {row}"), 60.0, y, 32.0, 0);
        page.write(&format!("right column, line number {row}"), 660.0, y, 32.0, 0);
    }
    let items = [("Coffee", "3.20"), ("Tea", "2.80"), ("Cake", "4.50")];
    for (row, (item, price)) in items.iter().enumerate() {
        let y = 500.0 + 60.0 * row as f32;
        page.write(item, 60.0, y, 36.0, 0);
        page.write(price, 900.0, y, 36.0, 0);
    }
    let text = reader(2).read(&page.page()).unwrap().text();
    let column = |side: &str| -> String {
        (0..5).map(|row| format!("{side} column, line number {row}\n")).collect()
    };
    let expected = format!(
        "A heading over both of the columns\n\n{}\n{}\nCoffee\t3.20\nTea\t2.80\nCake\t4.50\n",
        column("left"),
        column("right")
    );
    assert_eq!(text, expected);
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn the_number_of_threads_changes_nothing() {
    let letter = letter().turned(3.0);
    let one = reader(1).read(&letter.page()).unwrap();
    let three = reader(3).read(&letter.page()).unwrap();
    assert_eq!(one, three);
    assert_eq!(lines(&one), LETTER);
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn tiles_join() {
    // Small tiles cut through lines; each is still found in one piece.
    let mut page = Picture::new(1600, 1200, 255);
    for row in 0..14 {
        let y = 60.0 + 75.0 * row as f32;
        page.write("one line of text from the left edge to the right edge", 40.0, y, 54.0, 0);
    }
    let whole = detector(DetectorOptions::default()).detect(&page.page()).unwrap();
    let options = DetectorOptions { tile_pixels: 1 << 19, ..DetectorOptions::default() };
    let tiled = detector(options).detect(&page.page()).unwrap();
    assert_eq!((whole.len(), tiled.len()), (14, 14));
    for found in &whole {
        let shares = tiled.iter().map(|other| other.quad.intersection_over_union(&found.quad));
        let best = shares.fold(0.0, f32::max);
        assert!(best > 0.8, "{best} {found:?}");
    }
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn small_print_on_a_large_page() {
    let mut page = Picture::new(3300, 2500, 255);
    for row in 0..8 {
        let y = 1000.0 + 48.0 * row as f32;
        page.write("every line of this small print has its own box", 1400.0, y, 30.0, 0);
    }
    for scale in [Scale::Fit, Scale::Own] {
        let options = DetectorOptions { scale, ..DetectorOptions::default() };
        let mut found = detector(options).detect(&page.page()).unwrap();
        found.sort_by(|a, b| a.quad.0[0].y.total_cmp(&b.quad.0[0].y));
        assert_eq!(found.len(), 8, "{scale:?}: {found:?}");
        for (row, found) in found.iter().enumerate() {
            let bounds = found.quad.bounding_rect();
            let middle = 1015.0 + 48.0 * row as f32;
            assert!((bounds.center().y - middle).abs() < 10.0, "{scale:?}: {bounds:?}");
            assert!(
                (1380.0..1402.0).contains(&bounds.x0) && bounds.width() > 560.0,
                "{scale:?}: {bounds:?}"
            );
        }
    }
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn a_very_large_page_shrinks() {
    let mut page = Picture::new(12_000, 9_000, 255);
    page.write("LARGE LETTERS", 2000.0, 3000.0, 900.0, 0);
    let text = reader(2).read(&page.page()).unwrap();
    assert_eq!(lines(&text), ["LARGE LETTERS"]);
    let bounds = text.lines[0].quad.bounding_rect();
    assert!(
        (1700.0..2200.0).contains(&bounds.x0) && (2800.0..3500.0).contains(&bounds.y0),
        "{bounds:?}"
    );
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn files_that_are_no_detector() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detector.onnx");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Detector::open(&path).err()
    };
    let file = std::fs::read(detector_file()).unwrap();
    for (name, bytes) in
        [("empty", &[][..]), ("text", b"no network"), ("cut", &file[..file.len() / 2])]
    {
        assert!(matches!(open(bytes), Some(Error::Detector { .. })), "{name}");
    }
    let missing = Detector::open(folder.path().join("missing.onnx")).err();
    assert!(matches!(missing, Some(Error::Detector { .. })));
    assert!(matches!(Detector::open(folder.path()).err(), Some(Error::Detector { .. })));
    let options = DetectorOptions { min_side: 0, ..DetectorOptions::default() };
    let refused = Detector::with_options(&path, options).err();
    assert!(matches!(refused, Some(Error::Option { option: "min_side", .. })));
}
