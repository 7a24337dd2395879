//! Crafted files: each gives a typed error, with no more memory than its row of the table says.
//!
//! docs/robustness.md has the table; `cargo test --test robustness -- --nocapture` prints the peaks.

mod support {
    pub mod crafted;
    #[path = "mod.rs"]
    mod shared;
    pub use shared::*;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use support::crafted::{
    dictionary, field, initializer, int, ints, node, number, onnx, png_of_size, pth, safetensors,
    tensor, text, zip,
};
use support::{pattern_weights, random_crop, toy_config, toy_file};
use svtrv2::decode::{CompactNgram, Ngram};
use svtrv2::model::Config;
use svtrv2::weights::{StorageType, Weights};
use svtrv2::{Charset, Crop, Error, Options, Recognizer};

/// Counts the bytes that are allocated now, and the most since [`Peak::start`].
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    MOST.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
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
    MOST.store(before, Relaxed);
    let result = run();
    (MOST.load(Relaxed).saturating_sub(before), result)
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

fn open_weights(bytes: Vec<u8>) -> Result<Recognizer, String> {
    let open = || {
        let weights = Weights::from_bytes(bytes)?;
        let charset = weights.charset().is_none().then(Charset::english);
        Recognizer::new(&weights, Options { charset, ..Options::default() })
    };
    open().map_err(|error: Error| {
        assert!(
            matches!(error, Error::Weights(_) | Error::Config(_) | Error::Charset(_)),
            "{error:?}"
        );
        error.to_string()
    })
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
    let mut cut = jpeg.clone();
    cut.truncate(jpeg.len() - 2);
    let cases = vec![
        case("JPEG of 20 000 x 20 000", large, "20000x20000 pixels, more than", MB),
        case("PNG of 22 000 x 22 000, one bit", png_of_size(22_000, 22_000, 1, 0), "more than", MB),
        case("PNG of 2^31 x 2^31", png_of_size(1 << 31, 1 << 31, 8, 2), "", MB),
        case("truncated JPEG", cut, "truncated", MB),
    ];
    check("image", cases, |bytes| Crop::decode(&bytes).map_err(|error| error.to_string()));
}

#[test]
fn pytorch_files() {
    let _alone = alone();
    // Memoized values: the name, the shape, the tensor; then references to them.
    let shared = |names: usize, name: &str, sizes: &[i64]| {
        let mut pickle = [&b"\x80\x02}("[..], &ints(sizes), b"q\0"].concat();
        pickle.push(b'0');
        pickle.extend([&text(name)[..], b"q\x010"].concat());
        pickle.extend([&tensor("0", 0, b"h\0", b"h\0")[..], b"q\x020"].concat());
        pickle.extend(b"h\x01h\x02".repeat(names));
        pickle.extend(b"u.");
        pth(&pickle, &[("0", &[0; 64])])
    };
    let distinct = |count: usize, size: &[i64]| {
        let mut pickle = b"\x80\x02}(".to_vec();
        pickle.extend([&tensor("0", 0, &ints(size), &ints(&[1, 1]))[..], b"q\x020"].concat());
        for i in 0..count {
            let name = format!("{i:x}");
            pickle.extend([0x8c, name.len() as u8]);
            pickle.extend(name.bytes());
            pickle.extend(b"h\x02");
        }
        pickle.extend(b"u.");
        pth(&pickle, &[("0", &[0; 64])])
    };
    let long_name = "n".repeat(50_000);
    let mut global = [text(&long_name), b"q\0".to_vec(), text("n"), b"q\x01".to_vec()].concat();
    global.extend(b"h\0h\x01\x93".repeat(10_000));
    let mut appended = b"(".to_vec();
    appended.extend(vec![b'N'; 100_000]);
    appended.extend(b"tNa.");
    let opcode = |opcode: &[u8]| pth(&opcode.repeat(100_000 / opcode.len()), &[]);
    let entry = "e".repeat(20);
    let entries: Vec<(&str, &[u8])> = vec![(&entry, b""); 1500];
    let mut claimed = zip(&[("a/data.pkl", b"}.")]);
    let end = claimed.len() - 22;
    claimed[end + 8..end + 12].fill(0xff);
    let below_a_mark = dictionary(&[(text("a"), b"K\x01(\x85t".to_vec())]);
    let huge = tensor("0", 0, &ints(&[1 << 40, 1 << 40]), &ints(&[0, 0]));
    let cases = vec![
        case("tuple popped below a mark", pth(&below_a_mark, &[]), "too few values", 64 * KB),
        case("many dimensions, shared", shared(20_000, "a", &[1; 2000]), "dimensions", 8 * MB),
        case("one long name, shared", shared(20_000, &long_name, &[1, 1]), "name has", 8 * MB),
        case("one name again and again", shared(20_000, "a", &[1, 1]), "twice", 8 * MB),
        case("many names of one tensor", distinct(12_000, &[1, 1]), "named encoder", 8 * MB),
        case("many names of an empty tensor", distinct(12_000, &[0, 1]), "named encoder", 12 * MB),
        case("long names of globals", pth(&global, &[]), "global", 8 * MB),
        case("appending to a long tuple", pth(&appended, &[]), "appended to", 8 * MB),
        case("lists", opcode(b"]"), "more than", 8 * MB),
        case("dictionaries", opcode(b"}"), "more than", 8 * MB),
        case("marks", opcode(b"("), "breaks off", 8 * MB),
        case(
            "copies of the top",
            pth(&[&b"N"[..], &[b'2'; 100_000]].concat(), &[]),
            "breaks",
            8 * MB,
        ),
        case("memo", opcode(b"N\x94"), "breaks off", 8 * MB),
        case("tuples of tuples", pth(&[&b")"[..], &[0x85; 100_000]].concat(), &[]), "more", 8 * MB),
        case("archive of many entries", zip(&entries), "without data.pkl", 8 * MB),
        case("archive that claims 65 535 entries", claimed, "", MB),
        case(
            "tensor of 2^80 elements",
            pth(&dictionary(&[(text("a"), huge)]), &[("0", &[0; 64])]),
            "exceeds its storage",
            64 * KB,
        ),
        case(
            "negative sizes",
            pth(
                &dictionary(&[(text("a"), tensor("0", 0, &ints(&[-1]), &int(1)))]),
                &[("0", &[0; 64])],
            ),
            "the file holds no tensors",
            64 * KB,
        ),
    ];
    check("pth", cases, open_weights);
}

#[cfg(feature = "onnx")]
#[test]
fn onnx_files() {
    let _alone = alone();
    let weight = initializer("w", &[32, 32], &[0; 4096]);
    let mut shared = vec![weight.clone()];
    shared.extend((0..2000).map(|i| node(&format!("/m{i}/MatMul"), "MatMul", &["x", "w"])));
    let rank = field(5, &[field(1, &[1; 50_000]), number(2, 1), field(8, b"w.w")].concat());
    let long = "n".repeat(50_000);
    let long_node = vec![weight.clone(), node(&format!("/{long}/MatMul"), "MatMul", &["x", "w"])];
    let floats = field(
        5,
        &[number(1, 4), number(2, 1), field(8, b"w.w"), [0x25, 0, 0, 0, 0].repeat(3)].concat(),
    );
    let negative = initializer("a.b", &[u64::MAX], &[]);
    let product = initializer("a.b", &[1 << 40, 1 << 40], &[]);
    let cases = vec![
        case("one weight of many nodes", onnx(&shared), "too often", 4 * MB),
        case("many dimensions", onnx(&[rank]), "dimensions", MB),
        case("a long name", onnx(&[initializer(&long, &[1], &[0; 4])]), "name has", MB),
        case("a node's long name", onnx(&long_node), "name has", MB),
        case("empty tensors", onnx(&vec![field(5, b""); 50_000]), "twice", MB),
        case("empty nodes", onnx(&vec![field(1, b""); 50_000]), "no tensors", MB),
        case(
            "inputs of a node",
            onnx(&[field(1, &field(1, b"").repeat(50_000))]),
            "no tensors",
            MB,
        ),
        case("numbers one by one", onnx(&[floats]), "12 bytes for the shape", 64 * KB),
        case("a negative size", onnx(&[negative]), "shape", 64 * KB),
        case("a size of 2^80", onnx(&[product]), "0 bytes for the shape", 64 * KB),
        case("two graphs", [onnx(&[]), field(7, b"")].concat(), "several graphs", 64 * KB),
    ];
    check("onnx", cases, open_weights);
}

fn metadata(config: &str, charset: &str, quantized: &str) -> String {
    let json = format!(r#"{{"config":{config},"charset":{charset}{quantized}}}"#);
    serde_json::json!({ "svtrv2": json }).to_string()
}

#[test]
fn safetensors_files() {
    let _alone = alone();
    let config = serde_json::to_string(&toy_config()).unwrap();
    let overflowing =
        config.replacen("\"local_blocks\":1", "\"local_blocks\":18446744073709551615", 1);
    let blocks = config.replacen("\"local_blocks\":1", "\"local_blocks\":1000", 1);
    assert!(overflowing != config && blocks != config);
    let with = |metadata: &str, tensors: &str, data: &[u8]| {
        safetensors(&format!(r#"{{"__metadata__":{metadata}{tensors}}}"#), data)
    };
    let english = serde_json::to_string(Charset::english().symbols()).unwrap();
    let many = format!("[{}\"\"]", "\"a\",".repeat(300_000));
    let many_dimensions = format!(
        r#","a":{{"dtype":"F32","shape":[{}0],"data_offsets":[0,0]}}"#,
        "1,".repeat(40_000)
    );
    let names: String = (0..40_000)
        .map(|i| {
            format!(
                r#","{i:x}":{{"dtype":"F32","shape":[],"data_offsets":[{},{}]}}"#,
                4 * i,
                4 * i + 4
            )
        })
        .collect();
    let vectors = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    let vectors: String = vectors
        .iter()
        .map(|name| {
            let name = format!("encoder.pope.patch_embed.0.{name}");
            format!(r#","{name}":{{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}"#)
        })
        .collect();
    let scalar = r#""encoder.pope.patch_embed.0.conv.weight":{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
    let scalar = safetensors(&format!("{{{scalar}{vectors}}}"), &[0; 4]);
    let quantized = |shape: &str| {
        let entry = format!(r#","quantized":{{"version":1,"shapes":{{"a":{shape}}}}}"#);
        with(
            &metadata(&config, &english, &entry),
            r#","a.rans":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a.scales":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}"#,
            &[0; 12],
        )
    };
    let rank = format!("[{}1]", "1,".repeat(40_000));
    let cases = vec![
        case("scalar convolution weight", scalar, "no dimensions", 64 * KB),
        case(
            "block counts that overflow",
            with(&metadata(&overflowing, &english, ""), "", &[]),
            "blocks",
            256 * KB,
        ),
        case(
            "1000 blocks, no tensors",
            with(&metadata(&blocks, &english, ""), "", &[]),
            "blocks",
            256 * KB,
        ),
        case("300 000 symbols", with(&metadata(&config, &many, ""), "", &[]), "symbols", 24 * MB),
        case(
            "header of 2^63 bytes",
            [&(1u64 << 63).to_le_bytes()[..], b"{}"].concat(),
            "a header of",
            64 * KB,
        ),
        case(
            "header of 97 MB",
            [&97_000_000u64.to_le_bytes()[..], &vec![b'{'; 97_000_000]].concat(),
            "a header of",
            MB,
        ),
        case("many dimensions", with("{}", &many_dimensions, &[]), "", 8 * MB),
        case("40 000 tensors", with("{}", &names, &[0; 160_000]), "named encoder", 64 * MB),
        case(
            "quantised: shape overflows",
            quantized("[4294967296,4294967296]"),
            "overflows",
            256 * KB,
        ),
        case("quantised: 2^40 integers", quantized("[1,1099511627776]"), "do not fit", 256 * KB),
        case("quantised: many dimensions", quantized(&rank), "dimensions", 8 * MB),
    ];
    check("safetensors", cases, open_weights);
}

#[test]
fn text_files_and_language_models() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let open = |open: &dyn Fn(&Path) -> svtrv2::Result<()>, bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        open(&path).map_err(|error| error.to_string())
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
        let set = Dataset::open(folder.path()).map_err(|error| error.to_string())?;
        (0..set.len()).try_for_each(|i| set.sample(i).map(|_| ())).map_err(|e| e.to_string())
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
        ("image", |path| Crop::open(path).map(|_| ()).map_err(|e| e.to_string())),
        ("weights", |path| Weights::open(path).map(|_| ()).map_err(|e| e.to_string())),
        ("charset", |path| Charset::open(path, false).map(|_| ()).map_err(|e| e.to_string())),
        ("arpa", |path| Ngram::open(path).map(|_| ()).map_err(|e| e.to_string())),
        ("ngram", |path| CompactNgram::open(path).map(|_| ()).map_err(|e| e.to_string())),
        #[cfg(feature = "data")]
        ("data set", |path| {
            svtrv2::data::Dataset::open(path).map(|_| ()).map_err(|e| e.to_string())
        }),
        #[cfg(feature = "train")]
        ("checkpoint", |path| {
            svtrv2::train::Trainer::weights_of(path).map(|_| ()).map_err(|e| e.to_string())
        }),
        #[cfg(feature = "train")]
        ("words", |path| {
            svtrv2::train::synth::Texts::open(path).map(|_| ()).map_err(|e| e.to_string())
        }),
        ("saved weights", |path| {
            let weights = pattern_weights(&toy_config()).with_charset(Charset::english()).unwrap();
            weights.save(path, StorageType::F32).map_err(|e| e.to_string())
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

/// What [`killed_while_saving`] kills.
#[test]
#[ignore = "runs until it is killed"]
fn saves_for_ever() {
    let path = std::env::var_os("SVTRV2_SAVE_TO").expect("run by another test");
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
            .args(["--exact", "saves_for_ever", "--ignored"])
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

#[test]
fn the_widest_crop() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let weights = Weights::open(toy_file(folder.path())).unwrap();
    let with = |max_ratio| {
        Recognizer::new(&weights, Options { max_ratio: Some(max_ratio), ..Options::default() })
    };
    assert!(matches!(with(129), Err(Error::Config(error)) if error.field == "max_ratio"));
    let crop = random_crop(1, 32_768, 32);
    let recognizer = with(128).unwrap();
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
