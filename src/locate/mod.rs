//! The boxes of the characters of a text: from the network's attention and the ink of the crop.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crop::Rotation;
    use crate::ops::MAP_WIDTH;
    use crate::resize::TargetSize;

    const ROWS: usize = 4;

    fn crop(width: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> ResizedCrop {
        let size = TargetSize { height: 32, width };
        let rgb = (0..32).flat_map(|y| (0..width).map(move |x| (x, y)));
        let rgb = rgb.flat_map(|(x, y)| pixel(x, y)).collect();
        ResizedCrop {
            size,
            rgb,
            rotation: Rotation::None,
            source_size: (2 * width, 32),
            offset: (0, 0),
        }
    }

    /// Every frame attends to its own column, in the two middle rows.
    fn attention(frames: usize) -> Attention {
        let mut weights = vec![0.0; frames * ROWS * MAP_WIDTH];
        for frame in 0..frames {
            for row in [1, 2] {
                weights[(frame * ROWS + row) * MAP_WIDTH + MAP_WIDTH / 2] = 0.5;
            }
        }
        Attention::new(frames, ROWS, weights)
    }

    /// Three bars of different widths, 8..24 rows high.
    const BARS: [(u32, u32); 3] = [(4, 10), (26, 34), (45, 61)];

    #[test]
    fn bars_in_any_colours() {
        let frames = [1..2, 7..8, 13..14];
        for (name, background, text) in [
            ("dark on light", [250; 3], [10; 3]),
            ("light on dark", [10; 3], [250; 3]),
            ("green on red of equal brightness", [200, 40, 40], [40, 112, 40]),
            ("faint", [120; 3], [140; 3]),
        ] {
            let bar = |x, y| (8..24).contains(&y) && BARS.iter().any(|b| (b.0..b.1).contains(&x));
            let crop = crop(64, |x, y| if bar(x, y) { text } else { background });
            let places = locate(&frames, &attention(16), &crop, (128.0, 32.0));
            for (place, bar) in places.iter().zip(BARS) {
                let (left, right) = (2.0 * bar.0 as f32, 2.0 * bar.1 as f32);
                assert_eq!(place.bounds, Rect::new(left, 8.0, right, 24.0), "{name}");
                assert_eq!(place.quad, place.bounds.into(), "{name}");
            }
        }
    }

    #[test]
    fn a_space_has_a_box_between_its_neighbours() {
        let frames = [1..2, 7..8, 13..14];
        let bar = |x| (4..10).contains(&x) || (45..61).contains(&x);
        let crop = crop(64, |x, y| if bar(x) && (8..24).contains(&y) { [0; 3] } else { [255; 3] });
        let places = locate(&frames, &attention(16), &crop, (128.0, 32.0));
        let space = places[1].bounds;
        assert!(space.x0 >= 20.0 && space.x1 <= 90.0 && space.width() > 10.0, "{space:?}");
    }

    proptest! {
        #[test]
        fn boxes_are_finite_and_inside(
            pixels in prop::collection::vec(any::<[u8; 3]>(), 8),
            weights in prop::collection::vec(0.0f32..1.0, 16 * ROWS * MAP_WIDTH),
            starts in prop::collection::vec(0usize..16, 0..9),
            plain: bool,
        ) {
            let mut starts = starts;
            starts.sort_unstable();
            let frames: Vec<_> = starts.iter().map(|&start| start..start + 1).collect();
            let hash = |x: u32, y: u32| (x * 31 + y * 17 + x * y) as usize % 8;
            let crop = crop(64, |x, y| pixels[if plain { 0 } else { hash(x, y) }]);
            let attention = Attention::new(16, ROWS, weights);
            let places = locate(&frames, &attention, &crop, (90.0, 20.0));
            prop_assert_eq!(places.len(), frames.len());
            for Place { bounds, quad } in places {
                prop_assert!(bounds.x0 >= -0.01 && bounds.y0 >= -0.01, "{bounds:?}");
                prop_assert!(bounds.x1 <= 90.01 && bounds.y1 <= 20.01, "{bounds:?}");
                prop_assert!(bounds.width() >= 0.0 && bounds.height() >= 0.0, "{bounds:?}");
                prop_assert!(quad.0.iter().all(|corner| corner.is_finite()), "{quad:?}");
            }
        }
    }
}
