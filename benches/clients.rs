//! Latencies of clients that share a recogniser, as of a server: threads that recognise one crop after the
//! other, and one that does so while another has a large batch in work.
//!
//!     cargo bench -p svtrv2-benches --features embedded --bench clients -- 10
//!
//! The number is the seconds of each row.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use svtrv2::{Crop, Recognizer};

/// Crops of the large batch.
const BATCH: usize = 400;

fn main() {
    // `cargo bench` adds an option.
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(10));
    let recognizer = Recognizer::embedded().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/crops/harbour.png");
    let crop = Crop::open(path).unwrap();
    println!("clients                  crops a second       p50       p99   maximum (ms)");
    for clients in [1, 4, 16] {
        let found = clients_of(&recognizer, &crop, clients, time);
        report(&format!("{clients} with a crop each"), found, time);
    }
    let batch = vec![crop.clone(); BATCH];
    let done = AtomicBool::new(false);
    let mut batches = Vec::new();
    let found = std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                times.push(timed(|| recognizer.recognize_batch(&batch)));
            }
            times
        });
        std::thread::sleep(Duration::from_millis(200));
        let found = clients_of(&recognizer, &crop, 1, time);
        done.store(true, Ordering::Relaxed);
        batches = large.join().unwrap();
        found
    });
    report(&format!("1 beside batches of {BATCH}"), found, time);
    let alone = timed(|| recognizer.recognize_batch(&batch));
    batches.sort();
    let middle = batches[batches.len() / 2];
    println!("a batch of {BATCH}: {:.0} ms beside, {:.0} ms alone", ms(middle), ms(alone));
}

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(run());
    start.elapsed()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The times of all recognitions of some threads.
fn clients_of(
    recognizer: &Recognizer,
    crop: &Crop,
    clients: usize,
    time: Duration,
) -> Vec<Duration> {
    let start = Instant::now();
    let client = || {
        let mut times = Vec::new();
        while start.elapsed() < time {
            times.push(timed(|| recognizer.recognize(crop).unwrap()));
        }
        times
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn report(name: &str, mut times: Vec<Duration>, time: Duration) {
    times.sort();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    let rate = times.len() as f64 / time.as_secs_f64();
    println!("{name:24} {rate:14.1} {:9.1} {:9.1} {:9.1}", at(0.5), at(0.99), at(1.0));
}
