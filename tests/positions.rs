//! Character boxes of the trained SVTRv2-B against the boxes of rendered glyphs.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::trained_weights;
use svtrv2::{Crop, Point, Quad, Recognizer, Rect};

/// Sums over the glyphs of one kind of crops: centres inside, errors, overlap.
#[derive(Default)]
struct Accumulator {
    words: usize,
    read: usize,
    glyphs: usize,
    /// Boxes without an area.
    empty: usize,
    inside: usize,
    inside_x: usize,
    inside_y: usize,
    /// Sums of errors, in widths and heights of glyphs.
    x_error: f32,
    y_error: f32,
    /// Sum of the intersections over union with the glyphs' boxes.
    overlap: f32,
}

/// On rendered words with known glyph boxes; a folder like that of the fixtures, which
/// `tests/reference/render_positions.py` writes, is taken from `SVTRV2_POSITIONS`.
#[test]
#[ignore = "needs the trained weights: SVTRV2_WEIGHTS"]
fn boxes_fit_the_glyphs() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/positions");
    let folder = std::env::var_os("SVTRV2_POSITIONS").map_or(fixtures, PathBuf::from);
    let recognizer = Recognizer::open(trained_weights()).unwrap();
    let mut tallies: BTreeMap<String, Accumulator> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("boxes.tsv")).unwrap().lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, kind, text, boxes] = fields[..] else { panic!("{line:?}") };
        let recognition = recognizer.recognize(Crop::open(folder.join(file)).unwrap()).unwrap();
        let accumulator = tallies.entry(kind.to_owned()).or_default();
        accumulator.words += 1;
        // Spaces, which some networks do not know, have no glyph.
        if recognition.text.replace(' ', "") != text.replace(' ', "") {
            continue;
        }
        accumulator.read += 1;
        let chars = recognition.chars.iter().filter(|c| c.symbol != " ");
        for (c, glyph) in chars.zip(boxes.split(' ')) {
            accumulator.empty += usize::from(c.bounds.width() <= 0.0 || c.bounds.height() <= 0.0);
            let edges: Vec<f32> = glyph.split(',').map(|edge| edge.parse().unwrap()).collect();
            let [x0, y0, x1, y1] = edges[..] else { panic!("{line:?}") };
            let Point { x, y } = c.bounds.center();
            let (in_x, in_y) = ((x0..=x1).contains(&x), (y0..=y1).contains(&y));
            let glyph_box = Quad::from(Rect::new(x0, y0, x1, y1));
            accumulator.overlap += Quad::from(c.bounds).intersection_over_union(&glyph_box);
            accumulator.glyphs += 1;
            accumulator.inside += usize::from(in_x && in_y);
            accumulator.inside_x += usize::from(in_x);
            accumulator.inside_y += usize::from(in_y);
            accumulator.x_error += (x - (x0 + x1) / 2.0) / (x1 - x0);
            accumulator.y_error += (y - (y0 + y1) / 2.0) / (y1 - y0);
        }
    }
    assert!(!tallies.is_empty());
    for (kind, accumulator) in tallies {
        let share = |part: usize| 100.0 * part as f32 / accumulator.glyphs as f32;
        println!(
            "{kind}: {} of {} words read; centres inside {:.1} % (x {:.1} %, y {:.1} %); \
             mean error {:.2} widths, {:.2} heights; intersection over union {:.3}; {} empty",
            accumulator.read,
            accumulator.words,
            share(accumulator.inside),
            share(accumulator.inside_x),
            share(accumulator.inside_y),
            accumulator.x_error / accumulator.glyphs as f32,
            accumulator.y_error / accumulator.glyphs as f32,
            accumulator.overlap / accumulator.glyphs as f32,
            accumulator.empty
        );
        assert_eq!(accumulator.empty, 0, "{kind}");
        assert!(accumulator.read * 10 >= accumulator.words * 7, "{kind}");
        // Letters on an arc overlap in every direction in which a crop could be cut.
        let (least_inside, least_overlap) =
            if kind == "curved" { (95.0, 0.75) } else { (99.0, 0.85) };
        assert!(share(accumulator.inside) >= least_inside, "{kind}");
        let overlap = accumulator.overlap / accumulator.glyphs as f32;
        assert!(overlap >= least_overlap, "{kind}: {overlap}");
    }
}
