//! What the command line says.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use svtrv2_page::{DetectorOptions, Format, ReaderOptions, Scale};

pub(super) const HELP: &str = "\
Finds and recognises the text of pages.

usage: svtrv2-page [OPTIONS] FILES...

FILES are PNG, JPEG, TIFF, WebP and BMP images, folders of them, glob patterns, or - for standard input. All
pages go to one document, in the order given; a folder's in the order of their names.

output (plain text by default):
  --json                a JSON object a page: lines and words with boxes and confidences
  --hocr                hOCR
  --alto                ALTO 4
  --tsv                 Tesseract's table
  --pdf                 PDF: the pages with their text, invisible, above them
  --boxes               only the detector's boxes, a JSON object a page
  -o, --output FILE     writes to a file instead of standard output
  --draw FOLDER         also paints the outlines of lines and words, a PNG file a page
  --dpi N               pixels an inch, the size of a PDF's pages; 150

networks:
  --models FOLDER       where the next two are by default; weights
  --detector FILE       the detector; ppocrv6_det_small.onnx
  --weights FILE        the recogniser; ppocrv6_small.safetensors
  --latin               the embedded recogniser of Latin scripts instead: the fastest, and the best for these
  --english             the embedded English recogniser of words instead
  --int8                runs the recogniser in int8: faster, with small errors

recognition:
  --own-scale           keeps the pixels of pages of more than 2000 pixels: for small print on large scans
  --min-score P         drops lines whose characters have a lower mean probability; 0.5
  --no-turning          does not look whether lines stand upside down
  --max-pixels N        refuses larger images; 64000000
  --threads N           by default one for each core

  -h, --help            prints this
  -V, --version         prints the version

exit status: 0 all pages are done, 1 some failed (standard error names them), 2 nothing could be started or
written
";

pub(super) enum Task {
    Help,
    Version,
    Pages(Box<Arguments>),
}

/// What is written.
pub(super) enum Text {
    Boxes,
    Format(Format),
}

/// Where the recogniser's weights are.
pub(super) enum Model {
    File(PathBuf),
    Latin,
    English,
}

pub(super) struct Arguments {
    pub(super) inputs: Vec<OsString>,
    pub(super) text: Text,
    pub(super) output: Option<PathBuf>,
    pub(super) draw: Option<PathBuf>,
    pub(super) dpi: f32,
    pub(super) detector: PathBuf,
    pub(super) recognizer: Model,
    pub(super) int8: bool,
    pub(super) detection: DetectorOptions,
    pub(super) reading: ReaderOptions,
    pub(super) max_pixels: u64,
}

impl Arguments {
    pub(super) fn parse() -> Result<Task, lexopt::Error> {
        Self::parse_from(lexopt::Parser::from_env())
    }

    fn parse_from(mut parser: lexopt::Parser) -> Result<Task, lexopt::Error> {
        let mut inputs = Vec::new();
        let mut text = None;
        let (mut output, mut draw) = (None, None);
        let mut dpi = 150.0;
        let mut models = PathBuf::from("weights");
        let (mut detector, mut weights) = (None, None);
        let (mut embedded, mut int8) = (None, false);
        let mut detection = DetectorOptions::default();
        let mut reading = ReaderOptions::default();
        let mut max_pixels = 64_000_000;
        while let Some(argument) = parser.next()? {
            let mut choose = |choice| match text.replace(choice) {
                None => Ok(()),
                Some(_) => Err(lexopt::Error::from("one form of output at a time")),
            };
            match argument {
                Short('h') | Long("help") => return Ok(Task::Help),
                Short('V') | Long("version") => return Ok(Task::Version),
                Long("text") => choose(Text::Format(Format::Text))?,
                Long("json") => choose(Text::Format(Format::Json))?,
                Long("hocr") => choose(Text::Format(Format::Hocr))?,
                Long("alto") => choose(Text::Format(Format::Alto))?,
                Long("tsv") => choose(Text::Format(Format::Tsv))?,
                Long("pdf") => choose(Text::Format(Format::Pdf))?,
                Long("boxes") => choose(Text::Boxes)?,
                Short('o') | Long("output") => output = Some(parser.value()?.into()),
                Long("draw") => draw = Some(parser.value()?.into()),
                Long("dpi") => dpi = parser.value()?.parse()?,
                Long("models") => models = parser.value()?.into(),
                Long("detector") => detector = Some(parser.value()?.into()),
                Long("weights") => weights = Some(parser.value()?.into()),
                Long("latin") => embedded = Some(Model::Latin),
                Long("english") => embedded = Some(Model::English),
                Long("int8") => int8 = true,
                Long("own-scale") => detection.scale = Scale::Own,
                Long("min-score") => reading.min_score = parser.value()?.parse()?,
                Long("no-turning") => reading.turn_below = 0.0,
                Long("max-pixels") => max_pixels = parser.value()?.parse()?,
                Long("threads") => detection.threads = Some(parser.value()?.parse()?),
                Value(value) => inputs.push(value),
                other => return Err(other.unexpected()),
            }
        }
        if inputs.is_empty() {
            return Err("no files; --help lists the options".into());
        }
        let detector = detector.unwrap_or_else(|| models.join("ppocrv6_det_small.onnx"));
        let weights = weights.unwrap_or_else(|| models.join("ppocrv6_small.safetensors"));
        let recognizer = embedded.unwrap_or(Model::File(weights));
        let text = text.unwrap_or(Text::Format(Format::Text));
        Ok(Task::Pages(Box::new(Arguments {
            inputs,
            text,
            output,
            draw,
            dpi,
            detector,
            recognizer,
            int8,
            detection,
            reading,
            max_pixels,
        })))
    }
}
