//! LMDB files: a good one with changes, or any bytes.
#![no_main]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use svtrv2::data::{Dataset, Sample, write_lmdb};
use svtrv2_fuzz::{Bytes, MB, within};

/// A folder in memory where there is one, with a good file of several levels.
struct Setting {
    folder: PathBuf,
    file: File,
    good: Vec<u8>,
}

fn setting() -> &'static Setting {
    static SETTING: OnceLock<Setting> = OnceLock::new();
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
        let path = folder.join("data.mdb");
        let good = std::fs::read(&path).expect("the file");
        let file = OpenOptions::new().write(true).open(path).expect("the file");
        Setting { folder, file, good }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Setting { folder, file, good } = setting();
    let mut input = Bytes(bytes);
    let (any, first) = (input.byte() == 0, input.below(70));
    let write = |at: usize, bytes: &[u8]| file.write_all_at(bytes, at as u64).expect("a write");
    let mut changed = Vec::new();
    if any {
        file.set_len(input.0.len() as u64).expect("a length");
        write(0, input.0);
    }
    while !any && !input.is_empty() {
        // A page, a place in it (the header and the first nodes' offsets more often), new bytes.
        let page = 4096 * input.below(good.len() / 4096);
        let place = match input.byte() {
            place @ 0..192 => usize::from(place),
            high => usize::from(high - 192) * 64 + input.below(64),
        };
        let new = input.take(8.min(4096 - place));
        write(page + place, new);
        changed.push(page + place..page + place + new.len());
    }
    within(4 * MB + 4 * good.len().max(bytes.len()), || {
        let Ok(set) = Dataset::open(folder) else {
            return;
        };
        // A few of them: every changed page is read by some inputs.
        for index in first..set.len().min(first + 4) {
            let _ = set.sample(index);
        }
    });
    if any {
        write(0, good);
        file.set_len(good.len() as u64).expect("a length");
    }
    for range in changed {
        write(range.start, &good[range]);
    }
});
