//! From a place in a crop to the place in the page.

/// A point in double precision.
pub(crate) type PointF64 = (f64, f64);

/// From shares of a crop's width and height (0..=1) to pixels of the page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Warp {
    /// Straight text.
    Homography(Homography),
    /// Curved text.
    Ribbon(Ribbon),
}

impl Warp {
    /// The place in the page.
    pub(crate) fn map(&self, u: f64, v: f64) -> PointF64 {
        match self {
            Warp::Homography(homography) => homography.map(u, v),
            Warp::Ribbon(ribbon) => ribbon.map(u, v),
        }
    }
}

/// The perspective mapping of the unit square to a convex quadrilateral.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Homography {
    x: [f64; 3],
    y: [f64; 3],
    w: [f64; 2],
}

impl Homography {
    /// To the corners, clockwise from that of (0, 0) (P. Heckbert, "Fundamentals of Texture
    /// Mapping and Image Warping", 1989, section 2.2.3).
    pub(crate) fn new([(x0, y0), (x1, y1), (x2, y2), (x3, y3)]: [PointF64; 4]) -> Self {
        let (right_x, right_y) = (x1 - x2, y1 - y2);
        let (lower_x, lower_y) = (x3 - x2, y3 - y2);
        let (sum_x, sum_y) = (x0 - x1 + x2 - x3, y0 - y1 + y2 - y3);
        let determinant = right_x * lower_y - lower_x * right_y;
        let g = (sum_x * lower_y - lower_x * sum_y) / determinant;
        let h = (right_x * sum_y - sum_x * right_y) / determinant;
        Homography {
            x: [x1 - x0 + g * x1, x3 - x0 + h * x3, x0],
            y: [y1 - y0 + g * y1, y3 - y0 + h * y3, y0],
            w: [g, h],
        }
    }

    fn map(&self, u: f64, v: f64) -> PointF64 {
        let w = self.w[0] * u + self.w[1] * v + 1.0;
        let along = |row: [f64; 3]| (row[0] * u + row[1] * v + row[2]) / w;
        (along(self.x), along(self.y))
    }
}

/// The mapping of the unit square to the area between two curves.
///
/// The curves run smoothly through the points of both edges (cubic Hermite splines with the slopes
/// of parabolas through three neighbours). `u` is the share of the centre line's length; along `v`
/// the way from the upper to the lower edge is straight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ribbon {
    /// Positions of the pairs of points: the length of the centre line's polygon up to each.
    knots: Vec<f64>,
    upper: Vec<Knot>,
    lower: Vec<Knot>,
    /// The length of the centre line up to every [`PARTS`]-th part of a segment.
    lengths: Vec<f64>,
}

/// A curve's place and its slope.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    place: PointF64,
    slope: PointF64,
}

/// Parts of a segment in the table of lengths.
const PARTS: usize = 16;
/// Pairs whose middles are closer than this (pixels) are one.
const MIN_GAP: f64 = 0.01;

impl Ribbon {
    /// Between the upper and the lower edge, both from the text's start to its end and of one
    /// length. `None` if the centre line has none.
    pub(crate) fn new(upper: &[PointF64], lower: &[PointF64]) -> Option<Self> {
        let mut knots: Vec<f64> = Vec::new();
        let mut pairs: Vec<(PointF64, PointF64)> = Vec::new();
        for (&a, &b) in upper.iter().zip(lower) {
            let gap = pairs.last().map(|&(c, d)| distance(middle(a, b), middle(c, d)));
            match (gap, knots.last()) {
                (Some(gap), Some(_)) if gap < MIN_GAP => continue,
                (Some(gap), Some(last)) => knots.push(last + gap),
                _ => knots.push(0.0),
            }
            pairs.push((a, b));
        }
        if pairs.len() < 2 {
            return None;
        }
        let curve = |places: Vec<PointF64>| -> Vec<Knot> {
            let slopes = slopes(&knots, &places);
            places.into_iter().zip(slopes).map(|(place, slope)| Knot { place, slope }).collect()
        };
        let upper = curve(pairs.iter().map(|pair| pair.0).collect());
        let lower = curve(pairs.iter().map(|pair| pair.1).collect());
        let mut ribbon = Ribbon { knots, upper, lower, lengths: vec![0.0] };
        let (mut length, mut last) = (0.0, middle(pairs[0].0, pairs[0].1));
        for segment in 0..ribbon.knots.len() - 1 {
            for part in 1..=PARTS {
                let (a, b) = ribbon.edges(segment, part as f64 / PARTS as f64);
                let next = middle(a, b);
                length += distance(last, next);
                last = next;
                ribbon.lengths.push(length);
            }
        }
        Some(ribbon)
    }

    /// The length of the centre line in pixels.
    pub(crate) fn length(&self) -> f64 {
        self.lengths.last().copied().unwrap_or(0.0)
    }

    /// The mean distance between the points of a pair, in pixels, weighted by the length that
    /// each stands for.
    pub(crate) fn height(&self) -> f64 {
        let heights: Vec<f64> =
            self.upper.iter().zip(&self.lower).map(|(a, b)| distance(a.place, b.place)).collect();
        let gaps = self.knots.windows(2).map(|pair| pair[1] - pair[0]);
        let sum: f64 =
            heights.windows(2).zip(gaps).map(|(pair, gap)| gap * (pair[0] + pair[1]) / 2.0).sum();
        sum / self.knots.last().copied().unwrap_or(1.0)
    }

    fn map(&self, u: f64, v: f64) -> PointF64 {
        let length = u.clamp(0.0, 1.0) * self.length();
        let after = self.lengths.partition_point(|&to| to <= length);
        let entry = after.clamp(1, self.lengths.len() - 1) - 1;
        let (from, to) = (self.lengths[entry], self.lengths[entry + 1]);
        let within = if to > from { (length - from) / (to - from) } else { 0.0 };
        let share = ((entry % PARTS) as f64 + within) / PARTS as f64;
        let (a, b) = self.edges(entry / PARTS, share);
        (a.0 + v * (b.0 - a.0), a.1 + v * (b.1 - a.1))
    }

    /// Both edges at a share of a segment.
    fn edges(&self, segment: usize, share: f64) -> (PointF64, PointF64) {
        let gap = self.knots[segment + 1] - self.knots[segment];
        let at = |curve: &[Knot]| hermite(curve[segment], curve[segment + 1], gap, share);
        (at(&self.upper), at(&self.lower))
    }
}

fn middle(a: PointF64, b: PointF64) -> PointF64 {
    ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0)
}

pub(crate) fn distance(a: PointF64, b: PointF64) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// The cubic Hermite spline at a share of the way between two knots.
fn hermite(from: Knot, to: Knot, gap: f64, t: f64) -> PointF64 {
    let (a, b) = ((1.0 + 2.0 * t) * (1.0 - t) * (1.0 - t), t * t * (3.0 - 2.0 * t));
    let (c, d) = (gap * t * (1.0 - t) * (1.0 - t), gap * t * t * (t - 1.0));
    let blend = |p: f64, q: f64, r: f64, s: f64| a * p + b * q + c * r + d * s;
    (
        blend(from.place.0, to.place.0, from.slope.0, to.slope.0),
        blend(from.place.1, to.place.1, from.slope.1, to.slope.1),
    )
}

/// The slope at every place: that of the parabola through it and its neighbours; at the ends, that
/// of the parabola through the three last places.
fn slopes(knots: &[f64], places: &[PointF64]) -> Vec<PointF64> {
    let gaps: Vec<f64> = knots.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let chords: Vec<PointF64> = places
        .windows(2)
        .zip(&gaps)
        .map(|(pair, gap)| ((pair[1].0 - pair[0].0) / gap, (pair[1].1 - pair[0].1) / gap))
        .collect();
    let last = chords.len() - 1;
    if last == 0 {
        return vec![chords[0]; 2];
    }
    let mix = |p: PointF64, q: PointF64, share: f64| {
        (p.0 + share * (q.0 - p.0), p.1 + share * (q.1 - p.1))
    };
    (0..places.len())
        .map(|i| match i {
            0 => mix(chords[0], chords[1], -gaps[0] / (gaps[0] + gaps[1])),
            i if i > last => {
                let share = -gaps[last] / (gaps[last] + gaps[last - 1]);
                mix(chords[last], chords[last - 1], share)
            }
            i => mix(chords[i - 1], chords[i], gaps[i - 1] / (gaps[i - 1] + gaps[i])),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_stay_corners() {
        let corners = [(3.0, 4.0), (50.0, -2.0), (60.0, 30.0), (1.0, 22.0)];
        let warp = Warp::Homography(Homography::new(corners));
        let places = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)];
        for ((u, v), corner) in places.into_iter().zip(corners) {
            assert!(distance(warp.map(u, v), corner) < 1e-9, "{u}, {v}");
        }
        // The diagonals of a square cross in the middle, and so do those of its image.
        let [a, b, c, d] = corners;
        let middle = warp.map(0.5, 0.5);
        for (from, to) in [(a, c), (b, d)] {
            let area =
                (to.0 - from.0) * (middle.1 - from.1) - (to.1 - from.1) * (middle.0 - from.0);
            assert!(area.abs() < 1e-9, "{middle:?}");
        }
    }

    #[test]
    fn a_circle_is_unrolled() {
        // Seven pairs, unevenly spaced, on circles of 80 and 120 pixels: half a turn.
        let shares = [0.0, 0.1, 0.3, 0.45, 0.7, 0.85, 1.0];
        let at = |radius: f64, share: f64| {
            let angle = std::f64::consts::PI * (1.0 - share);
            (200.0 + radius * angle.cos(), 200.0 - radius * angle.sin())
        };
        let upper: Vec<PointF64> = shares.iter().map(|&share| at(120.0, share)).collect();
        let lower: Vec<PointF64> = shares.iter().map(|&share| at(80.0, share)).collect();
        let ribbon = Ribbon::new(&upper, &lower).unwrap();
        let length = std::f64::consts::PI * 100.0;
        assert!((ribbon.length() - length).abs() < 0.01 * length, "{}", ribbon.length());
        assert!((ribbon.height() - 40.0).abs() < 1e-9, "{}", ribbon.height());
        for step in 0..=20 {
            for v in [0.0, 0.25, 0.5, 1.0] {
                let u = f64::from(step) / 20.0;
                let error = distance(ribbon.map(u, v), at(120.0 - 40.0 * v, u));
                assert!(error < 1.5, "{error} pixels at {u}, {v}");
            }
        }
    }

    #[test]
    fn pairs_that_coincide_are_one() {
        let upper = [(0.0, 0.0), (0.0, 0.0), (10.0, 0.0), (20.0, 0.0)];
        let lower = [(0.0, 5.0), (0.0, 5.0), (10.0, 5.0), (20.0, 5.0)];
        let ribbon = Ribbon::new(&upper, &lower).unwrap();
        assert!(distance(ribbon.map(0.5, 0.5), (10.0, 2.5)) < 1e-9);
        assert!(Ribbon::new(&upper[..2], &lower[..2]).is_none());
    }
}
