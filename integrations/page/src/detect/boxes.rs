//! Rectangles around the regions of a map of probabilities.

use svtrv2::{Point, Quad};

use super::curve::outline;
use super::options::DetectorOptions;
use super::plan::Plan;
use super::regions::{Pixel, Place, Rectangle, regions};
use super::{TextBox, in_parallel, is_tall};

/// The least shorter side of a region in pixels of the map, before and after it has grown.
const MIN_SIDE: f64 = 3.0;
const MIN_GROWN_SIDE: f64 = 5.0;
/// Sides of up to so many pixels of the page are too short for text.
const MAX_TINY: f32 = 3.0;

/// The probability of each pixel, `[height, width]`.
pub(super) struct Map {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Map {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        Map { width, height, values: vec![0.0; width * height] }
    }

    pub(super) fn rows_mut(&mut self, first: u32, count: u32) -> impl Iterator<Item = &mut [f32]> {
        let (first, end) = (first as usize * self.width, (first + count) as usize * self.width);
        self.values[first..end].chunks_exact_mut(self.width)
    }

    /// The regions of pixels above a threshold, and of those right of, below, and right below them: so
    /// does the reference, whose 2 x 2 dilation joins what is a pixel apart.
    fn regions(&self, threshold: f32) -> Vec<Vec<(i64, i64)>> {
        let mut mask = vec![false; self.values.len()];
        for (y, row) in self.values.chunks_exact(self.width).enumerate() {
            for (x, _) in row.iter().enumerate().filter(|(_, value)| **value > threshold) {
                let right = (x + 1).min(self.width - 1);
                for y in [y, (y + 1).min(self.height - 1)] {
                    mask[y * self.width + x] = true;
                    mask[y * self.width + right] = true;
                }
            }
        }
        regions(mask.chunks_exact(self.width))
    }

    /// The mean of the pixels of runs, each given by its first and last pixel.
    fn mean_of_runs(&self, runs: &[Pixel]) -> f32 {
        let (mut sum, mut count) = (0.0f64, 0usize);
        for run in runs.chunks_exact(2) {
            let [(first, y), (last, _)] = [run[0], run[1]];
            let row = &self.values[y as usize * self.width..][first as usize..=last as usize];
            sum += row.iter().map(|&value| f64::from(value)).sum::<f64>();
            count += row.len();
        }
        if count == 0 { 0.0 } else { (sum / count as f64) as f32 }
    }

    /// The mean of the pixels inside a convex quadrilateral, its edges included.
    fn mean(&self, corners: [Place; 4]) -> f32 {
        // Whole pixels, as the reference fills.
        let corners = corners.map(|(x, y)| (x.trunc() as f32, y.trunc() as f32));
        let bound = |y: f32| y.clamp(0.0, self.height as f32 - 1.0) as usize;
        let first = bound(corners.iter().map(|p| p.1).fold(f32::INFINITY, f32::min));
        let last = bound(corners.iter().map(|p| p.1).fold(f32::NEG_INFINITY, f32::max));
        let (mut sum, mut count) = (0.0f64, 0usize);
        for y in first..=last {
            // Where the row enters and leaves.
            let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
            for (i, &(x0, y0)) in corners.iter().enumerate() {
                let (x1, y1) = corners[(i + 1) % 4];
                let at = y as f32;
                if at < y0.min(y1) || at > y0.max(y1) {
                    continue;
                }
                let ends =
                    if y0 == y1 { [x0, x1] } else { [x0 + (x1 - x0) * (at - y0) / (y1 - y0); 2] };
                left = left.min(ends[0]).min(ends[1]);
                right = right.max(ends[0]).max(ends[1]);
            }
            let (left, right) = (left.round().max(0.0), right.round().min(self.width as f32 - 1.0));
            if left <= right {
                let row = &self.values[y * self.width..][left as usize..=right as usize];
                sum += row.iter().map(|&value| f64::from(value)).sum::<f64>();
                count += row.len();
            }
        }
        if count == 0 { 0.0 } else { (sum / count as f64) as f32 }
    }
}

/// The boxes of a map, in pixels of the page.
pub(super) fn find(map: &Map, plan: &Plan, options: &DetectorOptions) -> Vec<TextBox> {
    let regions = map.regions(options.pixel_threshold);
    let ratio = f64::from(options.unclip_ratio);
    let found = in_parallel(regions.len(), |index| {
        let runs = &regions[index];
        let region = Rectangle::around(runs.clone())?;
        if region.width.min(region.height) < MIN_SIDE {
            return None;
        }
        let (width, height) = (region.width, region.height);
        let grown = region.grown(width * height * ratio / (2.0 * (width + height)));
        if grown.width.min(grown.height) < MIN_GROWN_SIDE {
            return None;
        }
        let quad = on_page(grown, plan)?;
        let outline = outline(runs, region, is_tall(quad), ratio);
        // The rectangle around curved text is empty in its middle.
        let score = match &outline {
            Some(_) => map.mean_of_runs(runs),
            None => map.mean(region.corners()),
        };
        if score < options.box_threshold {
            return None;
        }
        let outline = outline.unwrap_or_default();
        let outline = outline.into_iter().map(|(x, y)| place_on_page(x, y, plan)).collect();
        Some(TextBox { quad, outline, score })
    });
    found.into_iter().flatten().collect()
}

/// A place between the map's pixels in the page, inside it.
fn place_on_page(x: f64, y: f64, plan: &Plan) -> Point {
    let [width, height] = plan.page.map(|length| length as f32);
    // The middle of a pixel of the map is half a pixel behind its number.
    let (x, y) = plan.to_page(x as f32 + 0.5, y as f32 + 0.5);
    Point::new(x.clamp(0.0, width), y.clamp(0.0, height))
}

/// The rectangle's corners in whole pixels of the page, inside it, clockwise from the upper of the two
/// leftmost; nothing if it is tiny there.
fn on_page(region: Rectangle, plan: &Plan) -> Option<Quad> {
    let [width, height] = plan.page.map(|length| length as f32);
    let mut corners = region.corners().map(|(x, y)| {
        // As the reference: whole pixels of the map, then of the page.
        let (x, y) = plan.to_page(x.round() as f32, y.round() as f32);
        Point::new(x.round().clamp(0.0, width - 1.0), y.round().clamp(0.0, height - 1.0))
    });
    corners.sort_by(|a, b| a.x.total_cmp(&b.x));
    let [mut a, mut b, mut c, mut d] = corners;
    if a.y > b.y {
        (a, b) = (b, a);
    }
    if c.y > d.y {
        (c, d) = (d, c);
    }
    let quad = Quad([a, c, d, b]);
    let tiny = a.distance(c).min(a.distance(b)).floor() <= MAX_TINY;
    (!tiny).then_some(quad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(width: u32, height: u32) -> Plan {
        let page = [width, height];
        Plan { width, height, image: [0, 0, width, height], page, own_pixels: true }
    }

    /// A map with a rectangle turned by `degrees` around its middle.
    fn map_with(size: u32, width: f32, height: f32, degrees: f32, value: f32) -> Map {
        let mut map = Map::new(size, size);
        let (sin, cos) = degrees.to_radians().sin_cos();
        for (y, row) in map.rows_mut(0, size).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let (x, y) = (x as f32 - size as f32 / 2.0, y as f32 - size as f32 / 2.0);
                let (u, v) = (x * cos + y * sin, y * cos - x * sin);
                if u.abs() <= width / 2.0 && v.abs() <= height / 2.0 {
                    *pixel = value;
                }
            }
        }
        map
    }

    #[test]
    fn rectangles_grow_by_their_area_over_their_perimeter() {
        for degrees in [0.0, 10.0, 45.0, 80.0] {
            let map = map_with(256, 100.0, 20.0, degrees, 0.9);
            let found = find(&map, &plan(256, 256), &DetectorOptions::default());
            let [found] = found.as_slice() else { panic!("{degrees}: {found:?}") };
            let distance = 100.0 * 20.0 * 1.6 / 240.0;
            let area = (100.0 + 2.0 * distance) * (20.0 + 2.0 * distance);
            assert!((found.quad.area() / area - 1.0).abs() < 0.1, "{degrees}: {found:?}");
            assert!(found.quad.center().distance(Point::new(128.0, 128.0)) < 2.0, "{degrees}");
            assert!(found.score > 0.7, "{degrees}: {}", found.score);
        }
    }

    #[test]
    fn faint_and_tiny_regions_are_none() {
        let cases =
            [("faint", 100.0, 20.0, 0.4), ("tiny", 2.0, 1.0, 0.9), ("nothing", 90.0, 9.0, 0.0)];
        for (name, width, height, value) in cases {
            let map = map_with(256, width, height, 0.0, value);
            let found = find(&map, &plan(256, 256), &DetectorOptions::default());
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }

    #[test]
    fn curved_regions_are_scored_by_their_own_pixels() {
        let size = 512u32;
        let mut map = Map::new(size, size);
        for (y, row) in map.rows_mut(0, size).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let (dx, dy) = (x as f32 - 256.0, 330.0 - y as f32);
                let sweep = dx.atan2(dy).to_degrees();
                if (dx.hypot(dy) - 200.0).abs() <= 12.0 && sweep.abs() <= 60.0 {
                    *pixel = 0.9;
                }
            }
        }
        let found = find(&map, &plan(size, size), &DetectorOptions::default());
        let [found] = found.as_slice() else { panic!("{found:?}") };
        // The rectangle around it is half empty.
        assert!(found.score > 0.85, "{}", found.score);
        assert!(found.outline.len() >= 12 && found.outline.len().is_multiple_of(2));
    }

    #[test]
    fn the_mean_of_a_quadrilateral() {
        let map = map_with(64, 64.0, 64.0, 0.0, 0.5);
        let corner = |x: f64, y: f64| (x, y);
        let inside =
            [corner(10.0, 10.0), corner(50.0, 12.0), corner(49.0, 30.0), corner(9.0, 28.0)];
        assert!((map.mean(inside) - 0.5).abs() < 1e-6);
        let beyond = inside.map(|(x, y)| (x + 500.0, y));
        assert_eq!(map.mean(beyond), 0.0);
    }
}
