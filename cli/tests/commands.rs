//! The program as its users call it: results, exit statuses, messages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn svtrv2(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svtrv2"));
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).into_os_string().into_string().unwrap()
}

/// Fails with a message of one line: nothing panics, nothing prints a debug representation.
fn assert_fails(output: &Output, status: i32, message: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains(message), "{text}");
    assert!(!text.contains("panicked") && !text.contains("Error {"), "{text}");
}

/// The weights of the toy network as a file with a charset.
fn converted(folder: &Path) -> String {
    let from = path(&root(), "tests/fixtures/toy_bare.pth");
    let to = path(folder, "toy.safetensors");
    let output = svtrv2(&["convert", "--english", &from, &to]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("95 classes"), "{}", stdout(&output));
    to
}

#[test]
fn explains_itself() {
    let mut commands = vec!["convert", "ngram"];
    if cfg!(feature = "data") {
        commands.push("evaluate");
    }
    if cfg!(feature = "train") {
        commands.extend(["train", "synthesize", "word-lm"]);
    }
    let all = stdout(&svtrv2(&["--help"]));
    for command in commands {
        assert!(all.contains(command), "{command} is missing");
        let help = svtrv2(&[command, "--help"]);
        assert!(help.status.success());
        assert!(stdout(&help).contains(&format!("    svtrv2 {command} ")), "{command}: no example");
    }
    assert_fails(&svtrv2(&["recognise"]), 2, "unrecognized subcommand");
}

#[test]
fn converts() {
    let folder = tempfile::tempdir().unwrap();
    let weights = converted(folder.path());
    let half = path(folder.path(), "half.safetensors");
    let output = svtrv2(&["convert", "--storage", "f16", &weights, &half]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(std::fs::metadata(half).unwrap().len() < std::fs::metadata(&weights).unwrap().len());

    let missing = path(folder.path(), "missing.pth");
    assert_fails(&svtrv2(&["convert", &missing, &weights]), 1, "missing.pth");
}

/// A folder of pictures calibrates int8; one without any is told.
#[cfg(feature = "data")]
#[test]
fn calibrates_int8() {
    let folder = tempfile::tempdir().unwrap();
    let weights = converted(folder.path());
    let to = path(folder.path(), "int8.safetensors");
    let crops = path(&root(), "examples/crops");
    let calibrate = |crops: &str| {
        let int8 = ["convert", "--int8", "--f32-share", "0.1", "--calibrate"];
        svtrv2(&[&int8[..], &[crops, &weights, &to]].concat())
    };
    let output = calibrate(&crops);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("calibrating on 7 crops") && text.contains("stays in f32"), "{text}");
    assert!(text.contains("layers stay in f32 (") && text.contains("read back"), "{text}");

    // A size makes the integers coarser, and codes them.
    let size = |file: &str| std::fs::metadata(file).unwrap().len();
    let (most, small) = (size(&to) * 2 / 3, path(folder.path(), "small.safetensors"));
    let output = svtrv2(&["convert", "--int8", "--bytes", &most.to_string(), &weights, &small]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(size(&small) <= most, "{} bytes", size(&small));
    let weights_of_size = svtrv2::weights::Weights::open(&small).unwrap();
    assert_eq!(weights_of_size.precision(), svtrv2::Precision::Int8);

    let empty = path(folder.path(), "empty");
    std::fs::create_dir(&empty).unwrap();
    assert_fails(&calibrate(&empty), 1, "no crops");
    assert_fails(&calibrate(&path(folder.path(), "missing")), 1, "missing");
    let without = svtrv2(&["convert", "--calibrate", &crops, &weights, &to]);
    assert_fails(&without, 2, "--int8");
}

#[test]
fn estimates_models() {
    let folder = tempfile::tempdir().unwrap();
    let [words, arpa] = ["words.txt", "words.arpa"].map(|name| path(folder.path(), name));
    std::fs::write(&words, "tea\t3\nteam\nÆther\n").unwrap();
    let output = svtrv2(&["ngram", "--order", "3", "--cases", &words, &arpa]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("6 of 9 words"), "{}", stdout(&output));
    assert!(std::fs::read_to_string(&arpa).unwrap().contains("ngram 3="));

    std::fs::write(&words, "tea\tmany\n").unwrap();
    assert_fails(&svtrv2(&["ngram", &words, &arpa]), 1, "line 1: \"many\" is no count");
    std::fs::write(&words, "Æ\n").unwrap();
    assert_fails(&svtrv2(&["ngram", &words, &arpa]), 1, "error: ");
    assert_fails(&svtrv2(&["ngram", "--order", "0", &words, &arpa]), 2, "--order");
}

#[cfg(feature = "data")]
mod evaluate {
    use super::*;

    /// A data set of two crops, with labels that CSV would quote.
    fn data_set(folder: &Path) -> String {
        let set = folder.join("set");
        std::fs::create_dir(&set).unwrap();
        for name in ["harbour.png", "open.png"] {
            std::fs::copy(root().join("examples/crops").join(name), set.join(name)).unwrap();
        }
        let labels = "harbour.png\tHar\"bour\nopen.png\tO\\PEN, 24\"\n";
        std::fs::write(set.join("labels.tsv"), labels).unwrap();
        set.into_os_string().into_string().unwrap()
    }

    #[test]
    fn dumps_fields_between_tabs() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, set) = (converted(folder.path()), data_set(folder.path()));
        let dump = path(folder.path(), "dump.tsv");
        let output = svtrv2(&["evaluate", "--weights", &weights, &set, "--dump", &dump]);
        assert!(output.status.success(), "{}", stderr(&output));
        let dump = std::fs::read_to_string(dump).unwrap();
        let rows: Vec<Vec<&str>> = dump.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(rows[0], ["path", "label", "prediction", "score", "confidence"]);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1][..2], ["set/harbour.png", "Har\"bour"]);
        assert_eq!(rows[2][..2], ["set/open.png", "O\\\\PEN, 24\""]);
        assert!(rows.iter().all(|row| row.len() == 5));
    }

    #[test]
    fn comma_separated_values() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, set) = (converted(folder.path()), data_set(folder.path()));
        let output = svtrv2(&["evaluate", "--weights", &weights, &set, "--csv", "--breakdown"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows[0][..6], ["set", "setting", "by", "group", "images", "words"]);
        assert_eq!(rows[1][..6], ["set", "1", "", "", "2", "2"]);
        assert!(rows.len() > 3 && rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    }

    #[test]
    fn damaged_samples_fail_after_the_results() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, set) = (converted(folder.path()), data_set(folder.path()));
        std::fs::write(Path::new(&set).join("open.png"), "no image").unwrap();
        let output = svtrv2(&["evaluate", "--weights", &weights, &set, "--json"]);
        assert_fails(&output, 1, "1 samples are damaged");
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["sets"][0]["skipped"]["damaged image"], 1);
        assert_eq!(result["sets"][0]["results"][0]["metrics"]["images"], 1);

        std::fs::write(Path::new(&set).join("harbour.png"), "no image").unwrap();
        let output = svtrv2(&["evaluate", "--weights", &weights, &set]);
        assert_fails(&output, 1, "no crop was recognised");
    }

    #[test]
    fn says_what_is_wrong_with_a_comparison() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, set) = (converted(folder.path()), data_set(folder.path()));
        let output = svtrv2(&["evaluate", "--weights", &weights, &set, "--compare", "--beams 10"]);
        assert_fails(&output, 1, "--compare \"--beams 10\"");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, set) = (converted(folder.path()), data_set(folder.path()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_svtrv2"))
            .args(["evaluate", "--weights", &weights, &set])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    }
}

#[cfg(feature = "train")]
mod train {
    use super::*;

    /// Settings of a long training of a small network on two crops.
    fn settings(folder: &Path) -> String {
        for name in ["harbour.png", "open.png"] {
            std::fs::copy(root().join("examples/crops").join(name), folder.join(name)).unwrap();
        }
        let labels = "harbour.png\tHarbour\nopen.png\tOPEN\n";
        std::fs::write(folder.join("labels.tsv"), labels).unwrap();
        let file = path(folder, "long.toml");
        let settings = "out = \"run\"\nlog_every = 1\n[network]\n\
                        stages = [[8, 1, 1, 0], [8, 1, 0, 1], [8, 1, 0, 1]]\n\
                        [recipe]\nsteps = 1000000\nbatch_size = 2\n\
                        [[sources]]\npath = \"labels.tsv\"\n";
        std::fs::write(&file, settings).unwrap();
        file
    }

    #[cfg(unix)]
    #[test]
    fn signals_save_and_stop() {
        use std::io::{BufRead, BufReader};
        let folder = tempfile::tempdir().unwrap();
        let file = settings(folder.path());
        let last = folder.path().join("run/last.safetensors");
        for signal in ["TERM", "HUP", "INT"] {
            let _ = std::fs::remove_file(&last);
            let mut child = Command::new(env!("CARGO_BIN_EXE_svtrv2"))
                .args(["train", &file])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().starts_with("step 2 ")), "{signal}");
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
            assert!(lines.any(|line| line.unwrap().starts_with("stopped and saved")), "{signal}");
            assert!(child.wait().unwrap().success(), "{signal}");
            assert!(last.is_file(), "{signal}");
        }
        // What was saved goes on, to another end if that is asked for, but not by another recipe.
        let output = svtrv2(&["train", &file, "--minutes", "0.0001"]);
        assert!(stdout(&output).contains("resumed at step"), "{}", stderr(&output));
        let output = svtrv2(&["train", &file, "--minutes", "0.0001", "--set", "recipe.steps=777"]);
        assert!(stdout(&output).contains(" of 777"), "{}", stderr(&output));
        let output = svtrv2(&["train", &file, "--set", "recipe.seed=9"]);
        assert!(stderr(&output).contains("not that of the checkpoint"), "{}", stderr(&output));
    }

    #[test]
    fn batches_are_streamed() {
        let folder = tempfile::tempdir().unwrap();
        let file = settings(folder.path());
        let output = svtrv2(&["train", &file, "--stream", "--count", "5"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let mut rest = output.stdout.as_slice();
        let mut crops = 0;
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap();
            let header: serde_json::Value = serde_json::from_slice(&rest[..end]).unwrap();
            let shape: Vec<usize> = serde_json::from_value(header["shape"].clone()).unwrap();
            let labels: Vec<Vec<u32>> = serde_json::from_value(header["labels"].clone()).unwrap();
            assert_eq!((shape[0], shape[1]), (labels.len(), 3));
            assert!(labels.iter().all(|label| !label.is_empty()));
            let pixels = &rest[end + 1..][..shape.iter().product()];
            assert!(pixels.iter().min() < pixels.iter().max());
            rest = &rest[end + 1 + pixels.len()..];
            crops += labels.len();
        }
        // Two a batch.
        assert_eq!(crops, 6);
    }

    #[test]
    fn texts_are_rendered_in_the_symbols_of_the_weights() {
        let folder = tempfile::tempdir().unwrap();
        let (file, weights) = (settings(folder.path()), path(folder.path(), "start.safetensors"));
        std::fs::write(folder.path().join("labels.tsv"), "harbour.png\té\nopen.png\té a\n")
            .unwrap();
        let start =
            ["train", &file, "--set", "network.characters='aé '", "--set", "recipe.steps=1"];
        assert!(svtrv2(&start).status.success());
        let output = svtrv2(&["train", &file, "--export", &weights]);
        assert!(output.status.success(), "{}", stderr(&output));

        // The settings name no charset: it is that of the weights.
        let render = |words: &str, texts: &str, name: &str| {
            std::fs::write(folder.path().join("words.txt"), words).unwrap();
            let settings = format!(
                "out = \"run\"\n[network]\nweights = \"start.safetensors\"\n\
                 [[sources]]\n[sources.synthetic]\nrandom = 0.0\n{texts}words = \"words.txt\"\n"
            );
            let file = path(folder.path(), "render.toml");
            std::fs::write(&file, settings).unwrap();
            svtrv2(&["train", &file, "--samples", &path(folder.path(), name), "--count", "16"])
        };
        let kind = "[[sources.synthetic.texts]]\nrecase = false\n";
        let output = render("é a\naé\nxyz\n", kind, "some");
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("1 of 3 texts"), "{}", stderr(&output));
        let labels = std::fs::read_to_string(folder.path().join("some/labels.tsv")).unwrap();
        let mut texts: Vec<&str> =
            labels.lines().map(|line| line.split_once('\t').unwrap().1).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts, ["aé", "é a"]);
        for kind in [kind, ""] {
            let output = render("xyz\n", kind, "none");
            assert_fails(&output, 1, "no text that this network can read");
        }
    }

    #[test]
    fn an_unusable_set_fails_soon() {
        let folder = tempfile::tempdir().unwrap();
        let file = settings(folder.path());
        std::fs::write(folder.path().join("labels.tsv"), "harbour.png\tÆ\nopen.png\tÐ\n").unwrap();
        let start = std::time::Instant::now();
        assert_fails(&svtrv2(&["train", &file]), 1, "none of 4 samples in a row");
        assert!(start.elapsed().as_secs() < 20);
    }

    #[test]
    fn says_what_is_wrong_with_settings() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(folder.path(), "train.toml");
        for (settings, message) in [
            ("out = ", "train.toml"),
            ("out = \"run\"\nsteps = 3", "steps"),
            ("out = \"run\"\ndevice = \"tpu\"", "not cpu, cuda or metal"),
            ("out = \"run\"\n[network]\nvariant = \"X\"", "not T, S or B"),
            ("out = \"run\"\nsave_minutes = -1", "save_minutes = -1"),
            ("out = \"run\"\nsave_minutes = nan", "save_minutes = NaN"),
            ("out = \"run\"\n[[sources]]\nweight = -2", "sources.weight = -2"),
            // The last one is good but for this.
            ("out = \"run\"", "[[sources]]"),
        ] {
            std::fs::write(&file, settings).unwrap();
            assert_fails(&svtrv2(&["train", &file]), 1, message);
        }
        assert_fails(&svtrv2(&["train", &file, "--set", "out"]), 1, "NAME=VALUE");
        assert_fails(&svtrv2(&["train", &file, "--minutes=-1"]), 1, "--minutes");
        let good = settings(folder.path());
        for (setting, message) in [
            ("loading.workers=100000", "workers = 100000"),
            ("loading.longest_label=0", "longest_label = 0"),
            ("recipe.batch_size=9223372036854775807", "batch_size = 9223372036854775807"),
            ("recipe.accumulate=0", "accumulate = 0"),
            ("sources.0.weight=-2", "sources.weight = -2"),
            ("sources.7.weight=1", "there is no entry 7"),
            ("out.x=1", "x lies in no table"),
            ("recipe.learning_rate=-1", "learning_rate = -1"),
            ("network.max_ratio=1000", "max_ratio"),
            ("network.stages=[[8,3,1,0],[8,1,0,1],[8,1,0,1]]", "heads"),
        ] {
            assert_fails(&svtrv2(&["train", &good, "--set", setting]), 1, message);
        }
        assert_fails(&svtrv2(&["train", "nowhere.toml"]), 1, "nowhere.toml");
    }
}

/// A program beside `svtrv2` gets the arguments of `bulk` and `sql`, and its status is theirs.
#[cfg(unix)]
#[test]
fn another_program_runs_queries() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("svtrv2");
    // Processes that other tests start meanwhile inherit the files that this one has open, and a file that is open
    // for writing does not run: another process writes the programs.
    let write = |script: &str, file: &Path| {
        let mut command = Command::new("sh");
        assert!(command.args(["-c", script]).arg(file).status().unwrap().success());
    };
    write(&format!("cp '{}' \"$0\"", env!("CARGO_BIN_EXE_svtrv2")), &own);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&own);
        command.args(arguments).env("PATH", "/usr/bin:/bin").output().unwrap()
    };
    let missing = run(&["sql", "SELECT 1"]);
    assert_fails(&missing, 1, "cargo install svtrv2-datafusion");
    let other = folder.path().join("svtrv2-datafusion");
    let program = r#"printf '#!/bin/sh\nprintf "[%%s]" "$@"\nexit 7\n' >"$0" && chmod +x "$0""#;
    write(program, &other);
    for (arguments, expected) in [
        (&["sql", "SELECT 'a b'", "--format", "json"][..], "[sql][SELECT 'a b'][--format][json]"),
        (&["bulk", "--help"][..], "[bulk][--help]"),
    ] {
        let output = run(arguments);
        assert_eq!(stdout(&output), expected);
        assert_eq!(output.status.code(), Some(7));
    }
}
