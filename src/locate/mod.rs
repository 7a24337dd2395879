//! Where the characters of a text lie: from the network's attention and the ink of the crop.
//!
//! 1. The middle of what the network attended to when it recognised a character is where the
//!    character is ([`focus`]).
//! 2. The line of text runs through these middles: level, slanted or curved ([`line`]).
//! 3. The ink between two neighbours has a valley: the boundary between them. Without ink it is
//!    halfway between their middles.
//! 4. A character extends over the ink of its cell, along the line and across it ([`ink`]).

mod cells;
mod focus;
mod ink;
mod line;

use std::ops::Range;

use crate::emissions::Attention;
use crate::geometry::{Point, Quad, Rect};
use crate::resize::ResizedCrop;
use cells::Cells;
use focus::Focus;
use ink::Ink;
use line::Line;

/// Where a character lies, in pixels of the crop after its turn, before it was resized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// Upright: around the ink.
    pub(crate) bounds: Rect,
    /// Along the line of text.
    pub(crate) quad: Quad,
}

/// Half the height of a line of text in standard deviations of the attention's rows: the mean over
/// words that were rendered with known boxes.
const HALF_HEIGHT: f32 = 1.5;

/// Where the characters of a text lie; `frames` are those of each character. `turned` is the width
/// and height of the crop after its turn.
pub(crate) fn locate(
    frames: &[Range<usize>],
    attention: &Attention,
    crop: &ResizedCrop,
    turned: (f32, f32),
) -> Vec<Place> {
    if frames.is_empty() {
        return Vec::new();
    }
    let unit =
        (turned.0 / attention.frames().max(1) as f32, turned.1 / attention.rows().max(1) as f32);
    let focuses: Vec<Focus> = frames.iter().map(|frames| Focus::new(attention, frames)).collect();
    let middles: Vec<(f32, f32)> =
        focuses.iter().map(|focus| (focus.x * unit.0, focus.y * unit.1)).collect();
    let mut deviations: Vec<f32> = focuses.iter().map(|focus| focus.deviation * unit.1).collect();
    deviations.sort_by(f32::total_cmp);
    let half_height =
        (HALF_HEIGHT * deviations[deviations.len() / 2]).clamp(turned.1 / 8.0, turned.1 / 2.0);
    let pixel =
        (turned.0 / crop.size.width.max(1) as f32, turned.1 / crop.size.height.max(1) as f32);
    let ink = Ink::new(&crop.rgb, crop.size.width as usize);
    let (dots, components) = ink.map(|ink| ink.dots(pixel)).unwrap_or_default();
    let line = Line::new(&middles, half_height);
    Cells::new(line, &middles, half_height, turned, pixel).places(&dots, components)
}
