//! The program: its exit status and messages, and documents through other programs.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{LETTER, letter};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_svtrv2-page")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Options that name the models.
fn models() -> Vec<String> {
    let folder = std::env::var("SVTRV2_PAGE_MODELS").expect("SVTRV2_PAGE_MODELS");
    ["--int8", "--models", &folder].map(str::to_owned).to_vec()
}

fn run_with_models(arguments: &[&str]) -> Output {
    let models = models();
    let all: Vec<&str> =
        models.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    run(&all)
}

#[test]
fn what_cannot_start_is_status_2() {
    let cases: [(&[&str], &str); 5] = [
        (&[], "no files"),
        (&["--hocr", "--pdf", "a.png"], "one form of output"),
        (&["--unknown"], "--unknown"),
        (&["--models", "/nowhere", "a.png"], "/nowhere/ppocrv6_det_small.onnx"),
        (&["none*.png"], "no file fits"),
    ];
    for (arguments, message) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
    }
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--hocr"));
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn the_model_of_latin_scripts_needs_the_detector_alone() {
    let folder = tempfile::tempdir().unwrap();
    let models = std::env::var("SVTRV2_PAGE_MODELS").expect("SVTRV2_PAGE_MODELS");
    let detector = Path::new(&models).join("ppocrv6_det_small.onnx");
    let page = folder.path().join("page.png");
    std::fs::write(&page, letter().png()).unwrap();
    let output =
        run(&["--latin", "--detector", detector.to_str().unwrap(), page.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(LETTER.iter().all(|line| text.contains(line)), "{text}");
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS"]
fn pages_that_fail_are_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.png"), letter().png()).unwrap();
    std::fs::write(path("b.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    std::fs::write(path("c.pdf"), b"%PDF-1.7").unwrap();
    let output = run_with_models(&[folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let errors = stderr(&output);
    assert!(
        errors.contains("b.png") && errors.contains("pdftoppm") && errors.contains("2 of 3"),
        "{errors}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(LETTER.iter().all(|line| text.contains(line)), "{text}");
}

/// Runs a program of poppler or libxml2; its output.
fn other(program: &str, arguments: &[&Path]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{program}");
    output.stdout
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS, poppler-utils"]
fn poppler_reads_the_pdf() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (upright, head) = (letter(), letter().turned(180.0));
    std::fs::write(path("a.png"), upright.png()).unwrap();
    std::fs::write(path("b.png"), head.png()).unwrap();
    let (files, pdf) = (path("[ab].png"), path("all.pdf"));
    let output = run_with_models(&[
        "--pdf",
        "-o",
        pdf.to_str().unwrap(),
        "--dpi",
        "72",
        files.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(other("pdftotext", &[&pdf, Path::new("-")])).unwrap();
    let pages: Vec<&str> = text.split('\u{c}').collect();
    for page in &pages[..2] {
        let lines: Vec<&str> = page.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, LETTER, "{text}");
    }
    // Rendered at the size of the image, the page is the image.
    other(
        "pdftoppm",
        &["-r", "72", "-gray"]
            .map(Path::new)
            .into_iter()
            .chain([&*pdf, &*path("out")])
            .collect::<Vec<_>>(),
    );
    let rendered = std::fs::read(path("out-1.pgm")).unwrap();
    let pixels = &rendered[rendered.len() - upright.pixels.len()..];
    let differing = pixels.iter().zip(&upright.pixels).filter(|(a, b)| a.abs_diff(**b) > 1).count();
    assert_eq!(differing, 0);
}

#[test]
#[ignore = "needs SVTRV2_PAGE_MODELS, libxml2-utils"]
fn xmllint_reads_hocr_and_alto() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.png");
    std::fs::write(&image, letter().png()).unwrap();
    for format in ["--hocr", "--alto"] {
        let file = folder.path().join("out.xml");
        let output =
            run_with_models(&[format, "-o", file.to_str().unwrap(), image.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        other("xmllint", &[Path::new("--noout"), Path::new("--nonet"), &file]);
    }
}
