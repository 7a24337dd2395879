//! A cell for each character along the line of text, and the ink inside.

use super::ink::Dot;
use super::line::Line;
use super::{Place, Point, Quad, Rect};

/// A connected piece of ink belongs to one cell as a whole if this share of it lies there;
/// otherwise characters touch each other, and the boundary cuts it.
const WHOLE: f32 = 0.7;

/// How far ink may lie from the line of text, in half heights: ascenders and descenders do.
const REACH: f32 = 1.6;

/// The part of the gap between two middles, from either side, in which no boundary lies.
const INNER: f32 = 0.2;

/// Less ink than this, in squared half heights, is no character: a space, or a speck in its place.
const MIN_INK: f32 = 0.01;

/// What a boundary at a middle costs, against one halfway between two: as much ink as this share of
/// the blackest place.
const OFF_CENTER: f32 = 0.25;

/// The widest gap inside a character, in pitches: between the strokes of a quotation mark.
const MAX_GAP: f32 = 0.3;

/// The characters of a line of text, and where one may give way to the next.
pub(super) struct Cells {
    line: Line,
    /// Of the characters' middles, along the line; they ascend.
    middles: Vec<f32>,
    /// The median distance of middles.
    pitch: f32,
    half_height: f32,
    /// Width and height of the crop.
    size: (f32, f32),
    /// Width and height of a pixel of the resized crop.
    pixel: (f32, f32),
}

/// Ink of a cell, with its place along the line.
type Placed<'a> = (f32, &'a Dot);

impl Cells {
    pub(super) fn new(
        line: Line,
        middles: &[(f32, f32)],
        half_height: f32,
        size: (f32, f32),
        pixel: (f32, f32),
    ) -> Self {
        let mut along: Vec<f32> = middles.iter().map(|&middle| line.place(middle).0).collect();
        // Attention may step back a little; characters do not.
        for i in 1..along.len() {
            along[i] = along[i].max(along[i - 1]);
        }
        let mut gaps: Vec<f32> = along.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_by(f32::total_cmp);
        // A character alone may be as wide as the crop.
        let pitch = gaps.get(gaps.len() / 2).copied().unwrap_or(size.0).max(size.0 / 256.0);
        Cells { line, middles: along, pitch, half_height, size, pixel }
    }

    /// Where the characters lie, by the ink with its connected components.
    pub(super) fn places(&self, ink: &[Dot], components: usize) -> Vec<Place> {
        let reach = REACH * self.half_height;
        let near: Vec<Placed> = ink
            .iter()
            .filter_map(|dot| {
                let (along, across) = self.line.place((dot.x, dot.y));
                (across.abs() <= reach).then_some((along, dot))
            })
            .collect();
        let boundaries = self.boundaries(&near);
        self.assigned(&near, components, &boundaries)
            .into_iter()
            .enumerate()
            .map(|(i, ink)| self.around(ink, i).unwrap_or_else(|| self.without_ink(i, &boundaries)))
            .collect()
    }

    /// The ink of every cell.
    fn assigned<'a>(
        &self,
        dots: &[Placed<'a>],
        components: usize,
        boundaries: &[f32],
    ) -> Vec<Vec<Placed<'a>>> {
        let cells = self.middles.len();
        let cell = |along: f32| boundaries.partition_point(|&boundary| boundary <= along);
        // How much of every component lies in every cell that it touches.
        let mut shares: Vec<Vec<(usize, f32)>> = vec![Vec::new(); components];
        for &(along, dot) in dots {
            let (cell, shares) = (cell(along), &mut shares[dot.component]);
            match shares.iter_mut().find(|share| share.0 == cell) {
                Some(share) => share.1 += dot.coverage,
                None => shares.push((cell, dot.coverage)),
            }
        }
        let whole: Vec<Option<usize>> = shares
            .iter()
            .map(|shares| {
                let total: f32 = shares.iter().map(|share| share.1).sum();
                let most = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
                (most.1 >= WHOLE * total).then_some(most.0)
            })
            .collect();
        let mut of_cell: Vec<Vec<Placed>> = vec![Vec::new(); cells];
        for &(along, dot) in dots {
            of_cell[whole[dot.component].unwrap_or_else(|| cell(along))].push((along, dot));
        }
        of_cell
    }

    /// Between every two neighbours: where the least ink lies, and of equal places the nearest to
    /// the point halfway.
    fn boundaries(&self, dots: &[Placed]) -> Vec<f32> {
        let bin = self.pixel.0;
        let bins = (self.size.0 / bin) as usize + 1;
        let mut profile = vec![0.0f32; bins];
        for (along, dot) in dots {
            let at = (along / bin) as usize;
            if let Some(sum) = profile.get_mut(at.min(bins - 1)) {
                *sum += dot.coverage;
            }
        }
        // Pixels of slanted text fall unevenly into the bins.
        let smooth = |at: usize| {
            let value =
                |at: Option<usize>| at.and_then(|at| profile.get(at)).copied().unwrap_or(0.0);
            (value(at.checked_sub(1)) + 2.0 * value(Some(at)) + value(Some(at + 1))) / 4.0
        };
        let profile: Vec<f32> = (0..bins).map(smooth).collect();
        let most = profile.iter().copied().fold(0.0, f32::max).max(1.0);
        self.middles
            .windows(2)
            .map(|pair| {
                let (left, right) = (pair[0], pair[1]);
                let (half, gap) = ((left + right) / 2.0, right - left);
                let range = |share: f32| ((left + share * gap) / bin).max(0.0) as usize;
                let (first, last) = (range(INNER), range(1.0 - INNER));
                let cost = |at: usize| {
                    let off = ((at as f32 + 0.5) * bin - half).abs() / (gap / 2.0).max(bin);
                    profile.get(at).copied().unwrap_or(0.0) / most + OFF_CENTER * off
                };
                let best = (first..=last).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
                best.map_or(half, |at| ((at as f32 + 0.5) * bin).clamp(left, right))
            })
            .collect()
    }

    /// The box of the ink in a cell that hangs together with the character's middle; `None` if
    /// there is hardly any.
    fn around(&self, mut dots: Vec<Placed>, index: usize) -> Option<Place> {
        let (middle, pixel) = (self.middles[index], self.pixel);
        dots.sort_by(|a, b| a.0.total_cmp(&b.0));
        let widest = (MAX_GAP * self.pitch).max(2.0 * pixel.0);
        let near = dots.partition_point(|dot| dot.0 < middle);
        let (mut start, mut end) = (near, near);
        let mut edge = middle;
        while start > 0 && edge - dots[start - 1].0 <= widest {
            start -= 1;
            edge = dots[start].0;
        }
        edge = middle;
        while end < dots.len() && dots[end].0 - edge <= widest {
            edge = dots[end].0;
            end += 1;
        }
        let dots = &dots[start..end];
        let total: f32 = dots.iter().map(|(_, dot)| dot.coverage).sum();
        if total * pixel.0 * pixel.1 < MIN_INK * self.half_height * self.half_height {
            return None;
        }
        let (_, first) = dots.first()?;
        let mut bounds = Rect::new(first.x, first.y, first.x, first.y);
        let half = (pixel.0 / 2.0, pixel.1 / 2.0);
        for (_, dot) in dots {
            bounds.x0 = bounds.x0.min(dot.x - half.0);
            bounds.y0 = bounds.y0.min(dot.y - half.1);
            bounds.x1 = bounds.x1.max(dot.x + half.0);
            bounds.y1 = bounds.y1.max(dot.y + half.1);
        }
        if self.line.is_level() {
            return Some(Place { bounds, quad: bounds.into() });
        }
        // The same along the line: the frame of axes at the character's middle.
        let (on, (dx, dy)) = (self.line.at(middle), self.line.direction(middle));
        let (mut along, mut across) =
            ((f32::INFINITY, f32::NEG_INFINITY), (f32::INFINITY, f32::NEG_INFINITY));
        // Half a pixel in either direction.
        let half = (
            (pixel.0 * dx.abs()).max(pixel.1 * dy.abs()) / 2.0,
            (pixel.1 * dx.abs()).max(pixel.0 * dy.abs()) / 2.0,
        );
        for (_, dot) in dots {
            let (x, y) = (dot.x - on.0, dot.y - on.1);
            let (u, v) = (x * dx + y * dy, y * dx - x * dy);
            along = (along.0.min(u - half.0), along.1.max(u + half.0));
            across = (across.0.min(v - half.1), across.1.max(v + half.1));
        }
        let corner = |u: f32, v: f32| Point::new(on.0 + u * dx - v * dy, on.1 + u * dy + v * dx);
        let quad = Quad([
            corner(along.0, across.0),
            corner(along.1, across.0),
            corner(along.1, across.1),
            corner(along.0, across.1),
        ]);
        Some(Place { bounds, quad })
    }

    /// A character without ink, such as a space: from boundary to boundary, as high as the line.
    fn without_ink(&self, index: usize, boundaries: &[f32]) -> Place {
        let middle = self.middles[index];
        let before = index.checked_sub(1).map(|i| middle - boundaries[i]);
        let behind = boundaries.get(index).map(|boundary| boundary - middle);
        let half = self.pitch / 2.0;
        let left = before.or(behind).unwrap_or(half).min(1.5 * half);
        let right = behind.or(before).unwrap_or(half).min(1.5 * half);
        let (on, (dx, dy)) = (self.line.at(middle), self.line.direction(middle));
        let (width, height) = self.size;
        let corner = |u: f32, v: f32| {
            let (x, y) = (on.0 + u * dx - v * dy, on.1 + u * dy + v * dx);
            Point::new(x.clamp(0.0, width), y.clamp(0.0, height))
        };
        let (up, down) = (-self.half_height, self.half_height);
        let quad =
            Quad([corner(-left, up), corner(right, up), corner(right, down), corner(-left, down)]);
        Place { bounds: quad.bounding_rect(), quad }
    }
}
