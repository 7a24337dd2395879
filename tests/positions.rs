//! Characters lie where the trained SVTRv2-B says they do.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::trained_weights;
use svtrv2::{Crop, Point, Recognizer};

/// Of one kind of crops: how many centres lie inside, and how far off they are.
#[derive(Default)]
struct Accumulator {
    words: usize,
    read: usize,
    glyphs: usize,
    inside: usize,
    inside_x: usize,
    inside_y: usize,
    /// Sums of errors, in widths and heights of glyphs.
    x_error: f32,
    y_error: f32,
}

/// On rendered words with known glyph boxes; a folder like that of the fixtures, which
/// `tests/reference/render_positions.py` writes, is taken from `SVTRV2_POSITIONS`.
#[test]
#[ignore = "needs the trained weights: SVTRV2_WEIGHTS"]
fn centers_lie_inside_the_glyphs() {
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
        if recognition.text != text {
            continue;
        }
        accumulator.read += 1;
        for (c, glyph) in recognition.chars.iter().zip(boxes.split(' ')) {
            let edges: Vec<f32> = glyph.split(',').map(|edge| edge.parse().unwrap()).collect();
            let [x0, y0, x1, y1] = edges[..] else { panic!("{line:?}") };
            let Point { x, y } = c.bounds.center();
            let (in_x, in_y) = ((x0..=x1).contains(&x), (y0..=y1).contains(&y));
            accumulator.glyphs += 1;
            accumulator.inside += usize::from(in_x && in_y);
            accumulator.inside_x += usize::from(in_x);
            accumulator.inside_y += usize::from(in_y);
            accumulator.x_error += (x - (x0 + x1) / 2.0) / (x1 - x0);
            accumulator.y_error += (y - (y0 + y1) / 2.0) / (y1 - y0);
        }
    }
    assert_eq!(tallies.len(), 3);
    for (kind, accumulator) in tallies {
        let share = |part: usize| 100.0 * part as f32 / accumulator.glyphs as f32;
        println!(
            "{kind}: {} of {} words read; centres inside {:.1} % (x {:.1} %, y {:.1} %); \
             mean error {:.2} widths, {:.2} heights",
            accumulator.read,
            accumulator.words,
            share(accumulator.inside),
            share(accumulator.inside_x),
            share(accumulator.inside_y),
            accumulator.x_error / accumulator.glyphs as f32,
            accumulator.y_error / accumulator.glyphs as f32
        );
        assert!(accumulator.read * 10 >= accumulator.words * 7, "{kind}");
        let at_least = if kind == "straight" { 95.0 } else { 85.0 };
        assert!(share(accumulator.inside) >= at_least, "{kind}");
    }
}
