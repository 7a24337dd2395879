//! Connected regions of a mask, and the smallest rectangle around each.

/// A point in pixels.
pub(super) type Pixel = (i64, i64);
/// A place between pixels.
pub(super) type Place = (f64, f64);

/// Pixels of a row next to each other, the last one included.
#[derive(Debug, Clone, Copy)]
struct Run {
    y: usize,
    first: usize,
    last: usize,
}

/// The regions of a mask that is given row by row: pixels that touch, at corners too. Of each region, the
/// first and the last pixel of every run: all that its convex hull needs. In the order of their first rows.
pub(super) fn regions<'a>(rows: impl Iterator<Item = &'a [bool]>) -> Vec<Vec<Pixel>> {
    let mut runs: Vec<Run> = Vec::new();
    // The region of a run is that of its parent; a root's parent is itself.
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for (y, row) in rows.enumerate() {
        let start = runs.len();
        let mut candidate = above.start;
        let mut x = 0;
        while let Some(first) = row[x..].iter().position(|&is_set| is_set).map(|at| x + at) {
            let length = row[first..].iter().position(|&is_set| !is_set);
            let end = length.map_or(row.len(), |length| first + length);
            let own = runs.len();
            runs.push(Run { y, first, last: end - 1 });
            parents.push(own);
            // Runs of the row above that end before this one touch none of the later ones.
            while candidate < above.end && runs[candidate].last + 1 < first {
                candidate += 1;
            }
            let mut touching = candidate;
            while touching < above.end && runs[touching].first <= end {
                let (a, b) = (root(&mut parents, touching), root(&mut parents, own));
                parents[a.max(b)] = a.min(b);
                touching += 1;
            }
            x = end;
        }
        above = start..runs.len();
    }
    let mut regions: Vec<Vec<Pixel>> = Vec::new();
    let mut index_of_root = vec![usize::MAX; runs.len()];
    for (index, run) in runs.iter().enumerate() {
        let root = root(&mut parents, index);
        if index_of_root[root] == usize::MAX {
            index_of_root[root] = regions.len();
            regions.push(Vec::new());
        }
        let y = run.y as i64;
        let points = &mut regions[index_of_root[root]];
        points.push((run.first as i64, y));
        points.push((run.last as i64, y));
    }
    regions
}

fn root(parents: &mut [usize], mut index: usize) -> usize {
    while parents[index] != index {
        parents[index] = parents[parents[index]];
        index = parents[index];
    }
    index
}

/// A rectangle that may be turned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    center: Place,
    /// The direction of its width, of length 1.
    along: Place,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rectangle {
    /// The rectangle of the least area around the middles of pixels; `None` without any.
    pub(super) fn around(points: Vec<Pixel>) -> Option<Self> {
        let hull = hull(points);
        let &first = hull.first()?;
        let edges = (0..hull.len()).map(|i| (hull[i], hull[(i + 1) % hull.len()]));
        let rectangles = edges.map(|(a, b)| {
            let (dx, dy) = ((b.0 - a.0) as f64, (b.1 - a.1) as f64);
            let length = dx.hypot(dy);
            let along = if length > 0.0 { (dx / length, dy / length) } else { (1.0, 0.0) };
            let (mut low, mut high) =
                ((f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY));
            for &(x, y) in &hull {
                let (x, y) = ((x - first.0) as f64, (y - first.1) as f64);
                let (u, v) = (x * along.0 + y * along.1, y * along.0 - x * along.1);
                low = (low.0.min(u), low.1.min(v));
                high = (high.0.max(u), high.1.max(v));
            }
            let (u, v) = ((low.0 + high.0) / 2.0, (low.1 + high.1) / 2.0);
            let center = (
                first.0 as f64 + u * along.0 - v * along.1,
                first.1 as f64 + u * along.1 + v * along.0,
            );
            Rectangle { center, along, width: high.0 - low.0, height: high.1 - low.1 }
        });
        rectangles.reduce(|a, b| if b.width * b.height < a.width * a.height { b } else { a })
    }

    pub(super) fn center(self) -> Place {
        self.center
    }

    /// The direction of its longer side, of length 1: downwards, or to the right.
    pub(super) fn direction(self, downwards: bool) -> Place {
        let (x, y) = self.along;
        let (x, y) = if self.width >= self.height { (x, y) } else { (-y, x) };
        let backwards = if downwards { y < 0.0 } else { x < 0.0 };
        if backwards { (-x, -y) } else { (x, y) }
    }

    /// The same with its edges moved outwards.
    pub(super) fn grown(self, distance: f64) -> Self {
        let (width, height) = (self.width + 2.0 * distance, self.height + 2.0 * distance);
        Rectangle { width, height, ..self }
    }

    /// The corners, one behind the other.
    pub(super) fn corners(self) -> [Place; 4] {
        let (w, h) = (self.width / 2.0, self.height / 2.0);
        [(-w, -h), (w, -h), (w, h), (-w, h)].map(|(u, v)| {
            let x = self.center.0 + u * self.along.0 - v * self.along.1;
            let y = self.center.1 + u * self.along.1 + v * self.along.0;
            (x, y)
        })
    }
}

/// The corners of the convex hull, one behind the other (Andrew's monotone chain).
fn hull(mut points: Vec<Pixel>) -> Vec<Pixel> {
    points.sort_unstable();
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let half = |points: &mut dyn Iterator<Item = Pixel>| {
        let mut chain: Vec<Pixel> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..] {
                let turn = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
                if turn > 0 {
                    break;
                }
                chain.pop();
            }
            chain.push(point);
        }
        chain.pop();
        chain
    };
    let mut hull = half(&mut points.iter().copied());
    hull.extend(half(&mut points.iter().rev().copied()));
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(picture: &[&str]) -> Vec<Vec<Pixel>> {
        let rows: Vec<Vec<bool>> =
            picture.iter().map(|row| row.chars().map(|c| c == '#').collect()).collect();
        regions(rows.iter().map(Vec::as_slice))
    }

    #[test]
    fn pixels_that_touch_are_one_region() {
        let found = of(&["#..#.", ".#.#.", "...#.", "##.##"]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], [(0, 0), (0, 0), (1, 1), (1, 1)]);
        assert_eq!(found[1].last(), Some(&(4, 3)));
        assert_eq!(found[2], [(0, 3), (1, 3)]);
        // Two arms that join below, and a ring.
        assert_eq!(of(&["#...#", "#...#", ".###."]).len(), 1);
        assert_eq!(of(&["###", "#.#", "###"]).len(), 1);
        assert_eq!(of(&[".....", "....."]).len(), 0);
    }

    #[test]
    fn rectangles_of_few_points() {
        assert_eq!(Rectangle::around(Vec::new()), None);
        let sides = |points: &[Pixel]| {
            let rectangle = Rectangle::around(points.to_vec()).unwrap();
            ((1e9 * rectangle.width).round() / 1e9, (1e9 * rectangle.height).round() / 1e9)
        };
        assert_eq!(sides(&[(5, 5)]), (0.0, 0.0));
        assert_eq!(sides(&[(0, 0), (3, 4), (0, 0)]), (5.0, 0.0));
        assert_eq!(sides(&[(0, 0), (6, 0), (6, 2), (0, 2), (3, 1)]), (6.0, 2.0));
    }

    /// Labels by flooding, the plain way.
    fn flooded(rows: &[Vec<bool>]) -> usize {
        let (height, width) = (rows.len() as i64, rows[0].len() as i64);
        let mut seen = vec![vec![false; width as usize]; height as usize];
        let mut count = 0;
        for y in 0..height {
            for x in 0..width {
                let mut open = vec![(x, y)];
                let mut is_new = false;
                while let Some((x, y)) = open.pop() {
                    let inside = (0..width).contains(&x) && (0..height).contains(&y);
                    if inside && rows[y as usize][x as usize] && !seen[y as usize][x as usize] {
                        seen[y as usize][x as usize] = true;
                        is_new = true;
                        open.extend(
                            (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (x + dx, y + dy))),
                        );
                    }
                }
                count += usize::from(is_new);
            }
        }
        count
    }

    proptest! {
        #[test]
        fn regions_are_those_of_flooding(rows in (1usize..12).prop_flat_map(|width| {
            proptest::collection::vec(proptest::collection::vec(any::<bool>(), width), 1..12)
        })) {
            let found = regions(rows.iter().map(Vec::as_slice));
            prop_assert_eq!(found.len(), flooded(&rows));
        }

        #[test]
        fn rectangles_hold_their_points(points in proptest::collection::vec((0i64..500, 0i64..500), 1..40)) {
            let rectangle = Rectangle::around(points.clone()).unwrap();
            let corners = rectangle.corners();
            for (x, y) in points {
                for i in 0..4 {
                    let (a, b) = (corners[i], corners[(i + 1) % 4]);
                    let side = (b.0 - a.0) * (y as f64 - a.1) - (b.1 - a.1) * (x as f64 - a.0);
                    prop_assert!(side >= -1e-6 * 500.0 * 500.0, "{side}");
                }
            }
        }
    }
}
