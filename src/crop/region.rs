//! Where text lies in a page: what detectors give, and what of it can be cropped.

use super::warp::PointF64;
use crate::error::RegionError;
use crate::geometry::{Point, Quad, Rect, clip_convex, signed_area};

/// Where a word or a line of text lies in a page, as text detectors give it; in pixels, the left
/// upper corner of the page is (0, 0).
///
/// Detectors that name the centres of pixels instead (the first pixel's centre is (0, 0)) are half
/// a pixel off; that is rarely of account.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Region {
    /// An axis-aligned rectangle with `x0 < x1` and `y0 < y1`.
    Rect(Rect),
    /// A rectangle that is turned around its centre.
    RotatedRect {
        /// The middle.
        center: Point,
        /// Size along the text, in pixels.
        width: f32,
        /// Size across the text, in pixels.
        height: f32,
        /// By how many degrees the text is turned clockwise, as seen on the screen.
        angle: f32,
    },
    /// A convex quadrilateral: its corners clockwise from the text's top left. DBNet and CRAFT
    /// give these.
    Quad(Quad),
    /// Curved text: an even number of points, clockwise. The first half is the text's upper edge
    /// from its start to its end, the second half the lower edge from the end back to the start;
    /// the points of both edges face each other in pairs. This is the order of Total-Text and
    /// CTW1500. Four points are a quadrilateral.
    Polygon(Vec<Point>),
}

impl From<&Region> for Region {
    fn from(region: &Region) -> Self {
        region.clone()
    }
}

impl From<Rect> for Region {
    fn from(rect: Rect) -> Self {
        Region::Rect(rect)
    }
}

impl From<Quad> for Region {
    fn from(quad: Quad) -> Self {
        Region::Quad(quad)
    }
}

impl From<[Point; 4]> for Region {
    fn from(corners: [Point; 4]) -> Self {
        Region::Quad(Quad(corners))
    }
}

impl From<[(f32, f32); 4]> for Region {
    fn from(corners: [(f32, f32); 4]) -> Self {
        Region::Quad(corners.into())
    }
}

impl From<[[f32; 2]; 4]> for Region {
    fn from(corners: [[f32; 2]; 4]) -> Self {
        Region::Quad(corners.into())
    }
}

/// The eight numbers of ICDAR's files: x and y of four corners.
impl From<[f32; 8]> for Region {
    fn from([a, b, c, d, e, f, g, h]: [f32; 8]) -> Self {
        Region::Quad([(a, b), (c, d), (e, f), (g, h)].into())
    }
}

impl From<Vec<Point>> for Region {
    fn from(points: Vec<Point>) -> Self {
        Region::Polygon(points)
    }
}

impl From<Vec<(f32, f32)>> for Region {
    fn from(points: Vec<(f32, f32)>) -> Self {
        Region::Polygon(points.into_iter().map(Point::from).collect())
    }
}

impl From<Vec<[f32; 2]>> for Region {
    fn from(points: Vec<[f32; 2]>) -> Self {
        Region::Polygon(points.into_iter().map(Point::from).collect())
    }
}

/// The most points of a polygon.
pub(crate) const MAX_POINTS: usize = 1024;
/// The most pixels of a rectangle that is the page's own pixels; a larger one is resampled.
const MAX_OWN_PIXELS: f64 = (1 << 26) as f64;
/// A region covers at least this many square pixels.
const MIN_AREA: f64 = 1.0;
/// At least this share of a region lies inside the page.
const MIN_INSIDE: f64 = 0.5;
/// Each corner of a quadrilateral makes a triangle with its neighbours of at least this share of
/// the whole area; the perspective is too steep for a homography otherwise.
const MIN_CORNER: f64 = 0.01;

/// A region that was checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outline {
    /// Whole pixels of the page, from the left, upper corner on; some may lie beyond its edges.
    Pixels { x: i64, y: i64, width: u32, height: u32 },
    /// A convex quadrilateral, clockwise.
    Quad([PointF64; 4]),
    /// The upper and the lower edge, both from the text's start to its end, in pairs.
    Edges(Vec<PointF64>, Vec<PointF64>),
}

impl Region {
    /// The most bytes that its crop takes.
    pub(crate) fn max_crop_bytes(&self) -> usize {
        let edge = |a: Point, b: Point| f64::from(a.distance(b));
        let (width, height) = match self {
            Region::Rect(rect) => (rect.width().into(), rect.height().into()),
            &Region::RotatedRect { width, height, .. } => (width.into(), height.into()),
            &Region::Quad(Quad([a, b, c, d])) => {
                (edge(a, b).max(edge(d, c)), edge(a, d).max(edge(b, c)))
            }
            Region::Polygon(points) => {
                let length: f64 = points.windows(2).map(|pair| edge(pair[0], pair[1])).sum();
                (length, length)
            }
        };
        // What is resampled is smaller than that.
        (3.0 * (width + 1.0) * (height + 1.0)).min(3.0 * MAX_OWN_PIXELS) as usize
    }

    /// Checks the region against a page of `width` x `height` pixels.
    pub(crate) fn outline(&self, width: u32, height: u32) -> Result<Outline, RegionError> {
        let corners = match self {
            Region::Rect(rect) => {
                check_sides(rect.width(), rect.height())?;
                Quad::from(*rect).0.to_vec()
            }
            &Region::RotatedRect { center, width, height, angle } => {
                check_sides(width, height)?;
                rotated(center, width, height, angle).to_vec()
            }
            Region::Quad(quad) => quad.0.to_vec(),
            Region::Polygon(points) => {
                let found = points.len();
                if !(4..=MAX_POINTS).contains(&found) || found % 2 != 0 {
                    return Err(RegionError::PointCount { found, most: MAX_POINTS });
                }
                points.clone()
            }
        };
        if let Some(index) = corners.iter().position(|point| !point.is_finite()) {
            return Err(RegionError::NotFinite { index });
        }
        let corners: Vec<PointF64> =
            corners.iter().map(|p| (f64::from(p.x), f64::from(p.y))).collect();
        if let Some((first, second)) = crossing(&corners) {
            return Err(RegionError::SelfCrossing { first, second });
        }
        let area = signed_area(&corners);
        if area.abs() < MIN_AREA {
            return Err(RegionError::TooSmall { area: area.abs() });
        }
        if area < 0.0 {
            return Err(RegionError::Order);
        }
        if let &[a, b, c, d] = corners.as_slice() {
            check_convex([a, b, c, d], area)?;
        }
        let (right, bottom) = (f64::from(width), f64::from(height));
        let page = [(0.0, 0.0), (right, 0.0), (right, bottom), (0.0, bottom)];
        let inside = signed_area(&clip_convex(&corners, &page)).abs() / area;
        if inside.is_nan() || inside < MIN_INSIDE {
            return Err(RegionError::Outside { inside: inside as f32, least: MIN_INSIDE as f32 });
        }
        if let &[a, b, c, d] = corners.as_slice() {
            return Ok(whole_pixels([a, b, c, d]).unwrap_or(Outline::Quad([a, b, c, d])));
        }
        let mut upper = corners;
        let mut lower = upper.split_off(upper.len() / 2);
        lower.reverse();
        Ok(Outline::Edges(upper, lower))
    }
}

/// A rectangle's sides are finite and run to the right and downwards.
fn check_sides(width: f32, height: f32) -> Result<(), RegionError> {
    if width < 0.0 || height < 0.0 { Err(RegionError::Order) } else { Ok(()) }
}

fn rotated(center: Point, width: f32, height: f32, angle: f32) -> [Point; 4] {
    let (sin, cos) = f64::from(angle).to_radians().sin_cos();
    let corner = |x: f32, y: f32| {
        let (x, y) = (f64::from(x * width) / 2.0, f64::from(y * height) / 2.0);
        Point {
            x: (f64::from(center.x) + x * cos - y * sin) as f32,
            y: (f64::from(center.y) + x * sin + y * cos) as f32,
        }
    };
    [corner(-1.0, -1.0), corner(1.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0)]
}

/// The rectangle of whole pixels that an upright quadrilateral is, if it is one.
fn whole_pixels([a, b, c, d]: [PointF64; 4]) -> Option<Outline> {
    let upright = a.1 == b.1 && b.0 == c.0 && c.1 == d.1 && d.0 == a.0 && a.0 < c.0 && a.1 < c.1;
    // Beyond this, numbers of 32 bits tell no pixels apart.
    let whole = |x: f64| x.fract() == 0.0 && x.abs() < f64::from(1 << 24);
    let is_small = (c.0 - a.0) * (c.1 - a.1) <= MAX_OWN_PIXELS;
    (upright && is_small && [a.0, a.1, c.0, c.1].into_iter().all(whole)).then_some(
        Outline::Pixels {
            x: a.0 as i64,
            y: a.1 as i64,
            width: (c.0 - a.0) as u32,
            height: (c.1 - a.1) as u32,
        },
    )
}

fn check_convex(corners: [PointF64; 4], area: f64) -> Result<(), RegionError> {
    for corner in 0..4 {
        let around = [corners[(corner + 3) % 4], corners[corner], corners[(corner + 1) % 4]];
        if signed_area(&around) < MIN_CORNER * area {
            return Err(RegionError::NotConvex { corner });
        }
    }
    Ok(())
}

/// The first two edges that cross each other. An edge's index is that of its first point.
fn crossing(corners: &[PointF64]) -> Option<(usize, usize)> {
    let edge = |i: usize| (corners[i], corners[(i + 1) % corners.len()]);
    let crosses = |(a, b): (PointF64, PointF64), (c, d): (PointF64, PointF64)| {
        let side = |a, b, c| signed_area(&[a, b, c]);
        side(a, b, c) * side(a, b, d) < 0.0 && side(c, d, a) * side(c, d, b) < 0.0
    };
    (0..corners.len()).find_map(|i| {
        let later = i + 2..corners.len();
        later.into_iter().find(|&j| crosses(edge(i), edge(j))).map(|j| (i, j))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(region: impl Into<Region>) -> Result<Outline, RegionError> {
        region.into().outline(100, 50)
    }

    #[test]
    fn regions_that_can_be_cropped() {
        let pixels = Outline::Pixels { x: 10, y: 5, width: 30, height: 20 };
        let rotated = |angle, width, height| Region::RotatedRect {
            center: Point::new(25.0, 15.0),
            width,
            height,
            angle,
        };
        assert_eq!(outline(Rect::new(10.0, 5.0, 40.0, 25.0)).unwrap(), pixels);
        assert_eq!(outline(rotated(0.0, 30.0, 20.0)).unwrap(), pixels);
        assert_eq!(outline([10.0, 5.0, 40.0, 5.0, 40.0, 25.0, 10.0, 25.0]).unwrap(), pixels);
        let Outline::Quad([a, ..]) = outline(rotated(90.0, 20.0, 30.0)).unwrap() else {
            panic!("text that runs downwards is no rectangle of pixels")
        };
        assert!((a.0 - 40.0).abs() < 1e-4 && (a.1 - 5.0).abs() < 1e-4, "{a:?}");
        let six = vec![(0, 0), (10, 2), (20, 0), (20, 9), (10, 11), (0, 9)];
        let six: Vec<_> = six.into_iter().map(|(x, y)| (x as f32, y as f32)).collect();
        let lower = vec![(0.0, 9.0), (10.0, 11.0), (20.0, 9.0)];
        assert!(matches!(outline(six), Ok(Outline::Edges(_, found)) if found == lower));
    }

    #[test]
    fn bytes_of_crops() {
        let square = [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)];
        let most = 3 * (1 << 26);
        let cases: [(&str, Region, usize); 5] = [
            ("a rectangle", Rect::new(0.0, 0.0, 9.0, 4.0).into(), 3 * 10 * 5),
            ("a square", square.into(), 3 * 10 * 10),
            ("a polygon", square.map(Point::from).to_vec().into(), 3 * 28 * 28),
            ("a large rectangle", Rect::new(0.0, 0.0, 1e9, 1e9).into(), most),
            ("NaN", Rect::new(0.0, 0.0, f32::NAN, 1.0).into(), most),
        ];
        for (name, region, bytes) in cases {
            assert_eq!(region.max_crop_bytes(), bytes, "{name}");
        }
        let large = Region::from(Rect::new(0.0, 0.0, 8193.0, 8192.0)).outline(9000, 9000);
        assert!(matches!(large, Ok(Outline::Quad(_))), "{large:?}");
        let large = Region::from(Rect::new(0.0, 0.0, 8192.0, 8192.0)).outline(9000, 9000);
        assert!(matches!(large, Ok(Outline::Pixels { .. })), "{large:?}");
    }

    #[test]
    fn regions_that_cannot() {
        let square = |i: usize| [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)][i];
        let quad = |order: [usize; 4]| Region::from(order.map(square));
        let cases = [
            ("counter-clockwise", quad([0, 3, 2, 1]), RegionError::Order),
            ("bow tie", quad([0, 1, 3, 2]), RegionError::SelfCrossing { first: 1, second: 3 }),
            ("swapped", Rect::new(9.0, 9.0, 0.0, 0.0).into(), RegionError::Order),
            ("flat", Rect::new(0.0, 1.0, 9.0, 1.0).into(), RegionError::TooSmall { area: 0.0 }),
            (
                "a reflex corner",
                [(0.0, 0.0), (9.0, 0.0), (3.0, 3.0), (0.0, 9.0)].into(),
                RegionError::NotConvex { corner: 2 },
            ),
            (
                "a triangle",
                [(0.0, 0.0), (5.0, 0.0), (10.0, 0.0), (0.0, 9.0)].into(),
                RegionError::NotConvex { corner: 1 },
            ),
            (
                "NaN",
                [(0.0, 0.0), (9.0, f32::NAN), (9.0, 9.0), (0.0, 9.0)].into(),
                RegionError::NotFinite { index: 1 },
            ),
            (
                "odd",
                vec![(0.0, 0.0); 5].into(),
                RegionError::PointCount { found: 5, most: MAX_POINTS },
            ),
            (
                "a million points",
                vec![(0.0, 0.0); 1_000_000].into(),
                RegionError::PointCount { found: 1_000_000, most: MAX_POINTS },
            ),
            (
                "beside the page",
                Rect::new(-75.0, 0.0, 25.0, 50.0).into(),
                RegionError::Outside { inside: 0.25, least: 0.5 },
            ),
        ];
        for (name, region, error) in cases {
            assert_eq!(outline(region), Err(error), "{name}");
        }
        let far = Rect::new(-1e30, -1e30, 1e30, 1e30);
        assert!(matches!(outline(far), Err(RegionError::Outside { .. })));
    }
}
