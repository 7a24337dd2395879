//! The same weights from every format, and every damaged file refused with its own error.

mod support;

use std::io::Cursor;
use std::path::Path;

use support::{
    fixture, pattern_checkpoint, pattern_input, pattern_weights, to_safetensors, toy_config,
    toy_file,
};
use svtrv2::weights::{Format, StorageType, Weights};
use svtrv2::{Charset, Error, Options, Recognizer, WeightsError};

fn logits(weights: &Weights) -> Vec<f32> {
    let (images, shape) = pattern_input(2, 32, 128);
    weights.model().unwrap().forward(&images, shape).unwrap().values
}

fn read_fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

#[test]
fn every_format_gives_the_same_logits() {
    let expected = logits(&pattern_weights(&toy_config()));
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![
        (toy_file(folder.path()), Format::Safetensors),
        (fixture("toy_bare.pth"), Format::Pth),
        (fixture("toy_guided.pth"), Format::Pth),
    ];
    if cfg!(feature = "onnx") {
        files.push((fixture("toy.onnx"), Format::Onnx));
    }
    for (path, format) in files {
        let weights = Weights::open(&path).unwrap();
        assert_eq!(weights.format(), format, "{}", path.display());
        assert_eq!(weights.config().encoder, toy_config().encoder, "{}", path.display());
        assert!(logits(&weights) == expected, "{}", path.display());

        let bytes = std::fs::read(&path).unwrap();
        let from_bytes = Weights::from_bytes(bytes.clone()).unwrap();
        assert!(logits(&from_bytes) == expected, "{} from bytes", path.display());
        let from_reader = Weights::from_reader(Cursor::new(bytes)).unwrap();
        assert!(logits(&from_reader) == expected, "{} from a reader", path.display());
    }
}

#[test]
fn prefixes_of_checkpoints() {
    let expected = logits(&pattern_weights(&toy_config()));
    for (from, to) in
        [("", "module."), ("decoder.", "decoder.ctc_decoder."), ("encoder.", "_orig_mod.encoder.")]
    {
        let mut tensors = pattern_checkpoint(&toy_config());
        for (name, ..) in &mut tensors {
            if let Some(rest) = name.strip_prefix(from) {
                *name = format!("{to}{rest}");
            }
        }
        tensors.push(("decoder.gtc_decoder.norm_pred.bias".into(), vec![2], vec![0.0; 2]));
        let weights = Weights::from_bytes(to_safetensors(&tensors)).unwrap();
        assert!(logits(&weights) == expected, "{from} as {to}");
    }
}

#[test]
fn own_files_keep_configuration_and_charset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    let symbols = (0..94).map(|i| format!("<{i}>é\n"));
    let charset = Charset::new(symbols).unwrap();
    let mut config = toy_config();
    config.max_ratio = 12;
    let weights = pattern_weights(&toy_config())
        .with_max_ratio(12)
        .unwrap()
        .with_charset(charset.clone())
        .unwrap();
    for storage in [StorageType::F32, StorageType::F16] {
        weights.save(&path, storage).unwrap();
        let reloaded = Weights::open(&path).unwrap();
        assert_eq!(reloaded.config(), &config);
        assert_eq!(reloaded.charset(), Some(&charset));
        let difference = support::max_difference(&logits(&weights), &logits(&reloaded));
        match storage {
            StorageType::F32 => assert_eq!(difference, 0.0),
            _ => assert!(difference > 0.0 && difference < 0.05, "{difference}"),
        }
        // Saved again it is the same file.
        let bytes = std::fs::read(&path).unwrap();
        reloaded.save(&path, storage).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A weights file with one thing wrong.
fn spoiled(spoil: impl FnOnce(&mut support::Tensors)) -> Vec<u8> {
    let mut tensors = pattern_checkpoint(&toy_config());
    spoil(&mut tensors);
    to_safetensors(&tensors)
}

fn open_and_run(bytes: Vec<u8>) -> Result<(), Error> {
    let weights = Weights::from_bytes(bytes)?;
    let charset = Some(Charset::english());
    Recognizer::new(&weights, Options { charset, ..Options::default() })?;
    Ok(())
}

fn find<'a>(
    tensors: &'a mut support::Tensors,
    name: &str,
) -> &'a mut (String, Vec<usize>, Vec<f32>) {
    tensors.iter_mut().find(|(n, ..)| n == name).unwrap()
}

#[test]
fn damaged_files() {
    const FC: &str = "decoder.fc.weight";
    type Check = fn(&WeightsError) -> bool;
    let tar = [vec![b'a'; 257], b"ustar".to_vec(), vec![0; 512]].concat();
    let cases: Vec<(&str, Vec<u8>, Check, &str)> = vec![
        ("empty", vec![], |e| matches!(e, WeightsError::Empty), "empty"),
        (
            "Git-LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 7\n".to_vec(),
            |e| matches!(e, WeightsError::GitLfsPointer),
            "git lfs pull",
        ),
        (
            "web page",
            b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec(),
            |e| matches!(e, WeightsError::Html),
            "HTML",
        ),
        ("legacy tar", tar, |e| matches!(e, WeightsError::LegacyTar), "tar"),
        (
            "legacy pickle",
            read_fixture("toy_legacy.pth"),
            |e| matches!(e, WeightsError::LegacyPickle),
            "before 1.6",
        ),
        (
            "a picture",
            b"\x89PNG\r\n\x1a\n".to_vec(),
            |e| matches!(e, WeightsError::UnknownFormat { .. }),
            "89, 50",
        ),
        (
            "missing tensor",
            spoiled(|t| t.retain(|(name, ..)| name != "decoder.fc_kv.bias")),
            |e| matches!(e, WeightsError::Misfit { missing, .. } if missing == &["decoder.fc_kv.bias"]),
            "decoder.fc_kv.bias",
        ),
        (
            "wrong shape",
            spoiled(|t| find(t, "decoder.fc_kv.weight").1 = vec![16, 32]),
            |e| {
                matches!(e, WeightsError::Misfit { misshapen, .. }
                    if misshapen[0].expected == [32, 16] && misshapen[0].found == [16, 32])
            },
            "[16, 32] instead of [32, 16]",
        ),
        (
            "unknown tensor",
            spoiled(|t| t.push(("encoder.extra".into(), vec![1], vec![0.0]))),
            |e| matches!(e, WeightsError::Misfit { unexpected, .. } if unexpected == &["encoder.extra"]),
            "encoder.extra",
        ),
        (
            "another network",
            to_safetensors(&vec![("bert.embeddings".into(), vec![1], vec![0.0])]),
            |e| matches!(e, WeightsError::NotSvtrv2 { .. }),
            "bert.embeddings",
        ),
        (
            "no tensors",
            to_safetensors(&vec![]),
            |e| matches!(e, WeightsError::NotSvtrv2 { .. }),
            "no tensors",
        ),
        (
            "blocks out of order",
            spoiled(|t| {
                for (name, ..) in t {
                    *name = name.replace("stages.1.blocks.2", "stages.1.blocks.7");
                }
            }),
            |e| matches!(e, WeightsError::NotSvtrv2 { .. }),
            "[0, 7]",
        ),
        (
            "NaN",
            spoiled(|t| find(t, FC).2[5] = f32::NAN),
            |e| matches!(e, WeightsError::NonFinite { index: 5, .. }),
            "decoder.fc.weight holds NaN at element 5",
        ),
        (
            "infinite",
            spoiled(|t| find(t, FC).2[7] = f32::NEG_INFINITY),
            |e| matches!(e, WeightsError::NonFinite { index: 7, .. }),
            "-inf",
        ),
        (
            "NaN where batch norm is folded",
            spoiled(|t| find(t, "encoder.pope.patch_embed.1.norm.running_var").2[0] = f32::NAN),
            |e| matches!(e, WeightsError::NonFinite { .. }),
            "running_var",
        ),
        (
            "negative variance",
            spoiled(|t| find(t, "encoder.pope.patch_embed.1.norm.running_var").2[0] = -1.0),
            |e| matches!(e, WeightsError::NonFinite { .. }),
            "patch_embed.1",
        ),
        (
            "a name twice",
            spoiled(|t| t.push(("module.decoder.fc.bias".into(), vec![95], vec![0.0; 95]))),
            |e| matches!(e, WeightsError::Duplicate { .. }),
            "decoder.fc.bias",
        ),
        (
            "header beyond the file",
            [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
            |e| matches!(e, WeightsError::Malformed { format: "safetensors", .. }),
            "safetensors",
        ),
        (
            "zip that is no checkpoint",
            b"PK\x03\x04 and nothing else".to_vec(),
            |e| matches!(e, WeightsError::Malformed { format: "PyTorch .pth", .. }),
            "PyTorch",
        ),
    ];
    for (name, bytes, check, part) in cases {
        match open_and_run(bytes) {
            Err(Error::Weights(error)) => {
                let message = error.to_string();
                assert!(check(&error), "{name}: {error:?}");
                assert!(message.contains(part), "{name}: {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn damaged_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(toy_file(folder.path())).unwrap();
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        Weights::from_bytes(bytes).unwrap_err().to_string()
    };
    assert!(text("num_classes", "num_glasses").contains("num_classes"));
    assert!(text("\\\"a\\\",\\\"b\\\"", "\\\"b\\\",\\\"b\\\"").contains("repeats"));
    assert!(text("\\\"a\\\",\\\"b\\\"", "\\\"a,,,,,b\\\"").contains("charset of 93 symbols"));
    assert!(text("max_ratio\\\":4", "max_ratio\\\":0").contains("max_ratio"));
}

#[test]
fn truncated_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![
        ("own", std::fs::read(toy_file(folder.path())).unwrap()),
        ("bare pth", read_fixture("toy_bare.pth")),
        ("guided pth", read_fixture("toy_guided.pth")),
    ];
    if cfg!(feature = "onnx") {
        files.push(("onnx", read_fixture("toy.onnx")));
    }
    for (name, bytes) in files {
        for place in 0..50 {
            // Denser at the start, where the headers are.
            let len = bytes.len() * place * place / 2500;
            let error = Weights::from_bytes(bytes[..len].to_vec()).unwrap_err();
            assert!(matches!(error, Error::Weights(_)), "{name} cut to {len}: {error:?}");
        }
        let len = bytes.len() - 1;
        assert!(Weights::from_bytes(bytes[..len].to_vec()).is_err(), "{name} cut by a byte");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for name in ["toy_guided.pth", "toy.onnx"] {
        let bytes = read_fixture(name);
        for i in 0..400 {
            let mut bytes = bytes.clone();
            let at = (i * 7919 + 13) % bytes.len();
            // Half of the flips at the ends, where the structure is.
            let at = if i % 2 == 0 { at } else { bytes.len() - 1 - at % 4000.min(bytes.len()) };
            bytes[at] ^= 1 << (i % 8);
            let _ = open_and_run(bytes);
        }
    }
}

#[test]
fn charset_faults() {
    let weights = || pattern_weights(&toy_config());
    let new = |weights: &Weights, charset| {
        Recognizer::new(weights, Options { charset, ..Options::default() }).unwrap_err().to_string()
    };
    assert!(new(&weights(), None).contains("carry no charset"));
    let short = Charset::from_characters("abc").unwrap();
    assert!(new(&weights(), Some(short.clone())).contains("3 symbols makes 4 classes"));
    assert!(weights().with_charset(short).is_err());

    let with_charset = weights().with_charset(Charset::english()).unwrap();
    let mut symbols = Charset::english().symbols().to_vec();
    symbols.swap(10, 11);
    let other = Charset::new(symbols).unwrap();
    let message = new(&with_charset, Some(other.clone()));
    assert!(message.contains("entry 10: \"b\" instead of \"a\""), "{message}");
    assert!(with_charset.with_charset(other).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.safetensors");
    assert!(weights().save(&path, StorageType::F32).is_err());
    assert!(!path.exists());
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent"), folder.path().to_owned()] {
        let error = Weights::open(&path).unwrap_err();
        assert!(matches!(error, Error::Weights(WeightsError::Io { .. })), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}

#[cfg(not(feature = "onnx"))]
#[test]
fn onnx_asks_for_its_feature() {
    let error = Weights::from_bytes(read_fixture("toy.onnx")).unwrap_err().to_string();
    assert!(error.contains("`onnx`"), "{error}");
}

/// The trained weights as PyTorch, OpenOCR safetensors, ONNX and own file.
#[cfg(feature = "onnx")]
#[test]
#[ignore = "needs the trained weights: SVTRV2_WEIGHTS, SVTRV2_ONNX, SVTRV2_CHECKPOINTS"]
fn trained_weights_from_every_format() {
    let own = Weights::open(support::trained_weights()).unwrap();
    let expected = logits(&own);
    let checkpoints = support::outside("SVTRV2_CHECKPOINTS");
    for path in [
        support::outside("SVTRV2_ONNX"),
        checkpoints.join("checkpoint.pth"),
        checkpoints.join("openocr.safetensors"),
    ] {
        let weights = Weights::open(&path).unwrap();
        assert_eq!(weights.config().variant(), Some("SVTRv2-B"), "{}", path.display());
        assert!(logits(&weights) == expected, "{}", path.display());
    }
}

/// A file that somebody cuts off or writes to while it is open gives an error, whatever part is read then.
#[test]
fn changed_files_are_errors() {
    use std::fs::{File, OpenOptions};
    use std::time::{Duration, SystemTime};
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![toy_file(folder.path())];
    for name in ["toy_bare.pth", "toy.onnx"] {
        let path = folder.path().join(name);
        std::fs::copy(fixture(name), &path).unwrap();
        files.push(path);
    }
    if !cfg!(feature = "onnx") {
        files.pop();
    }
    let writable = |path: &Path| -> File { OpenOptions::new().write(true).open(path).unwrap() };
    let changes: [fn(&File, u64); 3] = [
        |file, len| file.set_len(len / 2).unwrap(),
        |file, _| file.set_len(0).unwrap(),
        |file, _| file.set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap(),
    ];
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        for change in changes {
            let weights = Weights::open(path).unwrap();
            let before = logits(&weights);
            change(&writable(path), bytes.len() as u64);
            match weights.model().unwrap_err() {
                Error::Weights(WeightsError::Changed { path: found }) => assert_eq!(found, *path),
                other => panic!("{}: {other}", path.display()),
            }
            // What is cut off is seen at opening, too; a whole file can be opened again.
            std::fs::write(path, &bytes).unwrap();
            assert!(logits(&Weights::open(path).unwrap()) == before);
        }
        // Another file in its place changes nothing.
        let weights = Weights::open(path).unwrap();
        let before = logits(&weights);
        let other = folder.path().join("other");
        std::fs::write(&other, b"other").unwrap();
        std::fs::rename(&other, path).unwrap();
        assert!(logits(&weights) == before, "{}", path.display());
    }
}

#[test]
fn fingerprints_tell_weights_apart() {
    let folder = tempfile::tempdir().unwrap();
    let print = |weights: &Weights| weights.fingerprint().unwrap();
    let weights = pattern_weights(&toy_config());
    let first = print(&weights);
    // Of another format, the same parameters.
    assert_eq!(print(&Weights::open(fixture("toy_bare.pth")).unwrap()), first);
    let path = folder.path().join("half.safetensors");
    let with_charset = weights.clone().with_charset(Charset::english()).unwrap();
    with_charset.save(&path, StorageType::F16).unwrap();
    let others = [
        print(&with_charset),
        print(&Weights::open(&path).unwrap()),
        print(&weights.clone().with_temperature(1.5).unwrap()),
        print(&weights.clone().with_max_ratio(12).unwrap()),
        print(&weights.clone().with_precision(svtrv2::Precision::Int8).unwrap()),
        first,
    ];
    let different: std::collections::BTreeSet<u64> = others.into();
    assert_eq!(different.len(), others.len(), "{others:x?}");
}
