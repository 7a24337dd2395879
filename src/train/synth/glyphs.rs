//! Outlines of a line of text, warped and drawn.

use ab_glyph::{Font, FontVec, OutlineCurve, Point, point};
use ab_glyph_rasterizer::{Rasterizer, point as raster_point};
use rand::{Rng, RngExt};

use super::SynthOptions;

/// A line of text: the outline of every character on a straight baseline, y downwards from it.
pub(super) struct Line {
    glyphs: Vec<Outline>,
    width: f32,
    /// From the baseline up and down, in pixels.
    ascent: f32,
    descent: f32,
}

/// The curves of a character; a space has none.
pub(super) struct Outline(Vec<OutlineCurve>);

impl Outline {
    fn map(&self, map: impl Fn(Point) -> Point) -> Outline {
        let curve = |curve: &OutlineCurve| match curve {
            OutlineCurve::Line(a, b) => OutlineCurve::Line(map(*a), map(*b)),
            OutlineCurve::Quad(a, b, c) => OutlineCurve::Quad(map(*a), map(*b), map(*c)),
            OutlineCurve::Cubic(a, b, c, d) => {
                OutlineCurve::Cubic(map(*a), map(*b), map(*c), map(*d))
            }
        };
        Outline(self.0.iter().map(curve).collect())
    }

    fn points(&self) -> impl Iterator<Item = Point> {
        self.0.iter().flat_map(|curve| match *curve {
            OutlineCurve::Line(a, b) => [a, b, b, b],
            OutlineCurve::Quad(a, b, c) => {
                // The curve's own middle: its control point may lie far outside.
                let middle = point((a.x + 2.0 * b.x + c.x) / 4.0, (a.y + 2.0 * b.y + c.y) / 4.0);
                [a, middle, c, c]
            }
            OutlineCurve::Cubic(a, b, c, d) => {
                let middle = point(
                    (a.x + 3.0 * (b.x + c.x) + d.x) / 8.0,
                    (a.y + 3.0 * (b.y + c.y) + d.y) / 8.0,
                );
                [a, middle, d, d]
            }
        })
    }

    /// Left, top, right and bottom; `None` of a space.
    pub(super) fn bounds(&self) -> Option<[f32; 4]> {
        let mut points = self.points();
        let first = points.next()?;
        let start = [first.x, first.y, first.x, first.y];
        Some(points.fold(start, |[x0, y0, x1, y1], p| {
            [x0.min(p.x), y0.min(p.y), x1.max(p.x), y1.max(p.y)]
        }))
    }
}

/// The bounds of all; `None` if there is nothing to see.
pub(super) fn bounds(outlines: &[Outline]) -> Option<[f32; 4]> {
    outlines
        .iter()
        .filter_map(Outline::bounds)
        .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])
}

impl Line {
    /// `None` if the font lacks a character.
    pub(super) fn new(font: &FontVec, text: &str, size: f32, spacing: f32) -> Option<Self> {
        let factor = size / font.height_unscaled();
        if !factor.is_finite() || text.is_empty() {
            return None;
        }
        let mut glyphs = Vec::new();
        let (mut x, mut before) = (0.0, None);
        for character in text.chars() {
            let id = font.glyph_id(character);
            if id.0 == 0 {
                return None;
            }
            if let Some(before) = before {
                x += font.kern_unscaled(before, id) * factor + spacing;
            }
            let outline = match font.outline(id) {
                Some(outline) => Outline(outline.curves),
                None if character.is_whitespace() => Outline(Vec::new()),
                None => return None,
            };
            glyphs.push(outline.map(|p| point(x + p.x * factor, -p.y * factor)));
            x += font.h_advance_unscaled(id) * factor;
            before = Some(id);
        }
        let ascent = font.ascent_unscaled() * factor;
        let descent = -font.descent_unscaled() * factor;
        Some(Line { glyphs, width: x.max(1.0), ascent, descent })
    }

    pub(super) fn width(&self) -> f32 {
        self.width
    }

    /// From the lowest to the highest that the font's letters reach.
    pub(super) fn height(&self) -> f32 {
        self.ascent + self.descent
    }

    /// Makes the letters wider by a factor.
    pub(super) fn stretch(&mut self, factor: f32) {
        self.width *= factor;
        for glyph in &mut self.glyphs {
            *glyph = glyph.map(|p| point(p.x * factor, p.y));
        }
    }

    /// Turns, shifts and scales every letter a little around its middle; `size` is the font's, or
    /// less for less of it.
    pub(super) fn jitter(&mut self, size: f32, rng: &mut impl Rng) {
        let strength = (size / self.height().max(1.0)).min(1.0);
        for glyph in &mut self.glyphs {
            let mut within = |most: f32| strength * most * rng.random_range(-1.0f32..=1.0);
            let (sin, cos) = within(0.2).sin_cos();
            let (scale, lift) = (1.0 + within(0.15), within(0.1) * size);
            let Some([x0, y0, x1, y1]) = glyph.bounds() else {
                continue;
            };
            let (cx, cy) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0);
            *glyph = glyph.map(|p| {
                let (x, y) = ((p.x - cx) * scale, (p.y - cy) * scale);
                point(cx + x * cos - y * sin, cy + lift + x * sin + y * cos)
            });
        }
    }

    pub(super) fn shifted(&self, dx: f32, dy: f32) -> Line {
        let glyphs = self.glyphs.iter().map(|g| g.map(|p| point(p.x + dx, p.y + dy))).collect();
        Line { glyphs, ..*self }
    }

    pub(super) fn warped(&self, warp: &Warp) -> Vec<Outline> {
        self.glyphs.iter().map(|glyph| glyph.map(|p| warp.apply(p))).collect()
    }
}

/// Where the points of a straight line of text go.
pub(super) struct Warp {
    centre: Point,
    /// The arc's curvature, in radians a pixel; 0 is straight.
    curvature: f32,
    shear: f32,
    /// Sine and cosine of the rotation.
    rotation: (f32, f32),
    /// How the scale changes along x and y, a pixel.
    perspective: (f32, f32),
    /// A wave's height, its radians a pixel, and where it begins.
    wave: (f32, f32, f32),
}

impl Warp {
    pub(super) fn draw(line: &Line, options: &SynthOptions, rng: &mut impl Rng) -> Self {
        let mut within = |most: f32| most * rng.random_range(-1.0f32..=1.0);
        let angle = within(options.rotation).to_radians();
        let shear = within(options.shear);
        let height = (line.ascent + line.descent).max(1.0);
        let perspective = (
            within(options.perspective) / line.width,
            within(options.perspective) / line.width.max(height),
        );
        let arc = within(options.arc).to_radians();
        // An arc's inner radius stays outside the letters.
        let tightest = 1.0 / (1.2 * height);
        let curvature = (arc / line.width).clamp(-tightest, tightest);
        Warp {
            centre: point(line.width / 2.0, (line.descent - line.ascent) / 2.0),
            curvature: if rng.random_bool(options.curved.into()) { curvature } else { 0.0 },
            shear,
            rotation: angle.sin_cos(),
            perspective,
            wave: (0.0, 0.0, 0.0),
        }
    }

    /// Puts the text on a wave.
    pub(super) fn wave(&mut self, size: f32, rng: &mut impl Rng) {
        let length = size * rng.random_range(2.0..8.0);
        let height = (0.04 * length).min(0.2 * size) * rng.random_range(0.3..1.0);
        let start = rng.random_range(0.0..std::f32::consts::TAU);
        self.wave = (height, std::f32::consts::TAU / length, start);
    }

    fn apply(&self, p: Point) -> Point {
        let (x, y) = (p.x - self.centre.x, p.y - self.centre.y);
        let (height, pace, start) = self.wave;
        let y = if height > 0.0 { y + height * (pace * x + start).sin() } else { y };
        let x = x - self.shear * y;
        let (x, y) = if self.curvature.abs() < 1e-6 {
            (x, y)
        } else {
            let radius = 1.0 / self.curvature;
            let (sin, cos) = (x * self.curvature).sin_cos();
            ((radius - y) * sin, radius - (radius - y) * cos)
        };
        let (sin, cos) = self.rotation;
        let (x, y) = (x * cos - y * sin, x * sin + y * cos);
        let depth = (1.0 + self.perspective.0 * x + self.perspective.1 * y).max(0.2);
        point(x / depth, y / depth)
    }
}

/// How much of a pixel is covered, 0..=1, row after row.
pub(super) struct Mask {
    pub width: usize,
    pub height: usize,
    pub coverage: Vec<f32>,
}

/// Draws outlines; `origin` goes to the top left corner.
pub(super) fn raster(outlines: &[Outline], origin: (f32, f32), width: u32, height: u32) -> Mask {
    let (width, height) = (width as usize, height as usize);
    let mut coverage = vec![0.0f32; width * height];
    let mut rasterizer = Rasterizer::new(width, height);
    let at = |p: Point| raster_point(p.x - origin.0, p.y - origin.1);
    // One by one: where characters overlap, neither hides the other.
    for outline in outlines {
        let Some([left, top, right, bottom]) = outline.bounds() else {
            continue;
        };
        let (wide, high) = (width as f32, height as f32);
        if right < origin.0 || bottom < origin.1 || left > origin.0 + wide || top > origin.1 + high
        {
            continue;
        }
        // The rasteriser draws inside its canvas only; what a margin below 0 cuts is left out.
        let inside = left >= origin.0
            && top >= origin.1
            && right <= origin.0 + width as f32
            && bottom <= origin.1 + height as f32;
        if inside {
            rasterizer.clear();
            draw(&mut rasterizer, outline, at);
            rasterizer.for_each_pixel(|index, value| {
                coverage[index] = coverage[index].max(value.min(1.0));
            });
        } else {
            let pad = 2.0 + (origin.0 - left).max(origin.1 - top).max(0.0).ceil();
            let far = (right - origin.0 - width as f32).max(bottom - origin.1 - height as f32);
            let around = pad as usize + far.max(0.0).ceil() as usize + 2;
            let (wide, high) = (width + pad as usize + around, height + pad as usize + around);
            let mut larger = Rasterizer::new(wide, high);
            draw(&mut larger, outline, |p| {
                raster_point(p.x - origin.0 + pad, p.y - origin.1 + pad)
            });
            larger.for_each_pixel_2d(|x, y, value| {
                let (x, y) = (x as usize, y as usize);
                let pad = pad as usize;
                if (pad..pad + width).contains(&x) && (pad..pad + height).contains(&y) {
                    let index = (y - pad) * width + x - pad;
                    coverage[index] = coverage[index].max(value.min(1.0));
                }
            });
        }
    }
    Mask { width, height, coverage }
}

fn draw(
    rasterizer: &mut Rasterizer,
    outline: &Outline,
    at: impl Fn(Point) -> ab_glyph_rasterizer::Point,
) {
    for curve in &outline.0 {
        match *curve {
            OutlineCurve::Line(a, b) => rasterizer.draw_line(at(a), at(b)),
            OutlineCurve::Quad(a, b, c) => rasterizer.draw_quad(at(a), at(b), at(c)),
            OutlineCurve::Cubic(a, b, c, d) => {
                rasterizer.draw_cubic(at(a), at(b), at(c), at(d));
            }
        }
    }
}
