//! Points, rectangles and quadrilaterals of an image.
//!
//! Coordinates are in pixels: x to the right, y downwards, and the left upper corner of the image
//! is (0, 0). The centre of the first pixel is therefore (0.5, 0.5).

/// A point of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

impl Point {
    /// A point by its coordinates.
    pub const fn new(x: f32, y: f32) -> Self {
        Point { x, y }
    }

    /// True unless a coordinate is NaN or infinite.
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }

    /// The distance to another point, in pixels.
    pub fn distance(self, other: Point) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

impl From<(f32, f32)> for Point {
    fn from((x, y): (f32, f32)) -> Self {
        Point { x, y }
    }
}

impl From<[f32; 2]> for Point {
    fn from([x, y]: [f32; 2]) -> Self {
        Point { x, y }
    }
}

/// An axis-aligned rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rect {
    /// Left edge.
    pub x0: f32,
    /// Upper edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Lower edge.
    pub y1: f32,
}

impl Rect {
    /// A rectangle by its left, upper, right and lower edge.
    pub const fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Rect { x0, y0, x1, y1 }
    }

    /// The middle.
    pub fn center(&self) -> Point {
        Point { x: (self.x0 + self.x1) / 2.0, y: (self.y0 + self.y1) / 2.0 }
    }

    /// From the left to the right edge; negative if they are swapped.
    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }

    /// From the upper to the lower edge; negative if they are swapped.
    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// The smallest rectangle around both.
    pub fn union(&self, other: &Rect) -> Rect {
        Rect {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }
}

/// A quadrilateral of an image, in pixels: its corners clockwise, as seen on the screen, from the
/// text's top left: top left, top right, bottom right, bottom left.
///
/// For text that is turned, "top left" is where the text's first character has its upper left
/// corner, wherever that lies in the image.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quad(pub [Point; 4]);

impl Quad {
    /// The mean of the corners.
    pub fn center(&self) -> Point {
        let sum = |of: fn(&Point) -> f32| self.0.iter().map(|p| f64::from(of(p))).sum::<f64>();
        Point { x: (sum(|p| p.x) / 4.0) as f32, y: (sum(|p| p.y) / 4.0) as f32 }
    }

    /// The smallest axis-aligned rectangle around the corners.
    pub fn bounding_rect(&self) -> Rect {
        let [first, ..] = self.0;
        let start = Rect::new(first.x, first.y, first.x, first.y);
        self.0.iter().fold(start, |rect, p| Rect {
            x0: rect.x0.min(p.x),
            y0: rect.y0.min(p.y),
            x1: rect.x1.max(p.x),
            y1: rect.y1.max(p.y),
        })
    }

    /// The area in square pixels, at least 0. The corners may be in either order; the area of a
    /// quadrilateral that crosses itself is the difference of its two parts.
    pub fn area(&self) -> f32 {
        signed_area(&self.exact()).abs() as f32
    }

    /// True if a point lies inside, or on an edge, of a convex quadrilateral; the corners may be
    /// in either order.
    pub fn contains(&self, point: Point) -> bool {
        let corners = self.exact();
        let point = (f64::from(point.x), f64::from(point.y));
        let side = |i: usize| cross(corners[i], corners[(i + 1) % 4], point);
        let sides: [f64; 4] = std::array::from_fn(side);
        sides.iter().all(|side| *side >= 0.0) || sides.iter().all(|side| *side <= 0.0)
    }

    /// The intersection with another quadrilateral over the union (0..=1): both must be convex,
    /// the corners may be in either order. 0 if neither has an area or a coordinate is not finite.
    pub fn intersection_over_union(&self, other: &Quad) -> f32 {
        let (own, clip) = (self.exact(), other.exact());
        let overlap = signed_area(&clip_convex(&own, &clip)).abs();
        let union = signed_area(&own).abs() + signed_area(&clip).abs() - overlap;
        let share = overlap / union;
        if union > 0.0 && share.is_finite() { share.clamp(0.0, 1.0) as f32 } else { 0.0 }
    }

    fn exact(&self) -> [(f64, f64); 4] {
        self.0.map(|p| (f64::from(p.x), f64::from(p.y)))
    }
}

impl From<Rect> for Quad {
    fn from(rect: Rect) -> Self {
        let Rect { x0, y0, x1, y1 } = rect;
        Quad([Point::new(x0, y0), Point::new(x1, y0), Point::new(x1, y1), Point::new(x0, y1)])
    }
}

impl From<[Point; 4]> for Quad {
    fn from(corners: [Point; 4]) -> Self {
        Quad(corners)
    }
}

impl From<[(f32, f32); 4]> for Quad {
    fn from(corners: [(f32, f32); 4]) -> Self {
        Quad(corners.map(Point::from))
    }
}

impl From<[[f32; 2]; 4]> for Quad {
    fn from(corners: [[f32; 2]; 4]) -> Self {
        Quad(corners.map(Point::from))
    }
}

/// Twice the signed area of the triangle `a`, `b`, `c`: positive if they run clockwise on the
/// screen.
fn cross(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

/// The area of a polygon, positive if its corners run clockwise on the screen.
pub(crate) fn signed_area(corners: &[(f64, f64)]) -> f64 {
    let Some(&first) = corners.first() else { return 0.0 };
    corners.windows(2).map(|pair| cross(first, pair[0], pair[1])).sum::<f64>() / 2.0
}

/// The part of a convex polygon that lies inside a convex polygon, by Sutherland and Hodgman
/// ("Reentrant polygon clipping", 1974): every edge of `clip` cuts away what lies beyond it.
pub(crate) fn clip_convex(subject: &[(f64, f64)], clip: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let turn = if signed_area(clip) < 0.0 { -1.0 } else { 1.0 };
    let mut kept = subject.to_vec();
    for (i, &from) in clip.iter().enumerate() {
        let to = clip[(i + 1) % clip.len()];
        let side = |point| turn * cross(from, to, point);
        let mut next = Vec::with_capacity(kept.len() + 1);
        for (j, &b) in kept.iter().enumerate() {
            let a = kept[(j + kept.len() - 1) % kept.len()];
            let (at_a, at_b) = (side(a), side(b));
            if (at_a < 0.0) != (at_b < 0.0) {
                let share = at_a / (at_a - at_b);
                next.push((a.0 + share * (b.0 - a.0), a.1 + share * (b.1 - a.1)));
            }
            if at_b >= 0.0 {
                next.push(b);
            }
        }
        kept = next;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x0: f32, y0: f32, x1: f32, y1: f32) -> Quad {
        Rect::new(x0, y0, x1, y1).into()
    }

    fn reversed(quad: Quad) -> Quad {
        let [a, b, c, d] = quad.0;
        Quad([a, d, c, b])
    }

    const DIAMOND: Quad = Quad([
        Point::new(0.0, -1.0),
        Point::new(1.0, 0.0),
        Point::new(0.0, 1.0),
        Point::new(-1.0, 0.0),
    ]);

    #[test]
    fn measures() {
        let quad = rect(1.0, 2.0, 5.0, 10.0);
        assert_eq!((quad.center(), quad.area()), (Point::new(3.0, 6.0), 32.0));
        assert_eq!(quad.bounding_rect(), Rect::new(1.0, 2.0, 5.0, 10.0));
        assert_eq!(DIAMOND.bounding_rect(), Rect::new(-1.0, -1.0, 1.0, 1.0));
        assert_eq!((DIAMOND.area(), reversed(DIAMOND).area()), (2.0, 2.0));
    }

    #[test]
    fn points_inside() {
        for quad in [DIAMOND, reversed(DIAMOND)] {
            for (x, y, inside) in
                [(0.0, 0.0, true), (0.4, 0.4, true), (0.5, 0.5, true), (0.6, 0.6, false)]
            {
                assert_eq!(quad.contains(Point::new(x, y)), inside, "{x}, {y}");
            }
        }
    }

    #[test]
    fn overlaps() {
        let unit = rect(0.0, 0.0, 1.0, 1.0);
        let cases = [
            ("itself", unit, unit, 1.0),
            ("half beside", unit, rect(0.5, 0.0, 1.5, 1.0), 1.0 / 3.0),
            ("apart", unit, rect(2.0, 0.0, 3.0, 1.0), 0.0),
            ("touching", unit, rect(1.0, 0.0, 2.0, 1.0), 0.0),
            ("inside", unit, rect(0.25, 0.25, 0.75, 0.75), 0.25),
            // Only corners of the square lie outside of the diamond: 1.75 of 2 and 2.25 squares.
            ("turned", DIAMOND, rect(-0.75, -0.75, 0.75, 0.75), 1.75 / 2.5),
            ("no area", rect(1.0, 1.0, 1.0, 1.0), rect(1.0, 1.0, 1.0, 1.0), 0.0),
            ("not finite", unit, rect(f32::NAN, 0.0, 1.0, 1.0), 0.0),
            ("infinite", unit, rect(0.0, 0.0, f32::INFINITY, 1.0), 0.0),
        ];
        for (name, a, b, expected) in cases {
            for (a, b) in [(a, b), (b, a), (reversed(a), b), (a, reversed(b))] {
                let found = a.intersection_over_union(&b);
                assert!((found - expected).abs() < 1e-6, "{name}: {found} for {expected}");
            }
        }
    }
}
