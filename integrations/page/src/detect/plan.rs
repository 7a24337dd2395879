//! The size at which the network sees a page.

use super::options::{DetectorOptions, Scale};

/// The network halves its input five times.
pub(super) const STEP: u32 = 32;

/// A page that is wider or higher than this many times its other side gets black margins: enlarged to the
/// shorter side's least length, its letters would be larger than any that the network knows.
const MAX_WIDE: f64 = 8.0;
const MAX_TALL: f64 = 16.0;
/// The same for pages of few pixels.
const MIN_LENGTH: f64 = 30.0;

/// Where the page lies in the network's map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    /// The map's width, a multiple of [`STEP`].
    pub(super) width: u32,
    /// The map's height, a multiple of [`STEP`].
    pub(super) height: u32,
    /// The part of the map that shows the page: left, upper, width, height.
    pub(super) image: [u32; 4],
    /// The page's width and height in pixels.
    pub(super) page: [u32; 2],
    /// Whether the page keeps its own pixels. The map may then reach beyond it.
    pub(super) own_pixels: bool,
}

impl Plan {
    pub(super) fn new(width: u32, height: u32, options: &DetectorOptions) -> Self {
        let (w, h) = (f64::from(width), f64::from(height));
        let least = f64::from(options.min_side);
        let most = f64::from(options.max_side);
        // The canvas: the page with its margins.
        let mut canvas = (w, h);
        if h <= MIN_LENGTH || w > MAX_WIDE * h {
            canvas.1 = 2.0 * (w / MAX_WIDE).max(MIN_LENGTH);
        }
        if w <= MIN_LENGTH || h > MAX_TALL * w {
            canvas.0 = 2.0 * (h / MAX_TALL).max(MIN_LENGTH);
        }
        let (short, long) = (canvas.0.min(canvas.1), canvas.0.max(canvas.1));
        let mut scale = (least / short).max(1.0);
        if long > most && options.scale == Scale::Fit {
            scale = (most / long).max(least / short);
        }
        let own_pixels = scale == 1.0 && options.scale == Scale::Own && canvas == (w, h);
        if own_pixels {
            let up = |length: u32| length.next_multiple_of(STEP);
            let image = [0, 0, width, height];
            let page = [width, height];
            return Plan { width: up(width), height: up(height), image, page, own_pixels };
        }
        let step = f64::from(STEP);
        let length = |side: f64| ((side * scale).floor() / step).round_ties_even().max(1.0) * step;
        let map = (length(canvas.0), length(canvas.1));
        // The share of the canvas that is the page.
        let inside = |map: f64, page: f64, canvas: f64| {
            let length = (map * page / canvas).round().clamp(1.0, map);
            (((map - length) / 2.0).floor() as u32, length as u32)
        };
        let (left, image_width) = inside(map.0, w, canvas.0);
        let (upper, image_height) = inside(map.1, h, canvas.1);
        Plan {
            width: map.0 as u32,
            height: map.1 as u32,
            image: [left, upper, image_width, image_height],
            page: [width, height],
            own_pixels,
        }
    }

    /// From a place in the map to one in the page.
    pub(super) fn to_page(self, x: f32, y: f32) -> (f32, f32) {
        let [left, upper, width, height] = self.image.map(|value| value as f32);
        let [page_width, page_height] = self.page.map(|value| value as f32);
        ((x - left) / width * page_width, (y - upper) / height * page_height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> (u32, u32) {
        let plan = Plan::new(width, height, &DetectorOptions::default());
        (plan.width, plan.height)
    }

    #[test]
    fn sizes() {
        let cases = [
            ("the shorter side is enlarged", (463, 1026), (736, 1632)),
            ("rounded to multiples of 32", (754, 1000), (768, 992)),
            ("a large page shrinks", (2480, 3508), (1408, 1984)),
            ("a long receipt does not shrink below the shorter side", (500, 5000), (736, 7360)),
            ("one pixel", (1, 1), (736, 736)),
            ("a line gets margins above and below", (800, 40), (2944, 736)),
        ];
        for (name, (width, height), expected) in cases {
            assert_eq!(size(width, height), expected, "{name}");
        }
    }

    #[test]
    fn every_size_is_bounded() {
        let lengths = [1, 2, 29, 31, 100, 735, 737, 1999, 2001, 20_000, 1 << 24];
        for width in lengths {
            for height in lengths {
                let plan = Plan::new(width, height, &DetectorOptions::default());
                let pixels = u64::from(plan.width) * u64::from(plan.height);
                assert!((1..=16_000_000).contains(&pixels), "{width}x{height}: {plan:?}");
                assert_eq!((plan.width % 32, plan.height % 32), (0, 0), "{width}x{height}");
                let [left, upper, across, down] = plan.image;
                assert!(left + across <= plan.width && upper + down <= plan.height);
                assert!(across > 0 && down > 0);
            }
        }
    }

    #[test]
    fn places_of_the_page() {
        let plan = Plan::new(1000, 1500, &DetectorOptions::default());
        let (x, y) = plan.to_page(plan.width as f32 / 2.0, plan.height as f32);
        assert!((x - 500.0).abs() < 0.01 && (y - 1500.0).abs() < 0.01);
        let own = DetectorOptions { scale: Scale::Own, ..DetectorOptions::default() };
        let plan = Plan::new(5000, 7001, &own);
        assert_eq!((plan.width, plan.height), (5024, 7008));
        assert_eq!(plan.to_page(4000.0, 6000.0), (4000.0, 6000.0));
    }
}
