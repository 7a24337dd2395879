//! The command: arguments, inputs, and a document of all pages.

mod arguments;
mod inputs;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use svtrv2::weights::Weights;
use svtrv2::{Crop, DecodeOptions, ErrorReport, Options, Page, Precision, Recognizer};
use svtrv2_page::{Detector, Document, DocumentPage, Error, Format, Reader, draw, svtrv2};

use arguments::{Arguments, HELP, Model, Task, Text};
use inputs::Input;

/// Exit statuses beside success.
const SOME_FAILED: u8 = 1;
const NOT_STARTED: u8 = 2;

type Failure = Box<dyn std::error::Error>;

pub(crate) fn main() -> ExitCode {
    let outcome = Arguments::parse().map_err(Failure::from).and_then(|task| match task {
        Task::Help => say(HELP),
        Task::Version => say(concat!("svtrv2-page ", env!("CARGO_PKG_VERSION"), "\n")),
        Task::Pages(arguments) => run(&arguments),
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(SOME_FAILED),
        Err(error) => {
            eprintln!("svtrv2-page: {}", ErrorReport::new(error.as_ref()));
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn say(text: &str) -> Result<usize, Failure> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

/// Runs the command; the number of pages that failed.
fn run(arguments: &Arguments) -> Result<usize, Failure> {
    let inputs = inputs::list(&arguments.inputs)?;
    if let Some(folder) = &arguments.draw {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    }
    let detector = Detector::with_options(&arguments.detector, arguments.detection.clone())?;
    let out: Box<dyn Write> = match &arguments.output {
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    match &arguments.text {
        Text::Boxes => boxes(arguments, &inputs, &detector, out),
        Text::Format(format) => {
            let reader = Reader::new(detector, recognizer(arguments)?)
                .with_options(arguments.reading.clone())?;
            pages(arguments, &inputs, &reader, *format, out)
        }
    }
}

fn recognizer(arguments: &Arguments) -> Result<Recognizer, Failure> {
    let weights = match &arguments.recognizer {
        Model::File(path) => Weights::open(path).map_err(|error| {
            format!("cannot open the recogniser {}: {}", path.display(), error.report())
        })?,
        #[cfg(feature = "embedded")]
        Model::Latin => Weights::latin()?,
        #[cfg(feature = "embedded")]
        Model::English => Weights::embedded()?,
        #[cfg(not(feature = "embedded"))]
        Model::Latin | Model::English => {
            return Err("this program was built without the embedded models".into());
        }
    };
    let precision = arguments.int8.then_some(Precision::Int8);
    Ok(Recognizer::new(&weights, Options { precision, ..Options::default() })?)
}

/// Writes the text of all inputs.
fn pages(
    arguments: &Arguments,
    inputs: &[Input],
    reader: &Reader,
    format: Format,
    out: Box<dyn Write>,
) -> Result<usize, Failure> {
    let mut document = Document::new(format, out, arguments.dpi)?;
    let mut progress = Progress::new(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        progress.start(index, &input.name());
        let read = || -> Result<_, Error> {
            let (file, page) = open(input, arguments.max_pixels)?;
            let text = reader.read(&page)?;
            if let Some(folder) = &arguments.draw {
                let name = format!("{:04}_{}.png", index + 1, input.stem());
                draw(&page, &text, BufWriter::new(File::create(folder.join(name))?))?;
            }
            Ok((file, page, text))
        };
        match read() {
            Ok((file, page, text)) => {
                let name = input.name();
                let page =
                    DocumentPage { name: &name, page: &page, file: Some(&file), text: &text };
                // A document that lacks a part of a page is of no use: nothing follows.
                document.page(page)?;
            }
            Err(error) => progress.failed(&input.name(), &error),
        }
    }
    document.finish()?;
    Ok(progress.finish())
}

/// Writes the boxes of all inputs, a JSON object a page.
fn boxes(
    arguments: &Arguments,
    inputs: &[Input],
    detector: &Detector,
    mut out: Box<dyn Write>,
) -> Result<usize, Failure> {
    let mut progress = Progress::new(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        progress.start(index, &input.name());
        let found = open(input, arguments.max_pixels).and_then(|(_, page)| detector.detect(&page));
        match found {
            Ok(found) => {
                let boxes: Vec<serde_json::Value> = found
                    .iter()
                    .map(|found| {
                        let corners = found.quad.0.map(|p| [p.x, p.y]);
                        let outline: Vec<[f32; 2]> = found.outline.iter().map(|p| [p.x, p.y]).collect();
                        serde_json::json!({ "score": found.score, "quad": corners, "outline": outline })
                    })
                    .collect();
                let object = serde_json::json!({ "file": input.name(), "boxes": boxes });
                writeln!(out, "{object}")?;
            }
            Err(error) => progress.failed(&input.name(), &error),
        }
    }
    out.flush()?;
    Ok(progress.finish())
}

/// An input's bytes and its image.
fn open(input: &Input, max_pixels: u64) -> Result<(Vec<u8>, Page<'static>), Error> {
    let bytes = input.bytes()?;
    if bytes.starts_with(b"%PDF-") {
        return Err(Error::PdfInput);
    }
    let options = DecodeOptions { max_pixels, ..DecodeOptions::default() };
    let page = Page::from(Crop::decode_with(&bytes, options)?);
    Ok((bytes, page))
}

/// Says on a terminal which page is in work, and everywhere which pages failed.
struct Progress {
    total: usize,
    failed: usize,
    shows: bool,
}

impl Progress {
    fn new(total: usize) -> Self {
        Progress { total, failed: 0, shows: total > 1 && io::stderr().is_terminal() }
    }

    fn start(&mut self, index: usize, name: &str) {
        if self.shows {
            let name = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
            eprint!("\r\x1b[K{} of {}: {name}", index + 1, self.total);
        }
    }

    fn clear(&self) {
        if self.shows {
            eprint!("\r\x1b[K");
        }
    }

    fn failed(&mut self, name: &str, error: &Error) {
        self.clear();
        eprintln!("svtrv2-page: {name}: {}", ErrorReport::new(error));
        self.failed += 1;
    }

    fn finish(self) -> usize {
        self.clear();
        if self.failed > 0 && self.total > 1 {
            eprintln!("svtrv2-page: {} of {} pages failed", self.failed, self.total);
        }
        self.failed
    }
}
