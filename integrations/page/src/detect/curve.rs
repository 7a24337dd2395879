//! Outlines of curved text: a band of even thickness along a line that bends.

use super::regions::{Pixel, Place, Rectangle};

/// A band is at least so many times as long as thick: what is shorter bends by chance.
const MIN_RATIO: f64 = 2.5;
/// A band bends if its middle line leaves the chord by this share of its thickness.
const MIN_BEND: f64 = 0.35;
/// The thickness of a band varies by these factors around its median, apart from its ends.
const THICKNESS: std::ops::RangeInclusive<f64> = 0.5..=1.8;
/// Parts that a band is divided into along its length, of so many pixels.
const MIN_PARTS: usize = 6;
const MAX_PARTS: usize = 24;
const PART_LENGTH: f64 = 8.0;

/// The outline of a region that bends, given by the first and last pixels of its runs: an even number of places,
/// clockwise from the text's own upper left, the first half along its upper edge. Its edges are moved outwards by
/// `ratio` times area over perimeter. Nothing for a region that is straight, or that is no band: a rectangle
/// shows it better.
///
/// `downwards` says whether text in the region runs downwards; otherwise it runs from the left.
pub(super) fn outline(
    runs: &[Pixel],
    rectangle: Rectangle,
    downwards: bool,
    ratio: f64,
) -> Option<Vec<Place>> {
    let width = rectangle.width.max(rectangle.height);
    let along = rectangle.direction(downwards);
    // To the text's upper side.
    let up = (along.1, -along.0);
    let center = rectangle.center();
    let parts = ((width / PART_LENGTH) as usize).clamp(MIN_PARTS, MAX_PARTS);
    let length = width + 1.0;
    // The extent of the band in each part, along `up`.
    let mut extents = vec![(f64::INFINITY, f64::NEG_INFINITY); parts];
    for run in runs.chunks_exact(2) {
        let [(first, y), (last, _)] = run else { continue };
        for x in *first..=*last {
            let (dx, dy) = (x as f64 - center.0, *y as f64 - center.1);
            let (u, v) = (dx * along.0 + dy * along.1, dx * up.0 + dy * up.1);
            let part = ((u / length + 0.5) * parts as f64).clamp(0.0, parts as f64 - 1.0) as usize;
            let (low, high) = extents[part];
            extents[part] = (low.min(v), high.max(v));
        }
    }
    if extents.iter().any(|(low, high)| low > high) {
        return None;
    }
    let middle = |(low, high): &(f64, f64)| (low + high) / 2.0;
    let step = length / parts as f64;
    let at = |part: f64| (part + 0.5) * step - length / 2.0;
    let mut line: Vec<Place> = extents
        .iter()
        .enumerate()
        .map(|(part, extent)| (at(part as f64), middle(extent)))
        .collect();
    // Ends are rounded off, and their middles with them.
    let (first, last) = (line[1], line[parts - 2]);
    line[0].1 = first.1 + (first.1 - line[2].1);
    line[parts - 1].1 = last.1 + (last.1 - line[parts - 3].1);

    let slopes: Vec<Place> = (0..parts)
        .map(|part| {
            let (a, b) = (line[part.saturating_sub(1)], line[(part + 1).min(parts - 1)]);
            let (du, dv) = (b.0 - a.0, b.1 - a.1);
            let size = du.hypot(dv);
            (du / size, dv / size)
        })
        .collect();
    // Across the middle line, not across the rectangle, and without what the band rises inside a part; the ends
    // count no more than above.
    let mut thickness: Vec<f64> = (1..parts - 1)
        .map(|part| {
            let ((low, high), (du, dv)) = (extents[part], slopes[part]);
            (high - low + 1.0) * du - step * dv.abs()
        })
        .collect();
    let all = thickness.clone();
    thickness.sort_by(f64::total_cmp);
    let thick = thickness[thickness.len() / 2];
    let even = all.iter().all(|&own| THICKNESS.contains(&(own / thick)));
    let chord = |u: f64| {
        let (a, b) = (line[0], line[parts - 1]);
        a.1 + (b.1 - a.1) * (u - a.0) / (b.0 - a.0)
    };
    let bend = line.iter().map(|&(u, v)| (v - chord(u)).abs()).fold(0.0, f64::max);
    if !even || length < MIN_RATIO * thick || bend < MIN_BEND * thick {
        return None;
    }
    let arc: f64 =
        line.windows(2).map(|pair| (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1)).sum();
    let grown = arc * thick * ratio / (2.0 * (arc + thick));
    // The ends of the band, and how far the text may go beyond them.
    for (end, slope, sign) in [(0, slopes[0], -1.0), (parts - 1, slopes[parts - 1], 1.0)] {
        let reach = sign * (step / 2.0 + grown);
        line[end] = (line[end].0 + reach * slope.0, line[end].1 + reach * slope.1);
    }
    let half = thick / 2.0 + grown;
    let edge = |side: f64| -> Vec<Place> {
        let points = line.iter().zip(&slopes).map(|(&(u, v), &(du, dv))| {
            let (u, v) = (u - side * half * dv, v + side * half * du);
            (center.0 + u * along.0 + v * up.0, center.1 + u * along.1 + v * up.1)
        });
        points.collect()
    };
    let mut outline = edge(1.0);
    outline.extend(edge(-1.0).into_iter().rev());
    Some(outline)
}

#[cfg(test)]
mod tests {
    use super::super::regions::regions;
    use super::*;

    /// The runs of a band around an arc: `sweep` degrees, from the left over the top if `up`.
    fn arc(radius: f64, thick: f64, sweep: f64, up: bool) -> Vec<Pixel> {
        let size = (2.4 * (radius + thick)) as usize;
        let middle = size as f64 / 2.0;
        let rows: Vec<Vec<bool>> = (0..size)
            .map(|y| {
                let inside = |x: usize| {
                    let (dx, dy) = (x as f64 - middle, y as f64 - middle);
                    let away = dx.hypot(dy);
                    let angle = dx.atan2(if up { -dy } else { dy }).to_degrees();
                    (away - radius).abs() <= thick / 2.0 && angle.abs() <= sweep / 2.0
                };
                (0..size).map(inside).collect()
            })
            .collect();
        let mut found = regions(rows.iter().map(Vec::as_slice));
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn arcs_have_outlines_along_them() {
        for (radius, thick, sweep, up) in
            [(200.0, 30.0, 90.0, true), (150.0, 24.0, 120.0, false), (400.0, 30.0, 60.0, true)]
        {
            let runs = arc(radius, thick, sweep, up);
            let rectangle = Rectangle::around(runs.clone()).unwrap();
            let outline = outline(&runs, rectangle, false, 0.0).expect("an arc bends");
            assert!(outline.len().is_multiple_of(2) && outline.len() >= 12);
            let size = (2.4 * (radius + thick)) as usize;
            let middle = size as f64 / 2.0;
            let (upper, lower) = outline.split_at(outline.len() / 2);
            for (edge, side) in [(upper, 1.0), (lower, -1.0)] {
                for &(x, y) in &edge[1..edge.len() - 1] {
                    let away = (x - middle).hypot(y - middle);
                    let outer = if up { side } else { -side };
                    let expected = radius + outer * thick / 2.0;
                    assert!((away - expected).abs() < 0.2 * thick, "{sweep}: {away}, {expected}");
                }
            }
            // From the left to the right, and back.
            assert!(upper.first().unwrap().0 < upper.last().unwrap().0);
            assert!(lower.first().unwrap().0 > lower.last().unwrap().0);
        }
    }

    #[test]
    fn straight_and_thick_regions_have_none() {
        let bar = |width: i64, height: i64, slope: f64| -> Vec<Pixel> {
            let rows = (0..height + (slope * width as f64) as i64 + 1).flat_map(|y| {
                let inside: Vec<i64> = (0..width)
                    .filter(|&x| (0..height).contains(&(y - (slope * x as f64) as i64)))
                    .collect();
                match (inside.first(), inside.last()) {
                    (Some(&first), Some(&last)) => vec![(first, y), (last, y)],
                    _ => Vec::new(),
                }
            });
            rows.collect()
        };
        for (name, runs) in [
            ("a bar", bar(200, 20, 0.0)),
            ("a bar that is turned", bar(200, 20, 0.3)),
            ("a square", bar(60, 60, 0.0)),
            ("a pixel", vec![(4, 4), (4, 4)]),
            ("a row", vec![(0, 4), (90, 4)]),
            ("a short arc", arc(40.0, 30.0, 60.0, true)),
        ] {
            let rectangle = Rectangle::around(runs.clone()).unwrap();
            assert_eq!(outline(&runs, rectangle, false, 1.6), None, "{name}");
        }
    }
}
