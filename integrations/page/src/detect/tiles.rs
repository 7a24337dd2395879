//! Large maps are made of tiles that overlap; each pixel comes from the tile whose edges are farther.

use super::plan::STEP;

/// By how much neighbouring tiles overlap at least, in pixels of the map.
const OVERLAP: u32 = 256;

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// What the network sees; sides are multiples of [`STEP`].
    pub(super) area: Area,
    /// What is taken of its output. These parts of all tiles are the map.
    pub(super) own: Area,
}

/// The tiles of a map of `width` x `height`, both multiples of [`STEP`], of at most `most` pixels each.
pub(super) fn cut(width: u32, height: u32, most: u32) -> Vec<Tile> {
    let side = (most.isqrt() / STEP * STEP).max(2 * OVERLAP);
    // Whole columns or rows where they fit.
    let (tile_width, tile_height) = if u64::from(width) * u64::from(height) <= u64::from(most) {
        (width, height)
    } else if width <= side {
        (width, (most / width / STEP * STEP).max(side))
    } else if height <= side {
        ((most / height / STEP * STEP).max(side), height)
    } else {
        (side, side)
    };
    let mut tiles = Vec::new();
    for (y, down, own_y, own_down) in spans(height, tile_height) {
        for (x, across, own_x, own_across) in spans(width, tile_width) {
            tiles.push(Tile {
                area: Area { x, y, width: across, height: down },
                own: Area { x: own_x, y: own_y, width: own_across, height: own_down },
            });
        }
    }
    tiles
}

/// Spans of at most `tile` that cover `length`: start and length, and start and length of what is its own.
fn spans(length: u32, tile: u32) -> Vec<(u32, u32, u32, u32)> {
    if length <= tile {
        return vec![(0, length, 0, length)];
    }
    let count = (length - OVERLAP).div_ceil(tile - OVERLAP);
    let room = u64::from((length - tile) / STEP);
    let start = |index: u32| (room * u64::from(index)).div_ceil(u64::from(count - 1)) as u32 * STEP;
    // Halfway between a span's end and the next one's start.
    let border = |index: u32| match index {
        0 => 0,
        _ if index == count => length,
        _ => (start(index) + start(index - 1) + tile) / 2,
    };
    let span = |index| (start(index), tile, border(index), border(index + 1) - border(index));
    (0..count).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tiles_cover_the_map_once(columns in 1u32..400, rows in 1u32..400, most in 262_144u32..5_000_000) {
            let (width, height) = (columns * STEP, rows * STEP);
            let mut pixels = 0u64;
            for Tile { area, own } in cut(width, height, most) {
                prop_assert!(area.width * area.height <= most.max(1 << 18));
                prop_assert!(area.x + area.width <= width && area.y + area.height <= height);
                prop_assert!(area.x <= own.x && own.x + own.width <= area.x + area.width);
                prop_assert!(area.y <= own.y && own.y + own.height <= area.y + area.height);
                // Away from the map's own edges a tile's edge is far.
                prop_assert!(own.x == 0 || own.x - area.x >= OVERLAP / 2 - STEP);
                prop_assert!(own.y == 0 || own.y - area.y >= OVERLAP / 2 - STEP);
                pixels += u64::from(own.width) * u64::from(own.height);
            }
            prop_assert_eq!(pixels, u64::from(width) * u64::from(height));
        }
    }
}
