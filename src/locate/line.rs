//! The line that a text runs along.

/// A parabola through the middles of characters: level, slanted, or curved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    /// Where `x` is 0 in the polynomial.
    origin: f32,
    /// `y = c0 + c1 x + c2 x^2`.
    coefficients: [f32; 3],
}

/// The least rise of a slanted line from the first character to the last, in half heights of the
/// text: attention to level text rises by up to 1 where ascenders follow descenders.
const MIN_RISE: f32 = 1.2;

/// The least sagitta of a curved line, in half heights of the text; of level text it is up to 0.5.
const MIN_SAGITTA: f32 = 0.7;

impl Line {
    /// The least-squares line through the middles of the characters, for text of a given half
    /// height: level unless the middles clearly lie on a slant or on a curve.
    pub(super) fn new(middles: &[(f32, f32)], half_height: f32) -> Self {
        let count = middles.len().max(1) as f32;
        let origin = middles.iter().map(|m| m.0).sum::<f32>() / count;
        let level = middles.iter().map(|m| m.1).sum::<f32>() / count;
        let reach = middles.iter().map(|m| (m.0 - origin).abs()).fold(0.0, f32::max);
        let fit = |terms: usize| least_squares(middles, origin, terms);
        let curved = fit(3).filter(|[_, _, c2]| {
            middles.len() >= 4 && (c2 * reach * reach).abs() > MIN_SAGITTA * half_height
        });
        let slanted =
            || fit(2).filter(|[_, c1, _]| (2.0 * c1 * reach).abs() > MIN_RISE * half_height);
        let coefficients = curved.or_else(slanted).unwrap_or([level, 0.0, 0.0]);
        Line { origin, coefficients }
    }

    /// The point of the line at `x`.
    pub(super) fn at(&self, x: f32) -> (f32, f32) {
        let [c0, c1, c2] = self.coefficients;
        let r = x - self.origin;
        (x, c0 + r * (c1 + r * c2))
    }

    /// The direction of the line at `x`, a unit vector to the right.
    pub(super) fn direction(&self, x: f32) -> (f32, f32) {
        let [_, c1, c2] = self.coefficients;
        let slope = c1 + 2.0 * c2 * (x - self.origin);
        let length = slope.hypot(1.0);
        (1.0 / length, slope / length)
    }

    /// True if the line is level everywhere.
    pub(super) fn is_level(&self) -> bool {
        self.coefficients[1] == 0.0 && self.coefficients[2] == 0.0
    }

    /// The place of a point: `x` of the nearest point of the line, and the distance from the line,
    /// positive below it.
    pub(super) fn place(&self, point: (f32, f32)) -> (f32, f32) {
        if self.is_level() {
            return (point.0, point.1 - self.coefficients[0]);
        }
        // Newton's steps along the tangent.
        let mut x = point.0;
        for _ in 0..3 {
            let (on, direction) = (self.at(x), self.direction(x));
            let along = (point.0 - on.0) * direction.0 + (point.1 - on.1) * direction.1;
            x += 0.8 * along * direction.0;
        }
        let (on, (dx, dy)) = (self.at(x), self.direction(x));
        (x, (point.1 - on.1) * dx - (point.0 - on.0) * dy)
    }
}

/// The coefficients of the polynomial with `terms` terms that fits best; `None` if the points do
/// not tell them.
fn least_squares(points: &[(f32, f32)], origin: f32, terms: usize) -> Option<[f32; 3]> {
    let mut rows = [[0.0f64; 4]; 3];
    for &(x, y) in points {
        let x = f64::from(x - origin);
        let powers = [1.0, x, x * x];
        for i in 0..terms {
            for j in 0..terms {
                rows[i][j] += powers[i] * powers[j];
            }
            rows[i][3] += powers[i] * f64::from(y);
        }
    }
    // Gaussian elimination: the matrix is positive definite.
    for i in 0..terms {
        let pivot = rows[i];
        if pivot[i] <= 1e-9 {
            return None;
        }
        for (j, row) in rows.iter_mut().enumerate().take(terms) {
            if j != i {
                let factor = row[i] / pivot[i];
                row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    let mut coefficients = [0.0; 3];
    for i in 0..terms {
        coefficients[i] = (rows[i][3] / rows[i][i]) as f32;
    }
    Some(coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees() {
        let level = Line::new(&[(0.0, 5.0), (10.0, 6.0), (20.0, 5.0), (30.0, 6.0)], 8.0);
        assert!(level.is_level());
        assert_eq!(level.at(7.0), (7.0, 5.5));
        let slanted = Line::new(&[(0.0, 0.0), (10.0, 5.0), (20.0, 10.0)], 8.0);
        assert!((slanted.at(30.0).1 - 15.0).abs() < 1e-4);
        let curve = |x: f32| (x, x * x / 40.0);
        let points: Vec<_> = (-4..=4).map(|i| curve(10.0 * i as f32)).collect();
        let curved = Line::new(&points, 8.0);
        assert!((curved.at(25.0).1 - curve(25.0).1).abs() < 1e-3);
        assert!(Line::new(&[], 1.0).is_level() && Line::new(&[(3.0, 4.0)], 1.0).is_level());
        // One above the other: no line runs through them.
        assert!(Line::new(&[(3.0, 4.0), (3.0, 90.0)], 1.0).is_level());
    }

    #[test]
    fn places() {
        let points: Vec<_> = (-4..=4).map(|i| (10.0 * i as f32, (i * i) as f32)).collect();
        let line = Line::new(&points, 4.0);
        for x in [-35.0, -3.0, 0.0, 22.0] {
            for distance in [-8.0, 0.0, 8.0] {
                let (on, (dx, dy)) = (line.at(x), line.direction(x));
                let found = line.place((on.0 - distance * dy, on.1 + distance * dx));
                assert!((found.0 - x).abs() < 0.3, "{x}, {distance}: {found:?}");
                assert!((found.1 - distance).abs() < 0.1, "{x}, {distance}: {found:?}");
            }
        }
    }
}
