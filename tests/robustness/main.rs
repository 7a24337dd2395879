//! Crafted files: each gives a typed error, with no more memory than its row of the table says.
//!
//! docs/robustness.md has the table; `cargo test --test robustness -- --nocapture` prints the peaks.

#[path = "../support/crafted.rs"]
mod crafted;
mod files;
#[cfg(feature = "onnx")]
#[path = "../support/graphs.rs"]
mod graphs;
#[path = "../support/mod.rs"]
mod support;
mod weights;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crafted::png_of_size;
use support::{pattern_weights, random_crop, toy_file};
use svtrv2::model::Config;
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Charset, Crop, Error, ErrorReport, Lines, Options, Page, PixelFormat, Recognizer};

/// Counts the bytes that are allocated now, and the most since [`Peak::start`].
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MAX: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    MAX.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist for a moment.
        add(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: the counters are the process's.
fn alone() -> MutexGuard<'static, ()> {
    static SERIAL: Mutex<()> = Mutex::new(());
    SERIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most bytes that `run` held at once, beyond those held before, and its result.
fn peak<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Relaxed);
    MAX.store(before, Relaxed);
    let result = run();
    (MAX.load(Relaxed).saturating_sub(before), result)
}

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;

/// A crafted file.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// A part of the error's message.
    message: &'static str,
    /// The most bytes that may be allocated.
    bound: usize,
}

fn case(name: &'static str, bytes: Vec<u8>, message: &'static str, bound: usize) -> Case {
    Case { name, bytes, message, bound }
}

/// The message of an error with its causes.
fn reported(error: impl std::error::Error + 'static) -> String {
    ErrorReport::new(&error).to_string()
}

/// Opens files, prints what that took, and compares it with the bounds.
fn check<T>(kind: &str, cases: Vec<Case>, open: impl Fn(Vec<u8>) -> Result<T, String>) {
    for Case { name, bytes, message, bound } in cases {
        let size = bytes.len();
        let start = Instant::now();
        let (most, result) = peak(|| open(bytes).map(|_| ()));
        let time = start.elapsed();
        println!(
            "| {kind}: {name} | {size} | {most} | {bound} | {:.1} |",
            time.as_secs_f64() * 1e3
        );
        let error = result.expect_err(name);
        assert!(error.contains(message), "{name}: {error}");
        assert!(error.len() < 2000, "{name}: a message of {} bytes", error.len());
        assert!(most <= bound, "{name}: {most} bytes at the peak, more than {bound}");
        assert!(time < Duration::from_secs(5), "{name}: {time:?}");
    }
}

#[test]
fn images() {
    let _alone = alone();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    random_crop(1, 16, 16).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let mut large = jpeg.clone();
    large[frame + 5..frame + 9].copy_from_slice(&[0x4e, 0x20, 0x4e, 0x20]);
    let mut claimed = jpeg.clone();
    claimed[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0x40, 0x1f, 0x40]);
    let mut cut = jpeg.clone();
    cut.truncate(jpeg.len() - 3);
    let cases = vec![
        case("JPEG of 20 000 x 20 000", large, "20000x20000 pixels, more than", MB),
        case("PNG of 22 000 x 22 000, one bit", png_of_size(22_000, 22_000, 1, 0), "more than", MB),
        case("PNG of 2^31 x 2^31", png_of_size(1 << 31, 1 << 31, 8, 2), "", MB),
        case("truncated JPEG", cut, "truncated", MB),
        case("PNG of 8000 x 8000, without pixels", png_of_size(8000, 8000, 8, 2), "truncated", MB),
        case("JPEG of 8000 x 8000, without pixels", claimed, "truncated", MB),
    ];
    check("image", cases, |bytes| Crop::decode(&bytes).map_err(reported));
}

fn recognizer() -> Recognizer {
    let folder = tempfile::tempdir().unwrap();
    Recognizer::open(toy_file(folder.path())).unwrap()
}

/// One that squeezes long lines.
fn squeezing(max_ratio: u32) -> svtrv2::Result<Recognizer> {
    let folder = tempfile::tempdir().unwrap();
    let weights = Weights::open(toy_file(folder.path())).unwrap();
    let max_ratio = Some(max_ratio);
    Recognizer::new(&weights, Options { max_ratio, lines: Lines::Squeeze, ..Options::default() })
}

/// Sides from one pixel to 2^24: four times the decoded bytes, and 16 MB.
#[test]
fn images_of_any_shape() {
    let _alone = alone();
    let recognizer = squeezing(4).unwrap();
    let long = 1 << 24;
    for (width, height) in [(1, long), (long, 1), (2, long / 2), (long / 2, 2), (4096, 4096)] {
        let image = image::GrayImage::from_fn(width, height, |x, y| image::Luma([(x ^ y) as u8]));
        let mut png = std::io::Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let (png, decoded) = (png.into_inner(), 3 * width as usize * height as usize);
        drop(image);
        let start = Instant::now();
        let (most, crop) = peak(|| Crop::decode(&png).unwrap());
        let decoding = start.elapsed();
        // The file once more, and the decoder's own tables.
        let bound = 4 * decoded + png.len() + MB;
        assert!(most <= bound, "{width}x{height}: {most} bytes to decode, more than {bound}");
        let start = Instant::now();
        let (resizing, _) = peak(|| recognizer.resize(&crop).unwrap());
        let time = start.elapsed();
        println!(
            "| {width} x {height} | {} | {decoded} | {most} | {:.2} | {resizing} | {:.2} |",
            png.len(),
            decoding.as_secs_f64(),
            time.as_secs_f64()
        );
        assert!(resizing <= decoded + 16 * MB, "{width}x{height}: {resizing} bytes to resize");
        assert!(decoding + time < Duration::from_secs(10), "{width}x{height}");
    }
}

/// Crops of a page are held 64 MB at a time.
#[test]
fn regions_as_large_as_the_page() {
    let _alone = alone();
    let recognizer = recognizer();
    let pixels = vec![200; 2000 * 2000];
    let page =
        svtrv2::Page::from_raw(svtrv2::PixelFormat::Grey8, 2000, 2000, 2000, &pixels).unwrap();
    let region = svtrv2::Region::from(svtrv2::Rect::new(0.0, 0.0, 1999.0, 2000.0));
    let regions = vec![region; 64];
    let (most, results) = peak(|| recognizer.recognize_regions(&page, &regions));
    assert!(results.iter().all(|result| result.is_ok()));
    println!("| 64 regions of 1999 x 2000 | {most} |");
    assert!(most <= 128 * MB, "{most} bytes");
}

/// Found by fuzzing: points that coincide, and one at the end of the range of f32.
#[test]
fn a_region_with_far_points_is_no_large_crop() {
    let _alone = alone();
    let pixels = vec![100; 69 * 58];
    let page = Page::from_raw(PixelFormat::Grey8, 69, 58, 69, &pixels).unwrap();
    let near = -5e-35;
    let points = [
        (51.0, 51.0),
        (51.0, 51.0),
        (51.0, 51.0),
        (51.0, 51.0),
        (near, near),
        (near, 8.94e37),
        (near, near),
        (117.488_28, 0.0),
    ];
    // An error or a crop: neither takes long, nor much memory.
    let start = Instant::now();
    let (most, _) = peak(|| page.crop(points.to_vec()).map(|crop| crop.crop().width()));
    println!("| page: far points | 73 | {most} | {} |", 16 * MB);
    assert!(most <= 16 * MB, "{most} bytes");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn the_widest_crop() {
    let _alone = alone();
    assert!(matches!(squeezing(257), Err(Error::Config(error)) if error.field == "max_ratio"));
    let crop = random_crop(1, 32_768, 32);
    let recognizer = squeezing(128).unwrap();
    let (most, recognition) = peak(|| recognizer.recognize(&crop).unwrap());
    println!("| crop of 32768x32, max_ratio 128 | {} | {most} | {} | |", crop.len(), 128 * MB);
    assert_eq!(recognition.size.width, 4096);
    assert!(most <= 128 * MB, "{most}");
}

#[test]
fn opening_takes_little_more_than_the_file() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.safetensors");
    let weights = pattern_weights(&Config::tiny()).with_charset(Charset::english()).unwrap();
    weights.save(&path, StorageType::F32).unwrap();
    let size = std::fs::metadata(&path).unwrap().len() as usize;
    let (most, weights) = peak(|| Weights::open(&path).unwrap());
    assert!(most < size / 10, "{most} bytes for a file of {size}");
    drop(weights);
}
