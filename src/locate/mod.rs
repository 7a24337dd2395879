//! The boxes of the characters of a text: from the network's emissions and the ink of the crop.
//!
//! 1. Every character has a place: the middle of what the network attended to when it recognised
//!    the character ([`focus`]), or of the character's frames for a network without a map.
//! 2. The line of text runs through these places: level, slanted or curved ([`line`]). Along it
//!    the ink is straightened ([`strip`]), and italics are sheared upright ([`shear`]).
//! 3. Columns of ink are assigned to the characters in order: the assignment of the least cost by
//!    places, widths and severed ink ([`segments`]). The line itself tells how wide its characters
//!    are ([`widths`]).
//! 4. Connected pieces of ink belong to one character where they can ([`pieces`]). A character
//!    extends over its ink, along the line and across it ([`outline`]); a space over the gap.

mod boxes;
mod columns;
mod fit;
mod focus;
mod ink;
mod line;
mod outline;
mod pieces;
mod segments;
mod shear;
mod strip;
mod widths;

use std::ops::Range;

use crate::emissions::Attention;
use crate::geometry::{Point, Quad, Rect};
use crate::resize::ResizedCrop;
use boxes::{Layout, Span};
use columns::Columns;
use fit::fit;
use focus::Focus;
use ink::Ink;
use line::Line;
use segments::{Glyph, segment};
use shear::Shear;
use strip::Strip;
use widths::Width;

/// Where a character lies, in pixels of the crop after its turn, before it was resized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// Upright: around the ink.
    pub(crate) bounds: Rect,
    /// Along the line of text.
    pub(crate) quad: Quad,
}

/// What the emissions say about the characters of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// The characters, in order.
    pub(crate) symbols: &'a [&'a str],
    /// The frames of each character in the most probable alignment.
    pub(crate) frames: &'a [Range<usize>],
    /// Frames of the whole crop.
    pub(crate) frame_count: usize,
    /// Where the network looked, if it tells.
    pub(crate) attention: Option<&'a Attention>,
}

/// Half the height of a line of text in standard deviations of the attention's rows: the mean over
/// words that were rendered with known boxes.
const HALF_HEIGHT: f32 = 1.5;

/// The same in standard deviations of the ink's rows.
const HALF_HEIGHT_OF_INK: f32 = 1.7;

/// How far ink may lie from the line of text, in half heights: ascenders and descenders do.
const REACH: f32 = 3.0;

/// Where the characters of a text lie. `turned` is the width and height of the crop after its turn.
///
/// Boxes are in order: along the line, the left edges ascend, and so do the right ones. None is
/// empty. Time and memory are proportional to the crop's pixels.
pub(crate) fn locate(evidence: Evidence<'_>, crop: &ResizedCrop, turned: (f32, f32)) -> Vec<Place> {
    if evidence.frames.is_empty() {
        return Vec::new();
    }
    let step = (turned.0 / crop.width.max(1) as f32, turned.1 / crop.size.height.max(1) as f32);
    let ink = Ink::new(&crop.rgb, crop.width as usize);
    // Frames cover the padding of a narrow line as well.
    let input_width = turned.0 * crop.size.width as f32 / crop.width.max(1) as f32;
    let frame = input_width / evidence.frame_count.max(1) as f32;
    let (middles, half_height) = middles(&evidence, ink.as_ref(), turned, step, frame);
    let is_space = |symbol: &&str| symbol.chars().all(char::is_whitespace);
    let visible: Vec<usize> =
        (0..middles.len()).filter(|&i| !is_space(&evidence.symbols[i])).collect();
    let mut spans: Vec<Option<Span>> = vec![None; middles.len()];
    let mut line = Line::level(&middles);
    if let Some(ink) = &ink {
        line = fit(ink, &middles, half_height, step);
        let strip = Strip::new(ink, line, REACH * half_height, step);
        let symbols: Vec<&str> = visible.iter().map(|&i| evidence.symbols[i]).collect();
        let places: Vec<(f32, f32)> = visible.iter().map(|&i| middles[i]).collect();
        for (index, span) in visible.iter().zip(of_ink(&strip, &symbols, &places, half_height)) {
            spans[*index] = span;
        }
    }
    Layout { line, half_height, size: turned, step }.places(spans, &middles)
}

/// The middles of the characters and half the height of the line, in pixels of the crop, of which `frame`
/// make a frame.
fn middles(
    evidence: &Evidence<'_>,
    ink: Option<&Ink>,
    turned: (f32, f32),
    step: (f32, f32),
    frame: f32,
) -> (Vec<(f32, f32)>, f32) {
    if let Some(attention) = evidence.attention.filter(|attention| attention.rows() > 0) {
        let row = turned.1 / attention.rows() as f32;
        let focuses: Vec<Focus> =
            evidence.frames.iter().map(|frames| Focus::new(attention, frames)).collect();
        let middles = focuses.iter().map(|focus| (focus.x * frame, focus.y * row)).collect();
        let mut deviations: Vec<f32> = focuses.iter().map(|focus| focus.deviation * row).collect();
        let half_height = HALF_HEIGHT * median(&mut deviations);
        return (middles, half_height.clamp(turned.1 / 8.0, turned.1 / 2.0));
    }
    let along: Vec<f32> = evidence
        .frames
        .iter()
        .map(|frames| (frames.start + frames.end) as f32 / 2.0 * frame)
        .collect();
    let level = Line::level(&[(0.0, turned.1 / 2.0)]);
    let around = ink.map(|ink| Strip::new(ink, level, turned.1, step));
    let spread = around.as_ref().and_then(Strip::spread);
    let (middle, deviation) = spread.unwrap_or((0.0, turned.1));
    let mut pitches: Vec<f32> = along.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let reach = if pitches.is_empty() { turned.0 } else { median(&mut pitches).max(step.0) };
    let centers = along.iter().map(|&x| {
        let center = around.as_ref().and_then(|strip| strip.center(x - reach, x + reach));
        (x, turned.1 / 2.0 + center.unwrap_or(middle))
    });
    let half_height = HALF_HEIGHT_OF_INK * deviation;
    (centers.collect(), half_height.clamp(turned.1 / 8.0, turned.1 / 2.0))
}

/// How the assignment is repeated: by how much prior widths are uncertain.
const PASSES: [f32; 3] = [0.35, 0.2, 0.15];

/// The standard deviation of a character's place, in pitches.
const PLACE_DEVIATION: f32 = 0.25;

/// The space between two characters, in widths of a lower-case letter.
const GAP: f32 = 0.25;

/// The extents of visible characters with the given middles, by the ink of a strip.
fn of_ink(
    strip: &Strip,
    symbols: &[&str],
    middles: &[(f32, f32)],
    half_height: f32,
) -> Vec<Option<Span>> {
    let shear = Shear::of(strip);
    let columns = Columns::new(strip, &shear, half_height / strip.step().1);
    let shift = shear.shift(strip.middle());
    let mut places: Vec<f32> = middles.iter().map(|&middle| strip.column(middle) + shift).collect();
    ascend(&mut places);
    let mut pitches: Vec<f32> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let alone = columns.ink(0, columns.len()).map_or(columns.len(), |(start, end)| end - start);
    let pitch = if pitches.is_empty() { alone as f32 } else { median(&mut pitches).max(1.0) };
    // The width of a letter, by the distance of the first and the last place.
    let priors: Vec<f32> = symbols.iter().map(|symbol| Width::prior(symbol).log.exp()).collect();
    let units: f32 = priors.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0 + GAP).sum();
    let unit = match (places.first(), places.last()) {
        (Some(first), Some(last)) if units > 0.0 => ((last - first) / units).max(1.0),
        _ => alone as f32 / priors.first().copied().unwrap_or(1.0),
    };
    let mut observed: Vec<f32> = priors.iter().map(|prior| prior * unit).collect();
    let mut runs = Vec::new();
    for spread in PASSES {
        let glyphs: Vec<Glyph> = widths::learn(symbols, &observed, spread)
            .into_iter()
            .zip(&places)
            .map(|(width, &place)| Glyph { place, deviation: PLACE_DEVIATION * pitch + 1.0, width })
            .collect();
        runs = segment(&columns, &glyphs, 2.0 * pitch.max(unit));
        observed.clear();
        observed.extend(runs.iter().map(|run| {
            let (start, end) = columns.ink(run.start, run.end).unwrap_or((run.start, run.end));
            (end - start) as f32
        }));
    }
    let owners = pieces::owners(strip, &shear, &runs);
    boxes::spans(strip, &owners, outline::extents(strip, &owners, symbols.len()))
}

/// The median; 0 without values.
fn median(values: &mut [f32]) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The nearest ascending values, by least squares (the pool-adjacent-violators algorithm).
fn ascend(values: &mut [f32]) {
    let mut pools: Vec<(f32, usize)> = Vec::with_capacity(values.len());
    for &value in values.iter() {
        let mut pool = (value, 1);
        while let Some(&(before, count)) = pools.last()
            && before > pool.0
        {
            pools.pop();
            let all = count + pool.1;
            pool = ((before * count as f32 + pool.0 * pool.1 as f32) / all as f32, all);
        }
        pools.push(pool);
    }
    let pooled = pools.into_iter().flat_map(|(value, count)| std::iter::repeat_n(value, count));
    values.iter_mut().zip(pooled).for_each(|(value, pooled)| *value = pooled);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crop::Rotation;
    use crate::ops::MAP_WIDTH;
    use crate::resize::TargetSize;

    const ROWS: usize = 4;

    fn crop(width: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> ResizedCrop {
        let size = TargetSize { height: 32, width };
        let rgb = (0..32).flat_map(|y| (0..width).map(move |x| (x, y)));
        let rgb = rgb.flat_map(|(x, y)| pixel(x, y)).collect();
        ResizedCrop {
            size,
            width,
            rgb,
            rotation: Rotation::None,
            source_size: (2 * width, 32),
            offset: (0, 0),
        }
    }

    /// Every frame attends to its own column, in the two middle rows.
    fn attention(frames: usize) -> Attention {
        let mut weights = vec![0.0; frames * ROWS * MAP_WIDTH];
        for frame in 0..frames {
            for row in [1, 2] {
                weights[(frame * ROWS + row) * MAP_WIDTH + MAP_WIDTH / 2] = 0.5;
            }
        }
        Attention::new(frames, ROWS, weights)
    }

    /// Three bars of different widths, 8..24 rows high.
    const BARS: [(u32, u32); 3] = [(4, 10), (26, 34), (45, 61)];

    const FRAMES: [Range<usize>; 3] = [1..2, 7..8, 13..14];

    /// As `locate` with the map of [`attention`] and without any.
    fn both(
        symbols: &[&str],
        frames: &[Range<usize>],
        crop: &ResizedCrop,
        turned: (f32, f32),
    ) -> [Vec<Place>; 2] {
        let attention = attention(crop.size.width as usize / 4);
        [Some(&attention), None].map(|attention| {
            let frame_count = crop.size.width as usize / 4;
            locate(Evidence { symbols, frames, frame_count, attention }, crop, turned)
        })
    }

    #[test]
    fn bars_in_any_colours() {
        for (name, background, text) in [
            ("dark on light", [250; 3], [10; 3]),
            ("light on dark", [10; 3], [250; 3]),
            ("green on red of equal brightness", [200, 40, 40], [40, 112, 40]),
            ("faint", [120; 3], [140; 3]),
        ] {
            let bar = |x, y| (8..24).contains(&y) && BARS.iter().any(|b| (b.0..b.1).contains(&x));
            let crop = crop(64, |x, y| if bar(x, y) { text } else { background });
            for places in both(&["r", "n", "m"], &FRAMES, &crop, (128.0, 32.0)) {
                assert_eq!(places.len(), 3);
                for (place, bar) in places.iter().zip(BARS) {
                    let (left, right) = (2.0 * bar.0 as f32, 2.0 * bar.1 as f32);
                    assert_eq!(place.bounds, Rect::new(left, 8.0, right, 24.0), "{name}");
                    assert_eq!(place.quad, place.bounds.into(), "{name}");
                }
            }
        }
    }

    #[test]
    fn edges_lie_inside_pixels() {
        // The first and the last column of the bar are covered by a quarter and by half.
        let crop = crop(64, |x, y| match x {
            20 if (8..24).contains(&y) => [191; 3],
            21..40 if (8..24).contains(&y) => [0; 3],
            40 if (8..24).contains(&y) => [127; 3],
            _ => [255; 3],
        });
        for places in both(&["m"], &FRAMES[1..2], &crop, (64.0, 32.0)) {
            let Rect { x0, x1, .. } = places[0].bounds;
            assert!((x0 - 20.75).abs() < 0.1 && (x1 - 40.5).abs() < 0.1, "{x0} {x1}");
        }
    }

    #[test]
    fn a_space_extends_over_the_gap() {
        let bar = |x| (4..10).contains(&x) || (45..61).contains(&x);
        let crop = crop(64, |x, y| if bar(x) && (8..24).contains(&y) { [0; 3] } else { [255; 3] });
        for places in both(&["i", " ", "n"], &FRAMES, &crop, (128.0, 32.0)) {
            let space = places[1].bounds;
            assert_eq!((space.x0, space.x1), (20.0, 90.0));
            assert!(space.height() > 4.0, "{space:?}");
        }
    }

    #[test]
    fn touching_letters_are_cut_where_little_ink_is_severed() {
        // Two blocks, joined by a thin stroke at a third of the way.
        let crop = crop(64, |x, y| match x {
            8..28 | 32..56 if (8..24).contains(&y) => [0; 3],
            28..32 if (14..16).contains(&y) => [0; 3],
            _ => [255; 3],
        });
        for places in both(&["n", "n"], &[4..5, 10..11], &crop, (64.0, 32.0)) {
            let [left, right] = [places[0].bounds, places[1].bounds];
            assert!((28.0..=32.0).contains(&left.x1), "{left:?}");
            assert!((28.0..=32.0).contains(&right.x0), "{right:?}");
        }
    }

    #[test]
    fn italics_do_not_mix() {
        // Bars that lean by a third: each overlaps the columns of the next.
        let bar = |x: u32, y: u32| {
            let upright = x as f32 + (y as f32 - 16.0) / 3.0;
            [14.0, 24.0, 34.0, 44.0].iter().any(|left| (*left..left + 5.0).contains(&upright))
        };
        let inside = |x, y| (4..28).contains(&y) && bar(x, y);
        let crop = crop(64, |x, y| if inside(x, y) { [0; 3] } else { [255; 3] });
        let frames = [3..4, 6..7, 9..10, 11..12];
        for places in both(&["l", "l", "l", "l"], &frames, &crop, (64.0, 32.0)) {
            for (place, left) in places.iter().zip([14.0f32, 24.0, 34.0, 44.0]) {
                let bounds = place.bounds;
                assert!((bounds.x0 - (left - 4.0)).abs() < 1.1, "{bounds:?} for {left}");
                assert!((bounds.x1 - (left + 9.0)).abs() < 1.1, "{bounds:?} for {left}");
            }
        }
    }

    #[test]
    fn level_ink_keeps_boxes_level() {
        // What the network looked at lies on an arc; the ink does not.
        let bar = |x: u32| (4..60).contains(&x) && x % 12 < 8;
        let crop = crop(64, |x, y| if bar(x) && (8..24).contains(&y) { [0; 3] } else { [255; 3] });
        let mut weights = vec![0.0; 16 * ROWS * MAP_WIDTH];
        for frame in 0..16usize {
            let row = if (5..11).contains(&frame) { 3 } else { 0 };
            weights[(frame * ROWS + row) * MAP_WIDTH + MAP_WIDTH / 2] = 1.0;
        }
        let attention = Attention::new(16, ROWS, weights);
        let evidence = Evidence {
            symbols: &["H", "o", "t", "e", "l"],
            frames: &[1..2, 4..5, 7..8, 10..11, 13..14],
            frame_count: 16,
            attention: Some(&attention),
        };
        for place in locate(evidence, &crop, (64.0, 32.0)) {
            assert_eq!(place.quad, place.bounds.into());
        }
    }

    proptest! {
        #[test]
        fn boxes_are_in_order_and_never_empty(
            pixels in prop::collection::vec(any::<[u8; 3]>(), 8),
            weights in prop::collection::vec(0.0f32..1.0, 16 * ROWS * MAP_WIDTH),
            starts in prop::collection::vec((0usize..16, 0usize..8), 0..17),
            size in (1.0f32..300.0, 1.0f32..300.0),
            scale in 1u32..20,
            plain: bool,
            has_map: bool,
        ) {
            let mut starts = starts;
            starts.sort_unstable();
            let frames: Vec<_> = starts.iter().map(|start| start.0..start.0 + 1).collect();
            let symbols = ["a", " ", "i", "m", ".", "\u{4e2d}", "", "\u{a0}"];
            let symbols: Vec<&str> = starts.iter().map(|start| symbols[start.1]).collect();
            let hash = |x: u32, y: u32| {
                let (x, y) = (x / scale, y / scale);
                (x * 31 + y * 17 + x * y) as usize % 8
            };
            let crop = crop(64, |x, y| pixels[if plain { 0 } else { hash(x, y) }]);
            let attention = Attention::new(16, ROWS, weights);
            let attention = has_map.then_some(&attention);
            let evidence =
                Evidence { symbols: &symbols, frames: &frames, frame_count: 16, attention };
            let places = locate(evidence, &crop, size);
            prop_assert_eq!(places.len(), frames.len());
            let level = places.iter().all(|place| place.quad == place.bounds.into());
            for Place { bounds, quad } in &places {
                prop_assert!(bounds.x0 >= 0.0 && bounds.y0 >= 0.0, "{bounds:?}");
                prop_assert!(bounds.x1 <= size.0 && bounds.y1 <= size.1, "{bounds:?}");
                prop_assert!(bounds.width() > 0.0 && bounds.height() > 0.0, "{bounds:?}");
                prop_assert!(quad.0.iter().all(|corner| corner.is_finite()), "{quad:?}");
                prop_assert!(quad.area() > 0.0, "{quad:?}");
            }
            for pair in places.windows(2) {
                let (a, b) = (pair[0].bounds, pair[1].bounds);
                prop_assert!(!level || a.x0 < b.x0 && a.x1 < b.x1, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn values_ascend_by_least_squares() {
        let mut values = [1.0, 3.0, 2.0, 2.0, 5.0, 4.0];
        ascend(&mut values);
        let third = 7.0 / 3.0;
        assert_eq!(values, [1.0, third, third, third, 4.5, 4.5]);
    }
}
