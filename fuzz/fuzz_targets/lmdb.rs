//! LMDB files: a good one with changes, or any bytes.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use svtrv2::data::{Dataset, Sample, write_lmdb};
use svtrv2_fuzz::{Bytes, MB, within};

/// A folder in memory where there is one, and the bytes of a good file of several levels.
fn setting() -> &'static (PathBuf, Vec<u8>) {
    static SETTING: OnceLock<(PathBuf, Vec<u8>)> = OnceLock::new();
    SETTING.get_or_init(|| {
        let root = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
        let folder = tempfile::Builder::new().prefix("svtrv2-fuzz").tempdir_in(root);
        let folder = folder.expect("a folder").keep();
        let samples = (0..20).map(|i| Sample {
            name: String::new(),
            image: vec![i as u8; i * 397 % 2600],
            label: "label".repeat(i * 7 % 40),
        });
        write_lmdb(&folder, samples).expect("a data set");
        let bytes = std::fs::read(folder.join("data.mdb")).expect("the file");
        (folder, bytes)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (folder, good) = setting();
    let mut input = Bytes(bytes);
    let mut file = good.clone();
    if input.byte() == 0 {
        file = input.0.to_vec();
    }
    while !input.is_empty() && file.len() == good.len() {
        // A page, a place in it (the header and the first nodes' offsets more often), new bytes.
        let page = input.below(good.len() / 4096);
        let place = match input.byte() {
            place @ 0..192 => usize::from(place),
            high => usize::from(high - 192) * 64 + input.below(64),
        };
        for (offset, &new) in input.take(8).iter().enumerate() {
            file[4096 * page + (place + offset) % 4096] = new;
        }
    }
    std::fs::write(folder.join("data.mdb"), &file).expect("a file");
    within(4 * MB + 4 * file.len(), || {
        let Ok(set) = Dataset::open(folder) else {
            return;
        };
        for index in 0..set.len().min(70) {
            let _ = set.sample(index);
        }
    });
});
