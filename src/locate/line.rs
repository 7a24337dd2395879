//! The line that a text runs along.

/// A parabola through the middles of characters: level, slanted, or curved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    /// Where `x` is 0 in the polynomial.
    origin: f32,
    /// `y = c0 + c1 x + c2 x^2`.
    coefficients: [f32; 3],
}

impl Line {
    /// The straight line through the middles of characters, by least squares; `None` if they do not
    /// tell it.
    pub(super) fn slanted(middles: &[(f32, f32)]) -> Option<Self> {
        Self::polynomial(middles, 2)
    }

    /// The parabola through the middles of at least four characters, by least squares.
    pub(super) fn curved(middles: &[(f32, f32)]) -> Option<Self> {
        (middles.len() >= 4).then(|| Self::polynomial(middles, 3)).flatten()
    }

    fn polynomial(middles: &[(f32, f32)], terms: usize) -> Option<Self> {
        let origin = middles.iter().map(|m| m.0).sum::<f32>() / middles.len().max(1) as f32;
        let coefficients = least_squares(middles, origin, terms)?;
        Some(Line { origin, coefficients })
    }

    /// The same line with another slope at its origin and another bend.
    pub(super) fn bent(self, slope: f32, bend: f32) -> Self {
        let [c0, c1, c2] = self.coefficients;
        Line { coefficients: [c0, c1 + slope, c2 + bend], ..self }
    }

    /// Where the polynomial has its origin.
    pub(super) fn origin(&self) -> f32 {
        self.origin
    }

    /// How far the line rises or falls between the points `reach` left and right of its origin.
    pub(super) fn rise(&self, reach: f32) -> f32 {
        (2.0 * self.coefficients[1] * reach).abs()
    }

    /// The height of the arc between these points.
    pub(super) fn sagitta(&self, reach: f32) -> f32 {
        (self.coefficients[2] * reach * reach).abs()
    }

    /// A level line through the mean of the middles.
    pub(super) fn level(middles: &[(f32, f32)]) -> Self {
        let count = middles.len().max(1) as f32;
        let level = middles.iter().map(|m| m.1).sum::<f32>() / count;
        Line { origin: 0.0, coefficients: [level, 0.0, 0.0] }
    }

    /// The point of the line at `x`.
    pub(super) fn at(&self, x: f32) -> (f32, f32) {
        let [c0, c1, c2] = self.coefficients;
        let r = x - self.origin;
        (x, c0 + r * (c1 + r * c2))
    }

    /// How far the line falls for each pixel to the right at `x`.
    pub(super) fn slope(&self, x: f32) -> f32 {
        let [_, c1, c2] = self.coefficients;
        c1 + 2.0 * c2 * (x - self.origin)
    }

    /// The direction of the line at `x`, a unit vector to the right.
    pub(super) fn direction(&self, x: f32) -> (f32, f32) {
        let slope = self.slope(x);
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
        let level = Line::level(&[(0.0, 5.0), (10.0, 6.0), (20.0, 5.0), (30.0, 6.0)]);
        assert!(level.is_level());
        assert_eq!(level.at(7.0), (7.0, 5.5));
        let slanted = Line::slanted(&[(0.0, 0.0), (10.0, 5.0), (20.0, 10.0)]).unwrap();
        assert!((slanted.at(30.0).1 - 15.0).abs() < 1e-4);
        assert!((slanted.rise(10.0) - 10.0).abs() < 1e-4 && slanted.sagitta(10.0) == 0.0);
        let curve = |x: f32| (x, x * x / 40.0);
        let points: Vec<_> = (-4..=4).map(|i| curve(10.0 * i as f32)).collect();
        let curved = Line::curved(&points).unwrap();
        assert!((curved.at(25.0).1 - curve(25.0).1).abs() < 1e-3);
        assert!((curved.sagitta(40.0) - 40.0).abs() < 1e-2);
        assert!(Line::level(&[]).is_level());
        assert_eq!(Line::slanted(&[(3.0, 4.0)]), None);
        assert_eq!(Line::curved(&points[..3]), None);
        // One above the other: no line runs through them.
        assert_eq!(Line::slanted(&[(3.0, 4.0), (3.0, 90.0)]), None);
    }

    #[test]
    fn places() {
        let points: Vec<_> = (-4..=4).map(|i| (10.0 * i as f32, (i * i) as f32)).collect();
        let line = Line::curved(&points).unwrap();
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
