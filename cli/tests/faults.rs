//! Disks that are full, folders that take no file, and processes that are killed: nothing is lost, and
//! nothing is half-written.
#![cfg(all(unix, feature = "train"))]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_svtrv2");
/// Steps of a training.
const STEPS: u32 = 24;

fn svtrv2(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

/// The program with room for `blocks` of 512 bytes in each file that it writes: what lies beyond fails
/// as on a full disk.
fn with_room(blocks: u32, arguments: &[&str]) -> Output {
    let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"");
    Command::new("sh").args(["-c", &script, PROGRAM]).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn assert_succeeds(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// A failure of one line that says which file it is about.
fn assert_fails(output: &Output, message: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(message) && text.lines().count() == 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).into_os_string().into_string().unwrap()
}

/// Names and bytes of all files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// The toy network as a safetensors file.
fn weights(folder: &Path) -> String {
    let from = path(&root(), "tests/fixtures/toy_bare.pth");
    let to = path(folder, "toy.safetensors");
    assert_succeeds(&svtrv2(&["convert", "--english", &from, &to]));
    to
}

/// Crops with a list of labels, and the settings of a training on them.
fn data(folder: &Path) {
    for name in ["harbour.png", "open.png"] {
        std::fs::copy(root().join("examples/crops").join(name), folder.join(name)).unwrap();
    }
    let labels = "harbour.png\tHarbour\nopen.png\tOPEN\n";
    std::fs::write(folder.join("labels.tsv"), labels).unwrap();
    std::fs::write(folder.join("words.txt"), "tea\t3\nteam\n").unwrap();
    let settings = format!(
        "out = \"run\"\nlog_every = 1\nsave_every = 1\n[network]\n\
         stages = [[8, 1, 1, 0], [8, 1, 0, 1], [8, 1, 0, 1]]\n\
         [recipe]\nsteps = {STEPS}\nbatch_size = 2\n\
         [[sources]]\npath = \"labels.tsv\"\n"
    );
    std::fs::write(folder.join("train.toml"), settings).unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_results() {
    let input = tempfile::tempdir().unwrap();
    data(input.path());
    let (weights, set) = (weights(input.path()), path(input.path(), "labels.tsv"));
    let words = path(input.path(), "words.txt");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| path(folder.path(), name);
    let [half, arpa, dump, html] = ["half.safetensors", "a.arpa", "a.tsv", "a.html"].map(out);
    let evaluate = ["evaluate", "--weights", &weights, &set];
    let commands: [(&str, u32, Vec<&str>); 4] = [
        (&half, 4, vec!["convert", "--storage", "f16", &weights, &half]),
        (&arpa, 0, vec!["ngram", "--order", "3", &words, &arpa]),
        (&dump, 0, [&evaluate[..], &["--dump", &dump]].concat()),
        (&html, 4, [&evaluate[..], &["--html", &html, "--gallery", "1"]].concat()),
    ];
    for (file, room, arguments) in commands {
        assert_fails(&with_room(room, &arguments), file);
        assert!(files(folder.path()).is_empty(), "{file}");
        std::fs::write(file, b"old").unwrap();
        assert_fails(&with_room(room, &arguments), file);
        assert_eq!(std::fs::read(file).unwrap(), b"old", "{file}");
        assert_eq!(files(folder.path()).len(), 1, "{file}");
        assert_succeeds(&svtrv2(&arguments));
        assert!(std::fs::read(file).unwrap().len() > 100, "{file}");
        std::fs::remove_file(file).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_fails() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let (weights, set) = (weights(folder.path()), path(folder.path(), "labels.tsv"));
    let mut command = Command::new(PROGRAM);
    command.args(["evaluate", "--json", "--weights", &weights, &set]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    assert_fails(&output.wait_with_output().unwrap(), "standard output: No space left");
    // A device is written to, not replaced.
    let dump = svtrv2(&["evaluate", "--weights", &weights, &set, "--dump", "/dev/full"]);
    assert_fails(&dump, "/dev/full: No space left");
}

/// `/sys` takes no file, not even of a superuser.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let (weights, set) = (weights(folder.path()), path(folder.path(), "labels.tsv"));
    let words = path(folder.path(), "words.txt");
    let settings = path(folder.path(), "train.toml");
    let out = "/sys/svtrv2";
    let commands: [&[&str]; 5] = [
        &["convert", &weights, out],
        &["ngram", &words, out],
        &["evaluate", "--weights", &weights, &set, "--dump", out],
        &["evaluate", "--weights", &weights, &set, "--html", out],
        &["train", &settings, "--set", "out=/sys/svtrv2"],
    ];
    for arguments in commands {
        assert_fails(&svtrv2(arguments), out);
    }
}

#[test]
fn a_full_disk_leaves_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let settings = path(folder.path(), "train.toml");
    let run = folder.path().join("run");
    let train = ["train", &settings, "--minutes", "0.0001"];
    // The tables fit, the checkpoint does not.
    assert_fails(&with_room(8, &train), "last.safetensors");
    assert_eq!(files(&run).keys().collect::<Vec<_>>(), ["metrics.csv"]);
    assert_succeeds(&svtrv2(&train));
    let before = files(&run);
    assert_fails(&with_room(8, &train), "last.safetensors");
    let after = files(&run);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert_eq!(before["last.safetensors"], after["last.safetensors"]);
    let output = svtrv2(&train);
    assert_succeeds(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("resumed at step 1 "));
}

#[test]
fn killed_while_converting() {
    let folder = tempfile::tempdir().unwrap();
    let from = weights(folder.path());
    let to = path(folder.path(), "half.safetensors");
    let arguments = ["convert", "--storage", "f16", &from, &to];
    let start = Instant::now();
    assert_succeeds(&svtrv2(&arguments));
    let (whole, time) = (std::fs::read(&to).unwrap(), start.elapsed());
    for round in 0..40u32 {
        std::fs::write(&to, b"old").unwrap();
        let mut command = Command::new(PROGRAM);
        let mut child = command.args(arguments).stdout(Stdio::null()).spawn().unwrap();
        // At all moments of a run: 23 and 40 have no factor in common.
        std::thread::sleep(time * (round * 23 % 40) / 40);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = std::fs::read(&to).unwrap();
        assert!(found == b"old" || found == whole, "{} bytes", found.len());
    }
    assert_succeeds(&svtrv2(&arguments));
    assert!(std::fs::read(&to).unwrap() == whole);
}

#[test]
fn killed_while_training() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let settings = path(folder.path(), "train.toml");
    let [whole, killed] = ["whole", "killed"].map(|out| path(folder.path(), out));
    let [whole_out, killed_out] = [&whole, &killed].map(|out| format!("out={out}"));
    let arguments = |out| ["train", settings.as_str(), "--set", out];
    let start = Instant::now();
    assert_succeeds(&svtrv2(&arguments(&whole_out)));
    let step = start.elapsed() / STEPS;
    // Each time two more steps and some of a third: at the end there are still some to go.
    for round in 0..STEPS / 4 {
        let mut command = Command::new(PROGRAM);
        let child = command.args(arguments(&killed_out)).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let steps = lines.map_while(Result::ok).filter(|line| line.starts_with("step "));
        assert_eq!(steps.take(2).count(), 2, "it ended before it was killed");
        std::thread::sleep(step * (round * 5 % 8) / 8);
        child.kill().unwrap();
        child.wait().unwrap();
        let last = Path::new(&killed).join("last.safetensors");
        assert!(!last.is_file() || svtrv2::weights::Weights::open(last).is_ok());
    }
    // Those that were killed while they saved left a file; it goes once it is old.
    let old = std::time::SystemTime::now() - Duration::from_secs(1000);
    let left = Path::new(&killed).join(".last.safetensors.1.0.partial");
    std::fs::File::create(&left).unwrap().set_modified(old).unwrap();
    assert_succeeds(&svtrv2(&arguments(&killed_out)));
    assert!(!left.exists());
    // To the bit what a training is that nobody killed.
    let [whole, killed] = [whole, killed].map(|out| files(Path::new(&out)));
    assert!(whole["last.safetensors"] == killed["last.safetensors"]);
    let steps = |files: &BTreeMap<String, Vec<u8>>| {
        let text = String::from_utf8(files["metrics.csv"].clone()).unwrap();
        text.lines().map(|line| line.split(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(steps(&whole), steps(&killed));
}
