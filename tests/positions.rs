//! Characters lie where the trained SVTRv2-B says they do.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::trained_weights;
use svtrv2::{Crop, Recognizer};

/// Of one kind of crops: how many centres lie inside, and how far off they are.
#[derive(Default)]
struct Tally {
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
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("boxes.tsv")).unwrap().lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, kind, text, boxes] = fields[..] else { panic!("{line:?}") };
        let reading = recognizer.recognize(Crop::open(folder.join(file)).unwrap()).unwrap();
        let tally = tallies.entry(kind.to_owned()).or_default();
        tally.words += 1;
        if reading.text != text {
            continue;
        }
        tally.read += 1;
        for (c, glyph) in reading.chars.iter().zip(boxes.split(' ')) {
            let edges: Vec<f32> = glyph.split(',').map(|edge| edge.parse().unwrap()).collect();
            let [x0, y0, x1, y1] = edges[..] else { panic!("{line:?}") };
            let (x, y) = c.span.center();
            let (in_x, in_y) = ((x0..=x1).contains(&x), (y0..=y1).contains(&y));
            tally.glyphs += 1;
            tally.inside += usize::from(in_x && in_y);
            tally.inside_x += usize::from(in_x);
            tally.inside_y += usize::from(in_y);
            tally.x_error += (x - (x0 + x1) / 2.0) / (x1 - x0);
            tally.y_error += (y - (y0 + y1) / 2.0) / (y1 - y0);
        }
    }
    assert_eq!(tallies.len(), 3);
    for (kind, tally) in tallies {
        let share = |part: usize| 100.0 * part as f32 / tally.glyphs as f32;
        println!(
            "{kind}: {} of {} words read; centres inside {:.1} % (x {:.1} %, y {:.1} %); \
             mean error {:.2} widths, {:.2} heights",
            tally.read,
            tally.words,
            share(tally.inside),
            share(tally.inside_x),
            share(tally.inside_y),
            tally.x_error / tally.glyphs as f32,
            tally.y_error / tally.glyphs as f32
        );
        assert!(tally.read * 10 >= tally.words * 7, "{kind}");
        let at_least = if kind == "straight" { 95.0 } else { 85.0 };
        assert!(share(tally.inside) >= at_least, "{kind}");
    }
}
