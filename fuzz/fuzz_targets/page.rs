//! Regions of a page: any points.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2::{Page, PixelFormat, Point, Rect, Region};
use svtrv2_fuzz::{Bytes, MB, within};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Bytes(bytes);
    let (width, height) = (1 + input.below(24) as u32, 1 + input.below(18) as u32);
    let pixels: Vec<u8> = (0..width * height).map(|i| (i * 37) as u8).collect();
    let Ok(page) = Page::from_raw(PixelFormat::Grey8, width, height, width as usize, &pixels)
    else {
        return;
    };
    let mut regions: Vec<Region> = Vec::new();
    while !input.is_empty() && regions.len() < 4 {
        let mut point = || -> (f32, f32) {
            match input.byte() {
                // Near the page, where regions are cropped and crops are small.
                0..250 => {
                    let mut near = || f32::from(input.byte()) / 8.0 - 4.0;
                    (near(), near())
                }
                _ => (input.f32(), input.f32()),
            }
        };
        let points = [(); 4].map(|()| point());
        regions.push(match input.below(3) {
            0 => {
                let [(x0, y0), (x1, y1), ..] = points;
                Rect::new(x0, y0, x1, y1).into()
            }
            1 => points.into(),
            _ => {
                let mut points: Vec<Point> =
                    points.iter().map(|&(x, y)| Point::new(x, y)).collect();
                for _ in 0..input.below(13) {
                    points.push(Point::new(input.f32(), input.f32()));
                }
                points.into()
            }
        });
    }
    within(64 * MB, || {
        for crop in page.crops(&regions).into_iter().flatten() {
            let middle = crop.placement().to_page(Point::new(0.5, 0.5));
            assert!(middle.is_finite(), "{middle:?}");
        }
    });
});
