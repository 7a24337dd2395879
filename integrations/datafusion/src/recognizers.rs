//! The recognisers of the process: one for each set of options, shared by all sessions and threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::{DataFusionError, Result};
use svtrv2::decode::{BeamSearch, ClassMask, Decoder, Lexicon, Ngram, Search, SymbolLm};
use svtrv2::weights::Weights;
use svtrv2::{Charset, Options, Orientation, Precision, Recognizer};

use crate::options::ReadOptions;

/// What is loaded. Networks stay: a process reads few weights files. A file that changes while the
/// process runs is not read again.
static LOADED: Mutex<Loaded> =
    Mutex::new(Loaded { networks: BTreeMap::new(), recognizers: BTreeMap::new() });

struct Loaded {
    networks: BTreeMap<ReadOptions, Arc<Recognizer>>,
    /// Networks with decoders.
    recognizers: BTreeMap<ReadOptions, Arc<Recognizer>>,
}

/// Decoders that are kept. Queries that each have an allow-list of their own give many.
const MAX_DECODERS: usize = 64;

/// The recogniser of these options, which is loaded unless it was before. Options of results, such as
/// `words_by_gaps`, are not the recogniser's.
///
/// # Errors
/// What the options name does not exist, is damaged, or does not fit together.
pub fn recognizer(options: &ReadOptions) -> Result<Arc<Recognizer>> {
    // Held while a network is loaded: whoever comes meanwhile waits for it instead of loading it too.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let options = options.of_recognizer();
    if let Some(found) = loaded.recognizers.get(&options) {
        return Ok(Arc::clone(found));
    }
    let of_network = options.of_network();
    let network = match loaded.networks.get(&of_network) {
        Some(network) => Arc::clone(network),
        None => {
            let network = Arc::new(network(&of_network)?);
            loaded.networks.insert(of_network, Arc::clone(&network));
            network
        }
    };
    let decoder = decoder(&options, network.charset())?;
    let recognizer = Arc::new(network.with_decoder(decoder).map_err(failed("decoder"))?);
    if loaded.recognizers.len() >= MAX_DECODERS {
        loaded.recognizers.clear();
    }
    loaded.recognizers.insert(options, Arc::clone(&recognizer));
    Ok(recognizer)
}

/// For `map_err`: names the option that an error is about.
fn failed(option: &str) -> impl FnOnce(svtrv2::Error) -> DataFusionError {
    let context = format!("svtrv2.{option}");
    |error| DataFusionError::External(Box::new(error)).context(context)
}

fn network(options: &ReadOptions) -> Result<Recognizer> {
    let weights = match options.get("weights") {
        Some(path) => Weights::open(path).map_err(failed("weights"))?,
        None => default_weights()?,
    };
    let charset = match options.get("charset") {
        None => None,
        Some("english") => Some(Charset::english()),
        Some(path) => Some(Charset::open(path, options.on("space")).map_err(failed("charset"))?),
    };
    let orientation = match options.get("orientation") {
        Some("rotate-tall") => Orientation::RotateTall,
        Some("best-of-tall") => Orientation::BestOfTall,
        Some("any") => Orientation::Any,
        _ => Orientation::AsIs,
    };
    let precision = options.get("precision").map(|precision| match precision {
        "int8" => Precision::Int8,
        _ => Precision::F32,
    });
    let options = Options {
        charset,
        orientation,
        precision,
        max_ratio: options.parsed("max_ratio")?,
        temperature: options.parsed("temperature")?,
        ..Options::default()
    };
    Recognizer::new(&weights, options).map_err(failed("weights"))
}

#[cfg(feature = "embedded")]
fn default_weights() -> Result<Weights> {
    Weights::embedded().map_err(failed("weights"))
}

#[cfg(not(feature = "embedded"))]
fn default_weights() -> Result<Weights> {
    datafusion::common::config_err!("svtrv2.weights is not set, and this build embeds no model")
}

fn decoder(options: &ReadOptions, charset: &Charset) -> Result<Decoder> {
    let mut decoder = match search(options, charset)? {
        Some(search) => Decoder::beam(search),
        None => Decoder::greedy(),
    };
    let symbols = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    decoder.classes = match (options.get("allow"), options.get("deny")) {
        (Some(allowed), _) => {
            Some(ClassMask::allow(charset, symbols(allowed)).map_err(failed("allow"))?)
        }
        (None, Some(denied)) => {
            Some(ClassMask::deny(charset, symbols(denied)).map_err(failed("deny"))?)
        }
        (None, None) => None,
    };
    decoder.renormalize = options.on("renormalize");
    Ok(decoder)
}

/// The beam search, unless decoding is greedy. Without a word about the decoder, an option that only
/// a search has asks for one.
fn search(options: &ReadOptions, charset: &Charset) -> Result<Option<BeamSearch>> {
    const OF_A_SEARCH: [&str; 5] = ["beam", "lm", "lm_weight", "length_bonus", "lexicon"];
    let mut search = match options.get("decoder") {
        Some("greedy") => return Ok(None),
        None if OF_A_SEARCH.iter().all(|name| options.get(name).is_none()) => return Ok(None),
        Some("english") => english(charset)?,
        _ => BeamSearch::default(),
    };
    search.beam_width = options.parsed("beam")?.unwrap_or(search.beam_width);
    search.lm_weight = options.parsed("lm_weight")?.unwrap_or(search.lm_weight);
    search.length_bonus = options.parsed("length_bonus")?.unwrap_or(search.length_bonus);
    if let Some(path) = options.get("lm") {
        let ngram = Arc::new(Ngram::open(path).map_err(failed("lm"))?);
        let of_words = options.on("lm_words");
        search.language_model = Some(Arc::new(SymbolLm::new(ngram, charset, of_words)));
    }
    if let Some(path) = options.get("lexicon") {
        let words = words(Path::new(path))?;
        let penalty = options.parsed("lexicon_penalty")?;
        let lexicon = Lexicon::new(charset, &words, penalty, options.on("ignore_case"));
        search.lexicon = Some(Arc::new(lexicon.map_err(failed("lexicon"))?));
    }
    Ok(Some(search))
}

#[cfg(feature = "embedded")]
fn english(charset: &Charset) -> Result<BeamSearch> {
    match Decoder::english(charset).map_err(failed("decoder"))?.search {
        Search::Beam(search) => Ok(search),
        _ => Ok(BeamSearch::default()),
    }
}

#[cfg(not(feature = "embedded"))]
fn english(_: &Charset) -> Result<BeamSearch> {
    datafusion::common::config_err!("this build embeds no English language model")
}

fn words(path: &Path) -> Result<Vec<String>> {
    // A pipe may block, and a device may be endless.
    let read = || match std::fs::metadata(path)?.is_file() {
        true => std::fs::read_to_string(path),
        false => Err(std::io::Error::other("it is not a regular file")),
    };
    let text = read().map_err(|error| {
        DataFusionError::from(error).context(format!("svtrv2.lexicon: {}", path.display()))
    })?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
