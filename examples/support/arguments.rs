//! The arguments of the example `recognize`.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use lexopt::prelude::*;
use svtrv2::decode::{BeamSearch, ClassMask, Decoder, HotWords, Lexicon, Ngram, SymbolLm};
use svtrv2::{Charset, Options, Precision};

pub const HELP: &str = r#"Recognises the text in image crops.

Usage: recognize [OPTIONS] INPUT...

INPUT is a PNG or JPEG file, a folder of them, or a glob pattern.

      --json                  Print one JSON object a line instead of a table
      --draw PNG              Paint crops, boxes, text and confidences into one image
      --threads COUNT         Threads; 0 takes one a core [default: 0]
      --batch COUNT           Crops that are recognised together [default: 64]
  -h, --help                  Print this text

Network:
      --weights FILE          Safetensors, an OpenOCR checkpoint (.pth), or with the feature `onnx`
                              an ONNX export [default: the embedded English model]
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
      --lm ARPA               A character n-gram model (`svtrv2 ngram` of svtrv2-cli makes one)
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
    /// Charset, ratio limit, orientation, precision and temperature.
    pub options: Options,
    pub decoding: Decoding,
    pub threads: usize,
    /// At least 1.
    pub batch: usize,
    pub json: bool,
    pub draw: Option<PathBuf>,
}

/// How log-probabilities become texts: what is known before the charset is.
#[derive(Default)]
pub struct Decoding {
    /// An option asks for a beam search.
    searches: bool,
    search: BeamSearch,
    lm: Option<PathBuf>,
    lm_words: bool,
    lexicon: Option<PathBuf>,
    lexicon_penalty: Option<f64>,
    hot_words: Option<PathBuf>,
    ignore_case: bool,
    allow: Option<String>,
    deny: Option<String>,
    renormalize: bool,
}

impl Arguments {
    /// The arguments of the process; `None` if it is asked for help.
    pub fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        let mut arguments = Arguments {
            inputs: Vec::new(),
            weights: None,
            options: Options::default(),
            decoding: Decoding::default(),
            threads: 0,
            batch: 64,
            json: false,
            draw: None,
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
                "draw" => arguments.draw = Some(parser.value()?.into()),
                "threads" => arguments.threads = number(&mut parser, &name)?,
                "batch" => arguments.batch = number(&mut parser, &name)?,
                "weights" => arguments.weights = Some(parser.value()?.into()),
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
                _ => arguments.decoding.take(&name, &mut parser)?,
            }
        }
        if arguments.inputs.is_empty() {
            return Err("no files, folders or patterns".into());
        }
        if arguments.batch == 0 {
            return Err("--batch is at least 1".into());
        }
        if arguments.decoding.allow.is_some() && arguments.decoding.deny.is_some() {
            return Err("--allow and --deny exclude each other".into());
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

impl Decoding {
    /// Takes the value of a decoding option.
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), Box<dyn Error>> {
        let search = &mut self.search;
        match name {
            "beam" => search.beam_width = number(parser, name)?,
            "n-best" => search.n_best = number(parser, name)?,
            "top-k" => search.top_k = number(parser, name)?,
            "top-mass" => search.top_mass = number(parser, name)?,
            "blank-skip" => search.blank_skip = number(parser, name)?,
            "lm" => self.lm = Some(parser.value()?.into()),
            "lm-weight" => search.lm_weight = number(parser, name)?,
            "lm-words" => self.lm_words = true,
            "length-bonus" => search.length_bonus = number(parser, name)?,
            "lexicon" => self.lexicon = Some(parser.value()?.into()),
            "lexicon-penalty" => self.lexicon_penalty = Some(number(parser, name)?),
            "hot-words" => self.hot_words = Some(parser.value()?.into()),
            "ignore-case" => self.ignore_case = true,
            "allow" => self.allow = Some(parser.value()?.string()?),
            "deny" => self.deny = Some(parser.value()?.string()?),
            "renormalize" => self.renormalize = true,
            _ => return Err(Long(name).unexpected().into()),
        }
        self.searches |= !matches!(
            name,
            "lm-weight" | "lm-words" | "ignore-case" | "allow" | "deny" | "renormalize"
        );
        Ok(())
    }

    /// The decoder for a charset.
    pub fn decoder(&self, charset: &Charset) -> Result<Decoder, Box<dyn Error>> {
        let mut decoder = Decoder::greedy();
        if self.searches {
            let mut search = self.search.clone();
            if let Some(path) = &self.lm {
                let ngram = Arc::new(Ngram::open(path)?);
                let model = SymbolLm::new(ngram, charset, self.lm_words);
                search.language_model = Some(Arc::new(model));
            }
            if let Some(path) = &self.lexicon {
                let words = lines(path)?;
                let lexicon =
                    Lexicon::new(charset, &words, self.lexicon_penalty, self.ignore_case)?;
                warn_of_skipped(path, lexicon.skipped());
                search.lexicon = Some(Arc::new(lexicon));
            }
            if let Some(path) = &self.hot_words {
                let mut words = Vec::new();
                for line in lines(path)? {
                    let (word, bonus) = line.split_once('\t').unwrap_or((&line, "2"));
                    let bonus: f64 = bonus
                        .trim()
                        .parse()
                        .map_err(|_| format!("{}: {line:?} has no bonus", path.display()))?;
                    words.push((word.to_owned(), bonus));
                }
                let hot_words = HotWords::new(charset, &words, self.ignore_case)?;
                warn_of_skipped(path, hot_words.skipped());
                search.hot_words = Some(Arc::new(hot_words));
            }
            decoder = Decoder::beam(search);
        }
        let characters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        decoder.classes = match (&self.allow, &self.deny) {
            (Some(allowed), _) => Some(ClassMask::allow(charset, characters(allowed))?),
            (None, Some(denied)) => Some(ClassMask::deny(charset, characters(denied))?),
            (None, None) => None,
        };
        decoder.renormalize = self.renormalize;
        Ok(decoder)
    }
}

/// The value of an option as a number.
fn number<T: FromStr>(parser: &mut lexopt::Parser, name: &str) -> Result<T, Box<dyn Error>> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|_| format!("--{name}: {text:?} is not a number in range").into())
}

fn lines(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    // A pipe may block, and a device may be endless.
    if path.exists() && !path.is_file() {
        return Err(format!("{} is not a regular file", path.display()).into());
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn warn_of_skipped(path: &Path, skipped: &[String]) {
    if let Some(first) = skipped.first() {
        let (path, count) = (path.display(), skipped.len());
        let _ = writeln!(
            std::io::stderr(),
            "{path}: {count} words hold symbols outside the charset, {first:?} first"
        );
    }
}
