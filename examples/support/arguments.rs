//! The arguments of the example `recognize`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::prelude::*;
use svtrv2::decode::{Decoder, DecoderOptions, Search};
use svtrv2::{Charset, Options, Precision};

pub const HELP: &str = r#"Recognises the text in image crops.

Usage: recognize [OPTIONS] INPUT...

INPUT is a PNG or JPEG file, a folder of them, or a glob pattern.

      --json                  Print one JSON object a line instead of a table
      --draw PNG              Paint crops, boxes, text and confidences into one image
      --words-by-gaps         Words end at wide gaps too, not at spaces alone: an estimate for
                              networks without a space symbol
      --threads COUNT         Threads; 0 takes one a core [default: 0]
      --batch COUNT           Crops that are recognised together [default: 64]
  -h, --help                  Print this text

Network:
      --weights FILE          Safetensors, an OpenOCR checkpoint (.pth), or with the feature `onnx`
                              an ONNX export [default: the embedded English model]
      --latin                 With the feature `latin`: its model for lines in all Latin scripts
      --charset CHARSET       For weights that carry none: `english`, or a dictionary file with one
                              entry a line
      --space                 Append a space to the dictionary
      --max-ratio RATIO       The largest aspect ratio that keeps its width [default: the weights']
      --orientation MODE      Of crops taller than 1.5 times their width: `as-is`, `rotate-tall`
                              (by 90 degrees counter-clockwise), or `best-of-tall` (as it is and
                              turned either way; the best score wins); of all crops: `any` (upside
                              down and turned either way as well) [default: as-is]
      --precision TYPE        `f32` or `int8` [default: the weights']
      --temperature NUMBER    The temperature of confidences [default: the weights']

Decoding (greedy, unless an option asks for a beam search):
      --beam WIDTH            Beam search with this many prefixes [default: 10]
      --n-best COUNT          Texts in the result, best first [default: 1]
      --top-k COUNT           Classes that extend prefixes in a frame, at most [default: 40]
      --top-mass PROBABILITY  Probability that these classes hold together [default: 0.9999]
      --blank-skip PROBABILITY
                              Frames whose blank is more probable extend no prefix [default: 1]
      --lm FILE               A character n-gram model, ARPA or compact (`svtrv2 ngram` of svtrv2-cli
                              makes one)
      --english-lm            The embedded language model of English, with a weight and bonus of its
                              own
      --latin-lm              The embedded language model of 38 languages in Latin script, likewise
      --lm-weight WEIGHT      The weight of the model's log-probability [default: 0.15]
      --lm-words              The model is one of words: it starts again after every space
      --length-bonus BONUS    Added to the score of a text for every character [default: 0]
      --lexicon FILE          The permitted words, one a line
      --lexicon-penalty NATS  Permit other words too, at this cost
      --hot-words FILE        Expected words, one a line, optionally a tab and a bonus in nats
      --ignore-case           Ignore the letter case of lexicon and hot words
      --allow CHARACTERS      The only characters that are recognised
      --deny CHARACTERS       Characters that are never recognised
      --renormalize           Divide the probabilities of the permitted characters by their sum

Exit status: 0 if every input was recognised, 1 if one failed, 2 for wrong arguments.
"#;

/// What the user asks for.
pub struct Arguments {
    pub inputs: Vec<String>,
    /// `None` for the embedded model.
    pub weights: Option<PathBuf>,
    pub latin: bool,
    /// Charset, ratio limit, orientation, precision and temperature.
    pub options: Options,
    pub decoder: DecoderOptions,
    pub threads: usize,
    /// At least 1.
    pub batch: usize,
    pub json: bool,
    pub draw: Option<PathBuf>,
    pub words_by_gaps: bool,
}

impl Arguments {
    /// The arguments of the process; `None` if it is asked for help.
    pub fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        let mut arguments = Arguments {
            inputs: Vec::new(),
            weights: None,
            latin: false,
            options: Options::default(),
            decoder: DecoderOptions::default(),
            threads: 0,
            batch: 64,
            json: false,
            draw: None,
            words_by_gaps: false,
        };
        let (mut charset, mut space) = (None::<String>, false);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Short('h') => return Ok(None),
                Value(input) => {
                    arguments.inputs.push(input.string()?);
                    continue;
                }
                Long(name) => name.to_owned(),
                other => return Err(other.unexpected().into()),
            };
            match name.as_str() {
                "help" => return Ok(None),
                "json" => arguments.json = true,
                "words-by-gaps" => arguments.words_by_gaps = true,
                "draw" => arguments.draw = Some(parser.value()?.into()),
                "threads" => arguments.threads = number(&mut parser, &name)?,
                "batch" => arguments.batch = number(&mut parser, &name)?,
                "weights" => arguments.weights = Some(parser.value()?.into()),
                "latin" => arguments.latin = true,
                "charset" => charset = Some(parser.value()?.string()?),
                "space" => space = true,
                "max-ratio" => arguments.options.max_ratio = Some(number(&mut parser, &name)?),
                "temperature" => {
                    arguments.options.temperature = Some(number(&mut parser, &name)?);
                }
                "precision" => {
                    arguments.options.precision = match parser.value()?.string()?.as_str() {
                        "f32" => Some(Precision::F32),
                        "int8" => Some(Precision::Int8),
                        other => return Err(format!("there is no precision {other:?}").into()),
                    };
                }
                "orientation" => {
                    arguments.options.orientation = parser.value()?.string()?.parse()?;
                }
                "english-lm" => arguments.decoder.set("search", "english")?,
                "latin-lm" => arguments.decoder.set("search", "latin")?,
                "lm-words" | "ignore-case" | "renormalize" => {
                    arguments.decoder.set(&name, "true")?;
                }
                name if DECODING.contains(&name) => {
                    arguments.decoder.set(name, &parser.value()?.string()?)?;
                }
                _ => return Err(Long(&name).unexpected().into()),
            }
        }
        if arguments.inputs.is_empty() {
            return Err("no files, folders or patterns".into());
        }
        if arguments.batch == 0 {
            return Err("--batch is at least 1".into());
        }
        arguments.options.charset = match charset.as_deref() {
            None if space => return Err("--space needs --charset".into()),
            None => None,
            Some("english") => Some(Charset::english()),
            Some(path) => Some(Charset::open(path, space)?),
        };
        Ok(Some(arguments))
    }
}

/// The options of decoding that have a value.
const DECODING: [&str; 13] = [
    "beam",
    "n-best",
    "top-k",
    "top-mass",
    "blank-skip",
    "lm",
    "lm-weight",
    "length-bonus",
    "lexicon",
    "lexicon-penalty",
    "hot-words",
    "allow",
    "deny",
];

/// Says which words of the lists a decoder cannot find.
pub fn warn_of_skipped(decoder: &Decoder) {
    let Search::Beam(search) = &decoder.search else { return };
    let lexicon = search.lexicon.as_ref().map(|lexicon| lexicon.skipped());
    let hot_words = search.hot_words.as_ref().map(|words| words.skipped());
    for (name, skipped) in [("lexicon", lexicon), ("hot words", hot_words)] {
        let skipped = skipped.unwrap_or_default();
        if let Some(first) = skipped.first() {
            let count = skipped.len();
            let _ = writeln!(
                std::io::stderr(),
                "{name}: {count} words hold symbols outside the charset, {first:?} first"
            );
        }
    }
}

/// The value of an option as a number.
fn number<T: FromStr>(parser: &mut lexopt::Parser, name: &str) -> Result<T, Box<dyn Error>> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|_| format!("--{name}: {text:?} is not a number in range").into())
}
