//! The recognisers of the process: one for each set of options, shared by all sessions and threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::{DataFusionError, Result};
use svtrv2::decode::{Decoder, DecoderOptions};
use svtrv2::weights::Weights;
use svtrv2::{Charset, Options, Precision, Recognizer};

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
pub(crate) fn failed(option: &str) -> impl FnOnce(svtrv2::Error) -> DataFusionError {
    let context = format!("svtrv2.{option}");
    |error| DataFusionError::External(error.report().to_string().into()).context(context)
}

/// The weights that these options name.
pub(crate) fn weights(options: &ReadOptions) -> Result<Weights> {
    match options.get("weights") {
        Some("latin") => latin_weights(),
        Some(path) => Weights::open(path).map_err(failed("weights")),
        None => default_weights(),
    }
}

fn network(options: &ReadOptions) -> Result<Recognizer> {
    let weights = weights(options)?;
    let charset = match options.get("charset") {
        None => None,
        Some("english") => Some(Charset::english()),
        Some(path) => Some(Charset::open(path, options.on("space")).map_err(failed("charset"))?),
    };
    let precision = options.get("precision").map(|precision| match precision {
        "int8" => Precision::Int8,
        _ => Precision::F32,
    });
    let options = Options {
        charset,
        orientation: options.parsed("orientation")?.unwrap_or_default(),
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

#[cfg(feature = "latin")]
fn latin_weights() -> Result<Weights> {
    Weights::latin().map_err(failed("weights"))
}

#[cfg(not(feature = "latin"))]
fn latin_weights() -> Result<Weights> {
    datafusion::common::config_err!("svtrv2.weights: this build embeds no model for Latin scripts")
}

fn decoder(options: &ReadOptions, charset: &Charset) -> Result<Decoder> {
    let given: Vec<_> = options.of_decoder().collect();
    let mut decoder = DecoderOptions::default();
    let built = given
        .iter()
        .try_for_each(|(name, value)| decoder.set(name, value))
        .map_err(svtrv2::Error::from)
        .and_then(|()| decoder.build(charset));
    let names: Vec<_> = given.iter().map(|(name, _)| *name).collect();
    built.map_err(failed(&names.join(", svtrv2.")))
}
