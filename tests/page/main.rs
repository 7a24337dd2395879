//! Regions of a page: the right pixels, the right places, and the same text as upright crops.

#[path = "../support/mod.rs"]
mod support;

mod scene;

use std::time::{Duration, Instant};

use image::{DynamicImage, RgbImage};
use proptest::prelude::*;
use scene::{Exact, Projection, Random, corners, photo, place, point, quad, random_quad};
use support::{fixture, toy_file, trained_weights};
use svtrv2::resize::resize_bicubic;
use svtrv2::{
    Crop, Error, Page, PageCrop, PixelFormat, Point, Quad, Recognizer, Rect, Region, RegionError,
};

fn pixel(crop: &Crop, x: u32, y: u32) -> [u8; 3] {
    let at = (y * crop.width() + x) as usize * 3;
    crop.rgb()[at..at + 3].try_into().unwrap()
}

fn image_of(crop: &PageCrop) -> RgbImage {
    let crop = crop.crop();
    RgbImage::from_raw(crop.width(), crop.height(), crop.rgb().to_vec()).unwrap()
}

#[test]
fn rectangles_are_the_pages_own_pixels() {
    let image = photo(&mut Random(1), 60, 40);
    let rgba = DynamicImage::ImageRgb8(image.clone()).to_rgba8();
    // Rows of RGBA pixels with a gap of 7 bytes.
    let mut gaps = Vec::new();
    for row in rgba.as_raw().chunks(240) {
        gaps.extend_from_slice(row);
        gaps.extend_from_slice(&[9; 7]);
    }
    let dynamic = DynamicImage::ImageRgba8(rgba);
    let pages = [
        ("RGB", Page::from_rgb(&image).unwrap()),
        ("RGBA", Page::from_image(&dynamic).unwrap()),
        ("gaps", Page::from_raw(PixelFormat::Rgba8, 60, 40, 247, &gaps).unwrap()),
    ];
    for (name, page) in &pages {
        for (x0, y0, x1, y1) in
            [(0, 0, 60, 40), (3, 5, 50, 21), (59, 39, 60, 40), (-5, 0, 10, 40), (45, 30, 65, 42)]
        {
            let crop = page.crop(Rect::new(x0 as f32, y0 as f32, x1 as f32, y1 as f32)).unwrap();
            let found = crop.crop();
            assert_eq!((found.width(), found.height()), ((x1 - x0) as u32, (y1 - y0) as u32));
            for (y, from) in (0..found.height()).zip(y0..) {
                for (x, from_x) in (0..found.width()).zip(x0..) {
                    let nearest =
                        image.get_pixel(from_x.clamp(0, 59) as u32, from.clamp(0, 39) as u32);
                    assert_eq!(pixel(found, x, y), nearest.0, "{name}: {x}, {y} of {x0}, {y0}");
                }
            }
            let middle = crop.placement().to_page(Point::new(1.0, 2.0));
            assert!(middle.distance(Point::new(x0 as f32 + 1.0, y0 as f32 + 2.0)) < 1e-4);
        }
    }
}

/// Interpolation at the middle of a pixel is that pixel: a quarter turn loses nothing.
#[test]
fn a_quarter_turn_is_exact() {
    let image = photo(&mut Random(2), 60, 40);
    let page = Page::from_rgb(&image).unwrap();
    // Text that runs upwards: its top left is the page's lower left.
    let crop = page.crop([(10.0, 35.0), (10.0, 5.0), (22.0, 5.0), (22.0, 35.0)]).unwrap();
    let crop = crop.crop();
    assert_eq!((crop.width(), crop.height()), (30, 12));
    for (y, x) in (0..12).flat_map(|y| (0..30).map(move |x| (y, x))) {
        assert_eq!(pixel(crop, x, y), image.get_pixel(10 + y, 34 - x).0, "{x}, {y}");
    }
}

/// A page that is a smooth function, whose value at any place is known.
fn smooth(x: f64, y: f64) -> f64 {
    128.0 + 60.0 * (x * 0.031 + y * 0.012).sin() + 50.0 * (y * 0.027 - x * 0.009).cos()
}

/// Every pixel of a crop has the page's value at the place that the placement names. The mapping
/// of quadrilaterals is held against one that was derived in another way.
#[test]
fn pixels_lie_where_the_placement_says() {
    let image = RgbImage::from_fn(1500, 1100, |x, y| {
        image::Rgb([smooth(f64::from(x) + 0.5, f64::from(y) + 0.5).round() as u8; 3])
    });
    let page = Page::from_rgb(&image).unwrap();
    let mut random = Random(3);
    let mut regions: Vec<(Region, Option<[Exact; 4]>)> = Vec::new();
    for (width, height) in [(60.0, 20.0), (200.0, 50.0), (800.0, 300.0), (300.0, 300.0)] {
        for _ in 0..4 {
            let corners = random_quad(&mut random, (750.0, 550.0), width, height);
            regions.push((quad(corners).into(), Some(corners)));
        }
    }
    for (inner, outer) in [(100.0, 130.0), (200.0, 420.0)] {
        regions.push((ring((750.0, 550.0), inner, outer, 7), None));
    }
    for (region, corners_in_page) in regions {
        let page_crop = page.crop(&region).unwrap();
        let (crop, placement) = (page_crop.crop(), page_crop.placement());
        let size = (f64::from(crop.width()), f64::from(crop.height()));
        let projection = corners_in_page.map(|to| Projection::new(corners(size.0, size.1), to));
        let mut worst = 0.0f64;
        for y in 0..crop.height() {
            for x in 0..crop.width() {
                let at = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                let place = placement.to_page(point(at));
                if let Some(projection) = &projection {
                    let error = place.distance(point(projection.map(at)));
                    assert!(error < 0.01, "{error} pixels at {at:?} of {region:?}");
                }
                let expected = smooth(f64::from(place.x), f64::from(place.y));
                worst = worst.max((expected - f64::from(pixel(crop, x, y)[0])).abs());
            }
        }
        // Rounding twice, and the mean of up to 4 x 4 pixels instead of the middle.
        assert!(worst < 2.0, "{worst} levels: {region:?}");
    }
}

/// Dots on a page are found in its crop and mapped back.
#[test]
fn the_way_back_is_exact() {
    let mut random = Random(4);
    for _ in 0..20 {
        let corners = random_quad(&mut random, (200.0, 150.0), 200.0, 60.0);
        let dot = {
            let inside = Projection::new(scene::corners(1.0, 1.0), corners);
            inside.map((random.between(0.1, 0.9), random.between(0.2, 0.8)))
        };
        let image = RgbImage::from_fn(400, 300, |x, y| {
            let (dx, dy) = (f64::from(x) + 0.5 - dot.0, f64::from(y) + 0.5 - dot.1);
            image::Rgb([(200.0 * (-(dx * dx + dy * dy) / 8.0).exp()).round() as u8; 3])
        });
        let page = Page::from_rgb(&image).unwrap();
        let page_crop = page.crop(quad(corners)).unwrap();
        let (mut sum, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
        for (x, y, value) in image_of(&page_crop).enumerate_pixels() {
            let weight = f64::from(value[0]);
            sum += weight;
            sum_x += weight * (f64::from(x) + 0.5);
            sum_y += weight * (f64::from(y) + 0.5);
        }
        let found = page_crop.placement().to_page(point((sum_x / sum, sum_y / sum)));
        let error = found.distance(point(dot));
        assert!(error < 0.25, "{error} pixels");
    }
}

/// A large region is shrunk before it is resampled: what the network gets differs little from
/// what it gets of the page's own pixels.
#[test]
fn large_regions_keep_their_quality() {
    let mut random = Random(5);
    let mut image = photo(&mut random, 2000, 700);
    let word = image::open(fixture("positions/straight_00.png")).unwrap().into_rgb8();
    let (width, height) = (f64::from(word.width()), f64::from(word.height()));
    place(&mut image, &word, [100.0, 100.0, 1900.0, 600.0], |(x, y)| {
        Some(((x - 100.0) / 1800.0 * width, (y - 100.0) / 500.0 * height))
    });
    let page = Page::from_rgb(&image).unwrap();
    let whole = page.crop(Rect::new(100.0, 100.0, 1900.0, 600.0)).unwrap();
    // No whole numbers: the other way.
    let shrunk = page.crop(Rect::new(100.0, 100.001, 1900.0, 600.0)).unwrap();
    assert_eq!((whole.crop().width(), whole.crop().height()), (1800, 500));
    assert!((96..=192).contains(&shrunk.crop().height()), "{}", shrunk.crop().height());
    let input = |crop: &PageCrop| resize_bicubic(crop.crop(), 128, 32).unwrap();
    let (whole, shrunk) = (input(&whole), input(&shrunk));
    let differences: Vec<f64> = whole
        .rgb()
        .iter()
        .zip(shrunk.rgb())
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs())
        .collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let worst = differences.iter().copied().fold(0.0, f64::max);
    println!("mean difference {mean:.2} of 255, worst {worst:.0}");
    assert!(mean < 0.5 && worst < 6.0, "{mean}, {worst}");
}

/// Beyond the page lie its nearest pixels, also where the page is shrunk: a page that is continued
/// by them gives the same crop.
#[test]
fn regions_partly_outside() {
    let mut random = Random(8);
    let image = photo(&mut random, 1200, 800);
    let wide = RgbImage::from_fn(2400, 2000, |x, y| {
        let inside =
            |at: u32, length: u32| (i64::from(at) - 600).clamp(0, length as i64 - 1) as u32;
        *image.get_pixel(inside(x, 1200), inside(y, 800))
    });
    let (page, wide) = (Page::from_rgb(&image).unwrap(), Page::from_rgb(&wide).unwrap());
    let mut compared = 0;
    for (center, width, height) in [
        ((30.0, 400.0), 700.0, 300.0),
        ((1180.0, 100.0), 500.0, 240.0),
        ((600.0, 20.0), 900.0, 400.0),
        ((600.0, 780.0), 300.0, 60.0),
        ((20.0, 780.0), 300.0, 300.0),
    ] {
        for _ in 0..4 {
            let corners = random_quad(&mut random, center, width, height);
            let Ok(crop) = page.crop(quad(corners)) else { continue };
            // A multiple of every whole factor from 1 to 6 on, so that its squares are the same.
            let moved = corners.map(|(x, y)| (x + 600.0, y + 600.0));
            let expected = wide.crop(quad(moved)).unwrap();
            let (found, expected) = (crop.crop().rgb(), expected.crop().rgb());
            let worst = found.iter().zip(expected).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
            // Squares at the page's edges are not whole there.
            assert!(found.len() == expected.len() && worst <= 16, "{worst} levels: {corners:?}");
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
}

#[test]
fn one_bad_region_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let recognizer = Recognizer::open(toy_file(folder.path())).unwrap();
    let image = photo(&mut Random(6), 300, 200);
    let page = Page::from_rgb(&image).unwrap();
    let slanted = [(20.0, 30.0), (120.0, 50.0), (115.0, 80.0), (15.0, 60.0)];
    let regions: Vec<Region> = vec![
        Rect::new(10.0, 10.0, 100.0, 40.0).into(),
        Rect::new(400.0, 10.0, 500.0, 40.0).into(),
        slanted.into(),
        ring((150.0, 120.0), 40.0, 70.0, 5),
    ];
    let results = recognizer.recognize_regions(&page, &regions);
    assert_eq!(results.len(), 4);
    for (region, result) in regions.iter().zip(results) {
        let page_crop = match page.crop(region) {
            Err(Error::Region(RegionError::Outside { .. })) => {
                assert!(matches!(result, Err(Error::Region(RegionError::Outside { .. }))));
                continue;
            }
            page_crop => page_crop.unwrap(),
        };
        let alone = recognizer.recognize(&page_crop).unwrap();
        let result = result.unwrap();
        assert_eq!((&result.text, result.score), (&alone.text, alone.score));
        assert!(!alone.chars.is_empty());
        for (placed, own) in result.chars.iter().zip(&alone.chars) {
            assert_eq!(placed.quad, page_crop.placement().quad_to_page(own.quad));
            assert!(placed.bounds.width() > 0.0 && placed.bounds.height() > 0.0, "{placed:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a detector gives: a crop of bounded size or an error, and soon.
    #[test]
    fn hostile_regions(
        values in prop::collection::vec(
            prop_oneof![
                4 => -20f32..60.0,
                2 => (-3i32..12).prop_map(|x| x as f32 * 5.0),
                1 => any::<f32>(),
                1 => prop_oneof![Just(1e30), Just(-1e30), Just(f32::NAN), Just(f32::INFINITY), Just(1e9)],
            ],
            0..40,
        ),
        kind in 0..4,
    ) {
        let image = RgbImage::new(40, 30);
        let page = Page::from_rgb(&image).unwrap();
        let at = |index: usize| values.get(index).copied().unwrap_or(7.0);
        let points: Vec<Point> =
            values.chunks_exact(2).map(|pair| Point::new(pair[0], pair[1])).collect();
        let region = match kind {
            0 => Region::Rect(Rect::new(at(0), at(1), at(2), at(3))),
            1 => Region::RotatedRect {
                center: Point::new(at(0), at(1)),
                width: at(2),
                height: at(3),
                angle: at(4),
            },
            2 => Region::Quad(Quad(std::array::from_fn(|i| Point::new(at(2 * i), at(2 * i + 1))))),
            _ => Region::Polygon(points),
        };
        let start = Instant::now();
        match page.crop(&region) {
            Ok(page_crop) => {
                let crop = page_crop.crop();
                prop_assert_eq!(
                    crop.rgb().len(),
                    crop.width() as usize * crop.height() as usize * 3
                );
                prop_assert!(crop.rgb().len() < 200_000_000);
                let place = page_crop.placement().to_page(Point::new(0.5, 0.5));
                prop_assert!(place.is_finite(), "{:?}", place);
            }
            Err(Error::Region(_)) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
        prop_assert!(start.elapsed() < Duration::from_secs(10));
    }
}

/// The upper half of a ring, as a polygon of `pairs` pairs: text that runs along an arc.
fn ring(center: Exact, inner: f64, outer: f64, pairs: usize) -> Region {
    let at = |radius: f64, index: usize| {
        let angle = std::f64::consts::PI * (1.0 - index as f64 / (pairs - 1) as f64);
        point((center.0 + radius * angle.cos(), center.1 - radius * angle.sin()))
    };
    let upper = (0..pairs).map(|index| at(outer, index));
    let lower = (0..pairs).rev().map(|index| at(inner, index));
    Region::Polygon(upper.chain(lower).collect())
}

/// A word whose glyphs' boxes are known.
struct Word {
    text: String,
    image: RgbImage,
    glyphs: Vec<[f64; 4]>,
}

fn words() -> Vec<Word> {
    let lines = std::fs::read_to_string(fixture("positions/boxes.tsv")).unwrap();
    let word = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, "straight", text, boxes] = fields[..] else { return None };
        let image = image::open(fixture("positions").join(file)).unwrap().into_rgb8();
        let edges = |glyph: &str| -> [f64; 4] {
            let edges: Vec<f64> = glyph.split(',').map(|edge| edge.parse().unwrap()).collect();
            edges.try_into().unwrap()
        };
        Some(Word { text: text.to_owned(), image, glyphs: boxes.split(' ').map(edges).collect() })
    };
    lines.lines().filter_map(word).collect()
}

/// Texts that were right, and characters of those whose centre lies inside their glyph.
#[derive(Default)]
struct Tally {
    words: usize,
    right: usize,
    glyphs: usize,
    inside: usize,
    /// The sum of the intersections over unions of boxes.
    overlap: f64,
}

impl Tally {
    fn add(
        &mut self,
        page: &RgbImage,
        regions: &[Region],
        truth: &[(String, Vec<Quad>)],
        by: &Recognizer,
    ) {
        let page = Page::from_rgb(page).unwrap();
        let results = by.recognize_regions(&page, regions);
        for (result, (text, glyphs)) in results.into_iter().zip(truth) {
            let recognition = result.unwrap();
            self.words += 1;
            if recognition.text != *text {
                continue;
            }
            self.right += 1;
            self.glyphs += glyphs.len();
            for (c, glyph) in recognition.chars.iter().zip(glyphs) {
                self.inside += usize::from(glyph.contains(c.quad.center()));
                self.overlap += f64::from(c.quad.intersection_over_union(glyph));
            }
        }
    }

    fn accuracy(&self) -> f64 {
        100.0 * self.right as f64 / self.words as f64
    }

    fn centers(&self) -> f64 {
        100.0 * self.inside as f64 / self.glyphs as f64
    }
}

/// The side of the square of a page that a word has for itself.
const CELL: f64 = 400.0;
const COLUMNS: usize = 6;

/// Words on pages: upright, by random homographies, and along arcs.
#[test]
#[ignore = "needs the trained weights: SVTRV2_WEIGHTS"]
fn text_and_characters_of_a_page() {
    let recognizer = Recognizer::open(trained_weights()).unwrap();
    let words = words();
    let (mut upright, mut slanted, mut curved) =
        (Tally::default(), Tally::default(), Tally::default());
    for seed in 0..4 {
        let mut random = Random(100 + seed);
        let rows = words.len().div_ceil(COLUMNS);
        let size = (COLUMNS as f64 * CELL, rows as f64 * CELL);
        let blank = photo(&mut random, size.0 as u32, size.1 as u32);
        for (kind, tally) in [&mut upright, &mut slanted, &mut curved].into_iter().enumerate() {
            let mut page = blank.clone();
            let (mut regions, mut truth) = (Vec::new(), Vec::new());
            for (index, word) in words.iter().enumerate() {
                let cell = (
                    ((index % COLUMNS) as f64 + 0.5) * CELL,
                    ((index / COLUMNS) as f64 + 0.5) * CELL,
                );
                let own = (f64::from(word.image.width()), f64::from(word.image.height()));
                let most = 0.85 * CELL / own.0.hypot(own.1);
                let scale = random.between(1.0, 2.0).min(most);
                let (region, glyphs) = match kind {
                    2 => bend(&mut page, word, cell, scale),
                    _ => {
                        let (width, height) = (own.0 * scale, own.1 * scale);
                        let at = if kind == 0 {
                            let (x, y) =
                                ((cell.0 - width / 2.0).round(), (cell.1 - height / 2.0).round());
                            corners(width.round(), height.round()).map(|(a, b)| (x + a, y + b))
                        } else {
                            random_quad(&mut random, cell, width, height)
                        };
                        project(&mut page, word, at)
                    }
                };
                regions.push(region);
                truth.push((word.text.clone(), glyphs));
            }
            tally.add(&page, &regions, &truth, &recognizer);
        }
    }
    for (name, tally) in [("upright", &upright), ("homographies", &slanted), ("arcs", &curved)] {
        println!(
            "{name}: {} of {} words ({:.1} %), centres of characters inside the glyph {:.1} %, \
             mean intersection over union {:.3}",
            tally.right,
            tally.words,
            tally.accuracy(),
            tally.centers(),
            tally.overlap / tally.glyphs as f64
        );
    }
    assert!(upright.accuracy() >= 90.0);
    assert!(slanted.accuracy() >= upright.accuracy() - 3.0);
    assert!(curved.accuracy() >= upright.accuracy() - 5.0);
    assert!(upright.centers() >= 95.0 && slanted.centers() >= 95.0 && curved.centers() >= 95.0);
}

/// Paints a word into a quadrilateral: its region and its glyphs.
fn project(page: &mut RgbImage, word: &Word, at: [Exact; 4]) -> (Region, Vec<Quad>) {
    let own = corners(f64::from(word.image.width()), f64::from(word.image.height()));
    let (there, back) = (Projection::new(own, at), Projection::new(at, own));
    let bounds = quad(at).bounding_rect();
    let bounds = [bounds.x0, bounds.y0, bounds.x1, bounds.y1].map(f64::from);
    place(page, &word.image, bounds, |place| Some(back.map(place)));
    let glyph = |&[x0, y0, x1, y1]: &[f64; 4]| {
        quad([(x0, y0), (x1, y0), (x1, y1), (x0, y1)].map(|corner| there.map(corner)))
    };
    (quad(at).into(), word.glyphs.iter().map(glyph).collect())
}

/// Paints a word along an arc of 120 degrees, with seven points on each edge.
fn bend(page: &mut RgbImage, word: &Word, center: Exact, scale: f64) -> (Region, Vec<Quad>) {
    let (width, height) = (f64::from(word.image.width()), f64::from(word.image.height()));
    let turn = 120f64.to_radians();
    // The arc's middle line is as long as the word.
    let radius = width * scale / turn;
    let middle = (center.0, center.1 + radius / 2.0);
    let there = |(x, y): Exact| {
        let angle = (x / width - 0.5) * turn;
        let far = radius + (height / 2.0 - y) * scale;
        (middle.0 + far * angle.sin(), middle.1 - far * angle.cos())
    };
    let back = |(x, y): Exact| {
        let (dx, dy) = (x - middle.0, middle.1 - y);
        let angle = dx.atan2(dy);
        Some(((angle / turn + 0.5) * width, height / 2.0 - (dx.hypot(dy) - radius) / scale))
    };
    let reach = CELL / 2.0;
    let bounds =
        [center.0 - reach, center.1 - reach, center.0 + reach - 2.0, center.1 + reach - 2.0];
    place(page, &word.image, bounds, back);
    let edge = |y: f64| (0..7).map(move |i| point(there((width * f64::from(i) / 6.0, y))));
    let polygon = edge(0.0).chain(edge(height).rev()).collect();
    let glyph =
        |&[x0, y0, x1, y1]: &[f64; 4]| quad([(x0, y0), (x1, y0), (x1, y1), (x0, y1)].map(there));
    (Region::Polygon(polygon), word.glyphs.iter().map(glyph).collect())
}
