//! Text files, language models, data sets, pipes and devices; files that are saved.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use svtrv2::decode::{CompactNgram, Ngram};
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Charset, Crop};

use crate::support::{pattern_weights, toy_config};
use crate::{KB, MB, alone, case, check, peak, reported};

#[test]
fn text_files_and_language_models() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let open = |open: &dyn Fn(&Path) -> svtrv2::Result<()>, bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        open(&path).map_err(reported)
    };
    let lines: Vec<u8> = (0..300_000).flat_map(|i| format!("{i:x}\n").into_bytes()).collect();
    let long = vec![b'a'; 5_000_000];
    let charsets = vec![
        case("300 000 symbols", lines, "more than 262144", 32 * MB),
        case("a symbol of 5 MB", long, "5000000 bytes", 24 * MB),
    ];
    check("charset", charsets, |bytes| open(&|path| Charset::open(path, false).map(|_| ()), bytes));
    let arpa =
        |counts: &str, rest: &str| format!("\\data\\\n{counts}\n\\1-grams:\n{rest}").into_bytes();
    let missing: String = (1..=8).map(|order| format!("ngram {order}=2\n")).collect();
    let models = vec![
        case(
            "2^63 n-grams",
            arpa("ngram 1=9223372036854775808\n", "-1 a\n\\end\\\n"),
            "9223372036854775808",
            64 * KB,
        ),
        case(
            "orders that are missing",
            arpa(&missing, "-1 a\n-1 b\n\\end\\\n"),
            "2-grams",
            64 * KB,
        ),
        case(
            "a line of 5 MB",
            arpa("ngram 1=1\n", &format!("-1 a {}\n", "x".repeat(5_000_000))),
            "",
            32 * MB,
        ),
    ];
    check("arpa", models, |bytes| open(&|path| Ngram::open(path).map(|_| ()), bytes));
    let mut compact = b"svtrlm\0\x01\x02\x01\x01a".to_vec();
    compact.extend([1u32, 1 << 24].iter().flat_map(|count| count.to_le_bytes()));
    compact.extend([&4u32.to_le_bytes()[..], &[0; 4]].concat());
    let models = vec![
        case("2^24 n-grams in 30 bytes", compact, "", 256 * KB),
        case(
            "2^32 n-grams",
            [&b"svtrlm\0\x01\x01\x01\x01a"[..], &[255; 4]].concat(),
            "too many",
            64 * KB,
        ),
    ];
    check("ngram", models, |bytes| open(&|path| CompactNgram::open(path).map(|_| ()), bytes));
}

#[cfg(feature = "data")]
#[test]
fn data_sets() {
    use svtrv2::data::{Dataset, Sample, write_lmdb};
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let sample =
        |i: usize| Sample { name: String::new(), image: vec![7; 9000], label: i.to_string() };
    write_lmdb(folder.path(), (0..3).map(sample)).unwrap();
    let file = folder.path().join("data.mdb");
    let good = std::fs::read(&file).unwrap();
    let patched = |at: usize, new: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    // The header of a node on the leaf, the last page: the size of the first image.
    let leaf = good.len() - 4096;
    let node = leaf + usize::from(u16::from_le_bytes([good[leaf + 16], good[leaf + 17]]));
    let cases = vec![
        case("LMDB: page size 0", patched(40, &[0; 4]), "page size", 64 * KB),
        case("LMDB: 2^64 pages", patched(4096 + 136, &[255; 8]), "last page", 64 * KB),
        case("LMDB: depth 65 535", patched(4096 + 94, &[255; 2]), "depth", 64 * KB),
        case("LMDB: value of 4 GB", patched(node, &[255; 4]), "outside", 64 * KB),
        case("LMDB: node beyond its page", patched(leaf + 16, &[255; 2]), "exceeds", 64 * KB),
        case("LMDB: cut", good[..5000].to_vec(), "missing", 64 * KB),
    ];
    check("data", cases, |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let set = Dataset::open(folder.path()).map_err(reported)?;
        (0..set.len()).try_for_each(|i| set.sample(i).map(|_| ())).map_err(reported)
    });
}

/// Whether `run` ends within some seconds: a pipe without a writer blocks, a device is endless.
fn ends<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = channel();
    std::thread::spawn(move || send.send(run()));
    receive.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{name} does not end"))
}

#[cfg(unix)]
#[test]
fn pipes_and_devices() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    type Open = fn(&Path) -> Result<(), String>;
    let openers: Vec<(&str, Open)> = vec![
        ("image", |path| Crop::open(path).map(|_| ()).map_err(reported)),
        ("weights", |path| Weights::open(path).map(|_| ()).map_err(reported)),
        ("charset", |path| Charset::open(path, false).map(|_| ()).map_err(reported)),
        ("arpa", |path| Ngram::open(path).map(|_| ()).map_err(reported)),
        ("ngram", |path| CompactNgram::open(path).map(|_| ()).map_err(reported)),
        #[cfg(feature = "data")]
        ("data set", |path| svtrv2::data::Dataset::open(path).map(|_| ()).map_err(reported)),
        #[cfg(feature = "train")]
        ("checkpoint", |path| {
            svtrv2::train::Trainer::weights_of(path).map(|_| ()).map_err(reported)
        }),
        #[cfg(feature = "train")]
        ("words", |path| svtrv2::train::synth::Texts::open(path).map(|_| ()).map_err(reported)),
        ("saved weights", |path| {
            let weights = pattern_weights(&toy_config()).with_charset(Charset::english()).unwrap();
            weights.save(path, StorageType::F32).map_err(reported)
        }),
    ];
    for (name, open) in openers {
        for path in [&pipe, Path::new("/dev/zero")] {
            let own = path.to_owned();
            let (most, result) = peak(|| ends(name, move || open(&own)));
            let error = result.expect_err(name);
            // A data set that is neither file nor folder holds no data.
            let known = error.contains("regular file") || error.contains("holds no labels");
            assert!(known, "{name}: {error}");
            assert!(most < 2 * MB, "{name}: {most} bytes");
        }
    }
}

/// What [`killed_while_saving`] starts and kills: no test by itself.
#[test]
fn saves_for_ever() {
    let Some(path) = std::env::var_os("SVTRV2_SAVE_TO") else {
        return;
    };
    let weights = pattern_weights(&toy_config()).with_charset(Charset::english()).unwrap();
    loop {
        for storage in [StorageType::F32, StorageType::F16] {
            weights.save(Path::new(&path), storage).unwrap();
        }
    }
}

#[test]
fn killed_while_saving() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut sizes = std::collections::BTreeSet::new();
    for round in 0..30 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files::saves_for_ever"])
            .env("SVTRV2_SAVE_TO", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing was saved");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20 + round * 7 % 31));
        child.kill().unwrap();
        child.wait().unwrap();
        let weights = Weights::open(&path).unwrap();
        assert_eq!(weights.charset(), Some(&Charset::english()));
        sizes.insert(std::fs::metadata(&path).unwrap().len());
    }
    println!("killed 30 times while saving: files of {sizes:?} bytes");
}
