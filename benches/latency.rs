//! Latency of the network at every target size, of resizing, of loading, and end to end.
//!
//! Runs on pattern weights (numbers that a formula gives): nothing needs to be fetched.
//! `cargo bench -p svtrv2-benches --bench latency -- network/B/32x128` picks some.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use svtrv2::model::Config;
use svtrv2::resize::resize_bicubic;
use svtrv2::weights::StorageType;
use svtrv2::{Charset, Crop, Recognizer};

const SIZES: [(usize, usize); 4] = [(32, 128), (40, 112), (48, 96), (64, 64)];

fn network(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("network");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (letter, config) in [("T", Config::tiny()), ("S", Config::small()), ("B", Config::base())] {
        let weights = support::pattern_weights(&config);
        let model = weights.model().unwrap();
        for (height, width) in SIZES {
            for batch in [1, 8] {
                let (images, shape) = support::pattern_input(batch, height, width);
                group.throughput(Throughput::Elements(batch as u64));
                for threads in [1, 2] {
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let name = format!("{letter}/{height}x{width}/batch {batch}/{threads} threads");
                    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                        pool.install(|| {
                            bencher.iter(|| model.forward(black_box(&images), shape).unwrap())
                        })
                    });
                }
            }
        }
    }
}

fn resize(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resize");
    for (from, to) in [((320, 96), (128, 32)), ((1280, 320), (128, 32)), ((60, 20), (112, 40))] {
        let image = support::random_crop(1, from.0, from.1);
        let crop = Crop::from_rgb(&image).unwrap();
        group.throughput(Throughput::Bytes(crop.rgb().len() as u64));
        let name = format!("{}x{} to {}x{}", from.0, from.1, to.0, to.1);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| resize_bicubic(black_box(&crop), to.0, to.1).unwrap())
        });
    }
}

fn load_and_recognize(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    support::pattern_weights(&Config::base())
        .with_charset(Charset::english())
        .unwrap()
        .save(&path, StorageType::F32)
        .unwrap();
    let mut group = criterion.benchmark_group("recognizer");
    group.sample_size(10);
    group.bench_function("open B", |bencher| {
        bencher.iter(|| Recognizer::open(black_box(&path)).unwrap())
    });

    let recognizer = Recognizer::open(&path).unwrap();
    let mut png = Cursor::new(Vec::new());
    support::random_crop(2, 300, 80).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    group.bench_function("PNG bytes to text, B", |bencher| {
        bencher.iter(|| recognizer.recognize(Crop::decode(black_box(&png)).unwrap()).unwrap())
    });
}

criterion_group!(benches, network, resize, load_and_recognize);
criterion_main!(benches);
